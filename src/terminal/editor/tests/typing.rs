//! Tests of typing: keys, events, completion, and the row that they show.

use super::*;

#[test]
fn typed_line_is_echoed_and_entered() {
    let mut screen = Screen::new(80, 100);
    assert_eq!(screen.last_row(), "> |");
    assert_eq!(screen.row_after("hello"), "> hello|");
    assert_eq!(screen.sent, b"hello", "a character at the end costs one byte");
    assert_eq!(screen.type_bytes("\r"), ["hello"]);
    assert_eq!(screen.last_row(), "> |");
    assert_eq!(screen.type_bytes("\none\r\ntwo\r\0th"), ["one", "two"]);
    assert_eq!(screen.type_bytes("ree\n\r"), ["three"], "an empty Enter says nothing");
    assert_eq!(screen.type_bytes(" \r"), [" "]);
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
    screen.type_bytes("half\x1b[A\r\r");
    assert_eq!(screen.row_after("\x1b[A"), "> one|", "an empty Enter returns from the history");
    assert_eq!(screen.events("\x03"), [EditorEvent::Interrupt]);
    assert_eq!(screen.row_after("\x1b[B"), "> |", "Ctrl-C returns from the history");
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
    let mut screen = Screen::new(20, 20_000);
    assert_eq!(screen.row_after("a".to_owned() + &"\u{301}".repeat(100)), format!("> a{}|", "\u{301}".repeat(4)));
    assert!(screen.sent.len() < 20);
    assert_eq!(screen.type_bytes("\r")[0].len(), 201);
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
fn ctrl_d_leaves_on_an_empty_row_and_erases_on_another() {
    let mut screen = Screen::new(80, 100);
    assert_eq!(screen.events("\x04"), [EditorEvent::Leave]);
    assert_eq!(screen.events("ab\x01\x04"), []);
    assert_eq!(screen.last_row(), "> |b");
    assert_eq!(screen.events("\x05\x04"), [], "the row is not empty at its end");
    assert_eq!(screen.last_row(), "> b|");
    assert_eq!(screen.events("\x7f\x1b[3~"), [], "the Delete key never leaves");
}

#[test]
fn ctrl_c_empties_the_row_and_is_an_event() {
    let mut screen = Screen::new(80, 100);
    assert_eq!(screen.events("abc\x03"), [EditorEvent::Interrupt]);
    assert_eq!(screen.last_row(), "> |");
    let line = EditorEvent::Line("de".to_owned());
    assert_eq!(screen.events("abc\x03de\r\x03"), [EditorEvent::Interrupt, line, EditorEvent::Interrupt]);
}

#[test]
fn erased_text_is_put_back() {
    let mut screen = Screen::new(80, 100);
    assert_eq!(screen.row_after("one two three\x17\x19\x19"), "> one two threethree|");
    assert_eq!(screen.row_after("\x15x\x19"), "> xone two threethree|");
    assert_eq!(screen.row_after("\x01\x1bd"), "> | two threethree");
    assert_eq!(screen.row_after("\x05 \x19"), ">  two threethree xone|");
    assert_eq!(screen.row_after("\x01\x0b\x19\x19"), ">  two threethree xone two threethree xone|");
    assert_eq!(screen.row_after("\x15\x15\x0b\x17\x1bd\x19\x15"), "> |", "an erasure of nothing keeps the text");
    let mut screen = Screen::new(80, 7);
    assert_eq!(screen.row_after("abcd\x17\x19\x19x"), "[full] > abcdabc|");
    assert_eq!(screen.bells(), 1, "the row says that the text did not fit");
}

#[test]
fn full_line_is_said_in_the_row_until_it_becomes_shorter() {
    let mut screen = Screen::new(80, 5);
    assert_eq!(screen.row_after("abcd"), "> abcd|");
    assert_eq!(screen.row_after("ü"), "[full] > abcd|");
    assert_eq!(screen.bells(), 1);
    assert_eq!(screen.row_after("efgh"), "[full] > abcd|", "no later character closes the gap");
    assert_eq!(screen.bells(), 0, "the bell rings when the line becomes full, not for each refused character");
    assert_eq!(screen.row_after("\x1b[D"), "[full] > abc|d");
    assert_eq!(screen.bells(), 0);
    assert_eq!(screen.row_after("\x7f"), "> ab|d");
    assert_eq!(screen.type_bytes("x\x05yz\r"), ["abxdy"]);
    assert_eq!(screen.last_row(), "> |");
    let mut narrow = Screen::new(14, 5);
    assert_eq!(narrow.row_after("abcdef"), "!> abcde|");
}

#[test]
fn line_of_the_longest_length_is_entered_whole() {
    let mut screen = Screen::new(80, 20_000);
    assert_eq!(screen.type_bytes("x".repeat(20_000) + "\r"), ["x".repeat(20_000)]);
    assert_eq!(screen.type_bytes("x".repeat(1_000_000) + "\r")[0].len(), 20_000);
    let cyrillic = "ж".repeat(10_000);
    assert_eq!(screen.type_bytes(format!("{cyrillic}\r")), [cyrillic]);
}

#[test]
fn render_costs_a_row_whatever_the_length_of_the_line() {
    for piece in ["x", "ж", "漢", "\u{301}", "👨\u{200d}", "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}", "\t"] {
        let mut screen = Screen::new(80, 20_000);
        screen.events(piece.repeat(20_000 / piece.len()));
        for keys in ["\x1b[D", "\x01", "\x1b[C", "\x05", "\x0c", "y", "\x1bb", "\x7f"] {
            screen.type_bytes(keys);
            assert!(screen.sent.len() < 80 * 16, "{piece:?} {keys:?}: {}", screen.sent.len());
            assert!(screen.rows().len() <= 1, "{piece:?} {keys:?}");
        }
    }
}

#[test]
fn feed_takes_a_bounded_number_of_bytes() {
    let mut editor = Editor::open(settings(80, 10_000));
    let keys = "x".repeat(2 * FEED_BYTES) + "\ry";
    let mut input = keys.as_bytes();
    assert_eq!((editor.feed(&mut input), input.len()), (None, FEED_BYTES + 2));
    assert_eq!((editor.feed(&mut input), input.len()), (None, 2));
    assert_eq!((editor.feed(&mut input), input), (Some(EditorEvent::Line("x".repeat(2 * FEED_BYTES))), &b"y"[..]));
}

#[test]
fn tab_that_is_followed_by_text_is_text() {
    let mut screen = Screen::new(80, 10_000);
    assert_eq!(screen.row_after("a\tb"), "> a b|");
    assert_eq!(screen.type_bytes("\r"), ["a\tb"]);
    let pasted = format!("{}\tx\r", "x".repeat(FEED_BYTES - 1));
    assert_eq!(screen.type_bytes(&pasted), [pasted.trim_end()], "a TAB at the bound of a feed is not the last byte");
}

#[test]
fn draft_keeps_its_tabs_and_drops_control_keys() {
    let mut screen = Screen::new(80, 10_000);
    screen.row_after("dropped");
    let long = "x".repeat(2 * FEED_BYTES);
    screen.editor.set_draft(format!("{long}\x15a\tb\x1b[Dc\x03\x04\x1b]0;title\x07d\u{202e}\u{9b}\t").as_bytes());
    assert_eq!(screen.type_bytes("!\r"), [format!("{long}a\tbcd\t!")]);
    screen.editor.set_draft(b"b\t");
    screen.render();
    assert_eq!(screen.last_row(), "> b |", "a TAB at the end of a draft completes no name");
    screen.editor.set_draft("Так\u{443}".as_bytes().split_last().unwrap().1);
    assert_eq!(screen.type_bytes(b"\x83\r"), ["Так\u{443}"], "a character that a draft begins is completed by keys");
}

#[test]
fn draft_is_cut_at_the_longest_line() {
    let mut screen = Screen::new(80, 5);
    screen.editor.set_draft(b"\xFF\xFF\xFF");
    screen.render();
    assert_eq!(screen.bells(), 1);
    assert_eq!(screen.type_bytes("x\r"), ["\u{FFFD}"]);
    screen.editor.set_draft(b"12345");
    assert_eq!(screen.type_bytes("\r"), ["12345"]);
}

#[test]
fn typed_tab_completes_the_name_before_the_cursor() {
    let mut screen = Screen::new(80, 100);
    assert_eq!(screen.events("C\t"), [EditorEvent::Complete]);
    assert_eq!(screen.last_row(), "> carl: |");
    assert_eq!(screen.events("\t"), [], "one match stays");
    assert_eq!(screen.last_row(), "> carl: |");
    assert_eq!(screen.events("hi b\t"), [EditorEvent::Complete]);
    assert_eq!(screen.last_row(), "> carl: hi bea |");
    screen.events("\t");
    assert_eq!(screen.last_row(), "> carl: hi Bob |");
    screen.events("\t");
    assert_eq!(screen.last_row(), "> carl: hi bea |", "the matches come again");
    assert_eq!(screen.type_bytes("\r"), ["carl: hi bea "]);
    screen.events("/msg bo\t");
    assert_eq!(screen.last_row(), "> /msg Bob |");
    screen.events("\x15 x\x01b\t");
    assert_eq!(screen.last_row(), "> bea:| x");
    screen.events("\t");
    assert_eq!(screen.last_row(), "> Bob:| x");
}

#[test]
fn names_are_completed_by_last_activity() {
    let mut screen = Screen::new(80, 100);
    screen.print_above("bill: 1\nBob: 1\nme: 1\nben has joined\nbart: 1\nbart has left\n");
    let mut seen = Vec::new();
    for keys in ["b\t", "\t", "\t", "\t", "\t"] {
        screen.events(keys);
        seen.push(screen.last_row());
    }
    assert_eq!(seen, ["> ben: |", "> Bob: |", "> bill: |", "> bea: |", "> ben: |"]);
    screen.events("\x15\t");
    assert_eq!(screen.last_row(), "> ben: |", "no word is completed to the name that was active last");
    screen.editor.set_prompt("lobby> ");
    screen.events("\x15b\t");
    assert_eq!(screen.last_row(), "lobby> bea: |", "the names of another room are forgotten");
}

#[test]
fn completion_without_a_match_rings_the_bell() {
    let mut screen = Screen::new(80, 100);
    assert_eq!(screen.events("x\t"), [EditorEvent::Complete]);
    assert_eq!((&*screen.last_row(), screen.bells()), ("> x|", 1));
    let mut full = Screen::new(80, 5);
    full.events("c\t");
    assert_eq!((&*full.last_row(), full.bells()), ("> c|", 1), "a name that does not fit is no match");
}

#[test]
fn prompt_shows_the_room_if_there_is_capacity() {
    let mut screen = Screen::new(20, 100);
    screen.editor.set_prompt("lobby> ");
    assert_eq!(screen.row_after("hi"), "lobby> hi|");
    assert_eq!(screen.row_after("\x1b[D"), "lobby> h|i");
    assert_eq!(screen.row_after("abcdefghij"), "lobby> habcdefghij|i");
    assert_eq!(screen.row_after("k"), "lobby> <fghijk|i");
    let prompted = |columns| {
        let mut screen = Screen::with_settings(EditorSettings { prompt: "lobby> ".to_owned(), ..settings(columns, 9) });
        screen.row_after("hi")
    };
    assert_eq!([17, 16, 10, 9].map(prompted), ["lobby> hi|", "> hi|", "> hi|", "hi|"]);
}

#[test]
fn same_prompt_or_width_is_not_drawn_again() {
    let mut screen = Screen::new(20, 100);
    screen.row_after("hi");
    screen.editor.set_prompt("> ");
    screen.editor.resize(20);
    assert_eq!(screen.editor.render_delay(), None);
    screen.editor.set_prompt("dev> ");
    assert_eq!(screen.editor.render_delay(), Some(RENDER_DELAY));
    screen.render();
    assert_eq!((&*screen.last_row(), screen.editor.render_delay()), ("dev> hi|", None));
}

#[test]
fn feeding_draws_nothing_until_the_next_render() {
    let mut screen = Screen::new(20, 100);
    assert_eq!(screen.editor.render_delay(), None);
    let mut input = &b"hello"[..];
    assert_eq!(screen.editor.feed(&mut input), None);
    assert_eq!((&*screen.last_row(), screen.editor.render_delay()), ("> |", Some(RENDER_DELAY)));
    screen.render();
    assert_eq!((&*screen.last_row(), screen.sent.as_slice()), ("> hello|", &b"hello"[..]));
}

#[test]
fn telnet_erase_and_redraw_render_the_row() {
    let mut screen = Screen::new(20, 100);
    screen.row_after("abc");
    screen.editor.erase_character();
    screen.render();
    assert_eq!(screen.last_row(), "> ab|");
    screen.terminal.process(b"\rrubbish");
    assert_eq!(screen.row_after("\x0c".repeat(1_000)), "> ab|");
    assert_eq!(screen.sent, b"\r\x1b[K> ab", "one redraw for any number of requests");
    screen.editor.erase_line();
    screen.render();
    assert_eq!(screen.last_row(), "> |");
}

#[test]
fn close_clears_the_row() {
    let mut screen = Screen::new(80, 100);
    screen.row_after("half\x1b[D");
    let mut end = Vec::new();
    screen.editor.close(&mut end);
    screen.show(end);
    assert_eq!((&*screen.last_row(), screen.terminal.screen().cursor_position()), ("|", (0, 0)));
}

#[test]
fn lines_of_all_scripts_are_edited_by_visible_character() {
    for (text, shorter) in [
        ("жизнь", "жизн"),
        ("łąkę", "łąk"),
        ("Ελλάδα", "Ελλάδ"),
        ("سلام", "سلا"),
        ("שלום", "שלו"),
        ("สวัสดี", "สวัส"),
        ("한국어", "한국"),
        ("你好", "你"),
        ("かな漢字", "かな漢"),
        ("a👩\u{200D}🚒", "a"),
        ("🇩🇪🇫🇷", "🇩🇪"),
        ("👍🏽", ""),
    ] {
        let mut screen = Screen::new(40, 200);
        screen.row_after(text);
        let column = screen.terminal.screen().cursor_position().1;
        assert_eq!(usize::from(column), 2 + crate::terminal::width::text_width(text), "{text}");
        screen.row_after("\x7f");
        assert_eq!(screen.editor.line.text(), shorter, "{text}");
        screen.row_after("\x02\x06");
        assert_eq!(screen.type_bytes("!\r"), [format!("{shorter}!")]);
    }
}
