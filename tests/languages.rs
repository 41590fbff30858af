//! Letters of many alphabets, typed in client programs. A witness on a plain socket gets exactly what was typed.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::pty::{ClientProgram, Lobby, test_each_program};

/// A line in each alphabet. Among their bytes are those that GNU telnet takes for special characters: 0x83 (`у`)
/// for Ctrl-C, 0x85 (`ą`), 0x8F (`я`), 0x9C (`한`), and 0x9D (`Нет`, `来`, `”`, `😝`), which opens its prompt.
const LINES: [(&str, &str); 13] = [
    ("Cyrillic", "У меня всё хорошо, друг"),
    ("Cyrillic", "Нет, “так” — нельзя"),
    ("Polish", "łąkę zażółć gęślą jaźń"),
    ("Greek", "Καλημέρα σε όλους"),
    ("Arabic", "مرحبا يا أصدقاء، كيف الحال؟"),
    ("Hebrew", "שלום לכולם"),
    ("Thai", "สวัสดีชาวโลก"),
    ("Korean", "한국어 안녕하세요"),
    ("Chinese", "你来了，真好"),
    ("Japanese", "こんにちは、世界のみなさん"),
    ("emoji", "👩\u{200D}🚒 👨\u{200D}👩\u{200D}👧 👍🏽 😝"),
    ("flags", "🇵🇱🇯🇵 🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}"),
    ("French", "« Ça va ? » – « Très bien… »"),
];

/// A word in each of some alphabets: typed with a wrong letter in its middle, which Backspace erases.
const WORDS: [(&str, &str, &str); 6] = [
    ("при", "ю", "вет"),
    ("łą", "ż", "kę"),
    ("안녕", "국", "하세요"),
    ("你", "们", "好"),
    ("ab", "ü", "c"),
    ("a", "😝", "b"),
];

const BACKSPACE: &str = "\x7F";
const LEFT: &str = "\x1B[D";

/// Says each line, and between them a line of ASCII in the other direction.
fn say_every_line(mut lobby: Lobby) {
    for (language, line) in LINES {
        eprintln!("{language}: {line}");
        lobby.say(line);
        lobby.answer(&format!("{} bytes of {language}", line.len()));
    }
}

/// Types each word with a wrong letter, erases that letter and completes the word.
fn correct_every_word(mut lobby: Lobby) {
    for (start, wrong, end) in WORDS {
        lobby.alice.type_keys(&[start, wrong, BACKSPACE, end, "\r"].concat());
        lobby.bob.expect_line(&format!("alice: {start}{end}"));
        lobby.answer(&format!("{} bytes of a word", start.len() + end.len()));
    }
}

// Programs that send letters as they are, from the first line on.
test_each_program! {
    each_alphabet_arrives_whole_in_line_mode, join_lobby, say_every_line;
    plink: Plink, busybox: BusyboxTelnet, tintin: TinTin, nc: Nc, nc_crlf: NcCrlf, socat_raw: SocatRaw
}

// The letter у is telnet's Ctrl-C. Telnet shows nothing that arrives before the reply to its timing mark.
test_each_program! {
    line_lost_to_an_interrupt_is_reported_to_its_sender, join_lobby, |mut lobby| {
        lobby.alice.type_keys("друг\r");
        lobby.alice.expect_row_start("*** that line was lost: your telnet took a letter for Ctrl-C");
        // The rest of the line is not said.
        lobby.say("друг");
    };
    telnet: Telnet
}

// GNU telnet takes bytes of letters for special characters, and stops that when the server has asked for
// BINARY. The server asks at the first telnet command, which such a letter causes.
test_each_program! {
    each_alphabet_arrives_whole_after_the_first_telnet_command, join_lobby, |mut lobby| {
        let [(_, first), ..] = LINES;
        lobby.alice.type_keys(&format!("{first}\r"));
        lobby.alice.expect_row_start("*** that line was lost: your telnet took a letter for Ctrl-C");
        lobby.alice.type_keys("now\r");
        // Of the first line any rest may arrive, or none.
        lobby.bob.skip_to_line("alice: now");
        lobby.alice.expect_row("alice: now");
        say_every_line(lobby);
    };
    telnet: Telnet
}

test_each_program! {
    each_alphabet_arrives_whole_on_a_telnet_listener, join_lobby_by_telnet_listener, say_every_line;
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin
}

// After `/ui off` a telnet client is in line mode, and stays in BINARY.
test_each_program! {
    each_alphabet_arrives_whole_in_line_mode_on_a_telnet_listener, join_lobby_by_telnet_listener, |mut lobby| {
        lobby.alice.type_keys("/ui off\r");
        lobby.alice.expect_row("*** ui is off");
        say_every_line(lobby);
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin
}

test_each_program! {
    each_alphabet_arrives_whole_in_the_input_line, join_lobby, |mut lobby| {
        lobby.switch_input_line_on();
        say_every_line(lobby);
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin
}

// In line mode the program or its terminal edits the line; socat in raw mode sends the Backspace, and the
// server edits it.
test_each_program! {
    backspace_erases_one_letter_in_line_mode, join_lobby, correct_every_word;
    plink: Plink, busybox: BusyboxTelnet, tintin: TinTin, nc: Nc, nc_crlf: NcCrlf, socat_raw: SocatRaw
}

test_each_program! {
    backspace_erases_one_letter_in_line_mode_on_a_telnet_listener, join_lobby_by_telnet_listener, |mut lobby| {
        lobby.alice.type_keys("/ui off\r");
        lobby.alice.expect_row("*** ui is off");
        correct_every_word(lobby);
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin
}

test_each_program! {
    backspace_erases_one_letter_in_the_input_line, join_lobby, |mut lobby| {
        lobby.switch_input_line_on();
        for (start, wrong, end) in WORDS {
            lobby.alice.type_keys(&[start, wrong, end].concat());
            lobby.alice.expect_draft(&[start, wrong, end].concat());
            lobby.alice.type_keys(&[&LEFT.repeat(end.chars().count()), BACKSPACE, "\r"].concat());
            lobby.bob.expect_line(&format!("alice: {start}{end}"));
        }
        correct_every_word(lobby);
    };
    telnet: Telnet, plink: Plink, busybox: BusyboxTelnet, tintin: TinTin
}

// TinyFugue takes a byte above 0x7F for a Meta key, so it has no other letters than those of ASCII.
test_each_program! {
    backspace_erases_one_ascii_letter, join_lobby, |mut lobby| {
        lobby.alice.type_keys(&["hel", "p", BACKSPACE, "lo\r"].concat());
        lobby.bob.expect_line("alice: hello");
    };
    tinyfugue: TinyFugue
}
