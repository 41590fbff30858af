//! An emulated row of a terminal, which accepts only the output of which the input line is made.

use super::assert_safe;
use unicode_width::UnicodeWidthChar;

/// The widest row of the input line, in columns.
pub(super) const WIDEST_ROW: usize = 500;

/// The bytes that an output may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// One row: text, moves within the row, erasures, the bell.
    Row,
    /// Lines above the row, and the row.
    LinesAndRow,
}

/// The cursor of a terminal of a known width.
#[derive(Debug)]
pub(super) struct Cursor {
    /// The column of the cursor, counted from 0.
    column: usize,
    /// The columns of the terminal.
    columns: usize,
}

impl Cursor {
    pub(super) fn new(columns: usize) -> Self {
        Self { column: 0, columns }
    }

    /// Sets the width. The cursor stays within the columns.
    pub(super) fn resize(&mut self, columns: usize) {
        self.columns = columns;
        self.column = self.column.min(columns - 1);
    }

    /// Processes an output; asserts that it holds nothing but text and the sequences of the input line, and that no
    /// text reaches beyond the last column.
    pub(super) fn process(&mut self, out: &[u8], allowed: Allowed) {
        let out = str::from_utf8(out).expect("the output is UTF-8");
        let mut rest = out;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            match character {
                '\r' => self.column = 0,
                '\x08' => self.column = self.column.checked_sub(1).expect("the cursor is not in the first column"),
                '\n' => assert_eq!((allowed, self.column), (Allowed::LinesAndRow, 0), "a row ends in CR LF: {out:?}"),
                '\x07' => {}
                '\x1B' => rest = self.process_sequence(rest),
                _ => self.show(character, allowed, out),
            }
        }
    }

    fn show(&mut self, character: char, allowed: Allowed, out: &str) {
        assert_ne!(character, '\t', "a TAB is shown as blanks");
        assert_safe(character.encode_utf8(&mut [0; 4]));
        self.column += character.width().unwrap_or(0);
        // The row leaves the last column free.
        let most = if allowed == Allowed::Row { self.columns.min(WIDEST_ROW) - 1 } else { self.columns };
        assert!(self.column <= most, "text up to column {} of {}: {out:?}", self.column, self.columns);
    }

    /// Processes a control sequence, given after its ESC; returns the text after it.
    fn process_sequence<'a>(&mut self, rest: &'a str) -> &'a str {
        let body = rest.strip_prefix('[').expect("every sequence is a control sequence");
        let end = body.find(|character: char| !character.is_ascii_digit() && character != ';').expect("it has an end");
        let (parameters, after) = body.split_at(end);
        match (parameters, &after[..1]) {
            (column, "G") => {
                self.column = column.parse::<usize>().expect("CHA has a column") - 1;
                assert!(self.column < self.columns, "the cursor is beyond the last column");
            }
            (rows, "A") => assert!(rows.parse::<usize>().is_ok()),
            ("", "K" | "J") | ("6", "n") | (_, "m") => {}
            unknown => panic!("the input line has no such sequence: {unknown:?}"),
        }
        &after[1..]
    }
}
