//! The line editor, as people at real telnet clients see it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::screen::{Screen, is_there};
use common::{Client, TestServer};

/// Ctrl and a letter.
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

/// Runs a test once for each client that there is: with `bob`, who is in the lobby already, and
/// with `alice`, who has joined him there and switched the editor on.
fn in_each_client(test: impl Fn(Client, Screen)) {
    for (program, open) in [("telnet", Screen::telnet as fn(&TestServer) -> Screen), ("plink", Screen::plink)] {
        if is_there(program) {
            let server = TestServer::start();
            let mut bob = server.join("lobby", "bob");
            let mut alice = open(&server);
            alice.join_editing("lobby", "alice");
            bob.expect("alice has joined");
            test(bob, alice);
        }
    }
}

#[test]
fn a_line_is_put_right_in_its_middle() {
    in_each_client(|mut bob, mut alice| {
        alice.types("hello bbo");
        alice.shows(&["*** ui is on", "> hello bbo█"]);
        alice.types(LEFT);
        alice.types(BACKSPACE);
        alice.shows(&["*** ui is on", "> hello b█o"]);
        alice.types(RIGHT);
        alice.types("b");
        alice.shows(&["*** ui is on", "> hello bob█"]);
        alice.types(HOME);
        alice.types("I say: ");
        alice.shows(&["*** ui is on", "> I say: █hello bob"]);
        alice.types(END);
        alice.types("!");
        alice.shows(&["*** ui is on", "> I say: hello bob!█"]);
        alice.types("\r");
        alice.shows(&["*** ui is on", "alice: I say: hello bob!", "> █"]);
        bob.expect("alice: I say: hello bob!");
    });
}

#[test]
fn words_and_the_line_are_erased() {
    in_each_client(|mut bob, mut alice| {
        alice.types("one two three");
        alice.types(&ctrl('W').to_string());
        alice.shows(&["*** ui is on", "> one two █"]);
        alice.types(LEFT);
        alice.types(&ctrl('U').to_string());
        alice.shows(&["*** ui is on", "> █"]);
        alice.types(&ctrl('C').to_string());
        alice.types("four\r");
        alice.shows(&["*** ui is on", "alice: four", "> █"]);
        bob.expect("alice: four");
    });
}

#[test]
fn what_was_entered_comes_back_with_the_arrow_keys() {
    in_each_client(|mut bob, mut alice| {
        alice.types("first\rsecond\r");
        alice.shows(&["alice: first", "alice: second", "> █"]);
        alice.types("third");
        alice.types(UP);
        alice.shows(&["alice: second", "> second█"]);
        alice.types(UP);
        alice.shows(&["alice: second", "> first█"]);
        alice.types(DOWN);
        alice.types(DOWN);
        alice.shows(&["alice: second", "> third█"]);
        alice.types(UP);
        alice.types(UP);
        alice.types("!\r");
        alice.shows(&["alice: second", "alice: first!", "> █"]);
        for line in ["first", "second", "first!"] {
            bob.expect(&format!("alice: {line}"));
        }
    });
}

#[test]
fn characters_of_several_bytes_and_columns() {
    in_each_client(|mut bob, mut alice| {
        alice.types("grüße 你好");
        alice.shows(&["*** ui is on", "> grüße 你好█"]);
        alice.types(LEFT);
        alice.shows(&["*** ui is on", "> grüße 你█好"]);
        alice.types(BACKSPACE);
        alice.shows(&["*** ui is on", "> grüße █好"]);
        alice.types("们");
        alice.types(&[HOME, RIGHT, RIGHT, RIGHT, BACKSPACE, "u"].concat());
        alice.shows(&["*** ui is on", "> gru█ße 们好"]);
        alice.types("\r");
        alice.shows(&["*** ui is on", "alice: gruße 们好", "> █"]);
        bob.expect("alice: gruße 们好");
    });
}

/// Ctrl-Z and Ctrl-\\ are bytes like any other here, and so is what no key sends.
#[test]
fn keys_that_mean_nothing_leave_the_line_whole() {
    in_each_client(|mut bob, mut alice| {
        alice.types("so");
        alice.types("\x1A\x1C\x07\x1B[5~\x1BOP\x1B[200~");
        alice.types(" be it");
        alice.shows(&["*** ui is on", "> so be it█"]);
        alice.types("\r");
        bob.expect("alice: so be it");
    });
}

#[test]
fn a_line_that_comes_while_one_is_typed_does_not_tear_it() {
    in_each_client(|mut bob, mut alice| {
        alice.types("half a lin");
        alice.types(&LEFT.repeat(3));
        alice.shows(&["*** ui is on", "> half a █lin"]);
        bob.send("one\ntwo\n");
        alice.shows(&["*** ui is on", "bob: one", "bob: two", "> half a █lin"]);
        bob.send(format!("{}\n", "long ".repeat(30).trim_end()));
        let (first, second) = ("long ".repeat(15), "long ".repeat(15));
        alice.shows(&["bob: two", &format!("bob: {}", first.trim_end()), second.trim_end(), "> half a █lin"]);
        alice.types(END);
        alice.types("e\r");
        alice.shows(&[second.trim_end(), "alice: half a line", "> █"]);
    });
}

#[test]
fn a_screen_that_is_full_scrolls_and_keeps_the_line_at_its_bottom() {
    in_each_client(|mut bob, mut alice| {
        alice.types("half a line");
        let said: Vec<String> = (0..30).map(|number| format!("bob: {number}")).collect();
        bob.send(common::numbered(30));
        let mut rows: Vec<&str> = said.iter().map(String::as_str).collect();
        rows.push("> half a line█");
        alice.shows(&rows);
    });
}

#[test]
fn the_time_stands_in_front_of_lines() {
    in_each_client(|mut bob, mut alice| {
        alice.types("/time on\r");
        alice.until("the time is on", |alice| alice.rows().iter().any(|row| row.ends_with("*** time is on")));
        bob.send("hi\n");
        alice.until("bob's line has a time", |alice| {
            let mut rows = alice.rows().into_iter().rev();
            let (prompt, line) = (rows.next().unwrap(), rows.next().unwrap_or_default());
            let (time, said) = line.split_at_checked(6).unwrap_or_default();
            let (hour, minute) = time.trim_end().split_once(':').unwrap_or_default();
            let is_below = |number: &str, end| number.len() == 2 && number.parse::<u8>().is_ok_and(|value| value < end);
            prompt == "> █" && said == "bob: hi" && is_below(hour, 24) && is_below(minute, 60)
        });
        alice.types("/time off\r");
        alice.shows(&["*** time is off", "> █"]);
        bob.send("timeless\n");
        alice.shows(&["*** time is off", "bob: timeless", "> █"]);
    });
}

#[test]
fn names_have_colors_and_the_servers_lines_are_dim() {
    in_each_client(|mut bob, mut alice| {
        alice.types("/color on\r");
        alice.shows(&["*** color is on", "> █"]);
        bob.send("hi\n/me waves\n");
        alice.shows(&["bob: hi", "* bob waves", "> █"]);
        alice.types("/who\r");
        alice.shows(&["bob: hi", "* bob waves", "*** 2 here: alice, bob", "> █"]);
        let color = |row: &str, column| alice.cell(row, column).fgcolor();
        assert_ne!(color("bob: hi", 0), vt100::Color::Default);
        assert_eq!(color("bob: hi", 0), color("* bob waves", 2), "one color for a name");
        assert_eq!(color("bob: hi", 5), vt100::Color::Default, "none for what it says");
        assert_eq!(color("> █", 0), vt100::Color::Default);
        assert!(alice.cell("*** 2 here: alice, bob", 0).dim() && !alice.cell("bob: hi", 5).dim());
    });
}

#[test]
fn a_long_line_fits_into_a_window_of_any_width() {
    in_each_client(|mut bob, mut alice| {
        let line = "0123456789".repeat(10);
        alice.types(&line);
        alice.until("its end is seen", |alice| {
            alice.rows().last().is_some_and(|row| row.starts_with("> <") && row.ends_with("789█"))
        });
        for columns in [40, 120, 30] {
            alice.resize(columns);
            let fits = usize::from(columns) > line.len() + 3;
            alice.until("the row is as wide as the window", |alice| {
                let last = alice.rows().pop().unwrap_or_default();
                let width = last.chars().count();
                let whole = last == format!("> {line}█");
                let cut = last.starts_with("> <") && last.ends_with("789█") && width <= usize::from(columns);
                if fits { whole } else { cut && width > usize::from(columns) / 2 }
            });
        }
        bob.send("not torn\n");
        alice.until("bob's line stands above it", |alice| {
            let rows = alice.rows();
            rows[rows.len() - 2] == "bob: not torn" && rows[rows.len() - 1].ends_with("789█")
        });
        alice.types("\r");
        bob.expect("bob: not torn");
        bob.expect(&format!("alice: {line}"));
    });
}

/// The client echoes by itself again, and sends whole lines.
#[test]
fn without_the_editor_the_client_has_its_line_mode_back() {
    in_each_client(|mut bob, mut alice| {
        for _ in 0..2 {
            alice.types("/ui off\r");
            alice.shows(&["*** ui is off", "█"]);
            alice.types("helo");
            alice.types(BACKSPACE);
            alice.types("lo\r");
            alice.shows(&["*** ui is off", "hello", "alice: hello", "█"]);
            bob.expect("alice: hello");
            bob.send("hi\n");
            alice.shows(&["alice: hello", "bob: hi", "█"]);
            bob.expect("bob: hi");
            alice.types("/ui on\r");
            alice.shows(&["bob: hi", "/ui on", "*** ui is on", "> █"]);
        }
    });
}

/// Its prompt goes over the row; the answer brings the line back.
#[test]
fn telnet_asks_whether_anybody_is_there() {
    if !is_there("telnet") {
        return;
    }
    let server = TestServer::start();
    let mut alice = Screen::telnet(&server);
    alice.join_editing("lobby", "alice");
    alice.types("half a");
    alice.shows(&["> half a█"]);
    alice.types("\x1D");
    alice.until("telnet's prompt", |alice| alice.rows().iter().any(|row| row.ends_with("telnet> █")));
    alice.types("send ayt\r");
    alice.shows(&["*** yes, roomcast is here", "> half a█"]);
    alice.types(" line\r");
    alice.shows(&["*** yes, roomcast is here", "alice: half a line", "> █"]);
    alice.types("/quit\r");
    alice.ends();
}

#[test]
fn an_unfinished_line_is_said_at_the_end() {
    if !is_there("plink") {
        return;
    }
    let server = TestServer::start();
    let mut bob = server.join("lobby", "bob");
    let mut alice = Screen::plink(&server);
    alice.join_editing("lobby", "alice");
    alice.types("unfinished");
    alice.shows(&["> unfinished█"]);
    drop(alice);
    for line in ["alice has joined", "alice: unfinished", "alice has left"] {
        bob.expect(line);
    }
}
