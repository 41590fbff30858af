//! Descriptors run out and come back.

use super::conversation::{Conversation, with_arguments};
use crate::common::{Client, DEADLINE, ServerProcess, WELCOME};
use std::io::{BufRead, Read};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Failed attempts to accept for which each shortage waits.
const ATTEMPTS: usize = 5;

/// Sets the soft limit of open files of the running server.
fn set_file_limit(server: &ServerProcess, files: &str) {
    let pid = server.process.id().to_string();
    let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]).status().unwrap();
    assert!(status.success(), "prlimit sets no limit of {files} files");
}

/// Returns the log's lines as the server writes them.
fn read_log(server: &mut ServerProcess) -> Receiver<String> {
    let (sender, lines) = channel();
    let stdout = server.stdout.take().unwrap();
    thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// Waits for some failed attempts to accept. Returns the pauses after them, as the log shows them.
fn pauses_after_failures(log: &Receiver<String>) -> Vec<String> {
    let failures = std::iter::from_fn(|| log.recv_timeout(DEADLINE).ok()).filter(|line| line.contains("can't accept"));
    let pause = |line: String| line.split("pause=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    failures.take(ATTEMPTS).map(pause).collect()
}

/// The pauses between attempts double, so that an accept loop without descriptors does not spin. Two members talk all the
/// time, and the clients that wait in the kernel's queue are served when descriptors are there again.
#[test]
fn server_without_descriptors_pauses_between_attempts_and_serves_all_waiting_clients_afterwards() {
    let mut server = ServerProcess::start(&with_arguments(&["-v"]));
    let log = read_log(&mut server);
    let members: Vec<Client> = (0..20).map(|id| server.join("members", &format!("u{id}"))).collect();
    let conversation = Conversation::start(server.address, "room");
    for shortage in 0..2 {
        set_file_limit(&server, "8");
        let waiting: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(server.address).unwrap()).collect();
        // The first pause, also in the second shortage: a success between them has reset it.
        assert_eq!(pauses_after_failures(&log), ["10ms", "20ms", "40ms", "80ms", "160ms"], "shortage {shortage}");
        conversation.wait_for_lines(100);
        set_file_limit(&server, "1000");
        for mut stream in waiting {
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut welcome = vec![0; WELCOME.len()];
            stream.read_exact(&mut welcome).unwrap();
            assert_eq!(String::from_utf8_lossy(&welcome), WELCOME);
        }
        let mut newcomer = server.join("members", &format!("newcomer{shortage}"));
        newcomer.send("hello\n");
        newcomer.expect_line(&format!("newcomer{shortage}: hello"));
        conversation.wait_for_lines(100);
    }
    conversation.finish();
    drop(members);
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(0));
}
