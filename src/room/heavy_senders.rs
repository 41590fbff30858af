//! Heavy senders: which members of a room send much while others send little.
//!
//! A slow member cannot have all lines. The room marks the lines of heavy senders, so that the slow member's output
//! drops those first, and the few lines of light senders reach it.

use crate::peer::PeerId;
use std::time::{Duration, Instant};

/// The recent bytes from which on a sender is heavy, if other senders are light.
const HEAVY: u32 = 64 << 10;

/// The most recent bytes of a light sender: an eighth of a heavy sender's.
const LIGHT: u32 = HEAVY / 8;

/// The time in which recent bytes halve.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// How long after its last line a light sender counts. Its next line may come as late as that.
const LIGHT_FOR: Duration = Duration::from_secs(30);

/// The most senders whose recent bytes are kept.
const MAX_SENDERS: usize = 64;

/// The last light senders that are kept: a sender is marked for the sake of another one, so at least two.
const MAX_LIGHT: usize = 4;

/// The short number of a sender: the low bits of its connection's number. Two members share one if 65,536 connections
/// came between them; their bytes are then counted together.
pub(crate) type SenderNumber = u16;

/// Returns the number of a sender.
pub(crate) fn sender_number(sender: PeerId) -> SenderNumber {
    let [low, high, ..] = sender.0.to_le_bytes();
    SenderNumber::from_le_bytes([low, high])
}

/// The recent bytes of a room's senders.
///
/// The room counts no sender while all of them together send less than [`HEAVY`]: a quiet room keeps no table.
#[derive(Debug, Default)]
pub(crate) struct HeavySenders {
    /// The recent bytes of all senders together.
    total: u32,
    /// The time up to which recent bytes are halved; `None` before the first line.
    halved_at: Option<Instant>,
    table: Option<Box<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    /// Senders and their recent bytes, at most [`MAX_SENDERS`].
    senders: Vec<(SenderNumber, u32)>,
    /// The last light senders and the time of their last line, the oldest first, at most [`MAX_LIGHT`].
    light: Vec<(SenderNumber, Instant)>,
}

impl HeavySenders {
    /// Records `bytes` of lines that a sender sends at `now`; returns true if they are to be marked as heavy.
    pub(crate) fn record(&mut self, sender: SenderNumber, bytes: usize, now: Instant) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.halve(now);
        self.total = self.total.saturating_add(bytes);
        if self.total < HEAVY && self.table.is_none() {
            return false;
        }
        self.table.get_or_insert_default().record(sender, bytes, now)
    }

    /// Halves recent bytes once for each half-life that has passed. Drops the table when the senders together are light.
    fn halve(&mut self, now: Instant) {
        let since = self.halved_at.get_or_insert(now);
        let passed = now.saturating_duration_since(*since).as_secs();
        if passed == 0 {
            return;
        }
        *since += HALF_LIFE * u32::try_from(passed).unwrap_or(u32::MAX);
        let shift = u32::try_from(passed.min(31)).unwrap_or(31);
        self.total >>= shift;
        if let Some(table) = &mut self.table {
            table.senders.iter_mut().for_each(|(_, bytes)| *bytes >>= shift);
            table.senders.retain(|(_, bytes)| *bytes > 0);
        }
        if self.total < LIGHT {
            self.table = None;
        }
    }
}

impl Table {
    fn record(&mut self, sender: SenderNumber, bytes: u32, now: Instant) -> bool {
        let recent = self.add(sender, bytes);
        if recent <= LIGHT {
            self.add_light(sender, now);
        } else {
            self.light.retain(|(light, _)| *light != sender);
        }
        recent >= HEAVY && self.light.iter().any(|(_, last)| now.saturating_duration_since(*last) < LIGHT_FOR)
    }

    /// Adds to a sender's recent bytes and returns them. The sender of fewest bytes makes place for a new one.
    fn add(&mut self, sender: SenderNumber, bytes: u32) -> u32 {
        if let Some((_, recent)) = self.senders.iter_mut().find(|(number, _)| *number == sender) {
            *recent = recent.saturating_add(bytes);
            return *recent;
        }
        if self.senders.len() == MAX_SENDERS {
            let least = self.senders.iter().enumerate().min_by_key(|(_, (_, recent))| *recent);
            if let Some((at, _)) = least {
                self.senders.swap_remove(at);
            }
        }
        self.senders.push((sender, bytes));
        bytes
    }

    /// Makes a sender the last light one.
    fn add_light(&mut self, sender: SenderNumber, now: Instant) {
        self.light.retain(|(light, _)| *light != sender);
        if self.light.len() == MAX_LIGHT {
            self.light.remove(0);
        }
        self.light.push((sender, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that the tests move, and the senders.
    struct Model(HeavySenders, Instant);

    impl Model {
        fn new() -> Self {
            Self(HeavySenders::default(), Instant::now())
        }

        /// Sends `bytes` in parcels of 16 KiB; returns whether the last one is marked.
        fn send(&mut self, sender: SenderNumber, bytes: usize) -> bool {
            let parcel = 16 << 10;
            let mut is_marked = false;
            for sent in (0..bytes).step_by(parcel) {
                is_marked = self.0.record(sender, parcel.min(bytes - sent), self.1);
            }
            is_marked
        }

        fn wait(&mut self, millis: u64) {
            self.1 += Duration::from_millis(millis);
        }
    }

    #[test]
    fn flooder_is_heavy_beside_a_light_sender_and_the_light_sender_never_is() {
        let mut model = Model::new();
        model.send(1, 100_000);
        for _ in 0..50 {
            assert!(!model.send(2, 50), "the light sender");
            assert!(model.send(1, 200_000), "the flooder");
            model.wait(200);
        }
        model.wait(5_000);
        assert!(!model.send(1, 16_000), "a sender that has stopped flooding is heavy no more");
    }

    #[test]
    fn single_talker_and_equal_talkers_are_not_heavy() {
        let mut model = Model::new();
        for _ in 0..20 {
            assert!(!model.send(1, 1 << 20), "a single talker");
            model.wait(100);
        }
        let mut model = Model::new();
        for _ in 0..20 {
            for sender in 0..10 {
                assert!(!model.send(sender, 50_000), "equal talkers");
            }
            model.wait(100);
        }
    }

    #[test]
    fn light_sender_counts_until_it_has_been_silent_for_long() {
        let mut model = Model::new();
        model.send(1, 100_000);
        model.send(2, 50);
        for _ in 0..29 {
            model.wait(1_000);
            assert!(model.send(1, 200_000));
        }
        model.wait(1_000);
        assert!(!model.send(1, 200_000), "no light sender is active");
    }

    #[test]
    fn quiet_room_keeps_no_table_and_a_table_is_bounded() {
        let mut model = Model::new();
        for _ in 0..1_000 {
            model.send(1, 1_000);
            model.wait(100);
        }
        assert!(model.0.table.is_none());
        for sender in 0..1_000 {
            model.send(sender, 20_000);
        }
        let table = model.0.table.as_ref().unwrap();
        assert!(table.senders.len() <= MAX_SENDERS && table.light.len() <= MAX_LIGHT);
        model.wait(60_000);
        model.send(1, 10);
        assert!(model.0.table.is_none());
    }

    #[test]
    fn table_exists_from_the_heavy_total_to_less_than_the_light_one() {
        let mut model = Model::new();
        model.send(1, HEAVY as usize - 1);
        assert!(model.0.table.is_none());
        model.send(1, 1);
        assert!(model.0.table.is_some(), "all senders together are heavy");
        model.wait(3_000);
        model.0.record(2, 0, model.1);
        assert_eq!((model.0.total, model.0.table.is_some()), (LIGHT, true));
        model.wait(1_000);
        model.0.record(2, 0, model.1);
        assert!(model.0.table.is_none(), "all senders together are light");
    }

    #[test]
    fn recent_bytes_halve_once_in_each_second_whenever_lines_come() {
        let mut model = Model::new();
        // The table has the bytes from the fourth parcel on, with which the total is heavy.
        model.send(1, 100_000);
        model.send(2, 3);
        model.wait(2_000);
        model.0.record(3, 1, model.1);
        model.wait(900);
        model.0.record(3, 1, model.1);
        let table = model.0.table.as_ref().unwrap();
        assert_eq!(table.senders, [(1, (100_000 - 3 * (16 << 10)) / 4), (3, 2)], "the second sender's bytes are gone");
        assert_eq!(model.0.total, 100_003 / 4 + 2);
    }

    #[test]
    fn light_sender_is_listed_once_at_its_last_line() {
        let mut model = Model::new();
        model.send(1, 100_000);
        for sender in [2, 3, 2] {
            model.send(sender, 10);
        }
        let light = model.0.table.as_ref().unwrap().light.iter().map(|(sender, _)| *sender);
        assert!(light.eq([3, 2]));
    }
}
