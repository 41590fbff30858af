//! Each command at its edges, on plain sockets.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer, numbered_lines, test_settings};
use roomcast::SlowReader;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Alice and bob in one room, who have seen each other come.
fn alice_and_bob(server: &TestServer) -> (Client, Client) {
    let mut alice = server.join("room", "alice");
    let bob = server.join("room", "bob");
    alice.expect_line("bob has joined");
    (alice, bob)
}

impl Client {
    /// Reads these lines.
    #[track_caller]
    fn expect_all(&mut self, lines: &[&str]) {
        for line in lines {
            self.expect_line(line);
        }
    }

    /// Leaves, after which nothing more has come.
    #[track_caller]
    fn leave_silently(self) {
        assert_eq!(self.leave(), [""; 0]);
    }
}

#[test]
fn unknown_command_is_answered_to_its_sender_alone() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    alice.send("/mgs bob secret\n/MSGG bob secret\n/мсг bob secret\n/msg bob\n/msg böb secret\nhello\n");
    for told in ["unknown command /mgs: ", "unknown command /MSGG: ", "unknown command /мсг: "] {
        assert!(alice.read_line().starts_with(&format!("*** {told}")));
    }
    alice.expect_line("*** /msg: an argument is missing; write: /msg NAME TEXT");
    assert!(alice.read_line().starts_with("*** /msg: the name holds 'ö'"));
    alice.expect_line("alice: hello");
    bob.expect_line("alice: hello");
    bob.leave_silently();
}

#[test]
fn line_that_only_resembles_a_command_is_sent() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    for line in ["/etc/passwd", "/", "/ who", "/who's there", "/1 x", " /who", "// who", "//etc/passwd", "///who"] {
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
        settings.live.commands = !true;
    }));
    let (mut alice, mut bob) = alice_and_bob(&server);
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
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut other = server.join("other", "ALICE");
    alice.send("/join other\nstill here\n");
    alice.expect_line("*** the name alice is taken in other: you stay here; write: /join other NAME");
    alice.expect_line("alice: still here");
    bob.expect_line("alice: still here");
    alice.send("/join other bob\n");
    alice.expect_line("bob has joined");
    other.expect_line("bob has joined");
    bob.expect_line("alice has left");
    // Nothing else was seen of it.
    bob.leave_silently();
    other.leave_silently();
}

#[test]
fn join_of_the_current_room_is_refused() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    alice.send("/join room\n/join room al\nhere\n");
    alice.expect_all(&["*** you are in room already", "*** you are in room already", "alice: here"]);
    bob.expect_line("alice: here");
    // A room's name has letters of one case.
    alice.send("/join Room al\n");
    alice.expect_line("al has joined");
    bob.expect_line("alice has left");
}

/// What stands before a change goes by the old name and room, what stands behind it by the new.
#[test]
fn lines_before_and_after_a_rename_or_move_keep_their_order_and_room() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = server.join("x", "carol");
    alice.send("a\n/nick al\nb\n/join x\nc\n/nick alice\nd\n/join room ally\ne\n/quit f\nunheard\n");
    bob.expect_all(&["alice: a", "alice is now known as al", "al: b", "al has left"]);
    carol.expect_all(&["al has joined", "al: c", "al is now known as alice", "alice: d", "alice has left"]);
    bob.expect_all(&["ally has joined", "ally: e", "ally: f", "ally has left"]);
    // Alice sees the same, room for room. A room that she leaves may have its last lines for her
    // when the next one has let her in, but not when she has said something there.
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
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = server.join("x", "carol");
    alice.send("/nick al");
    assert_eq!(alice.leave(), ["alice is now known as al"]);
    bob.expect_all(&["alice is now known as al", "al has left"]);
    let mut dave = server.join("room", "dave");
    dave.send("/join x");
    assert_eq!(dave.leave(), ["dave has joined"]);
    bob.expect_all(&["dave has joined", "dave has left"]);
    carol.expect_all(&["dave has joined", "dave has left"]);
}

#[test]
fn rename_may_change_only_case_and_not_take_another_members_name() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    alice.send("/nick BOB\n/nick ALICE\nhi\n");
    alice.expect_all(&["*** the name BOB is taken here: choose another", "alice is now known as ALICE", "ALICE: hi"]);
    bob.expect_all(&["alice is now known as ALICE", "ALICE: hi"]);
    // Her old name, in any letters, is still hers until she has another one.
    bob.send("/nick alice\n");
    bob.expect_line("*** the name alice is taken here: choose another");
    alice.send("/nick al\n");
    bob.expect_line("ALICE is now known as al");
    bob.send("/nick alice\n/who\n");
    bob.expect_all(&["bob is now known as alice", "*** 2 here: al, alice"]);
}

#[test]
fn whisper_reaches_its_recipient_alone() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    let mut carol = server.join("room", "carol");
    let elsewhere = server.join("other", "dave");
    alice.expect_line("carol has joined");
    alice.send("/msg BOB  a  secret\n/msg dave hi\n/msg alice note\n");
    bob.expect_all(&["carol has joined", "*** alice whispers: a  secret"]);
    alice.expect_all(&[
        "*** you whisper to BOB: a  secret",
        "*** no member here is called dave: /who lists the members",
        "*** alice whispers: note",
        "*** you whisper to alice: note",
    ]);
    bob.send("done\n");
    carol.expect_line("bob: done");
    elsewhere.leave_silently();
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
        alice.expect_all(last_word);
        alice.expect_line("bob has left");
    }
    alice.leave_silently();
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
    for wrong in ["0", "65536", "-1", "few", "1 2"] {
        alice.send(format!("/last {wrong}\n"));
        alice.expect_line("*** /last: N is a number from 1 to 65535; write: /last [N]");
    }
    // What is shown is not said: it is shown no second time.
    alice.send("/me stops\n/last 2\n");
    alice.expect_all(&["* alice stops", "*** alice: 39", "*** * alice stops"]);
    alice.leave_silently();
}

#[test]
fn room_without_history_replies_that_it_has_none() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.history_lines = 0;
        settings.rooms.replay_lines = 5;
    }));
    let mut alice = server.join("room", "alice");
    alice.send("hi\n/last\n");
    alice.expect_all(&["alice: hi", "*** there are no earlier lines of this room"]);
    // Nor is anything left of a room that was gone.
    let server = TestServer::start();
    server.join("room", "alice").leave_silently();
    common::wait_until("the room is gone", || server.stats.rooms() == 0);
    let mut bob = server.join("room", "bob");
    bob.send("/last\n");
    bob.expect_line("*** bob has joined");
    bob.leave_silently();
}

/// While somebody talks, fifty come: what each is shown goes on in what it sees, line by line.
#[test]
fn replay_continues_in_the_live_lines_without_a_gap() {
    const REPLAY: usize = 7;
    for workers in [1, 2, 4] {
        let server = TestServer::start_with(test_settings(|settings| {
            settings.rooms.replay_lines = 7;
            settings.network.workers = Some(workers);
            settings.live.rate = 0;
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
            let owed = all[at - shown..].iter().take(seen.len());
            // The talker has stopped before the last of them had seen that.
            assert!(seen.iter().zip(owed).all(|(seen, owed)| seen == owed), "{joined}: {seen:?}");
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
    alice.expect_line(&format!("*** 62 rooms: crowd (300), alices (1), {}, and 12 more", alone.join(", ")));
    alice.expect_line("alice has joined");
    alice.send("/who\n");
    let who = alice.read_line();
    let names = who.strip_prefix("*** 301 here: ").and_then(|rest| rest.strip_suffix(", and 251 more")).unwrap();
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
        "*** 2 here: nvt, plain\r\n*** nvt has joined\r\n*** unknown command /nonsense: /help lists them; \
         //nonsense says it\r\n*** nvt whispers: hi\r\n*** you whisper to nvt: hi\r\n*** the name plain is taken \
         here: choose another\r\nnvt is now known as telnet\r\n",
    );
    plain.send("/msg telnet hi\n");
    nvt.expect_text("*** plain whispers: hi\r\n");
    plain.expect_text("nvt has joined\nnvt is now known as telnet\n*** you whisper to telnet: hi\n");
}

/// What may stand behind the `*** ` of a line to somebody who has typed anything.
fn is_answer(told: &str) -> bool {
    let commands = ["help", "who", "rooms", "join", "nick", "me", "msg", "last", "quit", "ui", "time", "color"];
    let is_name = |name: &str| !name.is_empty() && !name.contains(' ');
    let misuse = told.strip_prefix('/').is_some_and(|rest| commands.iter().any(|command| rest.starts_with(command)));
    let words = told.split_once(" whispers: ").map(|(name, _)| name);
    misuse
        || words.is_some_and(is_name)
        || told.strip_prefix("you whisper to ").and_then(|rest| rest.split_once(": ")).is_some_and(|to| is_name(to.0))
        || told.strip_prefix("unknown command /").is_some_and(|rest| rest.contains(": /help lists them; //"))
        || told.strip_prefix("the name ").is_some_and(|rest| rest.ends_with(" is taken here: choose another"))
        || told.strip_prefix("no member here is called ").is_some_and(|rest| rest.ends_with(": /who lists the members"))
        || told.split_once(" here: ").is_some_and(|(count, _)| count.parse::<usize>().is_ok())
        || told
            .split_once(" room: ")
            .or(told.split_once(" rooms: "))
            .is_some_and(|(count, _)| count.parse::<usize>().is_ok())
        || told.strip_prefix("you are in ").and_then(|rest| rest.strip_suffix(" already")).is_some_and(is_name)
        || told == "to say a line that looks like a command, write a second /: //who"
}

/// A line that begins with `*** ` is the server's, whatever others type and are called.
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
        "2 here: ",
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
            if let Some(told) = line.strip_prefix("*** ") {
                assert!(is_answer(told), "{line:?}");
                answers += 1;
            }
        }
        witness.send(format!("{round}\n"));
        let end = format!("witness: {round}");
        for line in std::iter::from_fn(|| Some(witness.read_line())).take_while(|line| *line != end) {
            // It has asked for nothing.
            if let Some(told) = line.strip_prefix("*** ") {
                let (name, _) = told.split_once(" whispers: ").unwrap_or_else(|| panic!("{line:?}"));
                assert!(!name.contains(' '), "{line:?}");
                whispers += 1;
            }
        }
    }
    assert!(answers > 300 && whispers > 20, "{answers} answers and {whispers} whispers");
}

/// An Enter is a CR and one byte more, which comes when the line editor is gone.
#[test]
fn enter_that_ends_the_line_editor_sends_no_line() {
    let server = TestServer::start();
    let mut bob = server.join("room", "bob");
    let mut alice = server.join("room", "alice");
    bob.expect_line("alice has joined");
    alice.send("on\r\n");
    bob.expect_line("alice: on");
    for enter in ["\r\n", "\r\0", "\n"] {
        alice.send(format!("/ui on\r\n/ui off{enter}hello{enter}"));
        bob.expect_line("alice: hello");
    }
    alice.send("/ui on\r\nand\r\n/ui off\r");
    bob.expect_line("alice: and");
    alice.send("\nand on\r\n");
    bob.expect_line("alice: and on");
}

/// Switched off and on before the terminal has answered: what is said is what is.
#[test]
fn line_editor_state_matches_its_last_reply() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send("/ui on\r\n/ui off\r\n/ui on\r\nhello\r\n");
    alice.half_close();
    let seen = alice.read_to_end_lossy();
    let (before, behind) = seen.split_at(seen.rfind("*** ui is ").unwrap());
    let says_on = behind.starts_with("*** ui is on");
    assert!(before.contains("*** ui is on") && behind.contains("alice: hello"), "{seen:?}");
    assert_eq!(says_on, behind.contains("\u{1B}[K"), "{seen:?}");
}

/// What a terminal with the line editor has drawn on it, when the connection has ended.
fn drawn(mut client: Client) -> Vec<String> {
    let (rows, columns) = (NonZeroU16::new(24).unwrap(), NonZeroU16::new(80).unwrap());
    let mut screen = vt100::Parser::new(rows, columns, 0);
    screen.process(client.read_to_end_lossy().replace('\u{FFFD}', "").as_bytes());
    screen.screen().rows(0, 80).filter(|row| !row.is_empty()).collect()
}

#[test]
fn line_editor_drops_its_unfinished_line_at_the_end_of_input() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    bob.send("/ui on\r\nmy secret");
    bob.half_close();
    alice.expect_all(&["bob has left"]);
    let screen = drawn(bob);
    assert!(!screen.iter().any(|row| row.contains("my secret")), "the row is erased: {screen:?}");
    let mut carol = server.join("room", "carol");
    carol.send("/ui on\r\n/nick caro");
    carol.half_close();
    alice.expect_all(&["carol has joined", "carol has left"]);
}

/// The server's last words come as lines above the one that is typed.
#[test]
fn line_editor_shows_the_close_reason_above_its_row() {
    let mut server = TestServer::start_with(test_settings(|settings| {
        settings.live.slow_reader = SlowReader::Kick;
        settings.live.backlog = 100_000;
        settings.live.rate = 0;
    }));
    let (mut alice, mut bob) = alice_and_bob(&server);
    bob.send("/ui on\r\nhello\r\nhalf a li");
    alice.expect_line("bob: hello");
    // Each is a whole read of its own: the editor's is a stretch at a time.
    while alice.line_behind(&"x".repeat(10_000)) != "bob has left" {}
    let text = bob.read_to_end_lossy();
    assert!(text.contains("ERROR\r\nmore than 100000 bytes waited"), "{}", &text[text.len().saturating_sub(300)..]);

    let mut carol = server.join("room", "carol");
    carol.send("/ui on\r\nhello\r\nhalf a li");
    alice.skip_to_line("carol: hello");
    server.begin_shutdown();
    let screen = drawn(carol);
    assert_eq!(screen.last().unwrap(), "*** server is shutting down", "the row is erased: {screen:?}");
}

impl Client {
    /// Says something, and reads up to where that is heard, or somebody has left.
    fn line_behind(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        loop {
            let heard = self.read_line();
            if heard.ends_with(line) || heard.ends_with(" has left") {
                return heard;
            }
        }
    }
}

/// What a sender says keeps its order, whoever hears it.
#[test]
fn whisper_keeps_its_place_among_its_senders_lines() {
    let server = TestServer::start();
    let (mut alice, mut bob) = alice_and_bob(&server);
    alice.send("one\n/msg bob two\nthree\n/msg alice four\n/msg nobody five\nsix\n");
    bob.expect_all(&["alice: one", "*** alice whispers: two", "alice: three", "alice: six"]);
    alice.expect_all(&["alice: one", "*** you whisper to bob: two", "alice: three", "*** alice whispers: four"]);
    alice
        .expect_all(&["*** you whisper to alice: four", "*** no member here is called nobody: /who lists the members"]);
    alice.expect_line("alice: six");
}

/// A command waits with the lines before it when the room's inbox is full, and whispers count there.
#[test]
fn command_keeps_its_place_when_the_inbox_is_full() {
    let server = TestServer::start_with(test_settings(|settings| {
        settings.rooms.inbox_bytes = 100;
    }));
    let (mut alice, mut bob) = alice_and_bob(&server);
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
