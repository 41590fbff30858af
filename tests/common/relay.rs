//! A network between a client and a server that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Relays connections to a server.
pub struct Relay {
    pub address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    /// The streams of all connections so far.
    streams: Receiver<TcpStream>,
}

impl Relay {
    /// Starts a relay to `server`. Its threads end with the test's process.
    pub fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (sender, streams) = channel();
        let relay = Self { address: listener.local_addr().unwrap(), is_cut: Arc::default(), streams };
        let is_cut = Arc::clone(&relay.is_cut);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A connection while the network is away is closed at once.
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    sender.send(from.try_clone().unwrap()).unwrap();
                    thread::spawn(move || copy(from, to));
                }
            }
        });
        relay
    }

    /// Ends all connections, and accepts none until [`Relay::restore`].
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.streams.try_iter() {
            // A connection may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again.
    pub fn restore(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
