//! Chat commands and their replies, on plain sockets.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::telnet::AGREEMENT;
use common::{Client, TestServer, numbered_lines, test_settings};
use roomcast::SlowReader;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

impl Client {
    /// Reads these lines.
    #[track_caller]
    fn expect_lines(&mut self, lines: &[&str]) {
        for line in lines {
            self.expect_line(line);
        }
    }

    /// Leaves, and fails if any line arrives before the end.
    #[track_caller]
    fn expect_no_line_and_leave(self) {
        assert_eq!(self.leave(), [""; 0]);
    }
}

#[test]
fn unknown_command_is_replyed_to_its_sender_alone() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    alice.send("/mgs bob secret\n/MSGG bob secret\n/мсг bob secret\n/msg bob\n/msg böb secret\nhello\n");
    for reply in ["unknown command /mgs: ", "unknown command /MSGG: ", "unknown command /мсг: "] {
        assert!(alice.read_line().starts_with(&format!("*** {reply}")));
    }
    alice.expect_line("*** /msg: the text is missing; write: /msg NAME TEXT, for example: /msg bob hello");
    assert!(alice.read_line().starts_with("*** /msg: the name holds 'ö'"));
    alice.expect_line("alice: hello");
    bob.expect_line("alice: hello");
    bob.expect_no_line_and_leave();
}

#[test]
fn blank_before_a_command_does_not_send_it_to_the_room() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    for blanks in [" ", "\t ", "\u{A0}", "\u{3000}", "\u{200B}"] {
        alice.send(format!("{blanks}/msg bob my password\n"));
        alice.expect_line("*** you whisper to bob: my password");
        bob.expect_line("*** alice whispers: my password");
        alice.send(format!("{blanks}//msg bob hi\n"));
        bob.expect_line(&format!("alice: {blanks}/msg bob hi"));
        alice.expect_line(&format!("alice: {blanks}/msg bob hi"));
    }
    bob.expect_no_line_and_leave();
}

#[test]
fn line_that_only_resembles_a_command_is_sent() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    for line in
        ["/etc/passwd", "/", "/ who", "/who's there", "/1 x", " /etc/passwd", "// who", "//etc/passwd", "///who"]
    {
        alice.send(format!("{line}\n"));
        bob.expect_line(&format!("alice: {line}"));
        alice.expect_line(&format!("alice: {line}"));
    }
    for line in ["/who", "/msg bob hi", "/nonsense"] {
        alice.send(format!("/{line}\n"));
        bob.expect_line(&format!("alice: {line}"));
        alice.expect_line(&format!("alice: {line}"));
    }
}

#[test]
fn plain_server_sends_commands_as_lines() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.live.commands = false;
    }));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    for line in ["/who", "//who", "/quit", "/nonsense", "/msg bob hi"] {
        alice.send(format!("{line}\n"));
        bob.expect_line(&format!("alice: {line}"));
        alice.expect_line(&format!("alice: {line}"));
    }
}

#[test]
fn command_before_the_join_gets_an_error() {
    let server = TestServer::start();
    for line in ["/who\n", "/help\n", "/quit\n", "/join room alice\n"] {
        let mut stranger = server.connect();
        stranger.send(line);
        assert!(stranger.expect_error().contains("did not start with JOIN"));
    }
}

#[test]
fn join_of_a_room_where_the_name_is_taken_is_refused() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let mut other = server.join("other", "ALICE");
    alice.send("/join other\nstill here\n");
    alice.expect_line(
        "*** the name alice is taken in other: you stay here; write: /join other NAME, for example: /join other alice2",
    );
    alice.expect_line("alice: still here");
    bob.expect_line("alice: still here");
    alice.send("/join other bob\n");
    alice.expect_line("bob has joined");
    other.expect_line("bob has joined");
    bob.expect_line("alice has left");
    // The refused join sent no line to either room.
    bob.expect_no_line_and_leave();
    other.expect_no_line_and_leave();
}

#[test]
fn join_of_the_current_room_is_refused() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    alice.send("/join room\n/join room al\nhere\n");
    let hint = "*** you are in room already; to change your name write: /nick al";
    alice.expect_lines(&["*** you are in room already", hint, "alice: here"]);
    bob.expect_line("alice: here");
    // Room names are case-sensitive.
    alice.send("/join Room al\n");
    alice.expect_line("al has joined");
    bob.expect_line("alice has left");
}

/// A line before a rename or move has the old name and room, and a line after it the new.
#[test]
fn lines_before_and_after_a_rename_or_move_keep_their_order_and_room() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let mut carol = server.join("x", "carol");
    alice.send("a\n/nick al\nb\n/join x\nc\n/nick alice\nd\n/join room ally\ne\n/quit f\nunheard\n");
    bob.expect_lines(&["alice: a", "alice is now known as al", "al: b", "al has left"]);
    carol.expect_lines(&["al has joined", "al: c", "al is now known as alice", "alice: d", "alice has left"]);
    bob.expect_lines(&["ally has joined", "ally: e", "ally: f", "ally has left"]);
    // Alice receives the same lines in the order of each room. The old room's last lines may arrive after
    // the join of the new one, and never after her first line there.
    let seen = alice.read_to_end();
    let place = |line: &str| seen.iter().position(|seen| seen == line).unwrap();
    for room in [
        &["alice: a", "alice is now known as al", "al: b", "ally has joined", "ally: e", "ally: f"][..],
        &["al has joined", "al: c", "al is now known as alice", "alice: d"],
        &["al: b", "al: c"],
        &["alice: d", "ally: e"],
    ] {
        assert!(room.is_sorted_by_key(|line| place(line)), "{seen:?}");
    }
    assert_eq!(seen.len(), 10);
}

#[test]
fn unfinished_command_at_the_end_of_input_is_run() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let mut carol = server.join("x", "carol");
    alice.send("/nick al");
    assert_eq!(alice.leave(), ["alice is now known as al"]);
    bob.expect_lines(&["alice is now known as al", "al has left"]);
    let mut dave = server.join("room", "dave");
    dave.send("/join x");
    assert_eq!(dave.leave(), ["dave has joined"]);
    bob.expect_lines(&["dave has joined", "dave has left"]);
    carol.expect_lines(&["dave has joined", "dave has left"]);
}

#[test]
fn rename_may_change_only_case_and_not_take_another_members_name() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    alice.send("/nick BOB\n/nick ALICE\nhi\n");
    let taken = |name: &str| {
        format!(
            "*** the name {name} is taken in room: you keep your name; write: /nick NAME, for example: /nick {name}2"
        )
    };
    alice.expect_lines(&[&taken("BOB"), "alice is now known as ALICE", "ALICE: hi"]);
    bob.expect_lines(&["alice is now known as ALICE", "ALICE: hi"]);
    // Alice keeps her name in any case until a rename succeeds.
    bob.send("/nick alice\n");
    bob.expect_line(&taken("alice"));
    alice.send("/nick al\n");
    bob.expect_line("ALICE is now known as al");
    bob.send("/nick alice\n/who\n");
    bob.expect_lines(&["bob is now known as alice", "*** 2 in room: al, alice"]);
}

#[test]
fn whisper_reaches_its_recipient_alone() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let mut carol = server.join("room", "carol");
    let elsewhere = server.join("other", "dave");
    alice.expect_line("carol has joined");
    alice.send("/msg BOB  a  secret\n/msg dave hi\n/msg alice note\n");
    bob.expect_lines(&["carol has joined", "*** alice whispers: a  secret"]);
    alice.expect_lines(&[
        "*** you whisper to bob: a  secret",
        "*** no member here is called dave: /who lists the members",
        "*** alice whispers: note",
        "*** you whisper to alice: note",
    ]);
    bob.send("done\n");
    carol.expect_line("bob: done");
    elsewhere.expect_no_line_and_leave();
}

#[test]
fn quit_leaves_the_room_and_sends_its_text_first() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for (quit, last_word) in [("/quit", &[][..]), ("/quit  so long, all", &["bob: so long, all"]), ("/QUIT\t", &[])] {
        let mut bob = server.join("room", "bob");
        alice.expect_line("bob has joined");
        bob.send(format!("{quit}\nunheard\n"));
        assert_eq!(bob.read_to_end(), last_word);
        alice.expect_lines(last_word);
        alice.expect_line("bob has left");
    }
    alice.expect_no_line_and_leave();
}

#[test]
fn last_shows_as_many_lines_as_are_requested_and_kept() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.history_lines = 30;
    }));
    let mut alice = server.join("room", "alice");
    alice.send("/last 5\n");
    alice.expect_line("*** alice has joined");
    alice.send(numbered_lines(40));
    alice.skip_to_line("alice: 39");
    for (command, shown) in [("/last", 20), ("/last 1", 1), ("/last 29", 29), ("/last 65535", 30)] {
        alice.send(format!("{command}\n"));
        for number in 40 - shown..40 {
            alice.expect_line(&format!("*** alice: {number}"));
        }
    }
    for wrong in ["0", "65536", "-1", "few"] {
        alice.send(format!("/last {wrong}\n"));
        alice.expect_line(&format!(
            "*** /last: \"{wrong}\" is no number from 1 to 65535; write: /last [N], for example: /last 5"
        ));
    }
    // Replies are not part of the history.
    alice.send("/me stops\n/last 2\n");
    alice.expect_lines(&["* alice stops", "*** alice: 39", "*** * alice stops"]);
    alice.expect_no_line_and_leave();
}

#[test]
fn room_without_history_replies_that_it_has_none() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.history_lines = 0;
        settings.rooms.replay_lines = 5;
    }));
    let mut alice = server.join("room", "alice");
    alice.send("hi\n/last\n");
    alice.expect_lines(&["alice: hi", "*** there are no earlier lines of this room"]);
    // The history ends with its room.
    let server = TestServer::start();
    server.join("room", "alice").expect_no_line_and_leave();
    common::wait_until("the room is removed", || server.stats.rooms() == 0);
    let mut bob = server.join("room", "bob");
    bob.send("/last\n");
    bob.expect_line("*** bob has joined");
    bob.expect_no_line_and_leave();
}

/// Fifty members join while another one sends: the live lines of each continue its replayed ones.
#[test]
fn replay_continues_in_the_live_lines_without_a_gap() {
    const REPLAY: usize = 7;
    for workers in [1, 2, 4] {
        let server = TestServer::start_with(test_settings(|settings| {
            settings.rooms.replay_lines = 7;
            settings.network.workers = Some(workers);
            (settings.live.rate, settings.live.byte_rate) = (0, 0);
        }));
        let (mut talker, done) = (server.join("room", "talker"), AtomicBool::new(false));
        let (all, seen) = thread::scope(|scope| {
            let talk = scope.spawn(|| {
                let mut all = vec!["talker has joined".to_owned()];
                for number in 0.. {
                    talker.send(format!("{number}\n"));
                    let own = format!("talker: {number}");
                    while *all.last().unwrap() != own {
                        all.push(talker.read_line());
                    }
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
                all
            });
            let visit = |n: usize| {
                let mut client = server.connect();
                client.send(format!("JOIN room n{n}\n"));
                let live = format!("n{n} has joined");
                let mut seen: Vec<String> = std::iter::from_fn(|| Some(client.read_line())).take(REPLAY + 10).collect();
                let shown = seen.iter().position(|line| *line == live).unwrap();
                assert!(shown == REPLAY || n == 0, "{shown} lines were shown");
                for line in &mut seen[..shown] {
                    *line = line.strip_prefix("*** ").unwrap().to_owned();
                }
                (live, shown, seen)
            };
            let seen: Vec<_> = (0..50).map(visit).collect();
            done.store(true, Ordering::Relaxed);
            (talk.join().unwrap(), seen)
        });
        for (joined, shown, seen) in seen {
            let at = all.iter().position(|line| *line == joined).unwrap();
            let expected = all[at - shown..].iter().take(seen.len());
            // The talker may stop before the last member has received as many lines.
            assert!(seen.iter().zip(expected).all(|(seen, expected)| seen == expected), "{joined}: {seen:?}");
        }
    }
}

#[test]
fn long_listings_are_cut_with_a_count() {
    const CROWD: usize = 300;
    let server = TestServer::start();
    let crowd: Vec<Client> = (0..CROWD).map(|n| server.join("crowd", &format!("m{n:03}"))).collect();
    let rooms: Vec<Client> = (0..60).map(|n| server.join(&format!("r{n:02}"), "alone")).collect();
    let mut alice = server.join("alices", "alice");
    alice.send("/rooms\n/join crowd\n");
    let alone: Vec<String> = (0..48).map(|n| format!("r{n:02} (1)")).collect();
    alice.expect_line(&format!(
        "*** 62 rooms: crowd (300), alices (1), {}, and 12 more; you are in alices",
        alone.join(", ")
    ));
    alice.expect_line("alice has joined");
    alice.send("/who\n");
    let who = alice.read_line();
    let names = who.strip_prefix("*** 301 in crowd: ").and_then(|rest| rest.strip_suffix(", and 251 more")).unwrap();
    let names: Vec<&str> = names.split(", ").collect();
    assert!(names.len() == 50 && names.is_sorted() && names.iter().all(|name| name.len() <= 5), "{who}");
    drop((crowd, rooms));
}

#[test]
fn replies_to_an_nvt_end_in_cr_lf() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.replay_lines = 1;
    }));
    let mut plain = server.join("room", "plain");
    let mut nvt = server.connect();
    nvt.send("JOIN room nvt\r\n");
    nvt.expect_text("*** plain has joined\r\nnvt has joined\r\n");
    nvt.send("/who\r\n/last 1\r\n/nonsense\r\n/msg nvt hi\r\n/nick plain\r\n/nick telnet\r\n");
    nvt.expect_text(
        "*** 2 in room: nvt, plain\r\n*** nvt has joined\r\n*** unknown command /nonsense: /help lists them; \
         //nonsense says it\r\n*** nvt whispers: hi\r\n*** you whisper to nvt: hi\r\n*** the name plain is taken \
         in room: you keep your name; write: /nick NAME, for example: /nick plain2\r\nnvt is now known as telnet\r\n",
    );
    plain.send("/msg telnet hi\n");
    nvt.expect_text("*** plain whispers: hi\r\n");
    plain.expect_text("nvt has joined\nnvt is now known as telnet\n*** you whisper to telnet: hi\n");
}

/// Returns whether a text is a reply that the server sends after `*** `.
fn is_reply(reply: &str) -> bool {
    let commands = ["help", "who", "rooms", "join", "nick", "me", "msg", "last", "quit", "ui", "time", "color"];
    let is_name = |name: &str| !name.is_empty() && !name.contains(' ');
    let misuse = reply.strip_prefix('/').is_some_and(|rest| commands.iter().any(|command| rest.starts_with(command)));
    let words = reply.split_once(" whispers: ").map(|(name, _)| name);
    misuse
        || words.is_some_and(is_name)
        || reply.strip_prefix("you whisper to ").and_then(|rest| rest.split_once(": ")).is_some_and(|to| is_name(to.0))
        || reply
            .strip_prefix("unknown command /")
            .is_some_and(|rest| rest.contains(": /help lists them; //") || rest.contains(": did you mean /"))
        || reply.strip_prefix("the name ").is_some_and(|rest| rest.contains(" is taken in "))
        || reply
            .strip_prefix("no member here is called ")
            .is_some_and(|rest| rest.ends_with(": /who lists the members"))
        || reply.split_once(" in room: ").is_some_and(|(count, _)| count.parse::<usize>().is_ok())
        || reply
            .split_once(" room: ")
            .or(reply.split_once(" rooms: "))
            .is_some_and(|(count, _)| count.parse::<usize>().is_ok())
        || reply
            .strip_prefix("you are in ")
            .and_then(|rest| rest.split_once(" already"))
            .is_some_and(|(room, _)| is_name(room))
        || reply == "to say a line that looks like a command, write a second /: //who"
}

/// No input and no name makes another member receive a line that begins with `*** `.
#[test]
fn user_input_never_makes_a_line_with_the_server_prefix() {
    const NAMES: [&str; 8] = ["***x", "*_*", "x***", "*1", "***:x", "you", "nobody", "2"];
    const PARTS: [&str; 34] = [
        "*** ",
        "***",
        "* ",
        "*",
        " ",
        "\t",
        ": ",
        ":",
        "/",
        "//",
        "/me ",
        "/msg witness ",
        "/msg ",
        "/nick ",
        "/who",
        "/help",
        "/rooms",
        "/join room",
        "/JOIN room ",
        "\u{1B}[2K",
        "\r",
        "\u{8}",
        "\u{7F}",
        "\u{2028}",
        "\u{85}",
        "\u{FEFF}",
        "\0",
        "has joined",
        "has left",
        " whispers: ",
        "2 in room: ",
        "witness",
        "x",
        "\u{202E}",
    ];
    let server = TestServer::start();
    let mut random = fastrand::Rng::with_seed(2026);
    let mut witness = server.join("room", "witness");
    let (mut answers, mut whispers) = (0, 0);
    for round in 0..40 {
        let mut mallory = server.connect();
        let line = |random: &mut fastrand::Rng| {
            let parts: String = (0..random.usize(1..7)).map(|_| PARTS[random.usize(..PARTS.len())]).collect();
            parts + NAMES[random.usize(..NAMES.len())] + "\n"
        };
        let typed: String = (0..100).map(|_| line(&mut random)).collect();
        mallory.send(format!("JOIN room {}\n{typed}", NAMES[random.usize(..NAMES.len())]));
        for line in mallory.leave() {
            if let Some(reply) = line.strip_prefix("*** ") {
                assert!(is_reply(reply), "{line:?}");
                answers += 1;
            }
        }
        witness.send(format!("{round}\n"));
        let end = format!("witness: {round}");
        for line in std::iter::from_fn(|| Some(witness.read_line())).take_while(|line| *line != end) {
            // The witness sends no command, so it may receive only whispers.
            if let Some(reply) = line.strip_prefix("*** ") {
                let (name, _) = reply.split_once(" whispers: ").unwrap_or_else(|| panic!("{line:?}"));
                assert!(!name.contains(' '), "{line:?}");
                whispers += 1;
            }
        }
    }
    assert!(answers > 300 && whispers > 20, "{answers} answers and {whispers} whispers");
}

/// The second byte of an Enter arrives after the line editor is off.
#[test]
fn enter_that_ends_the_line_editor_sends_no_line() {
    let server = TestServer::start();
    let (mut bob, mut alice) = server.join_pair("room", "bob", "alice");
    alice.send("on\r\n");
    bob.expect_line("alice: on");
    for enter in ["\r\n", "\r\0", "\n"] {
        alice.send([b"/ui on\r\n", AGREEMENT, format!("/ui off{enter}hello{enter}").as_bytes()].concat());
        bob.expect_line("alice: hello");
    }
    alice.send([b"/ui on\r\n", AGREEMENT, b"and\r\n/ui off\r"].concat());
    bob.expect_line("alice: and");
    alice.send("\nand on\r\n");
    bob.expect_line("alice: and on");
}

/// The input line is switched on, off and on before the client answers.
#[test]
fn input_line_opens_once_after_requests_without_answers() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send("/ui on\r\n/ui off\r\n/ui on\r\nhello\r\n");
    alice.read_until_bytes("*** ui is off\r\n");
    alice.read_until_bytes("alice: hello\r\n");
    alice.send([AGREEMENT, b"/ui\r"].concat());
    alice.read_until_bytes("*** ui is on\r\n");
    alice.read_until_bytes("*** ui is on\r\n");
}

/// Returns the rows that a terminal shows after the connection has ended.
fn drawn_rows(mut client: Client) -> Vec<String> {
    let (rows, columns) = (NonZeroU16::new(24).unwrap(), NonZeroU16::new(80).unwrap());
    let mut screen = vt100::Parser::new(rows, columns, 0);
    screen.process(client.read_to_end_lossy().replace('\u{FFFD}', "").as_bytes());
    screen.screen().rows(0, 80).filter(|row| !row.is_empty()).collect()
}

#[test]
fn line_editor_drops_its_unfinished_line_at_the_end_of_input() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    bob.switch_input_line_on();
    bob.send("my secret");
    bob.half_close();
    alice.expect_lines(&["bob has left"]);
    let screen = drawn_rows(bob);
    assert!(!screen.iter().any(|row| row.contains("my secret")), "the row is erased: {screen:?}");
    let mut carol = server.join("room", "carol");
    alice.expect_line("carol has joined");
    carol.switch_input_line_on();
    carol.send("/nick caro");
    carol.half_close();
    alice.expect_line("carol has left");
}

/// The server's last lines replace the row that was typed in.
#[test]
fn line_editor_shows_the_close_reason_in_place_of_its_row() {
    let mut server = TestServer::start_with(test_settings(|settings| {
        settings.live.slow_reader = SlowReader::Kick;
        settings.live.backlog = 100_000;
        (settings.live.rate, settings.live.byte_rate) = (0, 0);
    }));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    bob.send([b"/ui on\r\n", AGREEMENT, b"hello\r\nhalf a li"].concat());
    alice.expect_line("bob: hello");
    // Each line fills a read, and the line editor drains a bounded number of bytes at a time.
    while alice.send_and_read_until_heard(&"x".repeat(10_000)) != "bob has left" {}
    let text = bob.read_to_end_lossy();
    assert!(text.contains("ERROR\r\nmore than 100000 bytes waited"), "{}", &text[text.len().saturating_sub(300)..]);

    let mut carol = server.join("room", "carol");
    carol.send([b"/ui on\r\n", AGREEMENT, b"hello\r\nhalf a li"].concat());
    alice.skip_to_line("carol: hello");
    server.begin_shutdown();
    let screen = drawn_rows(carol);
    assert_eq!(screen.last().unwrap(), "*** server is shutting down", "the row is erased: {screen:?}");
}

impl Client {
    /// Sends a line, and reads until that line or a leave notice arrives.
    fn send_and_read_until_heard(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        loop {
            let received = self.read_line();
            if received.ends_with(line) || received.ends_with(" has left") {
                return received;
            }
        }
    }
}

/// Lines and whispers of one sender keep their order.
#[test]
fn whisper_keeps_its_place_among_its_senders_lines() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    alice.send("one\n/msg bob two\nthree\n/msg alice four\n/msg nobody five\nsix\n");
    bob.expect_lines(&["alice: one", "*** alice whispers: two", "alice: three", "alice: six"]);
    alice.expect_lines(&["alice: one", "*** you whisper to bob: two", "alice: three", "*** alice whispers: four"]);
    alice.expect_lines(&[
        "*** you whisper to alice: four",
        "*** no member here is called nobody: /who lists the members",
    ]);
    alice.expect_line("alice: six");
}

/// A full inbox delays a command together with the lines before it. Whispers fill the inbox like lines.
#[test]
fn command_keeps_its_place_when_the_inbox_is_full() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.inbox_bytes = 100;
    }));
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    let text = "x".repeat(60);
    let round =
        |number: usize| format!("{text}{number}\n/msg bob {text}{number}\n/nick a{number}\n{text}\n/me waves\n");
    alice.send((0..50).map(round).collect::<String>());
    let mut name = "alice".to_owned();
    for number in 0..50 {
        bob.expect_line(&format!("{name}: {text}{number}"));
        bob.expect_line(&format!("*** {name} whispers: {text}{number}"));
        bob.expect_line(&format!("{name} is now known as a{number}"));
        name = format!("a{number}");
        bob.expect_line(&format!("{name}: {text}"));
        bob.expect_line(&format!("* {name} waves"));
    }
    alice.skip_to_line("* a49 waves");
}
