//! The agreement on an input line, on a plain socket: what the server requests, and what each kind of client gets.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::telnet::{AGREEMENT, INPUT_LINE_REQUEST, TIMING_MARK};
use common::{Client, TestServer, WELCOME};

const NO_ANSWER: &str =
    "*** ui is off: this client did not agree to it within 2 s; use telnet, or PuTTY in telnet mode";
const REFUSED: &str = "*** ui is off: the client refused it; use telnet, or PuTTY in telnet mode";

/// Joins a member whose lines end in CR LF.
fn join_nvt(server: &TestServer) -> Client {
    let mut alice = server.connect();
    alice.send("JOIN room alice\r\n");
    alice.expect_text("alice has joined\r\n");
    alice
}

/// Connects to the telnet listener without reading.
fn connect_telnet(server: &TestServer) -> Client {
    Client::connect_raw(server.telnet_address.unwrap())
}

#[test]
fn input_line_opens_when_the_client_has_agreed() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.send("/ui\r\n/ui on\r\n");
    alice.expect_text("*** ui is off\r\n");
    alice.expect_bytes(INPUT_LINE_REQUEST);
    alice.send(b"\xFF\xFD\x03");
    alice.send("said in line mode\r\n");
    alice.expect_text("alice: said in line mode\r\n");
    alice.send(b"\xFF\xFD\x01");
    alice.read_until_bytes("*** ui is on\r\n");
    alice.read_until_bytes("room> ");
    alice.send("/ui\r");
    alice.read_until_bytes("*** ui is on\r\n");
}

/// A program or `nc -C` answers nothing, and would show what follows as rubbish.
#[test]
fn client_that_answers_nothing_is_told_that_the_input_line_is_off() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    for _ in 0..2 {
        alice.send("/ui on\r\nhello\r\n");
        alice.expect_bytes(INPUT_LINE_REQUEST);
        alice.expect_text("alice: hello\r\n");
        alice.expect_line(NO_ANSWER);
    }
    alice.send("/ui\r\n");
    alice.expect_line("*** ui is off");
}

#[test]
fn client_that_refuses_echo_or_go_ahead_gets_no_input_line() {
    for refusal in [&b"\xFF\xFE\x01"[..], b"\xFF\xFE\x03", b"\xFF\xFE\x03\xFF\xFE\x01", b"\xFF\xFD\x03\xFF\xFE\x01"] {
        let server = TestServer::start();
        let mut alice = join_nvt(&server);
        alice.send("/ui on\r\n");
        alice.expect_bytes(INPUT_LINE_REQUEST);
        alice.send(refusal);
        alice.read_until_bytes(format!("{REFUSED}\r\n"));
        alice.send("fine\r\n");
        let before = alice.read_until_bytes("alice: fine\r\n");
        assert!(!before.contains(&b'>'), "a prompt was drawn: {}", before.escape_ascii());
    }
}

#[test]
fn client_that_ends_an_option_loses_the_input_line_and_is_told() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.switch_input_line_on();
    alice.send(b"\xFF\xFE\x01");
    alice.read_until_bytes(format!("{REFUSED}\r\n"));
    alice.send("fine\r\n");
    alice.read_until_bytes("alice: fine\r\n");
}

/// RFC 1143: a change of an option that was on is answered, each once.
#[test]
fn each_option_that_a_client_ends_is_answered_and_its_lines_end_in_cr_lf() {
    for (ended, answer) in
        [(b"\xFF\xFE\x01", b"\xFF\xFC\x01"), (b"\xFF\xFE\x03", b"\xFF\xFC\x03"), (b"\xFF\xFC\x1F", b"\xFF\xFE\x1F")]
    {
        let server = TestServer::start();
        let mut alice = join_nvt(&server);
        alice.switch_input_line_on();
        alice.send(ended);
        alice.read_until_bytes(answer);
        alice.send("fine\r\n");
        alice.read_until_bytes("alice: fine\r\n");
        alice.send([&ended[..], b"/ui off\r\n/rooms\r\n"].concat());
        let seen = alice.read_until_bytes("*** 1 room: room (1); you are in room\r\n");
        assert!(!seen.windows(3).any(|bytes| bytes == answer), "a second answer: {}", seen.escape_ascii());
    }
}

#[test]
fn window_that_a_client_tells_no_more_wraps_no_line() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.switch_input_line_on();
    alice.send(b"\xFF\xFA\x1F\x00\x14\x00\x18\xFF\xF0");
    alice.send(b"\xFF\xFC\x1F/ui off\r\n");
    alice.read_until_bytes("*** ui is off\r\n");
    // The next input line has no window either.
    alice.send("/ui on\r\n");
    alice.read_until_bytes(&INPUT_LINE_REQUEST[9..]);
    alice.send(b"\xFF\xFC\x1F\xFF\xFD\x03\xFF\xFD\x01");
    alice.read_until_bytes("> ");
    let line = "word ".repeat(20) + "end";
    alice.send(format!("{line}\r\n"));
    alice.read_until_bytes(format!("alice: {line}\r\n"));
}

/// The client agrees to all options and takes its terminal type back: nothing is left to wait for.
#[test]
fn input_line_opens_at_once_when_a_client_refuses_the_type_that_was_waited_for() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.send("/ui on\r\n");
    alice.expect_bytes(INPUT_LINE_REQUEST);
    alice.send(b"\xFF\xFB\x18\xFF\xFD\x03\xFF\xFD\x01\xFF\xFC\x18/ui\r\n");
    let before = alice.read_until_bytes("*** ui is on\r\n");
    assert!(!before.windows(9).any(|bytes| bytes == b"ui is off"), "{}", before.escape_ascii());
}

/// tintin++ and others answer nothing to WONT and DONT.
#[test]
fn client_that_answers_nothing_to_the_end_of_options_can_switch_on_again() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.send("/ui on\r\n");
    alice.expect_bytes(INPUT_LINE_REQUEST);
    alice.send(b"\xFF\xFD\x01\xFF\xFD\x03\xFF\xFC\x1F");
    alice.read_until_bytes("*** ui is on\r\n");
    alice.send("/ui off\r\n");
    alice.read_until_bytes("*** ui is off\r\n");
    alice.send("/ui on\r\n");
    alice.read_until_bytes(b"\xFF\xFB\x03\xFF\xFB\x01");
    alice.send(b"\xFF\xFD\x01\xFF\xFD\x03\xFF\xFC\x1F");
    alice.read_until_bytes("*** ui is on\r\n");
}

#[test]
fn clients_that_agree_to_all_or_answer_twice_get_one_input_line() {
    let all = [b"\xFF\xFB\x00\xFF\xFB\x18\xFF\xFB\x1F\xFF\xFD\x03\xFF\xFD\x01", &b"\xFF\xFA\x18\x00xterm\xFF\xF0"[..]]
        .concat();
    for answers in [all.clone(), [&all[..], &all].concat()] {
        let server = TestServer::start();
        let mut alice = join_nvt(&server);
        alice.send("/ui on\r\n");
        alice.expect_bytes(INPUT_LINE_REQUEST);
        alice.send(&answers);
        alice.read_until_bytes("*** ui is on\r\n");
        alice.send("hello\r");
        let drawn = alice.read_until_bytes("alice: hello\r\n");
        assert!(!drawn.windows(8).any(|bytes| bytes == b"ui is on"), "{}", drawn.escape_ascii());
    }
}

/// Emacs agrees to ECHO with a terminal that shows escape sequences as text.
#[test]
fn dumb_terminal_gets_no_input_line() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.send("/ui on\r\n");
    alice.expect_bytes(INPUT_LINE_REQUEST);
    alice.send(b"\xFF\xFB\x18\xFF\xFC\x1F\xFF\xFD\x03\xFF\xFD\x01");
    alice.read_until_bytes(b"\xFF\xFA\x18\x01\xFF\xF0");
    alice.send(b"\xFF\xFA\x18\x00dumb\xFF\xF0");
    let before = alice.read_until_bytes("\r\n");
    let said = alice_text(&before);
    assert!(said.starts_with("*** ui is off: the terminal type is dumb"), "{said}");
    assert!(before.windows(6).any(|bytes| bytes == b"\xFF\xFC\x01\xFF\xFC\x03"), "ECHO is not withdrawn");
}

/// Returns the text of bytes without the telnet commands before it.
fn alice_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    text[text.find('*').unwrap_or(0)..].to_owned()
}

#[test]
fn draft_of_line_mode_goes_on_in_the_input_line() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.send("/ui on\r\n");
    alice.expect_bytes(INPUT_LINE_REQUEST);
    alice.send("begun in line mode,");
    alice.send(b"\xFF\xFD\x03\xFF\xFD\x01");
    alice.read_until_bytes("room> begun in line mode,");
    alice.send(" ended in the input line\r");
    alice.read_until_bytes("alice: begun in line mode, ended in the input line\r\n");
}

#[test]
fn options_of_the_input_line_are_withdrawn_with_it() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.switch_input_line_on();
    alice.send("/ui off\r\0");
    let end = alice.read_until_bytes("*** ui is off\r\n");
    assert!(end.ends_with(b"\xFF\xFC\x01\xFF\xFC\x03\xFF\xFE\x1F"), "{}", end.escape_ascii());
    alice.send(b"\xFF\xFE\x01\xFF\xFE\x03\xFF\xFC\x1Ffine\r\n");
    alice.expect_text("alice: fine\r\n");
}

/// `PuTTY` sends CR LF for Enter, telnet CR NUL: the input line is off when the second byte arrives.
#[test]
fn enter_in_two_halves_ends_the_input_line_once() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for enter in [&["\r\n"][..], &["\r\0"], &["\r"], &["\r", "\n"], &["\r", "\0"]] {
        alice.switch_input_line_on();
        alice.send("/ui off");
        for half in enter {
            alice.send(half);
            // The reply shows that the server has processed the bytes before.
            alice.send(b"\xFF\xFD\x06");
            alice.read_until_bytes(TIMING_MARK);
        }
        alice.send("fine\r\n");
        alice.read_until_bytes("alice: fine\r\n");
    }
}

/// Sends window sizes that no terminal has, and changes options many times.
#[test]
fn hostile_window_sizes_and_options_affect_only_their_sender() {
    let server = TestServer::start();
    let (mut bob, mut mallory) = server.join_pair("room", "bob", "mallory");
    mallory.send([b"/ui on\r\n", AGREEMENT, b"half a line"].concat());
    for size in [b"\0\0\0\0", b"\0\x01\0\x01", b"\xFE\xFE\0\0", b"\0\x02\xFE\xFE"] {
        mallory.send([&b"\xFF\xFA\x1F"[..], size, b"\xFF\xF0"].concat());
    }
    mallory.send(b"\xFF\xFC\x1F\xFF\xFB\x1F".repeat(100));
    mallory.send("\r\0/ui off\r\0");
    mallory.send(b"\xFF\xFD\x01\xFF\xFE\x01".repeat(100));
    bob.expect_line("mallory: half a line");
    mallory.send("/ui on\r\n/ui off\r\n".repeat(20));
    mallory.send("done\r\n");
    bob.expect_line("mallory: done");
    bob.send("fine\n");
    bob.expect_line("bob: fine");
}

#[test]
fn first_telnet_command_is_answered_with_cr_lf_and_a_request_for_binary() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send(b"\xFF\xF6");
    alice.expect_bytes(b"\xFF\xFD\x00*** yes, roomcast is here\r\n");
    alice.send(b"\xFF\xFB\x00\xFF\xFD\x00\xFF\xFD\x06");
    alice.expect_bytes(&[b"\xFF\xFB\x00", TIMING_MARK].concat());
}

/// GNU telnet without BINARY takes the second byte of `у` for Ctrl-C.
#[test]
fn line_that_telnet_cut_in_a_letter_is_not_said_and_its_user_is_told() {
    let server = TestServer::start();
    let (mut bob, mut alice) = server.join_pair("room", "bob", "alice");
    alice.send(b"\xD0\xB4\xD1\xFF\xF4\xFF\xFD\x06\xD0\xB3\r\n");
    alice.read_until_bytes("*** that line was lost: ");
    alice.send("Привет\r\n");
    alice.read_until_bytes("alice: Привет\r\n");
    bob.expect_line("alice: Привет");
}

#[test]
fn first_interrupt_tells_how_to_leave() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    // Linux telnet throws all output away up to the answer of its timing mark.
    alice.send(b"not to be said\xFF\xF4");
    alice.send(b"\xFF\xFD\x06");
    alice.read_until_bytes(TIMING_MARK);
    alice.expect_text("*** the line was dropped; /quit leaves\r\n");
    alice.send(b"not to be said\xFF\xF4\xFF\xFD\x06hello\n");
    alice.expect_bytes(TIMING_MARK);
    alice.expect_text("alice: hello\r\n");
    let mut bob = server.connect();
    bob.send(b"\xFF\xF4\xFF\xFD\x06");
    bob.read_until_bytes(TIMING_MARK);
    let told = bob.read_line();
    assert!(told.starts_with("*** the line was dropped; to join write: JOIN <ROOMNAME> <USERNAME>"), "{told}");
}

#[test]
fn telnet_listener_negotiates_first_and_welcomes_then() {
    let server = TestServer::start_telnet();
    let mut alice = connect_telnet(&server);
    alice.expect_bytes(INPUT_LINE_REQUEST);
    alice.expect_text(&WELCOME.replace('\n', "\r\n"));
    alice.send(AGREEMENT);
    alice.read_until_bytes("> ");
    alice.send("join lobby alice\r");
    alice.read_until_bytes("alice has joined\r\n");
    alice.read_until_bytes("*** you are in lobby: alice. /help lists the commands, /quit leaves\r\n");
    alice.read_until_bytes("lobby> ");
}

#[test]
fn telnet_listener_serves_a_client_that_is_no_telnet() {
    let server = TestServer::start_telnet();
    let mut alice = connect_telnet(&server);
    alice.expect_bytes(INPUT_LINE_REQUEST);
    alice.expect_text(&WELCOME.replace('\n', "\r\n"));
    alice.send("JOIN lobby alice\n");
    alice.expect_line("alice has joined");
    alice.expect_line("*** you are in lobby: alice. /help lists the commands, /quit leaves");
    alice.expect_line(NO_ANSWER);
    alice.send("hello\n");
    alice.expect_line("alice: hello");
}

#[test]
fn first_line_may_be_tried_three_times_on_a_telnet_listener() {
    let server = TestServer::start_telnet();
    let _taken = {
        let mut taken = connect_telnet(&server);
        taken.send("JOIN lobby alice\n");
        taken.read_until_bytes("alice has joined\r\n");
        taken
    };
    let mut alice = connect_telnet(&server);
    alice.read_until_bytes("<USERNAME>\r\n");
    alice.send("hello\n");
    let told = alice.read_line();
    assert!(told.starts_with("*** the first line did not start with JOIN"), "{told}");
    assert!(told.ends_with("(2 more tries are left)"), "{told}");
    alice.send("JOIN lobby alice\n");
    let told = alice.read_line();
    assert!(told.starts_with("*** the name alice is taken in lobby"), "{told}");
    assert!(told.ends_with("(1 more try is left)"), "{told}");
    alice.send("JOIN lobby alice2\n");
    alice.expect_line("alice2 has joined");

    let mut bob = connect_telnet(&server);
    bob.read_until_bytes("<USERNAME>\r\n");
    bob.send("one\ntwo\n");
    let _ = (bob.read_line(), bob.read_line());
    bob.send("three\n");
    let reason = bob.expect_error();
    assert!(reason.starts_with("the first line did not start with JOIN"), "{reason}");
}

#[test]
fn quit_before_the_join_line_leaves_a_telnet_listener() {
    let server = TestServer::start_telnet();
    let mut alice = connect_telnet(&server);
    alice.read_until_bytes("<USERNAME>\r\n");
    alice.send("/quit\n");
    assert_eq!(alice.read_to_end(), [""; 0], "the end is no error");
}

/// The member gets times and colors in line mode, and keeps them through the input line.
#[test]
fn times_colors_and_hidden_names_are_kept_through_the_input_line() {
    let server = TestServer::start();
    let mut alice = join_nvt(&server);
    alice.send("/time\r\n/color\r\n/time +2\r\n");
    alice.expect_line("*** time is off");
    alice.expect_line("*** color is off");
    let said = alice.read_line();
    assert!(said[2..].starts_with(':') && said.ends_with(" *** time is on, shown in UTC+02:00"), "{said}");
    alice.switch_input_line_on();
    alice.send("/time\r");
    alice.read_until_bytes(" *** time is on, shown in UTC+02:00\r\n");
    alice.send("/ui off\r");
    alice.read_until_bytes("*** ui is off\r\n");
    alice.send("/time off\r\nplain again\r\n");
    alice.read_until_bytes("*** time is off\r\n");
    alice.expect_text("alice: plain again\r\n");
}

#[test]
fn hidden_names_are_hidden_in_line_mode_and_in_the_history() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    alice.send("/ignore BOB\n");
    let said = alice.read_line();
    assert!(said.starts_with("*** lines of BOB are hidden"), "{said}");
    bob.send("psst\n/me waves\n/msg alice hi\n");
    bob.skip_to_line("*** you whisper to alice: hi");
    alice.send("/last\n");
    for line in ["*** alice has joined", "*** bob has joined"] {
        alice.expect_line(line);
    }
    bob.send("/nick rob\nstill here\n");
    bob.skip_to_line("rob: still here");
    alice.expect_line("bob is now known as rob");
    alice.send("/unignore rob\n");
    alice.expect_line("*** lines of rob are shown from now on");
    bob.send("hello\n");
    alice.skip_to_line("rob: hello");
}

/// A display encodes lines, and lines of a hidden name encode to nothing: the lines after them are shown all the same.
#[test]
fn lines_after_many_hidden_lines_are_shown() {
    let server = TestServer::start_with(common::test_settings(|settings| {
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    alice.send("/ignore bob\n");
    alice.expect_line("*** lines of bob are hidden from now on: /unignore bob shows them");
    let mut carol = server.join("room", "carol");
    alice.expect_line("carol has joined");
    for _ in 0..20 {
        bob.send((0..20).map(|_| "x".repeat(10_000) + "\n").collect::<String>());
        bob.send("/msg carol done\n");
        carol.skip_to_line("*** bob whispers: done");
        carol.send("hello\n");
        alice.expect_line("carol: hello");
        carol.skip_to_line("carol: hello");
    }
}
