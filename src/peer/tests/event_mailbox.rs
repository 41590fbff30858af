//! Tests of the event mailbox.

use crate::peer::event_mailbox::EventMailbox;
use crate::peer::events::{MembershipSlot, PeerEvents};
use std::task::{Context, Waker};

#[test]
fn raised_events_are_taken_once() {
    let (mailbox, context) = (EventMailbox::default(), Context::from_waker(Waker::noop()));
    let left = PeerEvents::LEFT_ROOM.in_slot(MembershipSlot::B);
    assert!(mailbox.raise(left));
    assert!(!mailbox.raise(left), "an event that is raised already wakes no task");
    assert!(mailbox.raise(PeerEvents::JOINED | left));
    assert_eq!(mailbox.take(&context), PeerEvents::JOINED | left);
    assert_eq!(mailbox.take(&context), PeerEvents::NONE);
}
