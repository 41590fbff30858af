//! Tests of the editor with an emulated terminal, which processes all bytes that the editor writes.

use super::*;
use crate::terminal::viewport::{character_width, text_width};
use proptest::prelude::*;
use std::num::NonZeroU16;

const ROWS: u16 = 6;

/// An emulated terminal and its editor.
struct Screen {
    terminal: vt100::Parser,
    editor: Box<Editor>,
    columns: u16,
    /// The bytes that the editor wrote last.
    sent: Vec<u8>,
}

impl Screen {
    fn new(columns: u16, max_line: usize) -> Self {
        let size = |size| NonZeroU16::new(size).unwrap();
        let mut sent = Vec::new();
        let editor = Editor::open(&mut sent, columns, max_line);
        let mut terminal = vt100::Parser::new(size(ROWS), size(columns), 0);
        terminal.process(&sent);
        Self { terminal, editor, columns, sent }
    }

    /// Types `bytes`; returns the entered lines.
    fn type_bytes(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        let mut input = bytes.as_ref();
        self.update(|editor, out| std::iter::from_fn(|| editor.next_line(out, &mut input)).collect())
    }

    /// Types `bytes` without Enter; returns the last row after that.
    fn row_after(&mut self, bytes: impl AsRef<[u8]>) -> String {
        assert!(self.type_bytes(bytes).is_empty());
        self.last_row()
    }

    fn print_above(&mut self, lines: &str) {
        self.update(|editor, out| editor.print_above(out, lines.as_bytes(), SystemTime::UNIX_EPOCH));
    }

    fn update<T>(&mut self, action: impl FnOnce(&mut Editor, &mut Vec<u8>) -> T) -> T {
        let mut out = Vec::new();
        let result = action(&mut self.editor, &mut out);
        // The emulator shows nothing for U+FFFD; real terminals show a character of one column.
        self.terminal.process(String::from_utf8(out.clone()).unwrap().replace('\u{FFFD}', "?").as_bytes());
        self.sent = out;
        result
    }

    fn rows(&self) -> Vec<String> {
        let rows = self.terminal.screen().rows(0, self.columns).map(|row| row.trim_end().to_owned());
        rows.filter(|row| !row.is_empty()).collect()
    }

    /// Returns the row of the cursor, with a bar at the cursor.
    fn last_row(&self) -> String {
        let screen = self.terminal.screen();
        let (row, column) = screen.cursor_position();
        let cells = |columns: std::ops::Range<u16>| -> String {
            let cells = columns.map(|column| screen.cell(row, column).unwrap());
            let seen = cells.filter(|cell| !cell.is_wide_continuation());
            seen.map(|cell| if cell.has_contents() { cell.contents() } else { " " }).collect()
        };
        format!("{}|{}", cells(0..column), cells(column..self.columns).trim_end())
    }
}

#[test]
fn typed_line_is_echoed_and_entered() {
    let mut screen = Screen::new(80, 100);
    assert_eq!(screen.last_row(), "> |");
    assert_eq!(screen.row_after("hello"), "> hello|");
    assert_eq!(screen.sent, b"hello", "a character at the end costs one byte");
    assert_eq!(screen.type_bytes("\r"), ["hello"]);
    assert_eq!(screen.last_row(), "> |");
    assert_eq!(screen.type_bytes("\none\r\ntwo\r\0th"), ["one", "two"]);
    assert_eq!(screen.type_bytes("ree\n\r"), ["three", ""]);
}

#[test]
fn keys_edit_in_the_middle_of_the_line() {
    let mut screen = Screen::new(80, 100);
    screen.row_after("helo wrld");
    assert_eq!(screen.row_after("\x1b[D\x1b[D\x1b[D"), "> helo w|rld");
    assert_eq!(screen.row_after("o"), "> helo wo|rld");
    assert_eq!(screen.row_after("\x1b[H\x1bOC\x06\x06l"), "> hell|o world");
    assert_eq!(screen.row_after("\x1b[3~\x1b[3~"), "> hell|world");
    assert_eq!(screen.row_after("\x7f\x08"), "> he|world");
    assert_eq!(screen.row_after("\x05!\x02\x02"), "> heworl|d!");
    assert_eq!(screen.row_after("\x0b\x17x"), "> x|");
    assert_eq!(screen.row_after("yz\x01\x15\x04"), "> |yz");
    assert_eq!(screen.type_bytes("\r"), ["yz"], "Enter returns the whole line with the cursor at its start");
}

#[test]
fn arrow_keys_recall_entered_lines() {
    let mut screen = Screen::new(80, 100);
    screen.type_bytes("one\rtwo\r");
    assert_eq!(screen.row_after("unfini\x1b[A"), "> two|");
    assert_eq!(screen.row_after("\x10\x1bOA"), "> one|");
    assert_eq!(screen.row_after("\x7f\x1b[B\x0e"), "> unfini|");
    assert_eq!(screen.type_bytes("shed\x1b[A\x1b[A\r"), ["one"]);
}

#[test]
fn arriving_lines_are_printed_above_the_edited_line() {
    let mut screen = Screen::new(80, 100);
    screen.row_after("hello\x1b[D\x1b[D");
    screen.print_above("bob: one\nbob: two\n");
    assert_eq!(screen.rows(), ["bob: one", "bob: two", "> hello"]);
    assert_eq!(screen.last_row(), "> hel|lo");
    assert_eq!(screen.row_after("X"), "> helX|lo");
    assert_eq!(screen.type_bytes("\r"), ["helXlo"]);
    for number in 0..9 {
        screen.print_above(&format!("{number}\n"));
    }
    assert_eq!(screen.rows(), ["4", "5", "6", "7", "8", ">"]);
    screen.print_above("");
    assert!(screen.sent.is_empty());
}

#[test]
fn arriving_lines_have_the_editors_style() {
    let mut screen = Screen::new(80, 100);
    screen.editor.style = LineStyle { time: true, color: true };
    screen.print_above("bob: one\n");
    assert_eq!(screen.rows(), ["00:00 bob: one", ">"]);
    let color = |column| screen.terminal.screen().cell(0, column).unwrap().fgcolor();
    assert_eq!((color(6), color(9)), (vt100::Color::Idx(160), vt100::Color::Idx(160)));
    assert_eq!((color(0), color(11)), (vt100::Color::Default, vt100::Color::Default));
}

#[test]
fn long_line_scrolls_within_one_row() {
    let mut screen = Screen::new(20, 100);
    assert_eq!(screen.row_after("abcdefghijklmnopq"), "> abcdefghijklmnopq|");
    assert_eq!(screen.row_after("r"), "> <klmnopqr|");
    assert_eq!(screen.row_after("stuvwxyz"), "> <klmnopqrstuvwxyz|");
    assert_eq!(screen.row_after("\x01"), "> |abcdefghijklmnop>");
    assert_eq!(screen.row_after("\x1b[C".repeat(15)), "> abcdefghijklmno|p>");
    assert_eq!(screen.row_after("\x1b[C"), "> <ijklmnop|qrstuvw>");
    assert_eq!(screen.row_after("\x1b[D".repeat(8)), "> abcdefgh|ijklmnop>");
    assert_eq!(screen.row_after("\x0b"), "> abcdefgh|");
    assert_eq!(screen.rows().len(), 1, "the line never wraps");
}

#[test]
fn backspace_erases_only_visible_characters() {
    let mut screen = Screen::new(20, 100);
    screen.row_after("abcdefghijklmnopqrstuvwxyz");
    let mut seen = Vec::new();
    for _ in 0..26 {
        let row = screen.row_after("\x7f");
        assert!(!row.starts_with("> <|"), "{row}");
        seen.push(row);
    }
    assert_eq!((&*seen[8], &*seen[25]), ("> abcdefghijklmnopq|", "> |"));
}

#[test]
fn wide_characters_and_combining_marks_keep_the_cursor_in_place() {
    let mut screen = Screen::new(20, 100);
    assert_eq!(screen.row_after("漢字e\u{301}x"), "> 漢字e\u{301}x|");
    assert_eq!(screen.row_after("\x02\x02\x02"), "> 漢|字e\u{301}x");
    assert_eq!(screen.row_after("ü🙂"), "> 漢ü🙂|字e\u{301}x");
    assert_eq!(screen.row_after("\x7f\x04\x04"), "> 漢ü|x");
    assert_eq!(screen.row_after("\x05\x15\u{301}a"), "> a|", "a mark without a base character is not shown");
    assert_eq!(screen.row_after("\x15漢漢漢漢漢漢漢漢"), "> 漢漢漢漢漢漢漢漢|");
    assert_eq!(screen.row_after("字"), "> <漢漢漢字|");
    assert_eq!(screen.type_bytes("\r"), [format!("{}字", "漢".repeat(8))]);
}

#[test]
fn at_most_four_combining_marks_are_shown() {
    let mut screen = Screen::new(20, MAX_LINE);
    assert_eq!(screen.row_after("a".to_owned() + &"\u{301}".repeat(2_000)), format!("> a{}|", "\u{301}".repeat(4)));
    assert!(screen.sent.len() < 20);
    assert_eq!(screen.type_bytes("\r")[0].len(), 4_001);
}

#[test]
fn joined_emoji_is_shown_in_parts_and_entered_whole() {
    let mut screen = Screen::new(20, 100);
    let family = "👨\u{200d}👩\u{200d}👧";
    assert_eq!(screen.row_after(format!("a{family}")), "> a👨👩👧|");
    assert_eq!(screen.row_after("\x02"), "> a|👨👩👧");
    assert_eq!(screen.type_bytes("\r"), [format!("a{family}")], "the line keeps its joiners");
    assert_eq!(screen.row_after(format!("{family}\x7f")), "> |");
}

#[test]
fn characters_may_be_split_between_reads() {
    let mut screen = Screen::new(20, 100);
    for byte in "ü漢\x1b[D\x1b[1;5Dx".bytes() {
        screen.type_bytes([byte]);
    }
    assert_eq!(screen.last_row(), "> x|ü漢");
}

#[test]
fn full_line_rings_the_bell_once() {
    let mut screen = Screen::new(20, 5);
    assert_eq!(screen.row_after("abcdü"), "> abcd|");
    assert_eq!(screen.sent, b"abcd\x07");
    assert_eq!(screen.type_bytes("efghij\rx\r"), ["abcde", "x"]);
    assert_eq!(screen.type_bytes("x".repeat(50)), [""; 0]);
    assert_eq!(screen.sent, b"xxxxx\x07", "one bell for any number of refused characters");
    let mut screen = Screen::new(20, 1 << 30);
    assert_eq!(screen.type_bytes("x".repeat(10_000) + "\r")[0].len(), MAX_LINE);
}

#[test]
fn resize_renders_for_the_new_width() {
    let mut screen = Screen::new(40, 100);
    screen.row_after("abcdefghijklmnopqrstuvwxyz");
    let size = |size| NonZeroU16::new(size).unwrap();
    screen.terminal.set_size(size(ROWS), size(20));
    screen.columns = 20;
    screen.update(|editor, out| editor.resize(out, 20));
    assert_eq!(screen.last_row(), "> <stuvwxyz|");
    let mut unknown = Screen::new(80, 100);
    unknown.update(|editor, out| editor.resize(out, 0));
    assert_eq!(unknown.row_after("x".repeat(77)), format!("> {}|", "x".repeat(77)));
    assert!(unknown.row_after("x").starts_with("> <xx"));
}

#[test]
fn telnet_erase_and_redraw_render_the_row() {
    let mut screen = Screen::new(20, 100);
    screen.row_after("abc");
    screen.update(Editor::erase_character);
    assert_eq!(screen.last_row(), "> ab|");
    screen.terminal.process(b"\rrubbish");
    assert_eq!(screen.row_after("\x0c".repeat(1_000)), "> ab|");
    assert_eq!(screen.sent, b"\r\x1b[K> ab", "one redraw for any number of requests");
    screen.update(Editor::erase_line);
    assert_eq!(screen.last_row(), "> |");
    assert_eq!(screen.row_after("abc\x03de"), "> de|");
}

#[test]
fn close_clears_the_row_and_returns_the_unfinished_line() {
    let (mut out, mut input) = (Vec::new(), &b"half\x1b[D"[..]);
    let mut editor = Editor::open(&mut out, 80, 100);
    assert_eq!(editor.next_line(&mut out, &mut input), None);
    let mut terminal = vt100::Parser::default();
    terminal.process(&out);
    assert_eq!(terminal.screen().contents().trim_end(), "> half");
    let mut end = Vec::new();
    assert_eq!(editor.close(&mut end), "half");
    terminal.process(&end);
    assert_eq!((terminal.screen().contents().trim_end(), terminal.screen().cursor_position()), ("", (0, 0)));
}

/// Generates bytes of keys, text and garbage.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "a", "b", " ", "ü", "漢", "🙂", "\u{301}", "\u{200d}", "\u{fe0f}", "\u{1160}", "\x1b[D", "\x1b[C", "\x1b[A",
        "\x1b[B", "\x1b[H", "\x1b[F", "\x1b[3~", "\x7f", "\x0b", "\x15", "\x17", "\x0c", "\x03", "\r\n", "\x1b",
        "\x1b]",
    ];
    let piece = prop::sample::select(pieces.to_vec()).prop_map(|piece| piece.as_bytes().to_vec());
    let words = "[a-z 漢]{5,30}".prop_map(String::into_bytes);
    let rubbish = prop::collection::vec(any::<u8>(), 1..8);
    let any_text = prop::collection::vec(any::<char>(), 1..8).prop_map(|text| text.iter().collect::<String>().into());
    prop_oneof![6 => piece, 2 => words, 1 => rubbish, 1 => any_text]
}

/// Checks that the last row shows the prompt and the editor's line around its cursor.
fn check_screen(screen: &Screen) -> Result<(), TestCaseError> {
    let editor = &screen.editor;
    let (text, cursor) = (editor.line.text(), editor.line.cursor());
    let row = screen.last_row();
    let seen = row.strip_prefix(PROMPT);
    prop_assert!(seen.is_some(), "{row:?}");
    let (shown, at) = (&editor.rendered.text, editor.rendered.cursor);
    let widths = shown.char_indices().scan(0, |sum, (byte, character)| {
        *sum += character_width(character);
        Some((*sum, byte + character.len_utf8()))
    });
    let split = widths.take_while(|(sum, _)| *sum <= at).last().map_or(0, |(_, byte)| byte);
    let expected = format!("{}|{}", &shown[..split], &shown[split..].trim_end()).replace('\u{FFFD}', "?");
    prop_assert_eq!(seen, Some(&*expected), "the terminal shows the rendered row");
    prop_assert!(text_width(shown) < usize::from(screen.columns) - PROMPT.len());

    // Apart from combining marks, the row is a part of the line, cut only at an overflow mark.
    let base = |text: &str| text.chars().filter(|character| character_width(*character) > 0).collect::<String>();
    let (before, after) = (base(&text[..cursor]), base(&text[cursor..]));
    let (left, right) = (base(&shown[..split]), base(&shown[split..]));
    prop_assert!(
        left == before || left.strip_prefix('<').is_some_and(|left| before.ends_with(left) && !left.is_empty())
    );
    prop_assert!(right == after || right.strip_suffix('>').is_some_and(|right| after.starts_with(right)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// For any keys and arriving lines, the last row shows the prompt and the line, and Enter returns that
    /// line.
    #[test]
    fn screen_shows_the_line_that_enter_will_return(
        steps in prop::collection::vec((input(), 0u8..12), 1..60),
        columns in 10u16..50,
        max_line in 1usize..120,
    ) {
        let mut screen = Screen::new(columns, max_line);
        for (bytes, action) in steps {
            match action {
                0 => screen.print_above("bob: hi\n"),
                1 => screen.print_above(&format!("bob: {}\n", "long ".repeat(20))),
                2 => screen.update(|editor, out| editor.resize(out, columns)),
                _ => {
                    for line in screen.type_bytes(&bytes) {
                        prop_assert!(line.len() <= max_line && !line.contains(char::is_control));
                    }
                }
            }
            check_screen(&screen)?;
            prop_assert!(screen.sent.len() <= 2_000);
        }
        let text = screen.editor.line.text().to_owned();
        let entered = screen.type_bytes("\x18\r");
        // The CAN byte completes an incomplete character as U+FFFD.
        prop_assert!(entered[0] == text || entered[0].len() > text.len(), "{entered:?} {text:?}");
        prop_assert_eq!(screen.last_row(), "> |");
    }
}
