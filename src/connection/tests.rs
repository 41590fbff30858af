//! Tests of a connection that need its inside: sizes, panics, and the lock that another thread holds.

use super::*;

/// The text of a line that makes the connection that handles it panic, as a bug would.
const PANIC: &str = "panic!";

/// Panics if a line of chat asks for it.
pub(super) fn panic_if_asked(text: &str) {
    assert!(text != PANIC, "a line asked for a panic");
}

fn future_size<F: Future>(_: impl FnOnce(Box<Connection>) -> F) -> usize {
    size_of::<F>()
}

/// Thousands of quiet connections have one each. A task's memory comes in steps of 128 bytes: about 100 of tokio's
/// own, and this future, which has to stay within the second step.
#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 288, "{}", size_of::<Connection>());
    let future = future_size(Connection::serve);
    assert!(future <= 128, "{future}");
    assert!(size_of::<Peer<Socket>>() <= 128, "{}", size_of::<Peer<Socket>>());
}
