//! Several small chat servers that share their rooms, with selectable faults of what one of them receives from the others.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// The number of servers.
pub(crate) const SERVERS: usize = 3;
/// The server on which the faults occur.
const VICTIM: usize = 2;
/// The end of the name of the sender whose lines the faults affect. It is on other servers than the victim in rooms 0 and 1.
const SENDER: &str = "x00000";
/// Interval at which the servers exchange what they have.
const EXCHANGE_INTERVAL: Duration = Duration::from_millis(20);

/// The fault of the cluster. A number is the number of the affected line among those of its sender in its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClusterFault {
    /// No fault: each server has an order of its own.
    None,
    /// No fault: all servers have one order.
    TotalOrder,
    /// A line arrives after the next one of its sender.
    Swap(u64),
    /// A line arrives twice.
    Duplicate(u64),
    /// Two lines do not arrive, and the members are told of so many missing ones, or of none.
    Gap(u64, Option<u64>),
    /// The members are told of a split before a line, and of its end after the line.
    Split(u64),
    /// No join of another server arrives.
    LoseJoins,
    /// No leave of another server arrives.
    LoseLeaves,
}

/// An event of a connection, by its number.
enum ClusterEvent {
    Connected(usize, usize, TcpStream),
    Line(usize, String),
    Closed(usize),
    /// The servers exchange what they have.
    Exchange,
}

/// A connection to one of the servers.
struct Client {
    stream: TcpStream,
    server: usize,
    room: Option<String>,
    name: String,
}

/// A text on its way to other servers: its room, and its sender where it is a line.
struct Message {
    origin: usize,
    room: String,
    sender: Option<String>,
    text: String,
}

/// The servers and their clients.
struct Cluster {
    fault: ClusterFault,
    clients: BTreeMap<usize, Client>,
    /// The texts that the servers have not exchanged yet.
    messages: Vec<Message>,
    /// For each room, the number of the sender's lines that the victim has received.
    counts: BTreeMap<String, u64>,
    /// For each room, the line that arrives after the next one.
    held: BTreeMap<String, String>,
}

/// Starts servers on free ports that share their rooms. They end with the test program.
pub(crate) fn serve_cluster(fault: ClusterFault) -> Vec<SocketAddr> {
    let (event_sender, events) = channel();
    let clock = event_sender.clone();
    thread::spawn(move || {
        while clock.send(ClusterEvent::Exchange).is_ok() {
            thread::sleep(EXCHANGE_INTERVAL);
        }
    });
    thread::spawn(move || Cluster::new(fault).run(&events));
    (0..SERVERS).map(|server| listen(server, &event_sender)).collect()
}

fn listen(server: usize, event_sender: &Sender<ClusterEvent>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, event_sender) = (listener.local_addr().unwrap(), event_sender.clone());
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (stream, number) = (stream.unwrap(), number * SERVERS + server);
            let event_sender = event_sender.clone();
            let connected = ClusterEvent::Connected(number, server, stream.try_clone().unwrap());
            event_sender.send(connected).unwrap();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = event_sender.send(ClusterEvent::Line(number, line));
                }
                let _ = event_sender.send(ClusterEvent::Closed(number));
            });
        }
    });
    address
}

impl Cluster {
    fn new(fault: ClusterFault) -> Self {
        let (clients, messages) = (BTreeMap::new(), Vec::new());
        Self { fault, clients, messages, counts: BTreeMap::new(), held: BTreeMap::new() }
    }

    /// Handles all events in one thread.
    fn run(mut self, events: &Receiver<ClusterEvent>) {
        for event in events {
            match event {
                ClusterEvent::Connected(number, server, mut stream) => {
                    let _ = stream.write_all(b"Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>\n");
                    self.clients.insert(number, Client { stream, server, room: None, name: String::new() });
                }
                ClusterEvent::Line(number, line) => self.handle_line(number, &line),
                ClusterEvent::Closed(number) => {
                    let Some(client) = self.clients.remove(&number) else { continue };
                    let _ = client.stream.shutdown(Shutdown::Both);
                    if let Some(room) = client.room {
                        self.publish(client.server, room, None, format!("{} has left\n", client.name));
                    }
                }
                ClusterEvent::Exchange => {
                    for message in std::mem::take(&mut self.messages) {
                        self.exchange(&message);
                    }
                }
            }
        }
    }

    fn handle_line(&mut self, number: usize, line: &str) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        let (server, name) = (client.server, client.name.clone());
        if let Some(room) = client.room.clone() {
            return self.publish(server, room, Some(name.clone()), format!("{name}: {line}\n"));
        }
        let words: Vec<&str> = line.split(' ').collect();
        let [_, room, name] = words[..] else { return };
        (client.room, client.name) = (Some(room.to_owned()), name.to_owned());
        self.publish(server, room.to_owned(), None, format!("{name} has joined\n"));
    }

    /// Sends a text to the members on its server at once, and to all others later.
    fn publish(&mut self, origin: usize, room: String, sender: Option<String>, text: String) {
        if self.fault != ClusterFault::TotalOrder || sender.is_none() {
            self.deliver(origin, &room, &text);
        }
        self.messages.push(Message { origin, room, sender, text });
    }

    /// Sends a text of one server to the members on the others.
    fn exchange(&mut self, message: &Message) {
        let Message { origin, room, sender, text } = message;
        let is_ordered = self.fault == ClusterFault::TotalOrder && sender.is_some();
        for server in (0..SERVERS).filter(|server| server != origin || is_ordered) {
            let affected = match (self.fault, sender) {
                (ClusterFault::LoseJoins, None) if text.ends_with("joined\n") => String::new(),
                (ClusterFault::LoseLeaves, None) if text.ends_with("left\n") => String::new(),
                (_, Some(sender)) if server == VICTIM && sender.ends_with(SENDER) => self.affect(room, text),
                _ => text.clone(),
            };
            self.deliver(server, room, &affected);
        }
    }

    /// Returns what the victim makes of a line of the sender.
    fn affect(&mut self, room: &str, line: &str) -> String {
        let count = self.counts.entry(room.to_owned()).or_default();
        *count += 1;
        match self.fault {
            ClusterFault::Swap(at) if *count == at => {
                self.held.insert(room.to_owned(), line.to_owned());
                String::new()
            }
            ClusterFault::Duplicate(at) if *count == at => line.repeat(2),
            ClusterFault::Gap(at, _) if *count == at => String::new(),
            ClusterFault::Gap(at, told) if *count == at + 1 => match told {
                None => String::new(),
                Some(1) => "*** 1 line from node n0 is missing\n".into(),
                Some(lines) => format!("*** {lines} lines from node n0 are missing\n"),
            },
            ClusterFault::Split(at) if *count == at => {
                format!("*** this room is on n2 only for now\n{line}*** the room is whole again\n")
            }
            _ => line.to_owned() + &self.held.remove(room).unwrap_or_default(),
        }
    }

    fn deliver(&mut self, server: usize, room: &str, text: &str) {
        let here = |client: &&mut Client| client.server == server && client.room.as_deref() == Some(room);
        for client in self.clients.values_mut().filter(here) {
            let _ = client.stream.write_all(text.as_bytes());
        }
    }
}
