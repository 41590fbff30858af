//! Tests of arriving lines above the row: their place, their style, their wrapping and the bell.

use super::*;

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
fn arriving_lines_have_the_style_of_the_formatter() {
    let mut screen = Screen::new(80, 100);
    screen.formatter.style = LineStyle { time: true, offset: 60, color: true };
    screen.print_above("bob: one\n");
    assert_eq!(screen.rows(), ["01:00 bob: one", ">"]);
    let color = |column| screen.terminal.screen().cell(0, column).unwrap().fgcolor();
    assert_eq!((color(6), color(9)), (vt100::Color::Idx(160), vt100::Color::Idx(160)));
    assert_eq!((color(0), color(11)), (vt100::Color::Default, vt100::Color::Default));
}

#[test]
fn groups_of_lines_have_their_own_times_and_one_row() {
    let mut screen = Screen::new(80, 100);
    screen.formatter.style.time = true;
    let (mut out, groups) = (Vec::new(), [(Minute(1), &b"a: 1\n"[..]), (Minute(2), b"a: 2\na: 3\n")]);
    screen.editor.print_above(&mut out, &mut screen.formatter, groups);
    assert_eq!(String::from_utf8_lossy(&out), "\r\x1b[K00:01 a: 1\r\n00:02 a: 2\r\n00:02 a: 3\r\n> ");
}

#[test]
fn mentions_and_whispers_ring_the_bell_once_a_call() {
    let mut screen = Screen::new(80, 100);
    for (lines, bells) in [
        ("bob: hi me\n*** bob whispers: psst\n* bob hugs Me\n", 1),
        ("bob: hi\nme: me\nme has joined\n*** you whisper to me: me\n", 0),
        ("*** bob whispers: psst\n", 1),
    ] {
        screen.print_above(lines);
        assert_eq!(screen.bells(), bells, "{lines:?}");
    }
    screen.formatter.ignored.ignore(UserName::parse("bob").unwrap()).unwrap();
    screen.print_above("bob: hi me\n");
    assert!(screen.sent.is_empty(), "an ignored line changes nothing on the screen");
    let mut silent = Screen::with_settings(EditorSettings { bell: false, ..settings(80, 5) });
    silent.print_above("bob: hi me\n*** bob whispers: psst\n");
    assert_eq!(silent.bells(), 0);
    silent.row_after("abcdef");
    assert_eq!(silent.bells(), 1, "a refused key rings in any case");
}

#[test]
fn whisper_is_more_visible_than_any_other_line() {
    let mut screen = Screen::new(80, 100);
    screen.formatter.style.color = true;
    screen.print_above("bob: hi\nbob: hi me\n*** bob whispers: psst\n*** 2 here: bob, me\n*** you whisper to bob: x\n");
    let style = |row| {
        let cell = screen.terminal.screen().cell(row, 6).unwrap();
        (cell.bold(), cell.inverse(), cell.dim())
    };
    let expected =
        [(false, false, false), (true, false, false), (true, true, false), (false, false, true), (false, false, false)];
    assert_eq!([0, 1, 2, 3, 4].map(style), expected);
}

#[test]
fn long_lines_are_wrapped_and_indented() {
    let mut screen = Screen::new(20, 100);
    screen.print_above("bob: one two three four five six\n");
    assert_eq!(screen.rows(), ["bob: one two three", "  four five six", ">"]);
    screen.resize(80);
    screen.render();
    screen.print_above("bob: one two three four five six\n");
    assert_eq!(screen.rows()[2..], ["bob: one two three four five six", ">"]);
}

#[test]
fn unknown_width_wraps_no_line() {
    let mut editor = Editor::open(settings(0, 100));
    let (mut out, line) = (Vec::new(), "bob: ".to_owned() + &"long ".repeat(100));
    editor.print_above(&mut out, &mut LineFormatter::default(), [(Minute(0), format!("{line}\n").as_bytes())]);
    assert!(String::from_utf8(out).unwrap().contains(&line));
}
