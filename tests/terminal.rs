//! The line editor in real telnet clients.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::Client;
use common::pty::{ClientProgram, Lobby};
use common::screen::Screen;

/// Returns the character that Ctrl and a letter send.
const fn ctrl(letter: char) -> char {
    (letter as u8 & 0x1F) as char
}

const UP: &str = "\x1B[A";
const DOWN: &str = "\x1B[B";
const RIGHT: &str = "\x1B[C";
const LEFT: &str = "\x1B[D";
const HOME: &str = "\x1B[H";
const END: &str = "\x1B[F";
const BACKSPACE: &str = "\x7F";

/// Runs a test once for each installed client, with `bob` on a plain socket and `alice` in the client with
/// the line editor on, both in one room.
fn in_each_client(test: impl Fn(Client, Screen)) {
    for program in [ClientProgram::Telnet, ClientProgram::Plink] {
        if let Some(Lobby { server: _server, mut alice, bob }) = program.join_lobby() {
            alice.switch_line_editor_on();
            test(bob, alice);
        }
    }
}

#[test]
fn line_is_edited_in_its_middle() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("hello bbo");
        alice.expect_rows(&["*** ui is on", "lobby> hello bbo█"]);
        alice.type_keys(LEFT);
        alice.type_keys(BACKSPACE);
        alice.expect_rows(&["*** ui is on", "lobby> hello b█o"]);
        alice.type_keys(RIGHT);
        alice.type_keys("b");
        alice.expect_rows(&["*** ui is on", "lobby> hello bob█"]);
        alice.type_keys(HOME);
        alice.type_keys("I say: ");
        alice.expect_rows(&["*** ui is on", "lobby> I say: █hello bob"]);
        alice.type_keys(END);
        alice.type_keys("!");
        alice.expect_rows(&["*** ui is on", "lobby> I say: hello bob!█"]);
        alice.type_keys("\r");
        alice.expect_rows(&["*** ui is on", "alice: I say: hello bob!", "lobby> █"]);
        bob.expect_line("alice: I say: hello bob!");
    });
}

#[test]
fn ctrl_w_erases_a_word_and_ctrl_u_the_line() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("one two three");
        alice.type_keys(&ctrl('W').to_string());
        alice.expect_rows(&["*** ui is on", "lobby> one two █"]);
        alice.type_keys(LEFT);
        alice.type_keys(&ctrl('U').to_string());
        alice.expect_rows(&["*** ui is on", "lobby> █"]);
        alice.type_keys(&ctrl('C').to_string());
        alice.expect_rows(&["*** ui is on", "*** the line was dropped; /quit leaves", "lobby> █"]);
        alice.type_keys(&ctrl('C').to_string());
        alice.type_keys("four\r");
        alice.expect_rows(&["*** the line was dropped; /quit leaves", "alice: four", "lobby> █"]);
        bob.expect_line("alice: four");
    });
}

#[test]
fn arrow_keys_recall_entered_lines() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("first\rsecond\r");
        alice.expect_rows(&["alice: first", "alice: second", "lobby> █"]);
        alice.type_keys("third");
        alice.type_keys(UP);
        alice.expect_rows(&["alice: second", "lobby> second█"]);
        alice.type_keys(UP);
        alice.expect_rows(&["alice: second", "lobby> first█"]);
        alice.type_keys(DOWN);
        alice.type_keys(DOWN);
        alice.expect_rows(&["alice: second", "lobby> third█"]);
        alice.type_keys(UP);
        alice.type_keys(UP);
        alice.type_keys("!\r");
        alice.expect_rows(&["alice: second", "alice: first!", "lobby> █"]);
        for line in ["first", "second", "first!"] {
            bob.expect_line(&format!("alice: {line}"));
        }
    });
}

#[test]
fn wide_and_multibyte_characters_are_edited() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("grüße 你好");
        alice.expect_rows(&["*** ui is on", "lobby> grüße 你好█"]);
        alice.type_keys(LEFT);
        alice.expect_rows(&["*** ui is on", "lobby> grüße 你█好"]);
        alice.type_keys(BACKSPACE);
        alice.expect_rows(&["*** ui is on", "lobby> grüße █好"]);
        alice.type_keys("们");
        alice.type_keys(&[HOME, RIGHT, RIGHT, RIGHT, BACKSPACE, "u"].concat());
        alice.expect_rows(&["*** ui is on", "lobby> gru█ße 们好"]);
        alice.type_keys("\r");
        alice.expect_rows(&["*** ui is on", "alice: gruße 们好", "lobby> █"]);
        bob.expect_line("alice: gruße 们好");
    });
}

/// The line editor ignores Ctrl-Z, Ctrl-\\ and sequences that no key sends.
#[test]
fn unknown_keys_leave_the_line_whole() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("so");
        alice.type_keys("\x1A\x1C\x07\x1B[5~\x1BOP\x1B[200~");
        alice.type_keys(" be it");
        alice.expect_rows(&["*** ui is on", "lobby> so be it█"]);
        alice.type_keys("\r");
        bob.expect_line("alice: so be it");
    });
}

#[test]
fn arriving_line_does_not_tear_the_typed_one() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("half a lin");
        alice.type_keys(&LEFT.repeat(3));
        alice.expect_rows(&["*** ui is on", "lobby> half a █lin"]);
        bob.send("one\ntwo\n");
        alice.expect_rows(&["*** ui is on", "bob: one", "bob: two", "lobby> half a █lin"]);
        bob.send(format!("{}\n", "long ".repeat(30).trim_end()));
        let words = "long ".repeat(15);
        let (first, second) = (format!("bob: {}", words.trim_end()), format!("  {}", words.trim_end()));
        alice.expect_rows(&["bob: two", &first, &second, "lobby> half a █lin"]);
        alice.type_keys(END);
        alice.type_keys("e\r");
        alice.expect_rows(&[&second, "alice: half a line", "lobby> █"]);
    });
}

#[test]
fn full_screen_scrolls_and_keeps_the_typed_line_at_its_bottom() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("half a line");
        let said: Vec<String> = (0..30).map(|number| format!("bob: {number}")).collect();
        bob.send(common::numbered_lines(30));
        let mut rows: Vec<&str> = said.iter().map(String::as_str).collect();
        rows.push("lobby> half a line█");
        alice.expect_rows(&rows);
    });
}

#[test]
fn time_stands_before_each_line_when_on() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("/time on\r");
        alice.wait_for("the reply that the time is on is shown", |alice| {
            alice.rows().iter().any(|row| row.ends_with("*** time is on, shown in UTC"))
        });
        bob.send("hi\n");
        alice.wait_for("bob's line has a time", |alice| {
            let mut rows = alice.rows().into_iter().rev();
            let (prompt, line) = (rows.next().unwrap(), rows.next().unwrap_or_default());
            let (time, said) = line.split_at_checked(6).unwrap_or_default();
            let (hour, minute) = time.trim_end().split_once(':').unwrap_or_default();
            let is_below = |number: &str, end| number.len() == 2 && number.parse::<u8>().is_ok_and(|value| value < end);
            prompt == "lobby> █" && said == "bob: hi" && is_below(hour, 24) && is_below(minute, 60)
        });
        alice.type_keys("/time off\r");
        alice.expect_rows(&["*** time is off", "lobby> █"]);
        bob.send("timeless\n");
        alice.expect_rows(&["*** time is off", "bob: timeless", "lobby> █"]);
    });
}

#[test]
fn names_have_colors_and_server_lines_are_dim() {
    in_each_client(|mut bob, mut alice| {
        alice.type_keys("/color on\r");
        alice.expect_rows(&["*** color is on", "lobby> █"]);
        bob.send("hi\n/me waves\n");
        alice.expect_rows(&["bob: hi", "* bob waves", "lobby> █"]);
        alice.type_keys("/who\r");
        alice.expect_rows(&["bob: hi", "* bob waves", "*** 2 in lobby: alice, bob", "lobby> █"]);
        let color = |row: &str, column| alice.cell(row, column).fgcolor();
        assert_ne!(color("bob: hi", 0), vt100::Color::Default);
        assert_eq!(color("bob: hi", 0), color("* bob waves", 2), "one name has two colors");
        assert_eq!(color("bob: hi", 5), vt100::Color::Default, "a member's text has a color");
        assert_eq!(color("lobby> █", 0), vt100::Color::Default);
        assert!(alice.cell("*** 2 in lobby: alice, bob", 0).dim() && !alice.cell("bob: hi", 5).dim());
    });
}

#[test]
fn long_line_fits_a_window_of_any_width() {
    in_each_client(|mut bob, mut alice| {
        let line = "0123456789".repeat(10);
        alice.type_keys(&line);
        alice.wait_for("the end of the typed line is shown", |alice| {
            alice.rows().last().is_some_and(|row| row.starts_with("lobby> <") && row.ends_with("789█"))
        });
        for columns in [40, 120, 30] {
            alice.resize(columns);
            let fits = usize::from(columns) > line.len() + "lobby> ".len() + 1;
            alice.wait_for("the row is redrawn for the new width", |alice| {
                let last = alice.rows().pop().unwrap_or_default();
                let width = last.chars().count();
                let whole = last == format!("lobby> {line}█");
                let cut = last.starts_with("lobby> <") && last.ends_with("789█") && width <= usize::from(columns);
                if fits { whole } else { cut && width > usize::from(columns) / 2 }
            });
        }
        bob.send("not torn\n");
        alice.wait_for("bob's line stands above the typed one", |alice| {
            let rows = alice.rows();
            rows[rows.len() - 2] == "bob: not torn" && rows[rows.len() - 1].ends_with("789█")
        });
        alice.type_keys("\r");
        bob.expect_line("bob: not torn");
        bob.expect_line(&format!("alice: {line}"));
    });
}

/// Without the line editor the client echoes by itself again and sends whole lines.
#[test]
fn client_returns_to_line_mode_without_the_line_editor() {
    in_each_client(|mut bob, mut alice| {
        for _ in 0..2 {
            alice.type_keys("/ui off\r");
            alice.expect_rows(&["*** ui is off", "█"]);
            alice.type_keys("helo");
            alice.type_keys(BACKSPACE);
            alice.type_keys("lo\r");
            alice.expect_rows(&["*** ui is off", "hello", "alice: hello", "█"]);
            bob.expect_line("alice: hello");
            bob.send("hi\n");
            alice.expect_rows(&["alice: hello", "bob: hi", "█"]);
            bob.expect_line("bob: hi");
            alice.type_keys("/ui on\r");
            alice.expect_rows(&["bob: hi", "/ui on", "*** ui is on", "lobby> █"]);
        }
    });
}

/// Telnet's prompt overwrites the row, and the reply redraws the typed line.
#[test]
fn are_you_there_reply_leaves_the_typed_line_whole() {
    let Some(Lobby { server: _server, mut alice, bob: _bob }) = ClientProgram::Telnet.join_lobby() else { return };
    alice.switch_line_editor_on();
    alice.type_keys("half a");
    alice.expect_rows(&["lobby> half a█"]);
    alice.type_keys("\x1D");
    alice.wait_for("telnet's prompt is shown", |alice| alice.rows().iter().any(|row| row.ends_with("telnet> █")));
    alice.type_keys("send ayt\r");
    alice.expect_rows(&["*** yes, roomcast is here", "lobby> half a█"]);
    alice.type_keys(" line\r");
    alice.expect_rows(&["*** yes, roomcast is here", "alice: half a line", "lobby> █"]);
    alice.type_keys("/quit\r");
    alice.wait_for_exit();
}

#[test]
fn unfinished_line_is_dropped_when_the_client_ends() {
    let Some(Lobby { server: _server, mut alice, mut bob }) = ClientProgram::Plink.join_lobby() else { return };
    alice.switch_line_editor_on();
    alice.type_keys("unfinished");
    alice.expect_rows(&["lobby> unfinished█"]);
    drop(alice);
    bob.expect_line("alice has left");
}
