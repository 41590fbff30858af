//! A link: a TCP proxy before a NATS server that cuts connections, refuses them, delays bytes, and stops one direction.

#![allow(clippy::disallowed_methods, reason = "no line of a server waits for these locks")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A direction of the bytes on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToNats,
    ToNode,
}

/// The faults of a link.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Connections are closed as soon as they are opened.
    pub refuses: bool,
    /// The directions in which no byte is read: what was sent waits in the kernel.
    pub stopped: Vec<Direction>,
    /// How much later bytes arrive, in the direction.
    pub delay: Option<(Direction, Duration)>,
    /// The faults concern the connection that carries rooms, and no other one.
    pub rooms_only: bool,
}

/// A proxy before one address, with faults. Its end cuts all connections.
pub struct Link {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    now: Mutex<LinkState>,
    changed: Condvar,
}

#[derive(Default)]
struct LinkState {
    faults: Faults,
    connections: Vec<Arc<Connection>>,
    is_over: bool,
}

struct Connection {
    node: TcpStream,
    nats: TcpStream,
    /// True once the node has said that it wants none of its own messages, as it does where rooms are carried. Relaxed: a
    /// flag of its own.
    carries_rooms: AtomicBool,
}

impl Connection {
    fn cut(&self) {
        // A side that is closed already is cut.
        let _ = self.node.shutdown(Shutdown::Both);
        let _ = self.nats.shutdown(Shutdown::Both);
    }
}

impl Link {
    /// Starts a proxy before `nats` on a free port.
    pub fn start(nats: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { now: Mutex::default(), changed: Condvar::new() });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for node in listener.incoming() {
                if shared.now.lock().unwrap().is_over {
                    return;
                }
                State::connect(&shared, node.unwrap(), nats);
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Sets the faults from now on. Refused connections are cut.
    pub fn set(&self, faults: Faults) {
        let refuses = faults.refuses;
        self.state.now.lock().unwrap().faults = faults;
        if refuses {
            self.cut();
        }
        self.state.changed.notify_all();
    }

    /// Closes the connections that the faults concern. Bytes that are under way are lost.
    pub fn cut(&self) {
        let mut now = self.state.now.lock().unwrap();
        let rooms_only = now.faults.rooms_only;
        now.connections.retain(|connection| {
            let is_cut = !rooms_only || connection.carries_rooms.load(Ordering::Relaxed);
            if is_cut {
                connection.cut();
            }
            !is_cut
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.now.lock().unwrap().is_over = true;
        self.cut();
        self.state.changed.notify_all();
        // The proxy's thread sees that the link is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn connect(state: &Arc<Self>, node: TcpStream, nats: SocketAddr) {
        // A NATS server that is away refuses, and so does the link.
        let Ok(nats) = TcpStream::connect(nats) else { return };
        let sides = (node.try_clone().unwrap(), nats.try_clone().unwrap());
        let connection = Arc::new(Connection { node, nats, carries_rooms: AtomicBool::new(false) });
        state.now.lock().unwrap().connections.push(Arc::clone(&connection));
        state.end_if_refused(&connection);
        for (direction, from, to) in [
            (Direction::ToNats, sides.0.try_clone().unwrap(), sides.1.try_clone().unwrap()),
            (Direction::ToNode, sides.1, sides.0),
        ] {
            let (state, connection) = (Arc::clone(state), Arc::clone(&connection));
            thread::spawn(move || state.forward(direction, (from, to), &connection));
        }
    }

    fn concerns(faults: &Faults, connection: &Connection) -> bool {
        !faults.rooms_only || connection.carries_rooms.load(Ordering::Relaxed)
    }

    fn end_if_refused(&self, connection: &Connection) {
        let faults = &self.now.lock().unwrap().faults;
        if faults.refuses && Self::concerns(faults, connection) {
            connection.cut();
        }
    }

    /// Forwards the bytes of one direction until a side closes.
    fn forward(&self, direction: Direction, (mut from, to): (TcpStream, TcpStream), connection: &Arc<Connection>) {
        let (sender, delayed) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
        thread::spawn({
            let connection = Arc::clone(connection);
            move || {
                let mut to = to;
                for (due, bytes) in delayed {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    if to.write_all(&bytes).is_err() {
                        break;
                    }
                }
                connection.cut();
            }
        });
        let mut buffer = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..count];
            if direction == Direction::ToNats && bytes.windows(12).any(|bytes| bytes == b"\"echo\":false") {
                connection.carries_rooms.store(true, Ordering::Relaxed);
                self.end_if_refused(connection);
            }
            let delay = self.wait_until_open(direction, connection);
            if sender.send((Instant::now() + delay, bytes.to_vec())).is_err() {
                return;
            }
        }
    }

    /// Waits while the direction is stopped. Returns the delay of what follows.
    fn wait_until_open(&self, direction: Direction, connection: &Connection) -> Duration {
        let is_stopped = |now: &mut LinkState| {
            !now.is_over && now.faults.stopped.contains(&direction) && Self::concerns(&now.faults, connection)
        };
        let now = self.changed.wait_while(self.now.lock().unwrap(), is_stopped).unwrap();
        let delay = now.faults.delay.filter(|(delayed, _)| *delayed == direction);
        delay.filter(|_| Self::concerns(&now.faults, connection)).map_or(Duration::ZERO, |(_, delay)| delay)
    }
}
