//! Terminal attacks: nothing that a member sends erases, moves or forges what another one's screen shows.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::pty::ClientProgram;
use common::screen::{COLUMNS, Screen};
use common::{Client, TestServer};

/// A victim at a real telnet, and an attacker on a plain socket in the same room.
struct AttackTest {
    mallory: Client,
    victim: Screen,
    /// The rows that the victim's screen must show, from the welcome on.
    rows: Vec<String>,
    /// The row that must stand below them.
    last_row: &'static str,
    /// The bells that the victim must have heard.
    bells: usize,
    /// The last field, so that it ends after its clients.
    server: TestServer,
}

impl AttackTest {
    /// Starts with a victim whose telnet sends whole lines; `None` if telnet is not installed.
    fn in_line_mode() -> Option<Self> {
        Self::start("█", |_| {})
    }

    /// Starts with a victim in the middle of a line that the server edits; `None` if telnet is not installed.
    fn in_line_editor() -> Option<Self> {
        Self::start("room> half a █line", |victim| {
            victim.switch_line_editor_on();
            victim.type_keys("half a line\x1B[D\x1B[D\x1B[D\x1B[D");
        })
    }

    fn start(last_row: &'static str, prepare: impl Fn(&mut Screen)) -> Option<Self> {
        let server = TestServer::start();
        let mut victim = ClientProgram::Telnet.connect(&server)?;
        victim.join("room", "victim");
        prepare(&mut victim);
        victim.expect_rows(&[last_row]);
        let mut rows = victim.rows();
        rows.pop();
        rows.push("mallory has joined".to_owned());
        let mallory = server.join("room", "mallory");
        let mut test = Self { mallory, victim, rows, last_row, bells: 0, server };
        test.expect_screen();
        Some(test)
    }

    /// Sends `bytes` as a line, which the victim must see as `row` and nothing else.
    #[track_caller]
    fn attack(&mut self, bytes: impl AsRef<[u8]>, row: &str) {
        self.mallory.send(bytes);
        self.mallory.send("\n");
        self.expect_new_rows(&[row]);
    }

    /// Waits until the screen shows these rows below the ones before.
    #[track_caller]
    fn expect_new_rows(&mut self, rows: &[&str]) {
        self.rows.extend(rows.iter().map(|row| (*row).to_owned()));
        self.expect_screen();
    }

    /// Waits until the screen shows exactly the expected rows, from its first row to the cursor.
    #[track_caller]
    fn expect_screen(&mut self) {
        let rows: Vec<&str> = self.rows.iter().map(String::as_str).chain([self.last_row]).collect();
        self.victim.expect_rows(&rows);
        self.victim.assert_only_text();
        assert_eq!(self.victim.bells(), self.bells, "only lines for the victim ring the bell");
    }

    /// Returns whether the victim has the line editor.
    fn has_line_editor(&self) -> bool {
        self.last_row.starts_with("room> ")
    }
}

/// Attacks a victim in line mode, and one in the line editor.
fn in_each_mode(attack: impl Fn(&mut AttackTest)) {
    for start in [AttackTest::in_line_mode, AttackTest::in_line_editor] {
        let Some(mut test) = start() else { return };
        attack(&mut test);
        test.attack("all is well", "mallory: all is well");
    }
}

#[test]
fn erase_sequences_erase_nothing() {
    in_each_mode(|test| {
        test.attack("\x1B[2Jx", "mallory: x");
        test.attack("\x1B[2J\x1B[3J\x1B[H", "mallory:");
        test.attack("\x1B[1K\x1B[1J\x1B[5M\x1B[5P2", "mallory: 2");
        test.attack("\x1Bcx", "mallory: x");
        test.attack("\x1B[?1049h\x1B[?25l\x1B[?5hy", "mallory: y");
        test.attack("\x0C\x0B\x1B#8", "mallory:");
    });
}

#[test]
fn cursor_sequences_do_not_move_the_cursor() {
    in_each_mode(|test| {
        test.attack("\x1B[A\x1B[2Abob: forged", "mallory: bob: forged");
        test.attack("\x1B[1;1Hbob: forged", "mallory: bob: forged");
        test.attack("\x1BM\x1BM\x1B7\x1B8bob: forged", "mallory: bob: forged");
        test.attack("\x1B[20Dbob: forged", "mallory: bob: forged");
        test.attack("\x1B[5;10r\x1B[S\x1B[T", "mallory:");
        test.attack("\x1B[6n\x1B[c\x1BZ\x05", "mallory:");
    });
}

/// To a terminal U+009B is `ESC [`, and U+0085 is a line end.
#[test]
fn c1_controls_and_charset_switches_do_nothing() {
    in_each_mode(|test| {
        test.attack("\u{9B}2J\u{9B}1;1Hbob: forged", "mallory: 2J1;1Hbob: forged");
        test.attack("\u{85}bob: forged", "mallory: bob: forged");
        test.attack("\u{84}\u{8D}\u{8D}\u{88}\u{90}q\u{9D}0;t\u{9C}", "mallory: q0;t");
        test.attack("\x1B%@\x0E\x0F\x1B(0lqqk", "mallory: lqqk");
    });
}

#[test]
fn title_bell_and_string_sequences_do_nothing() {
    in_each_mode(|test| {
        test.attack("\x1B]0;root@bank\x07x", "mallory: x");
        test.attack("\x1B]2;title\x1B\\\u{9D}0;title\u{9C}", "mallory: 0;title");
        test.attack("\x1B]52;c;cm0gLXJmIC8=\x07y", "mallory: y");
        test.attack("\x1BPq\x1B\\\x1B_x\x1B\\z\x1B^y", "mallory: z");
        test.attack("\x07\x07\x1Bgbell", "mallory: bell");
        // A terminal would take everything after an unfinished string for a part of it.
        test.attack("\x1B]0;", "mallory:");
        test.attack("\x1B[31;8mhidden", "mallory: hidden");
    });
}

#[test]
fn cr_and_erase_characters_do_not_overwrite_a_name() {
    in_each_mode(|test| {
        test.attack("x\rbob: forged", "mallory: xbob: forged");
        test.attack("\r\r\x1B[Kbob: forged", "mallory: bob: forged");
        test.attack("\u{8}".repeat(20) + "bob: forged", "mallory: bob: forged");
        test.attack("a\u{7F}\u{7F}\u{7F}\u{7F}bob: forged", "mallory: bob: forged");
        test.attack(b"\xFF\xF7\xFF\xF7\xFF\xF7\xFF\xF8bob: forged", "mallory: bob: forged");
        test.attack("x\r\rbob: forged\r", "mallory: xbob: forged");
        // A CR ends a line of a connection that has sent no LF, and that line has its sender's name.
        let mut raw = test.server.connect();
        raw.send("JOIN room raw\rx\rbob: forged\r");
        test.expect_new_rows(&["raw has joined", "raw: x", "raw: bob: forged"]);
        raw.leave();
        test.expect_new_rows(&["raw has left"]);
    });
}

#[test]
fn invisible_and_reordering_characters_are_dropped() {
    in_each_mode(|test| {
        test.attack("\u{202E}degrof :bob\u{202C}", "mallory: degrof :bob");
        test.attack("\u{2066}\u{2067}\u{2068}a\u{2069}\u{202A}\u{202B}\u{202D}", "mallory: a");
        test.attack("\u{2028}bob: forged\u{2029}bob: forged", "mallory: bob: forgedbob: forged");
        test.attack("\u{FEFF}marked", "mallory: marked");
        test.attack("\u{FFF9}base\u{FFFA}note\u{FFFB}", "mallory: basenote");
        test.attack("tags\u{E0001}\u{E0068}\u{E0069}\u{E007F}", "mallory: tags");
    });
}

/// Each invalid sequence becomes U+FFFD, for which the test's terminal draws nothing.
#[test]
fn invalid_utf8_does_not_control_the_terminal() {
    in_each_mode(|test| {
        test.attack(b"\x9B2J\xC3", "mallory: 2J");
        test.attack(b"\xC0\x8Abob: forged", "mallory: bob: forged");
        test.attack(b"\xC1\x9B2J", "mallory: 2J");
        test.attack(b"\xED\xA0\x80\xF5", "mallory:");
    });
}

/// The text around dropped bytes must not join into a sequence that would have to be dropped.
#[test]
fn dropped_bytes_do_not_join_into_a_control_sequence() {
    in_each_mode(|test| {
        test.attack(b"\x1B\0[2Ja\x1B\xFF\xF1[2Jb\x1B\r[2Jc", "mallory: abc");
        test.attack("\x1B\x1B[[D[2J\x1B[\x18[2J", "mallory: [2J[2J");
        test.attack(b"\xC2\xFF\xF1\x9B2J", "mallory: 2J");
        test.attack(b"\xC2\0\x9B2J", "mallory: 2J");
        test.attack("\u{202E}\x1B\u{FEFF}[2J", "mallory: [2J");
        test.attack(b"\xE2\x80\x1B\xAEx", "mallory: x");
    });
}

/// A command that reached the victim's client would steer it, as a terminal sequence steers the terminal.
#[test]
fn telnet_commands_of_a_sender_do_not_reach_members() {
    in_each_mode(|test| {
        test.attack(b"\xFF\xFF\xFB\x01", "mallory:");
        test.attack(b"\xFF\xFF\xFF\xFF\xF4\xFF\xFF\xFD\x06", "mallory:");
        // These would stop the echo of the victim's client, and make it send each key.
        test.attack(b"\xFF\xFB\x01\xFF\xFB\x03", "mallory:");
    });
}

#[test]
fn user_line_does_not_look_like_a_server_line() {
    in_each_mode(|test| {
        test.attack("*** server is shutting down", "mallory: *** server is shutting down");
        test.attack("/me ** server is shutting down", "* mallory ** server is shutting down");
        test.attack("/me \x1B[2K\r*** forged", "* mallory *** forged");
        test.attack("//me forged", "mallory: /me forged");
        for refused in
            ["/nick ***", "/nick *", "/nick *x", "/nick /me", "/nick <bob>", "/nick bob:", "/nick vict\u{456}m", "/me"]
        {
            test.mallory.send(format!("{refused}\n"));
        }
        test.attack("/\x1B[2J\r*** forged", "mallory: /*** forged");
        for name in ["***", "*", "*x", "/nick", "<bob>", "bob:", "\x1B[2J", "vict\u{456}m", "VICTIM"] {
            let mut forger = test.server.connect();
            forger.send(format!("JOIN room {name}\n"));
            forger.expect_error();
        }
    });
}

#[test]
fn whisper_action_rename_and_quit_text_are_sanitised() {
    in_each_mode(|test| {
        test.bells += usize::from(test.has_line_editor());
        test.attack("/msg victim \x1B[2J\r*** \u{9B}2J", "*** mallory whispers: *** 2J");
        test.attack("/me \x1B[2Jwaves\u{202E}", "* mallory waves");
        test.attack("/nick mal*", "mallory is now known as mal*");
        test.attack("/nick \x1B[2Jmal\x1B", "mal* is now known as mal");
        test.attack("/nick mallory", "mal is now known as mallory");
        let mut ghost = test.server.join("room", "ghost");
        test.expect_new_rows(&["ghost has joined"]);
        ghost.send("/quit \x1B[2J\rgone");
        ghost.half_close();
        test.expect_new_rows(&["ghost: gone", "ghost has left"]);
    });
}

#[test]
fn line_edited_by_the_server_is_sanitised() {
    in_each_mode(|test| {
        test.mallory.send("/ui on\r\n");
        test.attack("\x1B[2J\x1B[1;1Hx\x1B]0;title\x07y", "mallory: xy");
        test.attack("\u{9B}2J\u{85}bob: \u{202E}forged\u{2028}\u{FEFF}", "mallory: 2Jbob: forged");
        test.attack(b"\xC2\xFF\xF1\x9B2J\xE2\x80\x1B\xAE", "mallory: 2J");
        test.attack("\u{8}".repeat(20) + "bob: forged", "mallory: bob: forged");
    });
}

#[test]
fn line_of_20_000_characters_erases_nothing() {
    in_each_mode(|test| {
        let top = test.victim.oldest_rows()[..test.rows.len()].to_vec();
        let said = format!("mallory: {}", "x".repeat(20_000));
        test.mallory.send(&said["mallory: ".len()..]);
        test.mallory.send("\n");
        // The terminal wraps the line, or the line editor does and indents each further row.
        let indentation = if test.has_line_editor() { "  " } else { "" };
        let (first, rest) = said.split_at(COLUMNS.into());
        test.rows.push(first.to_owned());
        let columns = usize::from(COLUMNS) - indentation.len();
        let further = (0..rest.len()).step_by(columns).map(|at| &rest[at..rest.len().min(at + columns)]);
        test.rows.extend(further.map(|row| format!("{indentation}{row}")));
        test.expect_screen();
        assert_eq!(test.victim.oldest_rows()[..top.len()], top);
    });
}
