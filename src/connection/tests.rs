//! Tests of a connection that need its inside: sizes, and what a panic leaves.

mod alone;
mod close;
mod display;
mod events;
mod input;
mod input_line;
mod login;
mod operators;
mod output;
mod pair;
mod telnet;
mod transport;

use super::*;
use crate::config::{ListenAddress, Motd, Settings};
use crate::config::{NetworkItem, PeerNetworks};
use crate::net::BoundAddress;
use crate::server::{Server, ServerStats};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

/// The text of a line that makes the connection that handles it panic, as a bug would.
const PANIC: &str = "panic!";

/// The text of a line that makes each connection panic that encodes it for its own peer.
const PANIC_OF_ENCODER: &str = "panic of the encoder!";

/// Panics if a line of chat asks for it.
pub(super) fn panic_if_asked(text: &str) {
    assert!(text != PANIC, "a line asked for a panic");
}

/// Panics if one of the lines that a connection encodes asks for it.
pub(super) fn panic_of_encoder_if_asked(lines: &[u8]) {
    let text = String::from_utf8_lossy(lines);
    assert!(!text.lines().any(|line| line.ends_with(PANIC_OF_ENCODER)), "an encoded line asked for a panic");
}

fn future_size<F: Future>(_: impl FnOnce(Box<Connection>) -> F) -> usize {
    size_of::<F>()
}

/// Thousands of quiet connections have one each. A task's memory comes in steps of 128 bytes: about 100 of tokio's
/// own, and this future, which has to stay within the second step.
#[test]
fn a_connection_is_small() {
    // The allocator gives 320 bytes to both this and 304.
    assert!(size_of::<Connection>() <= 312, "{}", size_of::<Connection>());
    let future = future_size(Connection::serve);
    assert!(future <= 128, "{future}");
    assert!(size_of::<Peer<Socket>>() <= 136, "{}", size_of::<Peer<Socket>>());
}

/// Collects the log of the server's thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Returns a subscriber that writes to this log.
    fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone()).finish()
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.try_lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// A client with blocking reads, each line of which arrives or the stream ends.
struct Client(BufReader<TcpStream>);

impl Client {
    fn join(address: SocketAddr, room: &str, name: &str) -> Self {
        let mut client = Self(BufReader::new(TcpStream::connect(address).unwrap()));
        client.send(&format!("JOIN {room} {name}\n"));
        client.expect(&["Welcome! Use the command:", "JOIN <ROOMNAME> <USERNAME>", &format!("{name} has joined")]);
        client
    }

    fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn expect(&mut self, lines: &[&str]) {
        for expected in lines {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            assert_eq!(line.trim_end(), *expected);
        }
    }
}

/// Serves on one thread, with its log collected, while `talk` runs on another.
fn serve_while(talk: impl FnOnce(SocketAddr) + Send + 'static) -> String {
    serve_with(Settings::default(), |address, _| talk(address))
}

/// Serves with these settings on one thread, with its log collected, while `talk` runs on another with the server's figures.
fn serve_with(mut settings: Settings, talk: impl FnOnce(SocketAddr, ServerStats) + Send + 'static) -> String {
    let log = Log::default();
    // With a single subscriber, tracing asks the thread that first logs a record whether it has one: a test without one
    // would switch that record off for all threads.
    let _second = Dispatch::new(NoSubscriber::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(log.subscriber(), || {
        runtime.block_on(async {
            settings.network.listen =
                vec![ListenAddress::Tcp { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 }.into()];
            let server = Server::bind(&settings, 10).unwrap();
            let BoundAddress::Tcp(address) = server.addresses()[0].clone() else { panic!("no TCP address") };
            let (stop, stopped) = oneshot::channel();
            let stats = server.stats();
            let talking = std::thread::spawn(move || {
                talk(address, stats);
                stop.send(()).unwrap();
            });
            server.run(async { stopped.await.unwrap() }).await;
            talking.join().unwrap();
        });
    });
    log.text()
}

/// The panic comes after a line was encoded and before it was sent. All connections share one thread's buffers.
#[test]
fn a_panic_ends_its_connection_alone_and_is_logged_with_its_cause() {
    let log = serve_while(|address| {
        let mut witness = Client::join(address, "room", "witness");
        let mut other = Client::join(address, "other", "bob");
        let mut alice = Client::join(address, "room", "alice");
        witness.expect(&["alice has joined"]);
        alice.send(&format!("my secret\n{PANIC}\n"));
        witness.expect(&["alice has left"]);
        alice.expect(&[""]);
        other.send("hi\n");
        other.expect(&["bob: hi"]);
        witness.send("still here\n");
        witness.expect(&["witness: still here"]);
        drop(Client::join(address, "room", "alice"));
        witness.expect(&["alice has joined", "alice has left"]);
    });
    let panicked = log.lines().find(|line| line.contains("a connection panicked")).expect(&log);
    assert!(panicked.contains("cause=\"a line asked for a panic") && panicked.contains("ERROR"), "{panicked}");
    let closed = log.lines().find(|line| line.contains("closed") && line.contains("reason=\"panic\"")).expect(&log);
    assert!(closed.contains("room=\"room\" name=\"alice\""), "{closed}");
}

/// Waits until `condition` holds, and fails after a minute.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::yield_now();
    }
}

/// Returns settings in which one address has one connection besides the witness's, rooms keep no history, and the drain
/// time is longer than the test: a connection that shutdown waits for in vain fails it.
fn tight_settings() -> Settings {
    let mut settings = Settings::default();
    settings.network.exempt = PeerNetworks::from_items(&[NetworkItem::None]).unwrap();
    settings.network.max_per_address = 2;
    settings.rooms.history_lines = 0;
    settings.live.drain = Duration::from_secs(600);
    settings
}

/// Lets `panic` end a connection of alice three times, and waits until everything of it is released. Alice's client stays
/// open meanwhile.
fn repeat_beside_witness(address: SocketAddr, stats: &ServerStats, panic: impl Fn(&mut Client, &mut Client)) {
    let mut witness = Client::join(address, "room", "witness");
    wait_until("the passes of the join have ended", || stats.memory().used() == 0);
    for _ in 0..3 {
        let mut alice = Client::join(address, "room", "alice");
        witness.expect(&["alice has joined"]);
        panic(&mut witness, &mut alice);
        wait_until("the place is free", || stats.connections() == 1);
        wait_until("the memory is released", || stats.memory().used() == 0);
    }
}

/// The panic comes while input is charged to the memory budget, with all of the address's connections taken. Then the
/// server's end must not wait for the input of the connection.
#[test]
fn panic_releases_memory_and_the_place_of_the_address_and_shutdown_waits_for_nothing() {
    let log = serve_with(tight_settings(), |address, stats| {
        repeat_beside_witness(address, &stats, |witness, alice| {
            alice.send(&"x".repeat(10_000));
            wait_until("the unfinished line is charged", || stats.memory().used() == 10_000);
            alice.send(&format!("\n{PANIC}\n{}", "y".repeat(10_000)));
            // The panic comes before the lines of the same read are sent.
            witness.expect(&["alice has left"]);
        });
    });
    assert_eq!(log.matches("a connection panicked").count(), 3, "{log}");
    assert!(!log.contains("lines that were received but not sent"), "shutdown waited for a connection: {log}");
}

/// The connection panics while it holds the write lock of its peer, into which the room's passes deliver.
#[test]
fn panic_of_the_encoder_ends_its_connection_alone_and_releases_everything() {
    let log = serve_with(tight_settings(), |address, stats| {
        repeat_beside_witness(address, &stats, |witness, alice| {
            alice.send("/time on\n");
            let mut reply = String::new();
            alice.0.read_line(&mut reply).unwrap();
            assert!(reply.ends_with("*** time is on, shown in UTC\n"), "{reply}");
            witness.send(&format!("{PANIC_OF_ENCODER}\nnext\n"));
            witness.expect(&[&format!("witness: {PANIC_OF_ENCODER}")]);
            // The leave is in the order of the room, before or after the line that follows.
            let mut seen = [String::new(), String::new()];
            for line in &mut seen {
                witness.0.read_line(line).unwrap();
            }
            seen.sort();
            assert_eq!(seen, ["alice has left\n", "witness: next\n"]);
        });
    });
    assert_eq!(log.matches("cause=\"an encoded line asked for a panic").count(), 3, "{log}");
    assert_eq!(log.matches("reason=\"panic\"").count(), 3, "{log}");
}
