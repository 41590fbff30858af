//! Tests of the style of lines.

use super::*;

const PLAIN: LineStyle = LineStyle { time: false, offset: 0, color: false };
const TIME: LineStyle = LineStyle { time: true, ..PLAIN };
const COLOR: LineStyle = LineStyle { color: true, ..PLAIN };

/// Returns a formatter for `me`.
fn formatter(style: LineStyle) -> LineFormatter {
    let mut formatter = LineFormatter { style, ..LineFormatter::default() };
    formatter.set_own_name(UserName::parse("me").unwrap());
    formatter
}

fn formatted_at(style: LineStyle, lines: &str, minute: u32) -> String {
    let mut out = Vec::new();
    formatter(style).format_lines(&mut out, lines.as_bytes(), Minute(minute), "\r\n");
    String::from_utf8(out).unwrap()
}

fn formatted(style: LineStyle, lines: &str) -> String {
    formatted_at(style, lines, 0)
}

/// Returns the rows of one line on a terminal with `columns` columns, joined by bars, and the attention it wants.
fn wrapped(style: LineStyle, line: &str, columns: usize) -> (String, Attention) {
    let (mut out, mut formatter) = (Vec::new(), formatter(style));
    let time = formatter.format_time(Minute(0));
    let layout = Layout { time: &time, row_end: "|", columns };
    let attention = formatter.format_line(&mut out, line, RoomLine::parse(line), layout);
    (String::from_utf8(out).unwrap(), attention)
}

#[test]
fn plain_style_changes_only_the_line_ends() {
    assert_eq!(formatted(PLAIN, "a: 1\n\nb: me\n"), "a: 1\r\n\r\nb: me\r\n");
    assert_eq!(formatted(PLAIN, ""), "");
    let mut out = Vec::new();
    formatter(PLAIN).format_lines(&mut out, b"a: 1\tx\n", Minute(0), "\n");
    assert_eq!(out, b"a: 1\tx\n");
}

#[test]
fn only_a_formatter_without_additions_is_plain() {
    assert!(formatter(LineStyle { offset: 60, ..PLAIN }).is_plain());
    assert!(!formatter(TIME).is_plain() && !formatter(COLOR).is_plain());
    let mut ignoring = formatter(PLAIN);
    ignoring.ignored.ignore(UserName::parse("bob").unwrap()).unwrap();
    assert!(!ignoring.is_plain());
}

#[test]
fn time_of_saying_is_written_before_each_line_in_the_offset() {
    assert_eq!(formatted(TIME, "a: 1\nb: 2\n"), "00:00 a: 1\r\n00:00 b: 2\r\n");
    let noon = 29_000_000 - 29_000_000 % 1440 + 12 * 60 + 34;
    assert_eq!(formatted_at(TIME, "a: 1\n", noon), "12:34 a: 1\r\n");
    assert_eq!(formatted_at(LineStyle { offset: 120, ..TIME }, "a: 1\n", noon), "14:34 a: 1\r\n");
    assert_eq!(formatted_at(LineStyle { offset: -13 * 60, ..TIME }, "a: 1\n", noon), "23:34 a: 1\r\n");
}

#[test]
fn name_has_the_same_color_in_every_kind_of_line() {
    let paint = format!("\x1b[38;5;{}m", color_of_name(b"alice"));
    for (line, name, rest) in [
        ("alice: hi bob", "alice:", " hi bob"),
        ("alice: ", "alice:", " "),
        ("alice has joined", "alice", " has joined"),
        ("alice has left", "alice", " has left"),
        ("alice is now known as al", "alice", " is now known as al"),
        ("* alice waves: so", "* alice", " waves: so"),
        ("ALICE: hi", "ALICE:", " hi"),
        ("#7 alice: hi", "#7 alice:", " hi"),
        ("#7 * alice waves", "#7 * alice", " waves"),
    ] {
        assert_eq!(formatted(COLOR, &format!("{line}\n")), format!("{paint}{name}\x1b[0m{rest}\r\n"));
    }
    assert_eq!(formatted(COLOR, "ERROR\n"), "ERROR\r\n");
}

#[test]
fn server_lines_are_dim_and_whispers_stand_out() {
    assert_eq!(formatted(COLOR, "*** 1 here: al\n"), "\x1b[2m*** 1 here: al\x1b[0m\r\n");
    assert_eq!(formatted(COLOR, "*** bob: old\n"), "\x1b[2m*** bob: old\x1b[0m\r\n");
    assert_eq!(formatted(COLOR, "*** bob whispers: hi\n"), "\x1b[1;7m*** bob whispers: hi\x1b[0m\r\n");
    assert_eq!(formatted(COLOR, "*** you whisper to bob: hi\n"), "*** you whisper to bob: hi\r\n");
    let both = LineStyle { time: true, ..COLOR };
    assert_eq!(formatted(both, "*** x\n"), "00:00 \x1b[2m*** x\x1b[0m\r\n");
}

#[test]
fn mention_of_the_own_name_is_bold() {
    let color = color_of_name(b"bob");
    assert_eq!(formatted(COLOR, "bob: hi Me\n"), format!("\x1b[1;38;5;{color}mbob:\x1b[0m\x1b[1m hi Me\x1b[0m\r\n"));
    let mine = color_of_name(b"me");
    assert_eq!(formatted(COLOR, "me: me\n"), format!("\x1b[38;5;{mine}mme:\x1b[0m me\r\n"));
}

#[test]
fn attention_is_wanted_for_mentions_and_whispers_alone() {
    for line in ["bob: hi me", "* bob hugs ME", "*** bob whispers: hi", "#7 bob: hi me", "#7 * bob hugs me"] {
        assert_eq!(wrapped(PLAIN, line, 80).1, Attention::Wanted, "{line}");
    }
    for line in ["bob: hi", "me: me", "me has joined", "*** bob: me", "*** you whisper to me: me", "*** 1 here: me"] {
        assert_eq!(wrapped(PLAIN, line, 80).1, Attention::NotWanted, "{line}");
    }
}

#[test]
fn lines_of_ignored_names_are_not_shown() {
    let mut formatter = formatter(TIME);
    formatter.ignored.ignore(UserName::parse("bob").unwrap()).unwrap();
    let mut out = Vec::new();
    let lines = b"bob: me\nal: hi\nBOB: hi\n*** bob whispers: x\nbob is now known as rob\nrob: hi\nrob has left\n";
    formatter.format_lines(&mut out, lines, Minute(0), "\n");
    assert_eq!(String::from_utf8(out).unwrap(), "00:00 al: hi\n00:00 bob is now known as rob\n00:00 rob has left\n");
}

#[test]
fn wrapped_rows_are_indented() {
    assert_eq!(wrapped(PLAIN, "bob: one two three", 12).0, "bob: one two|  three|");
    assert_eq!(wrapped(TIME, "bob: one two three", 16).0, "00:00 bob: one|  two three|");
    assert_eq!(wrapped(PLAIN, "bob: one two three", 0).0, "bob: one two three|", "the width is unknown");
    assert_eq!(wrapped(PLAIN, "bob: one two three", 1).0, "bob: one two three|");
    assert_eq!(wrapped(PLAIN, "bob: one two three", 65_535).0, "bob: one two three|");
    assert_eq!(wrapped(PLAIN, "", 12).0, "|");
    assert_eq!(wrapped(PLAIN, "bob: a\tb", 12).0, "bob: a  b|");
}

#[test]
fn each_wrapped_row_has_its_own_style() {
    assert_eq!(
        wrapped(COLOR, "*** bob whispers: one two", 18).0,
        "\x1b[1;7m*** bob whispers:\x1b[0m|  \x1b[1;7mone two\x1b[0m|"
    );
    let color = color_of_name(b"bob");
    assert_eq!(wrapped(COLOR, "bob: one two three", 12).0, format!("\x1b[38;5;{color}mbob:\x1b[0m one two|  three|"));
}

#[test]
fn colors_are_stable_and_all_used() {
    assert_eq!(["alice", "bob", "carol"].map(|name| color_of_name(name.as_bytes())), [166, 160, 32]);
    let used = |color| (0..200).any(|id| color_of_name(format!("u{id}").as_bytes()) == color);
    assert!(COLORS.into_iter().all(used));
}

#[test]
fn colors_contrast_with_black_and_with_white() {
    // The levels of the 6 x 6 x 6 color cube, and the contrast ratio of WCAG 2.2.
    let light = |level: u8| match level {
        0 => 0.0,
        level => ((f64::from(level) * 40.0 + 55.0) / 255.0 + 0.055).powf(2.4) / 1.055_f64.powf(2.4),
    };
    for color in COLORS {
        let level = |unit: u8| light((color - 16) / unit % 6);
        let luminance = 0.2126 * level(36) + 0.7152 * level(6) + 0.0722 * level(1);
        let (on_black, on_white) = ((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05));
        assert!(on_black > 3.5 && on_white > 3.5, "{color}: {on_black} {on_white}");
    }
}
