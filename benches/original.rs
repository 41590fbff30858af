//! The design that Roomcast came from, as a server of its own for `loadtest/compare.sh`: one read-write
//! lock over all rooms, a task and a channel for each peer, and one write for each line and peer. It speaks
//! the base protocol, with no limit but the length of a line.
//!
//! `cargo run --release --example original -- PORT`

use anyhow::Context;
use futures::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::RwLock;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::codec::{Framed, LinesCodec};

/// The longest line, in bytes.
const MAX_LINE: usize = 20_000;

/// The listener's backlog: a load opens thousands of connections at once.
const ACCEPT_QUEUE: u32 = 4096;

/// The members of one room, each with the channel for its lines.
type Members = HashMap<SocketAddr, UnboundedSender<String>>;

/// All rooms by name, behind one lock.
type Rooms = RwLock<HashMap<String, Members>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).context("give a port: original PORT")?.parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    let listener = socket.listen(ACCEPT_QUEUE)?;
    println!("original listening on {}", listener.local_addr()?);
    let rooms = Arc::new(Rooms::default());
    loop {
        let (stream, address) = listener.accept().await?;
        let rooms = Arc::clone(&rooms);
        tokio::spawn(async move {
            // A connection's error ends that connection.
            let _ = serve(&rooms, stream, address).await;
        });
    }
}

/// Serves one peer from the welcome to its end.
async fn serve(rooms: &Rooms, stream: TcpStream, address: SocketAddr) -> anyhow::Result<()> {
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(MAX_LINE));
    lines.send("Welcome! Use the command:\nJOIN <ROOMNAME> <USERNAME>").await?;
    let first = lines.next().await.context("no first line")??;
    let words: Vec<&str> = first.split_whitespace().collect();
    let [join, room, user] = words[..] else {
        return Ok(lines.send("ERROR").await?);
    };
    if !join.eq_ignore_ascii_case("JOIN") {
        return Ok(lines.send("ERROR").await?);
    }
    let (sender, mut inbox) = unbounded_channel();
    rooms.write().await.entry(room.to_owned()).or_default().insert(address, sender);
    broadcast(rooms, room, &format!("{user} has joined")).await;
    loop {
        tokio::select! {
            Some(line) = inbox.recv() => if lines.send(line).await.is_err() { break },
            line = lines.next() => match line {
                Some(Ok(line)) => broadcast(rooms, room, &format!("{user}: {line}")).await,
                _ => break,
            },
        }
    }
    if let Some(members) = rooms.write().await.get_mut(room) {
        members.remove(&address);
    }
    broadcast(rooms, room, &format!("{user} has left")).await;
    Ok(())
}

/// Sends every member of the room its own copy of the line, under the lock.
async fn broadcast(rooms: &Rooms, room: &str, line: &str) {
    for member in rooms.read().await.get(room).into_iter().flat_map(HashMap::values) {
        // Sending fails for a member whose task has ended and that is about to be removed.
        let _ = member.send(line.to_owned());
    }
}
