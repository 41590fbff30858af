//! systemd as a service sees it: sockets that are passed to it, and the socket for its messages.

use super::DEADLINE;
use super::folder::Folder;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A service manager that receives the messages of a service as they come: a full socket would drop some.
pub struct Manager {
    messages: Receiver<String>,
    pub path: PathBuf,
}

impl Manager {
    pub fn new(folder: &Folder) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (sender, messages) = channel();
        // The thread ends with the test's process, or at a message that comes after the manager's end.
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(count) = socket.recv(&mut buffer) {
                let Ok(()) = sender.send(String::from_utf8(buffer[..count].to_vec()).unwrap()) else { break };
            }
        });
        Self { messages, path }
    }

    /// Returns the next message.
    pub fn receive(&self) -> String {
        self.messages.recv_timeout(DEADLINE).expect("no message within the deadline")
    }

    /// Receives messages until one equals `message`.
    pub fn receive_until(&self, message: &str) {
        while self.receive() != message {}
    }
}

/// Returns a command that starts the program with `sockets` as descriptors 3 and 4, under these names.
pub fn activated(sockets: impl IntoIterator<Item = OwnedFd>, names: &str, args: &[&str]) -> Command {
    let mut sockets = sockets.into_iter();
    let (first, second) = (sockets.next().unwrap(), sockets.next());
    let (move_second, count) = if second.is_some() { (" 4<&2 2>/dev/null", 2) } else { ("", 1) };
    // LISTEN_PID is the number of the process that `exec` keeps. The shell moves the sockets to where systemd puts them.
    let script = format!("exec 3<&0 0</dev/null{move_second}; LISTEN_PID=$$ exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_roomcast")]).args(args).stdin(Stdio::from(first));
    command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
    if let Some(second) = second {
        command.stderr(Stdio::from(second));
    }
    command
}

/// Returns a socket that listens on a free port of the loopback interface, and its address.
pub fn tcp_socket() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener.into(), address)
}
