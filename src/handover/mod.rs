//! Handover: how a server passes its state and its descriptors to a new process of it, and what both say meanwhile.
//!
//! ```text
//! old process                          new process
//!   starts it        ──────────────►
//!                    ◄──────────────   Hello: the format of the state that it reads, its version
//!   stops, copies
//!   State            ──────────────►   rebuilds the server, says nothing to any peer
//!   descriptors      ──────────────►
//!                    ◄──────────────   Ready: what it has taken over (or Failed, and why)
//!   Commit           ──────────────►   serves
//!                    ◄──────────────   Committed
//!   ends without a word to the peers
//! ```
//!
//! Until the old process has sent Commit it can go on as if nothing had happened, and does so after any error. Each side waits
//! for the other one for a bounded time. Nothing here knows what is in the state.

mod channel;
mod descriptors;

pub use channel::{HandoverError, NewProcess, OldProcess, Taken};

/// The format of the state. A process takes over from one of the same format alone: raise this number whenever the meaning or
/// the encoding of anything in the state changes. `tests/handover.rs` notices a change of its types.
pub const FORMAT: u32 = 2;
