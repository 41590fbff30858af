//! One order per room: compares a member's lines with those of a witness.

#![allow(dead_code, unreachable_pub, clippy::expect_used, clippy::unwrap_used)]

use std::collections::HashMap;

/// The lines that one member received from a room, from its own `has joined` to its end.
pub struct MemberLog {
    pub name: String,
    pub lines: Vec<String>,
}

/// The lines of a witness that joined the room before all other members and left after them.
pub struct RoomLog {
    lines: Vec<String>,
    /// For each name that joined, the line numbers of its `has joined` and `has left`, once for each stay.
    stays: HashMap<String, Vec<(usize, usize)>>,
}

impl RoomLog {
    pub fn new(lines: Vec<String>) -> Self {
        let mut stays: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        // For each renamed member's current name, the name with which it joined.
        let mut came_as: HashMap<String, String> = HashMap::new();
        for (at, line) in lines.iter().enumerate() {
            if let Some(name) = line.strip_suffix(" has joined") {
                stays.entry(name.to_owned()).or_default().push((at, lines.len()));
            } else if let Some((old, new)) = line.split_once(" is now known as ") {
                let first = came_as.remove(old).unwrap_or_else(|| old.to_owned());
                came_as.insert(new.to_owned(), first);
            } else if let Some(name) = line.strip_suffix(" has left") {
                let first = came_as.remove(name).unwrap_or_else(|| name.to_owned());
                let stay = stays.get_mut(&first).and_then(|stays| stays.last_mut());
                stay.unwrap_or_else(|| panic!("{name} left without a join")).1 = at;
            }
        }
        Self { lines, stays }
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Asserts that the `stays` of one name, in their order, are contiguous pieces of the witness's
    /// lines, each from its `has joined` to just before its `has left`: no gap, no duplicate, no earlier
    /// line and no other order. Returns the number of lines.
    #[track_caller]
    pub fn check(&self, stays: &[MemberLog]) -> usize {
        let Some(first) = stays.first() else { return 0 };
        let expected = self.stays.get(&first.name).map_or(&[][..], Vec::as_slice);
        assert_eq!(expected.len(), stays.len(), "stays of {}", first.name);
        for (stay, (from, to)) in stays.iter().zip(expected) {
            let expected = &self.lines[*from..*to];
            if let Some(at) = stay.lines.iter().zip(expected).position(|(got, expected)| got != expected) {
                panic!("{}'s line {at} is {:?}, expected was {:?}", stay.name, stay.lines[at], expected[at]);
            }
            assert_eq!(stay.lines.len(), expected.len(), "lines of {}", stay.name);
        }
        stays.iter().map(|stay| stay.lines.len()).sum()
    }
}
