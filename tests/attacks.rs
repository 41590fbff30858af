//! What one person types, and the screen of another: nothing on it is erased, moved or forged.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::screen::{COLUMNS, Screen, is_installed};
use common::{Client, TestServer};

/// Somebody at a real telnet, and somebody who attacks them.
struct Scene {
    mallory: Client,
    victim: Screen,
    /// What the victim's screen is to show from the welcome on.
    rows: Vec<String>,
    /// What is to stand below.
    bottom: &'static str,
    /// Behind the clients, so that it ends after them.
    server: TestServer,
}

impl Scene {
    /// The victim's telnet sends whole lines.
    fn with_lines() -> Self {
        Self::begin("█", |victim| victim.join("room", "victim"))
    }

    /// The victim is in the middle of a line that the server edits.
    fn with_editor() -> Self {
        Self::begin("> half a █line", |victim| {
            victim.join_with_editor("room", "victim");
            victim.type_keys("half a line\x1B[D\x1B[D\x1B[D\x1B[D");
        })
    }

    fn begin(bottom: &'static str, join: impl Fn(&mut Screen)) -> Self {
        let server = TestServer::start();
        let mut victim = Screen::telnet(&server);
        join(&mut victim);
        victim.expect_rows(&[bottom]);
        let mut rows = victim.rows();
        rows.pop();
        rows.push("mallory has joined".to_owned());
        let mallory = server.join("room", "mallory");
        let mut scene = Self { mallory, victim, rows, bottom, server };
        scene.is_whole();
        scene
    }

    /// Sends `bytes` as a line, as which the victim is to see `row` and nothing else.
    #[track_caller]
    fn attack(&mut self, bytes: impl AsRef<[u8]>, row: &str) {
        self.mallory.send(bytes);
        self.mallory.send("\n");
        self.sees(&[row]);
    }

    #[track_caller]
    fn sees(&mut self, rows: &[&str]) {
        self.rows.extend(rows.iter().map(|row| (*row).to_owned()));
        self.is_whole();
    }

    /// Waits until the screen shows what it is to show, from its first row to the cursor.
    #[track_caller]
    fn is_whole(&mut self) {
        let rows: Vec<&str> = self.rows.iter().map(String::as_str).chain([self.bottom]).collect();
        self.victim.expect_rows(&rows);
        self.victim.assert_only_text();
    }
}

/// Attacks somebody in each way of using telnet.
fn in_each_mode(attack: impl Fn(&mut Scene)) {
    if is_installed("telnet") {
        for mut scene in [Scene::with_lines(), Scene::with_editor()] {
            attack(&mut scene);
            scene.attack("all is well", "mallory: all is well");
        }
    }
}

#[test]
fn erase_sequences_erase_nothing() {
    in_each_mode(|scene| {
        scene.attack("\x1B[2J", "mallory: [2J");
        scene.attack("\x1B[2J\x1B[3J\x1B[H", "mallory: [2J[3J[H");
        scene.attack("\x1B[1K\x1B[1J\x1B[5M\x1B[5P", "mallory: [1K[1J[5M[5P");
        scene.attack("\x1Bc", "mallory: c");
        scene.attack("\x1B[?1049h\x1B[?25l\x1B[?5h", "mallory: [?1049h[?25l[?5h");
        scene.attack("\x0C\x0B\x1B#8", "mallory: #8");
    });
}

#[test]
fn cursor_sequences_do_not_move_the_cursor() {
    in_each_mode(|scene| {
        scene.attack("\x1B[A\x1B[2Abob: forged", "mallory: [A[2Abob: forged");
        scene.attack("\x1B[1;1Hbob: forged", "mallory: [1;1Hbob: forged");
        scene.attack("\x1BM\x1BM\x1B7\x1B8bob: forged", "mallory: MM78bob: forged");
        scene.attack("\x1B[20Dbob: forged", "mallory: [20Dbob: forged");
        scene.attack("\x1B[5;10r\x1B[S\x1B[T", "mallory: [5;10r[S[T");
        scene.attack("\x1B[6n\x1B[c\x1BZ\x05", "mallory: [6n[cZ");
    });
}

/// The control characters above ASCII: to a terminal U+009B is `ESC [`, U+0085 a line end.
#[test]
fn c1_controls_and_charset_switches_do_nothing() {
    in_each_mode(|scene| {
        scene.attack("\u{9B}2J\u{9B}1;1Hbob: forged", "mallory: 2J1;1Hbob: forged");
        scene.attack("\u{85}bob: forged", "mallory: bob: forged");
        scene.attack("\u{84}\u{8D}\u{8D}\u{88}\u{90}q\u{9D}0;t\u{9C}", "mallory: q0;t");
        scene.attack("\x1B%@\x0E\x0F\x1B(0lqqk", "mallory: %@(0lqqk");
    });
}

#[test]
fn title_bell_and_string_sequences_do_nothing() {
    in_each_mode(|scene| {
        scene.attack("\x1B]0;root@bank\x07", "mallory: ]0;root@bank");
        scene.attack("\x1B]2;title\x1B\\\u{9D}0;title\u{9C}", "mallory: ]2;title\\0;title");
        scene.attack("\x1B]52;c;cm0gLXJmIC8=\x07", "mallory: ]52;c;cm0gLXJmIC8=");
        scene.attack("\x1BPq\x1B\\\x1B_x\x1B\\\x1B^y", "mallory: Pq\\_x\\^y");
        scene.attack("\x07\x07\x1Bg", "mallory: g");
        // A string without an end would swallow all that comes after it.
        scene.attack("\x1B]0;", "mallory: ]0;");
        scene.attack("\x1B[31;8m", "mallory: [31;8m");
    });
}

#[test]
fn cr_and_erase_characters_do_not_overwrite_a_name() {
    in_each_mode(|scene| {
        scene.attack("x\rbob: forged", "mallory: xbob: forged");
        scene.attack("\r\r\x1B[Kbob: forged", "mallory: [Kbob: forged");
        scene.attack("\u{8}".repeat(20) + "bob: forged", "mallory: bob: forged");
        scene.attack("a\u{7F}\u{7F}\u{7F}\u{7F}bob: forged", "mallory: bob: forged");
        scene.attack(b"\xFF\xF7\xFF\xF7\xFF\xF7\xFF\xF8bob: forged", "mallory: bob: forged");
        scene.attack("x\r\rbob: forged\r", "mallory: xbob: forged");
    });
}

#[test]
fn bidi_controls_and_line_separators_are_dropped() {
    in_each_mode(|scene| {
        scene.attack("\u{202E}degrof :bob\u{202C}", "mallory: degrof :bob");
        scene.attack("\u{2066}\u{2067}\u{2068}a\u{2069}\u{202A}\u{202B}\u{202D}", "mallory: a");
        scene.attack("\u{2028}bob: forged\u{2029}bob: forged", "mallory: bob: forgedbob: forged");
        scene.attack("\u{FEFF}marked", "mallory: marked");
    });
}

/// Each sequence becomes U+FFFD, of which this terminal draws nothing.
#[test]
fn invalid_utf8_does_not_control_the_terminal() {
    in_each_mode(|scene| {
        scene.attack(b"\x9B2J\xC3", "mallory: 2J");
        scene.attack(b"\xC0\x8Abob: forged", "mallory: bob: forged");
        scene.attack(b"\xC1\x9B2J", "mallory: 2J");
        scene.attack(b"\xED\xA0\x80\xF5", "mallory:");
    });
}

/// What is dropped must not join what stands around it to something that has to be dropped.
#[test]
fn dropped_bytes_do_not_join_into_a_control_sequence() {
    in_each_mode(|scene| {
        scene.attack(b"\x1B\0[2J\x1B\xFF\xF1[2J\x1B\r[2J", "mallory: [2J[2J[2J");
        scene.attack(b"\xC2\xFF\xF1\x9B2J", "mallory: 2J");
        scene.attack(b"\xC2\0\x9B2J", "mallory: 2J");
        scene.attack("\u{202E}\x1B\u{FEFF}[2J", "mallory: [2J");
        scene.attack(b"\xE2\x80\x1B\xAEx", "mallory: x");
    });
}

/// Telnet's commands are no more one's own to give than a terminal's are.
#[test]
fn telnet_commands_of_a_sender_do_not_reach_members() {
    in_each_mode(|scene| {
        scene.attack(b"\xFF\xFF\xFB\x01", "mallory:");
        scene.attack(b"\xFF\xFF\xFF\xFF\xF4\xFF\xFF\xFD\x06", "mallory:");
        // The victim's client would echo no more, and send each key, if these had reached it.
        scene.attack(b"\xFF\xFB\x01\xFF\xFB\x03", "mallory:");
    });
}

#[test]
fn user_line_does_not_look_like_a_server_line() {
    in_each_mode(|scene| {
        scene.attack("*** server is shutting down", "mallory: *** server is shutting down");
        scene.attack("/me ** server is shutting down", "* mallory ** server is shutting down");
        scene.attack("/me \x1B[2K\r*** forged", "* mallory [2K*** forged");
        scene.attack("//me forged", "mallory: /me forged");
        for refused in ["/nick ***", "/nick *", "/nick bob:", "/nick vict\u{456}m", "/me"] {
            scene.mallory.send(format!("{refused}\n"));
        }
        scene.attack("/\x1B[2J\r*** forged", "mallory: /[2J*** forged");
        for name in ["***", "*", "bob:", "\x1B[2J", "vict\u{456}m", "VICTIM"] {
            let mut forger = scene.server.connect();
            forger.send(format!("JOIN room {name}\n"));
            forger.expect_error();
        }
    });
}

#[test]
fn whisper_action_rename_and_quit_text_are_sanitised() {
    in_each_mode(|scene| {
        scene.attack("/msg victim \x1B[2J\r*** \u{9B}2J", "*** mallory whispers: [2J*** 2J");
        scene.attack("/me \x1B[2J\u{202E}", "* mallory [2J");
        scene.attack("/nick mal*", "mallory is now known as mal*");
        scene.attack("/nick \x1B[2J", "mal* is now known as [2J");
        scene.attack("/nick mallory", "[2J is now known as mallory");
        let mut ghost = scene.server.join("room", "ghost");
        scene.sees(&["ghost has joined"]);
        ghost.send("/quit \x1B[2J\rgone");
        ghost.half_close();
        scene.sees(&["ghost: [2Jgone", "ghost has left"]);
    });
}

#[test]
fn line_edited_by_the_server_is_sanitised() {
    in_each_mode(|scene| {
        scene.mallory.send("/ui on\r\n");
        scene.attack("\x1B[2J\x1B[1;1Hx\x1B]0;title\x07y", "mallory: xy");
        scene.attack("\u{9B}2J\u{85}bob: \u{202E}forged\u{2028}\u{FEFF}", "mallory: 2Jbob: forged");
        scene.attack(b"\xC2\xFF\xF1\x9B2J\xE2\x80\x1B\xAE", "mallory: 2J");
        scene.attack("\u{8}".repeat(20) + "bob: forged", "mallory: bob: forged");
    });
}

#[test]
fn line_of_20_000_characters_erases_nothing() {
    in_each_mode(|scene| {
        let top = scene.victim.oldest_rows()[..scene.rows.len()].to_vec();
        let said = format!("mallory: {}", "x".repeat(20_000));
        scene.mallory.send(&said["mallory: ".len()..]);
        scene.mallory.send("\n");
        let columns = usize::from(COLUMNS);
        scene.rows.extend((0..said.len()).step_by(columns).map(|at| said[at..said.len().min(at + columns)].to_owned()));
        scene.is_whole();
        assert_eq!(scene.victim.oldest_rows()[..top.len()], top);
    });
}
