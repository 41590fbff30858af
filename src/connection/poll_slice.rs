//! The slice of a poll: the work that a connection does before the other tasks of its worker get their turn.

/// The units of a slice: about a quarter of a millisecond, since a unit is about a quarter of a microsecond. When many
/// connections use up their slices, the input of each other one waits for one slice of each of them.
const SLICE: u32 = 1_024;

/// The units of a system call that reads or writes a socket: 3 to 10 µs.
pub(super) const SYSTEM_CALL_WORK: u32 = 20;

/// The units of a line or of a telnet command, beside those of its bytes.
pub(super) const ITEM_WORK: u32 = 2;

/// The units of a command or of a key that draws the row of the input line.
pub(super) const COMMAND_WORK: u32 = 40;

/// The bytes that are decoded and made safe for one unit.
const BYTES_PER_UNIT: usize = 128;

/// The bytes of lines that are wrapped and styled for one unit: 10 to 20 ns each.
const ENCODED_BYTES_PER_UNIT: usize = 16;

/// The bit of a slice that was used up by work that another budget of the server has paid for.
const PREPAID: u32 = 1 << 31;

/// The work of the current poll: the units of all kinds of work, and [`PREPAID`].
#[derive(Debug, Default)]
pub(super) struct PollSlice(u32);

impl PollSlice {
    /// Charges work that is about to be done.
    pub(super) fn charge(&mut self, units: u32) {
        let used = self.used().saturating_add(units).min(PREPAID - 1);
        self.0 = (self.0 & PREPAID) | used;
    }

    /// Charges work that another budget of the server has paid for. It ends the poll if it is a slice or more, and is not
    /// paid for again.
    pub(super) fn charge_prepaid(&mut self, units: u32) {
        if units >= SLICE {
            self.0 |= PREPAID;
        }
    }

    /// Charges the work on `count` bytes.
    pub(super) fn charge_bytes(&mut self, count: usize) {
        self.charge(u32::try_from(count / BYTES_PER_UNIT).unwrap_or(u32::MAX));
    }

    /// Charges the encoding of `count` bytes of lines for an input line.
    pub(super) fn charge_encoding(&mut self, count: usize) {
        self.charge(u32::try_from(count / ENCODED_BYTES_PER_UNIT).unwrap_or(u32::MAX));
    }

    /// Returns whether the connection has to yield before it does more work.
    pub(super) fn is_used_up(&self) -> bool {
        self.0 >= SLICE
    }

    /// Returns the units that are used and not paid for.
    pub(super) fn used(&self) -> u32 {
        self.0 & !PREPAID
    }

    /// Begins the slice of the next poll.
    pub(super) fn restart(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_of_work_use_up_one_slice() {
        let mut slice = PollSlice::default();
        slice.charge(SLICE - 2);
        slice.charge_bytes(2 * BYTES_PER_UNIT - 1);
        assert!(!slice.is_used_up());
        slice.charge_bytes(BYTES_PER_UNIT);
        assert!(slice.is_used_up());
        slice.restart();
        assert!(!slice.is_used_up());
    }

    #[test]
    fn prepaid_work_uses_up_the_slice_and_is_not_paid_for_again() {
        let mut slice = PollSlice::default();
        slice.charge(1);
        slice.charge_prepaid(SLICE);
        assert!(slice.is_used_up());
        slice.charge(2);
        assert_eq!(slice.used(), 3);
        slice.charge(u32::MAX);
        assert_eq!(slice.used(), PREPAID - 1);
    }

    #[test]
    fn encoding_is_charged_by_its_bytes() {
        let mut slice = PollSlice::default();
        slice.charge(SLICE - 2);
        slice.charge_encoding(2 * ENCODED_BYTES_PER_UNIT - 1);
        assert!(!slice.is_used_up());
        slice.charge_encoding(ENCODED_BYTES_PER_UNIT);
        assert!(slice.is_used_up());
    }
}
