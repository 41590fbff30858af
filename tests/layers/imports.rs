//! Reads from a source file which modules of the crate it names: in `use` lines and in paths.
//!
//! This is a tokenizer and a reader of paths, not a parser of Rust: it knows comments, strings, braces,
//! attributes, inline modules and use groups, which is all that a path's meaning depends on.

/// A module path that a source names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// The line of the path's last segment, counted from 1.
    pub(crate) line: usize,
    /// The segments after `crate`, with every `self` and `super` resolved.
    pub(crate) path: Vec<String>,
}

/// A word or a punctuation mark, with its line.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    line: usize,
    text: &'a str,
}

/// Returns every path that `source` names outside `#[cfg(test)]` items. `module` is the module that
/// the file is, from the crate's root.
pub(crate) fn imports(source: &str, module: &[&str]) -> Vec<Import> {
    let module = module.iter().map(|name| (*name).to_owned()).collect();
    let mut reader = Reader { tokens: tokenize(source), at: 0, module, open_modules: Vec::new(), found: Vec::new() };
    reader.read();
    reader.found
}

/// Returns the module that a file under `src` is, from the crate's root.
pub(crate) fn module_of(file: &str) -> Vec<&str> {
    let mut module: Vec<&str> = file.trim_end_matches(".rs").split('/').collect();
    if matches!(module.last(), Some(&("mod" | "lib" | "main"))) {
        module.pop();
    }
    module
}

/// A source's tokens, and the module at the place that is read.
struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    module: Vec<String>,
    /// For each open brace, whether it opened an inline module.
    open_modules: Vec<bool>,
    found: Vec<Import>,
}

impl<'a> Reader<'a> {
    fn read(&mut self) {
        while let Some(token) = self.tokens.get(self.at).copied() {
            match token.text {
                "#" if self.is_test_attribute() => self.skip_item(),
                "mod" if self.text(2) == "{" => {
                    self.module.push(self.text(1).to_owned());
                    self.open_modules.push(true);
                    self.at += 3;
                }
                "{" => {
                    self.open_modules.push(false);
                    self.at += 1;
                }
                "}" => {
                    if self.open_modules.pop() == Some(true) {
                        self.module.pop();
                    }
                    self.at += 1;
                }
                "crate" | "super" | "self" if self.text(1) == "::" && self.text_before() != "::" => {
                    self.read_path(&[]);
                }
                _ => self.at += 1,
            }
        }
    }

    /// Returns the text of the token so many further on, or nothing after the last.
    fn text(&self, further: usize) -> &'a str {
        self.tokens.get(self.at + further).map_or("", |token| token.text)
    }

    fn text_before(&self) -> &'a str {
        self.at.checked_sub(1).map_or("", |before| self.tokens[before].text)
    }

    /// Returns whether the attribute at this place leaves its item out of every build but tests.
    fn is_test_attribute(&self) -> bool {
        let texts: Vec<&str> = (1..7).map(|further| self.text(further)).collect();
        texts[..5] == ["[", "cfg", "(", "test", ")"] || texts == ["[", "cfg", "(", "all", "(", "test"]
    }

    /// Skips attributes and the item that they belong to: to its `;`, or to the end of its braces.
    fn skip_item(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            let text = self.text(0);
            self.at += 1;
            match text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" => depth -= 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                ";" if depth == 0 => return,
                _ => {}
            }
        }
    }

    /// Reads a path after the segments in `prefix`, or each path of a group, and notes where it leads.
    fn read_path(&mut self, prefix: &[&'a str]) {
        let mut path = prefix.to_vec();
        loop {
            if self.text(0) == "{" {
                self.at += 1;
                while !matches!(self.text(0), "}" | "") {
                    self.read_path(&path);
                    // The comma, or the new name after an `as`.
                    while !matches!(self.text(0), "," | "}" | "") {
                        self.at += 1;
                    }
                    if self.text(0) == "," {
                        self.at += 1;
                    }
                }
                self.at += 1;
                return;
            }
            path.push(self.text(0));
            let line = self.tokens.get(self.at).map_or(0, |token| token.line);
            self.at += 1;
            if self.text(0) != "::" {
                return self.note(line, &path);
            }
            self.at += 1;
            if self.text(0) == "<" {
                return self.note(line, &path);
            }
        }
    }

    fn note(&mut self, line: usize, path: &[&str]) {
        let mut resolved = self.module.clone();
        for segment in path {
            match *segment {
                "crate" => resolved.clear(),
                "self" => {}
                "super" => _ = resolved.pop(),
                name => resolved.push(name.to_owned()),
            }
        }
        self.found.push(Import { line, path: resolved });
    }
}

/// Cuts a source into words and punctuation marks, without comments and literals.
fn tokenize(source: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut line, mut at) = (Vec::new(), 1, 0);
    while at < source.len() {
        let rest = &source[at..];
        let (length, is_token) = next_piece(rest);
        let text = &rest[..length];
        if is_token {
            tokens.push(Token { line, text });
        }
        line += text.matches('\n').count();
        at += length;
    }
    tokens
}

/// Returns the length of the piece that `rest` begins with, and whether it is a token.
fn next_piece(rest: &str) -> (usize, bool) {
    let is_word = |byte: char| byte == '_' || byte.is_alphanumeric();
    let first = rest.chars().next().unwrap_or(' ');
    if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), false)
    } else if rest.starts_with("/*") {
        (block_comment(rest), false)
    } else if let Some(length) = raw_string(rest) {
        (length, false)
    } else if first == '"' {
        (string(rest), false)
    } else if first == '\'' {
        (character(rest), false)
    } else if rest.starts_with("::") {
        (2, true)
    } else if is_word(first) {
        (rest.find(|byte| !is_word(byte)).unwrap_or(rest.len()), true)
    } else {
        (first.len_utf8(), !first.is_whitespace())
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Returns the length of the raw string that `rest` begins with: `r"…"`, `br#"…"#`.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let after = &rest[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let text = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = text.find(&end).map_or(text.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + length)
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns the length of a character literal, or 1 for the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            // The escaped character itself may be a quote.
            characters.next();
            characters.find(|(_, character)| *character == '\'').map_or(rest.len(), |(at, _)| at + 1)
        }
        Some(_) => characters.next().filter(|(_, character)| *character == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}
