//! Client programs, each in a terminal of its own that sends whole lines.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::TestServer;
use common::pty::{ClientProgram, Lobby, is_installed};
use common::screen::Screen;

/// The key that opens GNU telnet's own prompt.
const ESCAPE: &str = "\x1D";

#[test]
fn two_telnet_clients_and_a_plain_socket_talk() {
    let server = TestServer::start();
    let mut witness = server.join("lobby", "witness");
    let Some(mut alice) = ClientProgram::Telnet.connect(&server) else { return };
    alice.join("lobby", "alice");
    let Some(mut bob) = ClientProgram::Telnet.connect(&server) else { return };
    bob.join("lobby", "bob");
    alice.expect_rows(&["alice has joined", "bob has joined", "█"]);
    alice.type_keys("hello bob\r");
    bob.expect_rows(&["JOIN lobby bob", "bob has joined", "alice: hello bob", "█"]);
    bob.type_keys("grüße, 你好\r");
    alice.expect_rows(&["bob has joined", "hello bob", "alice: hello bob", "bob: grüße, 你好", "█"]);
    bob.expect_rows(&["alice: hello bob", "grüße, 你好", "bob: grüße, 你好", "█"]);
    bob.type_keys(ESCAPE);
    bob.expect_rows(&["telnet> █"]);
    bob.type_keys("quit\r");
    bob.wait_for_exit();
    alice.expect_rows(&["bob: grüße, 你好", "bob has left", "█"]);
    drop(alice);
    for line in
        ["alice has joined", "bob has joined", "alice: hello bob", "bob: grüße, 你好", "bob has left", "alice has left"]
    {
        witness.expect_line(line);
    }
}

#[test]
fn telnet_shows_the_error_and_its_reason_and_exits() {
    let server = TestServer::start();
    let Some(mut alice) = ClientProgram::Telnet.connect(&server) else { return };
    alice.type_keys("hello?\r");
    // The reason fills a row of the terminal and goes on in the next one.
    let reason = [
        "the first line did not start with JOIN; write: JOIN <ROOMNAME> <USERNAME>, for e",
        "xample: JOIN lobby alice",
    ];
    alice.expect_rows(&["hello?", "ERROR", reason[0], reason[1], "Connection closed by foreign host.", "█"]);
    alice.wait_for_exit();
}

/// After Ctrl-C telnet drops all input until the reply to its timing mark.
#[test]
fn telnet_receives_lines_after_ctrl_c() {
    let Some(Lobby { server: _server, mut alice, mut bob }) = ClientProgram::Telnet.join_lobby() else { return };
    for round in 1..=3 {
        alice.type_keys("not to be sai\x03");
        alice.type_keys(&format!("round {round}\r"));
        alice.wait_for("alice's line is shown", |alice| alice.rows().contains(&format!("alice: round {round}")));
        bob.send(format!("heard {round}\n"));
        alice.expect_rows(&[&format!("alice: round {round}"), &format!("bob: heard {round}"), "█"]);
    }
    for round in 1..=3 {
        bob.expect_line(&format!("alice: round {round}"));
        bob.expect_line(&format!("bob: heard {round}"));
    }
}

/// Telnet sends SUSP for Ctrl-Z and BRK for Ctrl-\, each with a timing mark.
#[test]
fn telnet_receives_lines_after_ctrl_z_and_ctrl_backslash() {
    let Some(Lobby { server: _server, mut alice, bob: _bob }) = ClientProgram::Telnet.join_lobby() else { return };
    for key in ['\x1A', '\x1C'] {
        alice.type_keys(&format!("{key}"));
        alice.type_keys(&format!("behind {}\r", key.escape_debug()));
        let line = format!("alice: behind {}", key.escape_debug());
        alice.wait_for("alice's line is shown", |alice| alice.rows().contains(&line));
        alice.expect_rows(&[&line, "█"]);
    }
}

#[test]
fn telnet_are_you_there_is_answered() {
    let Some(Lobby { server: _server, mut alice, bob: _bob }) = ClientProgram::Telnet.join_lobby() else { return };
    alice.type_keys(ESCAPE);
    alice.expect_rows(&["telnet> █"]);
    alice.type_keys("send ayt\r");
    alice.expect_rows(&["telnet> send ayt", "*** yes, roomcast is here", "█"]);
    alice.type_keys("good\r");
    alice.expect_rows(&["good", "alice: good", "█"]);
}

/// Sends each command that telnet's prompt knows, one of them with urgent data.
#[test]
fn each_command_that_telnet_can_send_leaves_the_line_whole() {
    let Some(Lobby { server: _server, mut alice, bob: _bob }) = ClientProgram::Telnet.join_lobby() else { return };
    for word in ["synch", "brk", "ip", "ao", "ec", "el", "ga", "nop", "eor", "eof", "susp", "abort"] {
        alice.type_keys(ESCAPE);
        alice.expect_rows(&["telnet> █"]);
        alice.type_keys(&format!("send {word}\r"));
        alice.expect_rows(&[&format!("telnet> send {word}"), "█"]);
        alice.type_keys(&format!("behind {word}\r"));
        alice.expect_rows(&[&format!("behind {word}"), &format!("alice: behind {word}"), "█"]);
    }
}

/// Suspends telnet from its prompt, so that the shell has the terminal for a while.
#[test]
fn suspended_telnet_resumes_with_its_unfinished_line() {
    if !is_installed("telnet") || !is_installed("bash") {
        return;
    }
    let server = TestServer::start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = Screen::spawn("bash", &["--norc", "--noprofile", "-i"]);
    alice.type_keys("PS1='shell: '\r");
    alice.expect_rows(&["shell: █"]);
    alice.type_keys(&format!("telnet {} {}\r", server.address.ip(), server.address.port()));
    alice.expect_rows(&["Welcome! Use the command:", "JOIN <ROOMNAME> <USERNAME>", "█"]);
    alice.join("lobby", "alice");
    alice.switch_line_editor_on();
    bob.expect_line("alice has joined");
    alice.type_keys("half a");
    alice.expect_rows(&["> half a█"]);
    alice.type_keys(ESCAPE);
    alice.wait_for("telnet's prompt is shown", |alice| alice.rows().iter().any(|row| row.ends_with("telnet> █")));
    alice.type_keys("z\r");
    alice.expect_rows(&["shell: █"]);
    bob.send("still there?\n");
    bob.expect_line("bob: still there?");
    alice.type_keys("fg\r");
    alice.expect_rows(&["bob: still there?", "> half a█"]);
    alice.type_keys(" line\r");
    alice.expect_rows(&["bob: still there?", "alice: half a line", "> █"]);
    bob.expect_line("alice: half a line");
}

/// Joins both members and sends a line in each direction.
fn talking_in_lobby(program: ClientProgram) -> Option<Lobby> {
    let mut lobby = program.join_lobby()?;
    let Lobby { alice, bob, .. } = &mut lobby;
    alice.type_keys("grüße, 你好\r");
    alice.expect_rows(&["alice has joined", "grüße, 你好", "alice: grüße, 你好", "█"]);
    bob.expect_line("alice: grüße, 你好");
    bob.send("hi\n");
    alice.expect_rows(&["alice: grüße, 你好", "bob: hi", "█"]);
    bob.expect_line("bob: hi");
    Some(lobby)
}

#[test]
fn plink_joins_talks_and_quits() {
    let Some(Lobby { server: _server, mut alice, mut bob }) = talking_in_lobby(ClientProgram::Plink) else { return };
    alice.type_keys("/quit so long\r");
    alice.wait_for_exit();
    bob.expect_line("alice: so long");
    bob.expect_line("alice has left");
}

#[test]
fn nc_joins_talks_and_quits() {
    let Some(Lobby { server: _server, mut alice, mut bob }) = talking_in_lobby(ClientProgram::Nc) else { return };
    alice.type_keys("/ui on\r");
    alice.expect_rows(&["/ui on", "*** /ui needs a telnet client, such as telnet or PuTTY", "█"]);
    alice.type_keys("/quit\r");
    bob.expect_line("alice has left");
    // nc ends after its own input has ended.
    alice.type_keys("\x04");
    alice.wait_for_exit();
}

/// nc and plink keep the default reaction to Ctrl-C.
#[test]
fn ctrl_c_ends_nc_and_plink() {
    for program in [ClientProgram::Nc, ClientProgram::Plink] {
        let Some(Lobby { server: _server, mut alice, mut bob }) = program.join_lobby() else { continue };
        alice.type_keys("not to be sai\x03");
        alice.wait_for_exit();
        bob.expect_line("alice has left");
    }
}
