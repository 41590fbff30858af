//! The server is killed and started again at once.

use super::conversation::Conversation;
use crate::common::{Client, ServerProcess};
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

/// How often the server is killed.
const KILLS: usize = 3;

/// Starts the program on these listeners.
fn start(urls: &[&str]) -> ServerProcess {
    let listeners = urls.iter().flat_map(|url| ["--listen", url]);
    ServerProcess::start_command(Command::new(env!("CARGO_BIN_EXE_roomcast")).args(listeners))
}

/// The killed server's connections are open, so that the kernel keeps them for a while after its end.
#[test]
fn killed_server_that_is_started_again_has_its_port_at_once_and_its_clients_come_back() {
    let mut server = start(&["tcp://127.0.0.1:0"]);
    let url = format!("tcp://{}", server.address);
    for _ in 0..KILLS {
        let conversation = Conversation::start(server.address, "room");
        conversation.wait_for_lines(10);
        let (mut alice, bob) = conversation.finish();
        // Bytes that no one reads make the kernel reset this connection; bob's ends with a FIN.
        alice.send("unread\n".repeat(1_000));
        server.send_signal("KILL");
        server.process.wait().unwrap();
        server = start(&[&url]);
        assert_eq!(format!("tcp://{}", server.address), url);
        drop((alice, bob));
    }
    server.join("room", "alice").leave();
}

#[test]
fn socket_file_of_a_killed_server_is_replaced() {
    let path = std::env::temp_dir().join(format!("roomcast-restart-{}", std::process::id()));
    let url = format!("unix:{}", path.display());
    for _ in 0..KILLS {
        let mut server = start(&["tcp://127.0.0.1:0", &url]);
        let _client = UnixStream::connect(&path).unwrap();
        server.send_signal("KILL");
        server.process.wait().unwrap();
        assert!(path.symlink_metadata().unwrap().file_type().is_socket(), "the killed server leaves its file");
    }
    let mut server = start(&["tcp://127.0.0.1:0", &url]);
    let mut welcome = [0; 8];
    UnixStream::connect(&path).unwrap().read_exact(&mut welcome).unwrap();
    assert_eq!(&welcome, b"Welcome!");
    Client::join(server.address, "room", "alice").leave();
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(0));
    assert!(!path.exists(), "a graceful end removes the file");
}
