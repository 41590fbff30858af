//! The concurrent driver: clients that act at the same moment on a runtime of several threads. No client waits for what
//! another one does.

use crate::recording::Recording;
use crate::script::{self, ANCHORS, End, Packets, Script};
use crate::wording::WELCOME;
use roomcast::config::ListenAddress;
use roomcast::{BoundAddress, Server, Settings};
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The longest time that one case may take.
const CASE_DEADLINE: Duration = Duration::from_secs(30);

/// Runs a script; returns what each client has sent and received.
///
/// # Errors
/// A text, when the case does not end in time.
pub fn run(script: &Script) -> Result<Vec<Recording>, String> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(script.workers).enable_all().build().unwrap();
    let outcome = runtime.block_on(async { timeout(CASE_DEADLINE, play(&runtime, script)).await });
    runtime.shutdown_background();
    outcome.map_err(|_| "the case did not end within its deadline".to_owned())
}

async fn play(runtime: &Runtime, script: &Script) -> Vec<Recording> {
    let mut settings = Settings::default();
    (settings.live.rate, settings.live.byte_rate) = (script.rate, 0);
    settings.live.burst = NonZeroU32::MIN.saturating_add(2);
    settings.live.drain = CASE_DEADLINE;
    settings.network.listen = vec![ListenAddress::Tcp { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 }.into()];
    let server = Server::bind(&settings, 1_000).unwrap();
    let Some(BoundAddress::Tcp(address)) = server.addresses().pop() else { panic!("the listener is a TCP listener") };
    let (stop, stopped) = oneshot::channel::<()>();
    let done = runtime.spawn(server.run(async move {
        let _ = stopped.await;
    }));

    let mut anchors = Vec::new();
    for (room, actions) in script.anchors.iter().enumerate().take(ANCHORS) {
        let packets = script::packets(room, (room, false), actions, End::Stay);
        let mut anchor = Participant::connect(address, packets, End::Stay).await;
        anchor.await_join().await;
        anchors.push(anchor);
    }
    let anchors = anchors.into_iter().map(|anchor| runtime.spawn(anchor.play()));
    let clients = (ANCHORS..).zip(&script.clients).map(|(number, client)| {
        let packets = script::packets(number, (client.room, client.is_contested), &client.actions, client.end);
        let end = client.end;
        runtime.spawn(async move { Participant::connect(address, packets, end).await.play().await })
    });
    let playing: Vec<JoinHandle<Playing>> = anchors.chain(clients).collect();

    let mut ended = Vec::new();
    let mut staying = Vec::new();
    for participant in playing {
        let playing = participant.await.expect("a client panicked");
        if playing.end == End::Stay { staying.push(playing) } else { ended.push(playing.finish().await) }
    }
    if !script.shuts_down_early {
        for playing in &staying {
            playing.await_last_text().await;
        }
    }
    drop(stop);
    done.await.expect("the server panicked");
    for playing in staying {
        ended.push(playing.finish().await);
    }
    ended
}

/// A client that is connected.
struct Participant {
    stream: Arc<TcpStream>,
    sent: Packets,
    end: End,
    received: Vec<u8>,
}

/// A client that has sent everything, while its stream is read to the end.
struct Playing {
    sent: Packets,
    end: End,
    received: tokio::sync::watch::Receiver<Vec<u8>>,
    reading: JoinHandle<()>,
    /// Kept open until the client's end; `None` after a reset.
    _stream: Option<Arc<TcpStream>>,
}

impl Participant {
    async fn connect(address: SocketAddr, sent: Packets, end: End) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: Arc::new(stream), sent, end, received: Vec::new() }
    }

    /// Sends the first packet, and waits for the client's own `has joined`.
    async fn await_join(&mut self) {
        let first = self.sent.writes.remove(0);
        write_all(&self.stream, first.as_bytes()).await.unwrap();
        let mut buffer = [0; 1 << 10];
        while self.received.split(|byte| *byte == b'\n').count() <= WELCOME.len() + 1 {
            let count = read(&self.stream, &mut buffer).await.unwrap();
            assert!(count > 0, "an anchor can't join");
            self.received.extend_from_slice(&buffer[..count]);
        }
    }

    /// Sends all packets, and ends the input if the script says so.
    async fn play(self) -> Playing {
        let Self { stream, sent, end, received } = self;
        let (publish, published) = tokio::sync::watch::channel(received);
        let reader = Arc::clone(&stream);
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(count @ 1..) = read(&reader, &mut buffer).await {
                publish.send_modify(|received| received.extend_from_slice(&buffer[..count]));
            }
            // The server waits for the end of the input of a client that it has closed. Fails after a reset.
            drop(SockRef::from(&*reader).shutdown(Shutdown::Write));
        });
        for packet in &sent.writes {
            if write_all(&stream, packet.as_bytes()).await.is_err() {
                // The server has refused the client.
                break;
            }
            tokio::task::yield_now().await;
        }
        match end {
            End::Stay | End::Quit => {}
            // Fails when the server has closed.
            End::HalfClose => drop(SockRef::from(&*stream).shutdown(Shutdown::Write)),
            End::Reset => {
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
                reading.abort();
            }
        }
        Playing { sent, end, received: published, reading, _stream: (end != End::Reset).then_some(stream) }
    }
}

/// Reads some bytes; 0 at the end of the stream.
async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Playing {
    /// Waits until the client has seen its own last line, or was refused.
    async fn await_last_text(&self) {
        let Some(text) = self.sent.texts.last() else { return };
        let has_seen = |received: &Vec<u8>| {
            let received = String::from_utf8_lossy(received);
            received.lines().any(|line| line.ends_with(text.as_str()) || line == "ERROR")
        };
        // An error is the end of the stream.
        let _ = self.received.clone().wait_for(has_seen).await;
    }

    /// Reads to the end of the stream.
    async fn finish(self) -> Recording {
        // An error is the abort of a client that has reset its connection.
        let _ = self.reading.await;
        let received = String::from_utf8(self.received.borrow().clone()).expect("the scripts hold ASCII only");
        Recording::new(self.sent, self.end, &received)
    }
}
