//! The log's reader fails: a full disk, a pipe that is never read, closed outputs.

use super::conversation::{Conversation, NOTICE, with_arguments};
use crate::common::{Client, ServerProcess};
use std::fs::OpenOptions;
use std::process::{Command, Stdio};
use std::thread;

/// Memory that the server may grow by while the log's pipe is full, in KiB: its queue holds 128,000 log lines of about
/// 200 bytes.
const GROWTH_KIB: usize = 64 << 10;

/// Talks, sends SIGTERM while clients come and go, and asserts a graceful end.
fn assert_served_until_the_end(mut server: ServerProcess) {
    let conversation = Conversation::start(server.address, "room");
    for visit in 0..50 {
        server.join("lobby", &format!("u{visit}")).leave();
    }
    conversation.wait_for_lines(300);
    let (alice, bob) = conversation.finish();
    server.send_signal("TERM");
    for mut client in [alice, bob] {
        assert_eq!(client.read_to_end(), [NOTICE], "the notice must be the only line after the conversation");
    }
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn full_disk_below_the_log_does_not_stop_the_server() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let mut command = ServerProcess::command(&with_arguments(&["-vvv"]));
    let server = ServerProcess::start_without_reading(command.stdout(full()).stderr(full()));
    assert_served_until_the_end(server);
}

#[test]
fn outputs_that_are_closed_at_the_start_do_not_stop_the_server() {
    let arguments = with_arguments(&["-vvv"]).join(" ");
    let script = format!("exec {} 0 --bind 127.0.0.1 {arguments} <&- >&- 2>&-", env!("CARGO_BIN_EXE_roomcast"));
    let mut command = Command::new("sh");
    assert_served_until_the_end(ServerProcess::start_without_reading(command.args(["-c", &script])));
}

/// Writing to a pipe without a reader raises SIGPIPE, whose default is to end the process.
#[test]
fn outputs_whose_readers_end_during_a_conversation_do_not_stop_the_server() {
    let mut command = ServerProcess::command(&with_arguments(&["-vvv"]));
    let mut server = ServerProcess::start_command(command.stderr(Stdio::piped()));
    let conversation = Conversation::start(server.address, "talk");
    conversation.wait_for_lines(20);
    (server.stdout, server.process.stderr) = (None, None);
    conversation.wait_for_lines(100);
    conversation.finish();
    assert_served_until_the_end(server);
}

/// Makes the server log at least as many lines into a pipe that is not read: each line of a member that waits for its echo
/// is a pass, which `-vvv` logs.
fn flood_unread_pipe(logged_lines: usize) {
    const TALKERS: usize = 8;
    let mut command = ServerProcess::command(&with_arguments(&["-vvv"]));
    let server = ServerProcess::start_without_reading(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let before = server.status_kib("VmRSS");
    thread::scope(|scope| {
        for talker in 0..TALKERS {
            let address = server.address;
            scope.spawn(move || {
                let mut client = Client::join(address, &format!("room{talker}"), "alice");
                for _ in 0..logged_lines / TALKERS {
                    client.send("a\n");
                    client.expect_line("alice: a");
                }
            });
        }
    });
    let growth = server.status_kib("VmHWM") - before;
    assert!(growth < GROWTH_KIB, "the server grew by {growth} KiB");
    assert_served_until_the_end(server);
}

#[test]
fn flood_of_log_lines_into_a_pipe_that_is_never_read_does_not_stop_the_server() {
    flood_unread_pipe(8_000);
}
