//! Properties: for any keys the screen shows the line that Enter returns, within one row.

use super::*;
use crate::terminal::width::text_width;
use proptest::prelude::*;

const PROMPT: &str = "> ";

/// Generates bytes of keys, text and garbage.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "a",
        "b",
        " ",
        "ü",
        "漢",
        "🙂",
        "\u{301}",
        "\u{200d}",
        "\u{fe0f}",
        "\u{1160}",
        "\x1b[D",
        "\x1b[C",
        "\x1b[A",
        "\x1b[B",
        "\x1b[H",
        "\x1b[F",
        "\x1b[3~",
        "\x7f",
        "\x0b",
        "\x15",
        "\x17",
        "\x0c",
        "\x03",
        "\r\n",
        "\x1b",
        "\x1b]",
        "\x1bd",
        "\x19",
        "\t",
        "\tx",
        "\x04",
        "\x1b[1;9R",
        "\u{9b}",
        "🇩🇪",
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
    let prompt = Prompt { text: PROMPT, is_full: editor.is_full }.fit(screen.columns.into());
    let seen = row.strip_prefix(&*prompt);
    prop_assert!(seen.is_some(), "{row:?} {prompt:?}");
    let shown = editor.row.rendered().text.strip_prefix(&*prompt);
    prop_assert!(shown.is_some(), "{:?}", editor.row.rendered());
    let (shown, at) = (shown.unwrap(), editor.row.rendered().cursor - prompt.len());
    let widths = shown.char_indices().scan(0, |sum, (byte, character)| {
        *sum += character_width(character);
        Some((*sum, byte + character.len_utf8()))
    });
    let split = widths.take_while(|(sum, _)| *sum <= at).last().map_or(0, |(_, byte)| byte);
    let expected = format!("{}|{}", &shown[..split], &shown[split..].trim_end());
    prop_assert_eq!(seen, Some(&*emulated(&expected)), "the terminal shows the rendered row");
    prop_assert!(text_width(shown) < usize::from(screen.columns) - prompt.len());

    // Apart from combining marks, the row is a part of the line, cut only at an overflow mark.
    let base = |text: &str| {
        let text = text.replace('\t', " ");
        text.chars().filter(|character| character_width(*character) > 0).collect::<String>()
    };
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

    /// For any keys, arriving lines and widths, the last row shows the prompt and the line, and Enter returns that line.
    #[test]
    fn screen_shows_the_line_that_enter_will_return(
        steps in prop::collection::vec((input(), 0u8..12, 10u16..50), 1..60),
        columns in 10u16..50,
        max_line in 1usize..120,
    ) {
        let mut screen = Screen::new(columns, max_line);
        for (bytes, action, columns) in steps {
            match action {
                0 => screen.print_above("bob: hi\n"),
                1 => screen.print_above(&format!("bob: {}\n", "long ".repeat(20))),
                2 => {
                    screen.resize(columns);
                    screen.render();
                    // The terminal may not answer.
                    screen.render();
                }
                _ => {
                    for event in screen.events(&bytes) {
                        if let EditorEvent::Line(line) = event {
                            prop_assert!(!line.is_empty() && line.len() <= max_line);
                            prop_assert!(!line.contains(|character: char| character.is_control() && character != '\t'));
                        }
                    }
                }
            }
            check_screen(&screen)?;
            prop_assert!(screen.sent.len() <= 2_000);
        }
        let text = screen.editor.line.text().to_owned();
        // CAN completes an incomplete character as U+FFFD.
        let entered = screen.type_bytes("\x18\r");
        let entered = entered.first().map_or("", String::as_str);
        prop_assert!(entered == text || entered.len() > text.len(), "{entered:?} {text:?}");
        prop_assert_eq!(screen.last_row(), "> |");
    }

    /// For any bytes in any chunks and any width, the editor draws within one row and within its longest line.
    #[test]
    fn row_never_leaves_its_row(
        chunks in prop::collection::vec(prop_oneof![input(), prop::collection::vec(any::<u8>(), 1..40)], 1..30),
        columns in 1u16..30,
        max_line in 0usize..60,
    ) {
        let mut screen = Screen::new(columns, max_line);
        for chunk in chunks {
            screen.events(&chunk);
            prop_assert!(screen.editor.line.text().len() <= max_line);
            prop_assert!(screen.rows().len() <= 1, "{:?}", screen.rows());
            prop_assert!(screen.editor.row.rendered().cursor < columns.into());
            prop_assert_eq!(screen.terminal.screen().cursor_position().0, 0);
        }
    }

    /// Printable text arrives as it is typed, in any chunks: each line that is not empty is entered.
    #[test]
    fn printable_text_is_entered_as_it_is_typed(
        lines in prop::collection::vec("[ -~]{0,40}|\\PC{0,20}|[жłαسש한漢🙂\u{301}]{1,20}", 1..6),
        chunk_length in 1usize..50,
    ) {
        let is_safe = |character: &char| !crate::text::sanitize::controls_terminal(*character);
        let lines: Vec<String> = lines.iter().map(|line| line.chars().filter(is_safe).collect()).collect();
        let typed: String = lines.iter().flat_map(|line| [line, "\r"]).collect();
        let mut screen = Screen::new(30, 1_000);
        let entered: Vec<String> =
            typed.as_bytes().chunks(chunk_length).flat_map(|chunk| screen.type_bytes(chunk)).collect();
        let expected: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        prop_assert_eq!(entered, expected);
    }

    /// No row of an arriving line begins with the text of a user: each further row is indented.
    #[test]
    fn arriving_line_is_one_line_at_any_width(
        text in "[a-z 漢ü🙂:*\u{301}\u{200D}\u{FE0F}❤\t🇩🇪]{0,150}",
        columns in 10u16..60,
        color: bool,
        time: bool,
    ) {
        let mut screen = Screen::new(columns, 100);
        screen.terminal.screen_mut().set_size(size(100), size(columns));
        screen.formatter.style = LineStyle { time, offset: 0, color };
        screen.print_above(&format!("bob: {text}\n"));
        let rows = screen.rows();
        let (first, further) = (&rows[0], &rows[1..rows.len() - 1]);
        prop_assert!(first.starts_with(if time { "00:00" } else { "bob:" }), "{rows:?}");
        prop_assert!(further.iter().all(|row| row.starts_with("  ") && !row.starts_with("   ")), "{rows:?}");
    }
}
