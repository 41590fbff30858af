//! The page in Chromium, with a server and a clock that the test moves: lost connections, late answers, silence.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::TestServer;
use common::browser::{Browser, Page};
use common::web::start_web;
use serde_json::json;

/// A page with a server of the test's own, and what has to live as long as the page.
struct FakedPage {
    page: Page,
    _browser: Browser,
    _server: TestServer,
}

impl FakedPage {
    /// Opens a page that is not joined; `None` without a browser.
    fn open() -> Option<Self> {
        let browser = Browser::start()?;
        let (server, address) = start_web(|_| {});
        let mut page = browser.open(&format!("http://{address}/#lobby"), true);
        page.evaluate(include_str!("common/fake_server.js"));
        let mut faked = Self { page, _browser: browser, _server: server };
        faked.run("document.getElementById('name').value = 'bob'; document.getElementById('join').requestSubmit()");
        Some(faked)
    }

    /// Opens a page that has joined, and has numbers from 5 on.
    fn joined() -> Option<Self> {
        let mut faked = Self::open()?;
        faked.run(
            "newest.accept(); newest.receive('*** ids is on: numbering 0000abcd, next line #5', '*** 1 in lobby: bob')",
        );
        faked.page.wait_for_status("connected");
        Some(faked)
    }

    /// Runs statements in the page.
    #[track_caller]
    fn run(&mut self, statements: &str) {
        self.page.evaluate(&format!("(() => {{ {statements}; }})()"));
    }

    /// Ends the connection and lets the page come back.
    fn reconnect(&mut self) {
        self.run("newest.end(1006); dispatchEvent(new Event('online')); newest.accept()");
        assert_eq!(self.page.evaluate("newest.sent.slice(0, 2)"), json!(["JOIN lobby bob", "/ids 0000abcd 4"]));
    }

    /// Waits for the last line of talk, and returns all talk after the lines that tell of the joining.
    fn talk_until(&mut self, last: &str) -> Vec<String> {
        self.page.wait_for_line(last);
        self.page.lines().into_iter().filter(|line| line.contains(": ") || line.contains("gone")).collect()
    }
}

#[test]
fn lines_that_were_held_and_are_not_in_the_answer_are_shown_before_it() {
    let Some(mut faked) = FakedPage::joined() else { return };
    faked.reconnect();
    // Of the missed lines 5 to 9 the history has the last two; three came before the answer.
    faked.run(
        "newest.receive('alice: line 7', 'alice: line 8', 'carol has joined', 'alice: line 9'); \
         newest.receive('*** 3 lines before #8 are gone', '*** #8 alice: line 8', '*** #9 alice: line 9', \
         '*** ids is on: numbering 0000abcd, next line #10', '#10 alice: line 10')",
    );
    assert_eq!(
        faked.talk_until("alice: line 10"),
        [
            "2 lines were said while you were away, and are gone.",
            "alice: line 7",
            "alice: line 8",
            "alice: line 9",
            "alice: line 10"
        ]
    );
}

#[test]
fn lines_are_shown_once_if_the_answer_is_late_and_at_all_if_it_does_not_come() {
    let Some(mut faked) = FakedPage::joined() else { return };
    faked.reconnect();
    faked.run("newest.receive('alice: early', 'alice: same'); pass(4000); newest.receive('carol: hm'); pass(7000)");
    faked.page.wait_for_line("carol: hm");
    assert_eq!(faked.page.evaluate("newest.sent.filter((line) => line === '/ids 0000abcd 4').length"), json!(2));
    faked.run(
        "newest.receive('alice: more', '*** #5 alice: same', '*** #6 alice: early', '*** #7 alice: same', \
         '*** #8 carol: hm', '*** #9 alice: more', '*** ids is on: numbering 0000abcd, next line #10', \
         '#10 alice: last')",
    );
    let expected = ["alice: early", "alice: same", "carol: hm", "alice: more", "alice: same", "alice: last"];
    assert_eq!(faked.talk_until("alice: last"), expected);
}

#[test]
fn held_lines_are_shown_when_lines_were_skipped_and_when_the_room_has_no_numbers() {
    let Some(mut faked) = FakedPage::joined() else { return };
    faked.reconnect();
    faked.run("newest.receive('alice: held', '*** 7 lines skipped')");
    faked.page.wait_for_line("alice: held");
    faked.page.wait_for_line("You were skipped 7 lines");
    let Some(mut faked) = FakedPage::joined() else { return };
    faked.reconnect();
    faked.run(
        "newest.receive('alice: held', '*** ids is off: this server keeps no history, so it numbers no line', 'alice: after')",
    );
    assert_eq!(faked.talk_until("alice: after"), ["alice: held", "alice: after"]);
}

#[test]
fn list_of_members_is_that_of_the_last_answer() {
    let Some(mut faked) = FakedPage::joined() else { return };
    faked.reconnect();
    faked.run(
        "newest.receive('*** #5 gone: I said something and left', '*** ids is on: numbering 0000abcd, next line #6', \
         '*** 2 in lobby: alice, bob')",
    );
    faked.page.wait_for_line("gone: I said something");
    faked.page.wait_for("document.getElementById('count').textContent === '2'");
    assert_eq!(
        faked.page.evaluate("document.getElementById('names').innerText.split(/\\s+/)"),
        json!(["alice", "bob"])
    );
    // A list of a large room is not complete: the number is the server's, and follows who comes and goes.
    faked.run("dispatchEvent(new Event('online')); newest.receive('*** 60 in lobby: alice, bob, carol, and 57 more')");
    faked.page.wait_for("document.getElementById('count').textContent === '60'");
    faked.run("newest.receive('dave has joined', 'erin has left', 'alice has left', '#6 frank: hi')");
    faked.page.wait_for("document.getElementById('count').textContent === '59'");
    faked.run("dispatchEvent(new Event('online')); newest.receive('*** 2 in lobby: bob, dave')");
    faked.page.wait_for("document.getElementById('count').textContent === '2'");
}

#[test]
fn commands_that_concern_the_page_are_not_sent() {
    let Some(mut faked) = FakedPage::joined() else { return };
    for line in ["/time on", " /COLOR on", "/ui", "/ids off", "\u{200b}/time +2"] {
        faked.page.say(line);
    }
    faked.page.say("/time on and more");
    faked.page.say("//time on");
    assert_eq!(faked.page.evaluate("newest.sent.slice(3)"), json!(["/time on and more", "//time on"]));
    faked.page.wait_for_line("/ids is for text clients");
    // The line of a move is not left in the input.
    for (line, room) in [("/join hall", "hall"), (" /join attic bob2", "attic")] {
        faked.page.say(line);
        assert_eq!(faked.page.evaluate("document.getElementById('text').value"), json!(""));
        assert_eq!(faked.page.evaluate("document.getElementById('room-name').textContent"), json!(room));
    }
    faked.run("newest.open()");
    assert_eq!(faked.page.evaluate("newest.sent"), json!(["JOIN attic bob2"]));
}

#[test]
fn member_that_is_idle_for_too_long_leaves_and_one_that_is_refused_for_now_comes_back() {
    let Some(mut faked) = FakedPage::joined() else { return };
    // A temporary refusal, and a lost seat that keeps the name for less than 90 s, however long the network was away.
    faked.run("newest.end(1006); pass(200_000)");
    for (code, told) in [
        (1013, "your address opens connections faster than 20 a second: wait a few seconds"),
        (1008, "the name bob is taken in lobby: connect again"),
        (1008, "the name bob is taken in lobby: connect again"),
    ] {
        faked.run(&format!(
            "dispatchEvent(new Event('online')); newest.open(); newest.end({code}, 'ERROR', {})",
            json!(told)
        ));
        faked.page.wait_for_status(&format!("{told}; trying again"));
        faked.run("pass(40_000)");
    }
    faked.run("dispatchEvent(new Event('online')); newest.accept()");
    faked.page.wait_for_status("connected");
    faked.run("newest.end(1008, '*** idle for too long')");
    faked.page.wait_for("document.getElementById('join-error').textContent.startsWith('You were idle for too long')");
    assert_eq!(faked.page.evaluate("const before = sockets.length; pass(100_000); sockets.length - before"), json!(0));
}

#[test]
fn connection_that_does_not_open_or_falls_silent_is_given_up_and_a_slow_one_is_not() {
    let Some(mut faked) = FakedPage::joined() else { return };
    let is_given_up = "newest.readyState === 3";
    // Anything that comes within the time of a probe is an answer.
    faked.run("dispatchEvent(new Event('online')); pass(4000); newest.receive('#5 alice: slow'); pass(10_000)");
    assert_eq!(faked.page.evaluate(is_given_up), json!(false));
    // A line without an echo.
    faked.page.say("is anybody here");
    faked.run("pass(10_000)");
    assert_eq!(faked.page.evaluate("newest.sent.at(-1)"), json!("/who"));
    faked.run("pass(5_000)");
    faked.page.wait_for_status("trying again");
    // A connection that never opens.
    faked.run("dispatchEvent(new Event('online'))");
    assert_eq!(faked.page.evaluate("newest.readyState"), json!(0));
    faked.run("pass(10_000)");
    faked.page.wait_for_status("trying again");
    faked.run("dispatchEvent(new Event('online')); newest.accept()");
    // Silence, while the user is here.
    faked.page.press("Escape");
    faked.run("pass(45_000)");
    assert_eq!(faked.page.evaluate("newest.sent.at(-1)"), json!("/who"));
    faked.run("for (let step = 0; step < 7; step++) { newest.receive('*** 1 in lobby: bob'); pass(45_000); }");
    // The user is away: no line keeps the server from taking the member for idle, until the user comes back.
    faked.run("newest.receive('alice has joined'); newest.sent.length = 0; pass(600_000)");
    assert_eq!(faked.page.evaluate("newest.sent"), json!([]));
    faked.page.press("Escape");
    assert_eq!(faked.page.evaluate("newest.sent"), json!(["/who"]));
    faked.run("pass(5_000)");
    faked.page.wait_for_status("trying again");
}
