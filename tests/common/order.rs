//! One order per room: what a member saw, held against what a witness saw.

#![allow(dead_code, unreachable_pub, clippy::expect_used, clippy::unwrap_used)]

use std::collections::HashMap;

/// What one member saw of a room, from its own `has joined` to its end.
pub struct MemberLog {
    pub name: String,
    pub lines: Vec<String>,
}

/// The lines of a witness that was in the room before all others and left after them.
pub struct RoomLog {
    lines: Vec<String>,
    /// For each name with which somebody came, where its stays begin and end: at `has joined`, and
    /// at `has left`.
    stays: HashMap<String, Vec<(usize, usize)>>,
}

impl RoomLog {
    pub fn new(lines: Vec<String>) -> Self {
        let mut stays: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        // Who has another name now, and with which it came.
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
                stay.unwrap_or_else(|| panic!("{name} left and had not joined")).1 = at;
            }
        }
        Self { lines, stays }
    }

    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Asserts that the `stays` of one name, in their order, are contiguous pieces of what the
    /// witness saw, each from its `has joined` to just before its `has left`: no gap, no
    /// duplicate, nothing from before, nothing in another order. Gives the number of lines.
    #[track_caller]
    pub fn check(&self, stays: &[MemberLog]) -> usize {
        let Some(first) = stays.first() else { return 0 };
        let owed = self.stays.get(&first.name).map_or(&[][..], Vec::as_slice);
        assert_eq!(owed.len(), stays.len(), "stays of {}", first.name);
        for (stay, (from, to)) in stays.iter().zip(owed) {
            let owed = &self.lines[*from..*to];
            if let Some(at) = stay.lines.iter().zip(owed).position(|(got, owed)| got != owed) {
                panic!("{}'s line {at} is {:?}, owed was {:?}", stay.name, stay.lines[at], owed[at]);
            }
            assert_eq!(stay.lines.len(), owed.len(), "lines of {}", stay.name);
        }
        stays.iter().map(|stay| stay.lines.len()).sum()
    }
}
