//! The base contract, row by row and byte for byte.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer, WELCOME};

#[test]
fn connection_begins_with_the_welcome() {
    let server = TestServer::start();
    Client::connect_raw(server.address).expect_text(WELCOME);
}

#[test]
fn join_line_is_accepted_in_any_case_and_spacing() {
    let server = TestServer::start();
    let twenty = "~".repeat(20);
    let firsts = [
        "JOIN room a1".to_owned(),
        "join room a2".to_owned(),
        " \t JoIn \t room\t\t a3 \t ".to_owned(),
        format!("JOIN room {twenty}"),
        format!("JOIN {twenty} a5"),
        "JOIN ! ~".to_owned(),
        "\u{FEFF}JOIN room a6".to_owned(),
        "\u{FEFF} join <3 ->".to_owned(),
    ];
    for first in firsts {
        let mut client = server.connect();
        client.send(format!("{first}\n"));
        let name = first.split_whitespace().last().unwrap();
        client.expect_line(&format!("{name} has joined"));
    }
}

#[test]
fn names_in_brackets_get_an_error_that_shows_a_correct_line() {
    let server = TestServer::start();
    for first in ["JOIN <lobby> <alice>", "JOIN <lobby> alice", "join lobby <alice>"] {
        let mut client = server.connect();
        client.send(format!("{first}\n"));
        let reply = client.expect_error();
        assert!(reply.contains("JOIN lobby alice") && !reply.contains("<lobby>"), "{reply}");
    }
    assert_eq!(server.stats.rooms(), 0);
}

#[test]
fn other_first_line_gets_error_and_a_reason_and_is_closed() {
    let server = TestServer::start();
    let long = "x".repeat(21);
    let firsts: [(&[u8], &str); 26] = [
        (b"\n", "empty"),
        (b"  \t \r\n", "empty"),
        (b"HELLO room user\n", "did not start with JOIN"),
        (b"JOINroom user\n", "did not start with JOIN"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no web server"),
        (b"\0\0\0\n", "empty"),
        (b"\x1B[A\n", "did not start with JOIN"),
        (b"\xFE\xC3\n", "did not start with JOIN"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "no SSH server"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "no TLS"),
        (b"JOIN\n", "JOIN takes 2 names and got 0"),
        (b"JOIN room\n", "JOIN takes 2 names and got 1"),
        (b"JOIN room user more\n", "JOIN takes 2 names and got 3"),
        (&format!("JOIN {long} user\n").into_bytes(), "room name has 21 characters"),
        (&format!("JOIN room {long}\n").into_bytes(), "user name has 21 characters"),
        (b"JOIN ro\x07m user\n", "room name holds '\\u{7}'"),
        (b"JOIN room us\xC2\x9Ber\n", "user name holds '\\u{9b}'"),
        ("JOIN room jörg\n".as_bytes(), "user name holds 'ö'"),
        (b"JOIN room ***\n", "user name begins with *"),
        (b"JOIN room *bob\n", "user name begins with *"),
        (b"JOIN room /nick\n", "user name begins with /"),
        (b"JOIN room bob:\n", "user name ends in a colon"),
        (b"JOIN <room> bob:\n", "room name is enclosed in < and >"),
        (b"JOIN room <***>\n", "user name is enclosed in < and >"),
        ("\u{FEFF}\u{FEFF}JOIN room user\n".as_bytes(), "did not start with JOIN"),
        ("\u{FEFF}\n".as_bytes(), "empty"),
    ];
    for (first, reason) in firsts {
        let mut client = server.connect();
        client.send(first);
        let reply = client.expect_error();
        assert!(reply.contains(reason), "{reply}");
        let usage = "; write: JOIN <ROOMNAME> <USERNAME>, for example: JOIN lobby alice";
        assert!(reply.contains(usage), "the reason does not show a correct line: {reply}");
    }
}

#[test]
fn end_of_input_before_the_first_line_gets_error() {
    let server = TestServer::start();
    let mut client = server.connect();
    client.half_close();
    assert!(client.expect_error().contains("ended before its first line"));
}

#[test]
fn join_notice_reaches_every_member_and_is_the_first_line_of_the_new_one() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send("before\n");
    alice.expect_line("alice: before");
    let _bob = server.join("room", "bob");
    alice.expect_line("bob has joined");
}

#[test]
fn line_reaches_every_member_and_no_other_room() {
    let server = TestServer::start();
    let (mut alice, mut carol) = (server.join("room", "alice"), server.join("Room", "carol"));
    let mut bob = server.join("room", "bob");
    alice.expect_line("bob has joined");
    bob.send("hello, grüße, 你好\n");
    alice.send("\tand \"back\"  \n");
    for client in [&mut alice, &mut bob] {
        let mut lines = [client.read_line(), client.read_line()];
        lines.sort();
        assert_eq!(lines, ["alice: \tand \"back\"  ", "bob: hello, grüße, 你好"]);
    }
    carol.send("alone\n");
    carol.expect_line("carol: alone");
}

#[test]
fn empty_line_is_delivered() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send("\n\r\n\r\0");
    for _ in 0..3 {
        alice.expect_line("alice: ");
    }
}

#[test]
fn invalid_utf8_is_replaced_and_its_sender_stays() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    // FF alone begins a telnet command; doubled it is data.
    alice.send(b"a\xFEb\xC3\n\xFF\xFF\xFF\xFF\n");
    alice.expect_line("alice: a\u{FFFD}b\u{FFFD}");
    alice.expect_line("alice: \u{FFFD}\u{FFFD}");
}

#[test]
fn text_is_sanitised_before_it_is_delivered() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    alice.send("\u{1B}[31mred\u{7}\u{9B}0m\u{85}bob: \u{202E}forged\u{2066}\u{2028}\u{2029}\u{FEFF}\n");
    alice.expect_line("alice: red0mbob: forged");
    alice.send("alice\rbob: forged\n\ttab, 👩\u{200D}🚒, \u{200F}שלום\n");
    alice.expect_line("alice: alicebob: forged");
    alice.expect_line("alice: \ttab, 👩\u{200D}🚒, \u{200F}שלום");
    alice.send("\u{FFF9}base\u{FFFA}note\u{FFFB} \u{E0068}\u{E0069}\u{E007F}tags\n");
    alice.expect_line("alice: basenote tags");
    let wales = "\u{1F3F4}\u{E0067}\u{E0062}\u{E0077}\u{E006C}\u{E0073}\u{E007F}";
    alice.send(format!("{wales}\u{E0067}\n"));
    alice.expect_line(&format!("alice: {wales}"));
}

/// The bytes of keys that are no characters, and of programs that control a terminal.
#[test]
fn escape_sequence_is_dropped_whole_at_every_split_of_packets() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for (line, text) in [
        ("helo\x1B[D\x1B[Dl", "helol"),
        ("up\x1B[A and\x1B[3~ F1\x1BOP\x1B[[A", "up and F1"),
        ("a \x1B]0;title\x07title", "a title"),
        ("a \x1BP1$r0m\x1B\\string", "a string"),
        ("a \x1B(Bcharset", "a charset"),
        ("end\x1B", "end"),
        ("end\x1B[1;", "end"),
        ("end\x1B]0;title", "end"),
    ] {
        for split in 1..line.len() {
            let (first, second) = line.split_at(split);
            // The reply to the line before shows that the server has read the packet.
            alice.send(format!("before\n{first}"));
            alice.expect_line("alice: before");
            alice.send(format!("{second}\n"));
            assert_eq!(alice.read_line(), format!("alice: {text}"), "{line:?} split at {split}");
        }
    }
}

#[test]
fn leave_notice_reaches_the_other_members() {
    let server = TestServer::start();
    let (mut alice, bob) = server.join_pair("room", "alice", "bob");
    assert!(bob.leave().is_empty(), "the leaver received a line");
    alice.expect_line("bob has left");

    let carol = server.join("room", "carol");
    alice.expect_line("carol has joined");
    carol.reset();
    alice.expect_line("carol has left");

    let mut dave = server.join("room", "dave");
    alice.expect_line("dave has joined");
    dave.send("x".repeat(20_001));
    alice.expect_line("dave has left");
    dave.expect_error();
}

#[test]
fn lines_in_one_packet_are_handled_in_order_after_the_join() {
    let server = TestServer::start();
    let mut alice = server.connect();
    alice.send("JOIN room alice\none\ntwo\n\nthree\n");
    for line in ["alice has joined", "alice: one", "alice: two", "alice: ", "alice: three"] {
        alice.expect_line(line);
    }
}

#[test]
fn unfinished_last_line_is_delivered() {
    let server = TestServer::start();
    let (mut alice, mut bob) = server.join_pair("room", "alice", "bob");
    bob.send("whole\nunfinished");
    bob.half_close();
    for line in ["bob: whole", "bob: unfinished", "bob has left"] {
        alice.expect_line(line);
    }
    assert_eq!(bob.read_to_end(), ["bob: whole", "bob: unfinished"], "the leaver missed a line");

    let mut carol = server.connect();
    carol.send("JOIN room carol");
    carol.half_close();
    assert_eq!(carol.read_to_end(), ["carol has joined"]);
    alice.expect_line("carol has joined");
    alice.expect_line("carol has left");
}

#[test]
fn line_of_20_000_bytes_with_its_cr_is_accepted_and_a_longer_one_refused() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    for (length, end, fits) in
        [(20_000, "\n", true), (20_001, "\n", false), (19_999, "\r\n", true), (20_000, "\r\n", false)]
    {
        let mut bob = server.join("room", "bob");
        alice.expect_line("bob has joined");
        bob.send(format!("before\n{}{end}after\n", "x".repeat(length)));
        alice.expect_line("bob: before");
        bob.expect_line("bob: before");
        if fits {
            let line = format!("bob: {}", "x".repeat(length));
            alice.expect_line(&line);
            bob.expect_line(&line);
            alice.expect_line("bob: after");
            drop(bob);
        } else {
            assert!(bob.expect_error().contains("longer than 20000 bytes"), "{length} and {end:?}");
        }
        alice.expect_line("bob has left");
    }
}

#[test]
fn lf_cr_lf_cr_cr_lf_and_cr_nul_end_a_line() {
    let server = TestServer::start();
    let mut alice = server.connect();
    alice.send("JOIN room alice\r\0lf\ncr lf\r\ncr nul\r\0cr cr lf\r\r\nend\n");
    for line in ["alice has joined", "alice: lf", "alice: cr lf", "alice: cr nul", "alice: cr cr lf", "alice: end"] {
        alice.expect_line(line);
    }
}

/// A terminal in raw mode sends a CR for Enter and nothing else.
#[test]
fn cr_alone_ends_a_line_until_the_first_lf() {
    let server = TestServer::start();
    for end in ["\r", "\r\r\n", "\r\0", "\r\n"] {
        let mut client = server.connect();
        client.send(format!("JOIN cr a{end}one{end}two{end}"));
        for line in ["a has joined", "a: one", "a: two"] {
            assert_eq!(client.read_line(), line, "with {end:?} at the end of each line");
        }
        client.leave();
    }
    let mut sam = server.connect();
    sam.send("JOIN room sam\r");
    sam.expect_line("sam has joined");
    sam.send("hello\r");
    sam.expect_line("sam: hello");
    sam.send("\n");
    sam.send("one\rtwo\n");
    sam.expect_line("sam: onetwo");
}

/// The byte order mark begins a telnet command (FF FE) or is no UTF-8 (FE FF).
#[test]
fn first_line_in_utf16_gets_error_and_a_reason() {
    let server = TestServer::start();
    for encode in [u16::to_le_bytes, u16::to_be_bytes] {
        let mut client = server.connect();
        client.send("\u{FEFF}JOIN room alice\n".encode_utf16().flat_map(encode).collect::<Vec<u8>>());
        client.send("\n");
        let answer = client.read_to_end_lossy();
        assert!(answer.contains("ERROR") && answer.contains("JOIN <ROOMNAME> <USERNAME>"), "{answer:?}");
    }
}

/// A peer that behaves as a network virtual terminal receives CR LF from then on. Other peers receive LF.
#[test]
fn output_lines_end_in_cr_lf_after_a_peer_behaves_as_an_nvt() {
    let server = TestServer::start();
    let (mut plain, mut nvt) = (server.join("room", "plain"), server.connect());
    nvt.send("JOIN room nvt\n");
    nvt.expect_text("nvt has joined\n");
    nvt.send("one\ntwo\r\n");
    nvt.expect_line("nvt: one");
    nvt.expect_line("nvt: two");
    plain.send("three\n");
    nvt.expect_text("plain: three\r\n");
    let mut by_command = server.connect();
    by_command.send(b"\xFF\xF1JOIN room third\n");
    by_command.expect_bytes(b"\xFF\xFD\x00");
    by_command.expect_text("third has joined\r\n");
    nvt.expect_text("third has joined\r\n");
    plain.expect_text("nvt has joined\nnvt: one\nnvt: two\nplain: three\nthird has joined\n");
}

#[test]
fn backspace_and_del_erase_the_character_before_them() {
    let server = TestServer::start();
    let mut alice = server.connect();
    alice.send("\u{8}JOIN room alicf\u{8}e\r\n\u{7F}hellp\u{7F}o, gr\u{FC}\u{7F}\u{FC}\0\u{DF}e\n");
    for line in ["alice has joined", "alice: hello, gr\u{FC}\u{DF}e"] {
        alice.expect_line(line);
    }
    alice.send("e\u{301}👩\u{200D}🚒\u{8}\u{8}x\x1B[D\u{7F}y\n");
    alice.expect_line("alice: y");
}

#[test]
fn room_exists_from_its_first_member_to_its_last() {
    let server = TestServer::start();
    assert_eq!(server.stats.rooms(), 0);
    let (alice, bob) = (server.join("a", "alice"), server.join("b", "bob"));
    assert_eq!(server.stats.rooms(), 2);
    alice.leave();
    common::wait_until("the room is gone", || server.stats.rooms() == 1);
    bob.leave();
    common::wait_until("no room is left", || server.stats.rooms() == 0);
    server.join("a", "alice");
}

#[test]
fn name_is_unique_in_a_room_whatever_its_case() {
    let server = TestServer::start();
    let mut alice = server.join("room", "alice");
    let mut second = server.connect();
    second.send("JOIN room ALICE\nunheard\n");
    assert!(second.expect_error().contains("choose another"));
    server.join("other", "alice");
    assert_eq!(alice.send_and_read_line("still here"), "alice: still here", "the refused join sent a line");
    alice.leave();
    server.join("room", "Alice");
}

#[test]
fn duplicate_names_are_accepted_when_allowed() {
    let config = common::test_settings(|settings| {
        settings.rooms.allow_duplicate_names = true;
    });
    let server = TestServer::start_with(config);
    let (mut first, mut second) = server.join_pair("room", "alice", "alice");
    second.send("me too\n");
    first.expect_line("alice: me too");
    second.expect_line("alice: me too");
    second.leave();
    first.expect_line("alice has left");
    assert_eq!(first.send_and_read_line("the first one stays"), "alice: the first one stays");
}

impl Client {
    /// Sends a line, and reads the next one.
    fn send_and_read_line(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.read_line()
    }
}
