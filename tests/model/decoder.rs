//! The line decoder of the model: one byte at a time, by the rows "line length" and "input line end" of the contract.

/// The line decoder of one client.
#[derive(Default)]
pub struct LineDecoder {
    unfinished: Vec<u8>,
    /// The raw bytes of the unfinished line.
    length: usize,
    line_end: LineEnd,
    has_sent_lf: bool,
    /// Whether a line has ended in CR LF, CR NUL or CR.
    pub is_nvt: bool,
}

/// The part of a line end that the bytes so far leave open.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum LineEnd {
    #[default]
    Settled,
    /// A CR after the first LF: an LF or NUL that comes next ends the line, any other byte drops the CR.
    Begun,
    /// A CR before the first LF has ended a line: an LF or NUL that comes next belongs to it.
    EndedByCr,
    /// One more CR followed: an LF completes CR CR LF, any other byte shows that this CR ended an empty line.
    SecondCr,
}

/// The unfinished line is longer than the bound.
#[derive(Debug)]
pub struct LineTooLong;

impl LineDecoder {
    /// Takes one byte; returns the line that it ends.
    pub fn push(&mut self, byte: u8, max_line: usize) -> Result<Option<Vec<u8>>, LineTooLong> {
        let before = std::mem::take(&mut self.line_end);
        let sent_lf_before = self.has_sent_lf;
        self.has_sent_lf |= byte == b'\n';
        match (before, byte) {
            (LineEnd::EndedByCr, b'\n' | 0) | (LineEnd::SecondCr, b'\n') => Ok(None),
            (LineEnd::EndedByCr | LineEnd::SecondCr, b'\r') => {
                self.line_end = LineEnd::SecondCr;
                Ok((before == LineEnd::SecondCr).then(Vec::new))
            }
            (LineEnd::SecondCr, 0) => Ok(Some(Vec::new())),
            (LineEnd::SecondCr, _) => self.append(byte, max_line).map(|()| Some(Vec::new())),
            (LineEnd::Begun, b'\n' | 0) => {
                self.is_nvt = true;
                Ok(Some(self.take()))
            }
            (_, b'\n') => Ok(Some(self.take())),
            (_, b'\r') => {
                self.count(max_line)?;
                if sent_lf_before {
                    self.line_end = LineEnd::Begun;
                    return Ok(None);
                }
                self.line_end = LineEnd::EndedByCr;
                self.is_nvt = true;
                Ok(Some(self.take()))
            }
            (_, 0) => self.count(max_line).map(|()| None),
            _ => self.append(byte, max_line).map(|()| None),
        }
    }

    /// Returns the unfinished line at the end of the input, if there is one. A CR begins a line end.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let has_line = !self.unfinished.is_empty() || matches!(self.line_end, LineEnd::Begun | LineEnd::SecondCr);
        has_line.then(|| self.take())
    }

    fn append(&mut self, byte: u8, max_line: usize) -> Result<(), LineTooLong> {
        self.count(max_line)?;
        self.unfinished.push(byte);
        Ok(())
    }

    fn count(&mut self, max_line: usize) -> Result<(), LineTooLong> {
        self.length += 1;
        if self.length > max_line { Err(LineTooLong) } else { Ok(()) }
    }

    fn take(&mut self) -> Vec<u8> {
        self.length = 0;
        std::mem::take(&mut self.unfinished)
    }
}
