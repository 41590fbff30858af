//! Client programs, each in a terminal of its own: join, talk, interrupt, quit. Letters and editing are in
//! `languages.rs` and `terminal.rs`.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::TestServer;
use common::pty::{ClientProgram, Lobby, is_installed, test_each_program};
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
        let sent = format!("telnet> send {word}");
        // The first interrupt is answered.
        let notice = (word == "ip").then_some("*** the line was dropped; /quit leaves");
        alice.expect_rows(&[Some(&*sent), notice, Some("█")].into_iter().flatten().collect::<Vec<_>>());
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
    bob.expect_line("alice has joined");
    alice.type_keys("/ui on\r");
    alice.expect_row("*** ui is on");
    alice.expect_draft("");
    alice.type_keys("half a");
    alice.expect_draft("half a");
    alice.type_keys(ESCAPE);
    alice.wait_for("telnet's prompt is shown", |alice| alice.rows().iter().any(|row| row.ends_with("telnet> █")));
    alice.type_keys("z\r");
    alice.expect_rows(&["shell: █"]);
    bob.send("still there?\n");
    bob.expect_line("bob: still there?");
    alice.type_keys("fg\r");
    alice.expect_row("bob: still there?");
    alice.expect_draft("half a");
    alice.type_keys(" line\r");
    alice.expect_row("alice: half a line");
    alice.expect_draft("");
    bob.expect_line("alice: half a line");
}

// The two members are joined, and each says a line that the other sees.
test_each_program! {
    program_joins_and_talks, join_lobby, |mut lobby| {
        lobby.say("hello from alice");
        lobby.alice.expect_row("alice: hello from alice");
        lobby.answer("hello from bob");
        lobby.say("two words, and a /slash");
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin, tinyfugue: TinyFugue, socat_raw: SocatRaw,
    nc: Nc, nc_crlf: NcCrlf
}

test_each_program! {
    program_joins_and_talks_on_a_telnet_listener, join_lobby_by_telnet_listener, |mut lobby| {
        lobby.say("hello from alice");
        lobby.alice.expect_row("alice: hello from alice");
        lobby.answer("hello from bob");
        lobby.say("two words, and a /slash");
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin, tinyfugue: TinyFugue
}

/// Quits with a last text, and reads on bob's socket that alice has left.
fn quit(lobby: &mut Lobby, command: &str) {
    lobby.alice.type_keys(&format!("{command} so long\r"));
    lobby.bob.expect_line("alice: so long");
    lobby.bob.expect_line("alice has left");
}

// Programs that end with their connection.
test_each_program! {
    program_quits, join_lobby, |mut lobby| {
        quit(&mut lobby, "/quit");
        lobby.alice.wait_for_exit();
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, socat_raw: SocatRaw
}

test_each_program! {
    program_quits_from_the_input_line, join_lobby, |mut lobby| {
        lobby.switch_input_line_on();
        quit(&mut lobby, "/quit");
        lobby.alice.wait_for_exit();
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet
}

test_each_program! {
    program_quits_on_a_telnet_listener, join_lobby_by_telnet_listener, |mut lobby| {
        quit(&mut lobby, "/quit");
        lobby.alice.wait_for_exit();
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet
}

// nc ends after its own input has ended, too.
test_each_program! {
    netcat_quits, join_lobby, |mut lobby| {
        quit(&mut lobby, "/quit");
        lobby.alice.type_keys("\x04");
        lobby.alice.wait_for_exit();
    };
    nc: Nc, nc_crlf: NcCrlf
}

// A MUD client stays after its connection. Its own commands begin with # or /, so TinyFugue needs /send.
test_each_program! {
    tintin_quits, join_lobby, |mut lobby| {
        quit(&mut lobby, "/quit");
        lobby.alice.expect_row("#SESSION 'gts' ACTIVATED.");
        lobby.alice.type_keys("#end\r");
        lobby.alice.wait_for_exit();
    };
    tintin: TinTin
}

test_each_program! {
    tinyfugue_quits, join_lobby, |mut lobby| {
        quit(&mut lobby, "/send /quit");
        lobby.alice.expect_row("% Connection to (unnamed1) closed by foreign host.");
        lobby.alice.type_keys("/quit\r");
        lobby.alice.wait_for_exit();
    };
    tinyfugue: TinyFugue
}

#[test]
fn nc_is_told_that_the_input_line_needs_a_telnet_client() {
    let Some(Lobby { server: _server, mut alice, bob: _bob }) = ClientProgram::Nc.join_lobby() else { return };
    alice.type_keys("/ui on\r");
    alice.expect_row_start("*** ui is off: it needs a telnet client");
}

// Programs that keep the default reaction to Ctrl-C, and the unfinished line is not said.
test_each_program! {
    ctrl_c_ends_the_program, join_lobby, |mut lobby| {
        lobby.alice.type_keys("not to be sai\x03");
        lobby.alice.wait_for_exit();
        lobby.bob.expect_line("alice has left");
    };
    plink: Plink, nc: Nc, nc_crlf: NcCrlf
}

// The server drops the line and says once how to leave.
test_each_program! {
    ctrl_c_drops_the_line_and_shows_how_to_leave, join_lobby, |mut lobby| {
        lobby.alice.type_keys("not to be sai\x03");
        // The terminal shows ^C and stays in that row.
        lobby.alice.expect_row("^C*** the line was dropped; /quit leaves");
        lobby.say("next");
        lobby.alice.expect_row("alice: next");
    };
    telnet: Telnet
}

// The program empties its own input line, and the server gets nothing.
test_each_program! {
    ctrl_c_empties_the_programs_own_line, join_lobby, |mut lobby| {
        lobby.alice.type_keys("not to be sai\x03");
        lobby.alice.type_keys("next\r");
        lobby.bob.expect_line("alice: next");
    };
    tintin: TinTin
}

// The terminal drops the line, and the program asks what to do.
test_each_program! {
    ctrl_c_opens_the_prompt_of_busybox, join_lobby, |mut lobby| {
        // busybox looks at a signal only while it waits, so it must have shown all that came.
        lobby.alice.type_keys("not to be sai\x03");
        lobby.alice.wait_for("the prompt is shown", |alice| {
            alice.rows().iter().any(|row| row.ends_with("exit telnet"))
        });
        lobby.alice.type_keys("\r");
        lobby.alice.expect_row("continuing...");
        lobby.say("next");
    };
    busybox: BusyboxTelnet
}

test_each_program! {
    ctrl_c_opens_the_prompt_of_tinyfugue, join_lobby, |mut lobby| {
        lobby.alice.type_keys("not to be sai\x03");
        lobby.alice.expect_row_start("C) continue tf; X) exit;");
        lobby.alice.type_keys("c");
        lobby.say("next");
        lobby.alice.expect_row("alice: next");
        lobby.alice.type_keys("\x03");
        lobby.alice.expect_row_start("C) continue tf; X) exit;");
        lobby.alice.type_keys("x");
        lobby.alice.wait_for_exit();
        lobby.bob.expect_line("alice has left");
    };
    tinyfugue: TinyFugue
}

// socat sends the byte of Ctrl-C, which is no text and is dropped from the line.
test_each_program! {
    ctrl_c_in_raw_mode_leaves_the_line_whole, join_lobby, |mut lobby| {
        lobby.alice.type_keys("wh\x03ole\r");
        lobby.bob.expect_line("alice: whole");
    };
    socat_raw: SocatRaw
}

test_each_program! {
    ctrl_c_empties_the_input_line, join_lobby, |mut lobby| {
        lobby.switch_input_line_on();
        lobby.alice.type_keys("not to be sai");
        lobby.alice.expect_draft("not to be sai");
        lobby.alice.type_keys("\x03");
        lobby.alice.expect_draft("");
        lobby.say("next");
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin
}

test_each_program! {
    ctrl_c_empties_the_input_line_on_a_telnet_listener, join_lobby_by_telnet_listener, |mut lobby| {
        lobby.alice.type_keys("not to be sai");
        lobby.alice.expect_draft("not to be sai");
        lobby.alice.type_keys("\x03");
        lobby.alice.expect_draft("");
        lobby.say("next");
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin
}
