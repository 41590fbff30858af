//! Tests of a connection that need its inside: sizes, and what a panic leaves.

mod alone;

use super::*;
use crate::config::{ListenAddress, Settings};
use crate::net::BoundAddress;
use crate::server::Server;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use tokio::sync::oneshot;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::fmt::MakeWriter;

/// The text of a line that makes the connection that handles it panic, as a bug would.
const PANIC: &str = "panic!";

/// Panics if a line of chat asks for it.
pub(super) fn panic_if_asked(text: &str) {
    assert!(text != PANIC, "a line asked for a panic");
}

fn future_size<F: Future>(_: impl FnOnce(Box<Connection>) -> F) -> usize {
    size_of::<F>()
}

/// Thousands of quiet connections have one each. A task's memory comes in steps of 128 bytes: about 100 of tokio's
/// own, and this future, which has to stay within the second step.
#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 304, "{}", size_of::<Connection>());
    let future = future_size(Connection::serve);
    assert!(future <= 128, "{future}");
    assert!(size_of::<Peer<Socket>>() <= 136, "{}", size_of::<Peer<Socket>>());
}

/// Collects the log of the server's thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

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
    let log = Log::default();
    // With a single subscriber, tracing asks the thread that first logs a record whether it has one: a test without one
    // would switch that record off for all threads.
    let _second = Dispatch::new(NoSubscriber::default());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let mut settings = Settings::default();
            settings.network.listen = vec![ListenAddress::Tcp { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 }];
            let server = Server::bind(&settings, 10).unwrap();
            let BoundAddress::Tcp(address) = server.addresses()[0].clone() else { panic!("no TCP address") };
            let (stop, stopped) = oneshot::channel();
            let talking = std::thread::spawn(move || {
                talk(address);
                stop.send(()).unwrap();
            });
            server.run(async { stopped.await.unwrap() }).await;
            talking.join().unwrap();
        });
    });
    String::from_utf8(log.0.try_lock().unwrap().clone()).unwrap()
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
