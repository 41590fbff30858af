//! Tests of changing widths: a row in a terminal that cuts it, and in one that moves its end to further rows.

use super::*;

const REQUEST: &[u8] = b"\x1b[6n";

/// Makes the terminal narrower as one that reflows: it shows the lines above and the row at the new width.
fn reflow(screen: &mut Screen, columns: u16) {
    let text = screen.rows().join("\r\n");
    let cursor = screen.editor.row.rendered().cursor;
    screen.columns = columns;
    screen.terminal = vt100::Parser::new(size(ROWS), size(columns), 0);
    screen.terminal.process(text.as_bytes());
    let below = (text.rsplit('\n').next().unwrap().len() - 1) / usize::from(columns) - cursor / usize::from(columns);
    let up = if below > 0 { format!("\x1b[{below}A") } else { String::new() };
    let column = cursor % usize::from(columns) + 1;
    screen.terminal.process(format!("{up}\x1b[{column}G").as_bytes());
    screen.editor.resize(columns);
}

/// Answers the editor's request as the terminal does; returns the last row after the next render.
fn report_cursor(screen: &mut Screen) -> String {
    assert_eq!((screen.sent.as_slice(), screen.editor.render_delay()), (REQUEST, Some(REPORT_DELAY)));
    let (row, column) = screen.terminal.screen().cursor_position();
    let column = column.min(screen.columns - 1);
    screen.row_after(format!("\x1b[{};{}R", row + 1, column + 1))
}

#[test]
fn row_is_rendered_for_the_new_width() {
    let mut screen = Screen::new(40, 100);
    screen.row_after("abcdefghijklmnopqrstuvwxyz");
    screen.resize(20);
    screen.render();
    assert_eq!(report_cursor(&mut screen), "> <stuvwxyz|");
    screen.resize(40);
    screen.render();
    assert_eq!(screen.last_row(), "> abcdefghijklmnopqrstuvwxyz|");
    assert_eq!(screen.rows().len(), 1);
    let mut unknown = Screen::new(80, 100);
    unknown.editor.resize(0);
    assert_eq!(unknown.row_after("x".repeat(77)), format!("> {}|", "x".repeat(77)));
    assert!(unknown.row_after("x").starts_with("> <xx"));
}

#[test]
fn reflowed_row_leaves_no_stale_rows() {
    for (columns, moves) in [(30, 0), (20, 0), (15, 0), (30, 4), (20, 30), (15, 50), (20, 58)] {
        let mut screen = Screen::new(70, 100);
        screen.print_above("bob: hi\n");
        screen.row_after("abcdefghij".repeat(6) + &"\x1b[D".repeat(moves));
        reflow(&mut screen, columns);
        assert!(screen.rows().len() > 2, "the terminal moved the end of the row");
        screen.render();
        let row = if screen.sent == REQUEST { report_cursor(&mut screen) } else { screen.last_row() };
        assert!(row.starts_with("> ") && row.len() <= columns.into(), "{columns} {moves}: {row}");
        assert_eq!((screen.rows().len(), &*screen.rows()[0]), (2, "bob: hi"), "{columns} {moves}: {:?}", screen.rows());
    }
}

#[test]
fn cut_row_costs_no_line_above_it() {
    for columns in [30, 20, 15, 11] {
        let mut screen = Screen::new(70, 100);
        screen.print_above("bob: 1\nbob: 2\n");
        screen.row_after("abcdefghij".repeat(6));
        screen.resize(columns);
        screen.render();
        report_cursor(&mut screen);
        assert_eq!(screen.rows()[..2], ["bob: 1", "bob: 2"]);
        assert_eq!(screen.rows().len(), 3, "{:?}", screen.rows());
    }
}

#[test]
fn row_is_rendered_without_a_report() {
    let mut screen = Screen::new(70, 100);
    screen.row_after("abcdefghij".repeat(6));
    screen.resize(20);
    screen.render();
    assert_eq!((screen.sent.as_slice(), screen.editor.render_delay()), (REQUEST, Some(REPORT_DELAY)));
    screen.render();
    assert_eq!((&*screen.last_row(), screen.editor.render_delay()), ("> <cdefghij|", None));
    assert_eq!(screen.row_after("\x1b[3;7R"), "> <cdefghij|", "a late report changes nothing");
}

#[test]
fn arriving_line_does_not_wait_for_the_report() {
    let mut screen = Screen::new(70, 100);
    screen.row_after("abcdefghij".repeat(6));
    screen.resize(20);
    screen.render();
    screen.print_above("bob: hi\n");
    assert_eq!(screen.rows(), ["bob: hi", "> <cdefghij"]);
    assert_eq!(screen.editor.render_delay(), None);
    assert_eq!(screen.row_after("\x1b[1;7R"), "> <cdefghij|");
}

#[test]
fn extreme_widths_are_safe() {
    for columns in [1, 2, 3, 5, 8, 9, 10, 500, 501, 65_535] {
        let mut editor = Editor::open(settings(columns, 100));
        let (mut out, mut input) = (Vec::new(), "漢字abcdefghij\x1b[D\x1b[D漢".as_bytes());
        assert_eq!(editor.feed(&mut input), None);
        editor.render(&mut out);
        assert!(
            crate::terminal::width::text_width(&editor.row.rendered().text) < usize::from(columns).max(1),
            "{columns}"
        );
        assert!(editor.row.rendered().cursor < columns.into(), "{columns}");
        editor.print_above(&mut out, &mut LineFormatter::default(), [(Minute(0), "bob: 漢字 and more\n".as_bytes())]);
        for columns in [0, 1, 65_535, 2, 40] {
            editor.resize(columns);
            editor.render(&mut out);
            editor.render(&mut out);
        }
        assert_eq!(editor.render_delay(), None);
        assert_eq!(editor.feed(&mut &b"\r"[..]), Some(EditorEvent::Line("漢字abcdefgh漢ij".to_owned())));
    }
}
