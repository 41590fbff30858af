//! Roomcast: a lock-free sharded multi-room chat server for telnet, nc and programs.
//!
//! # The way of a line
//!
//! ```text
//! server ──► connection ──► session ──► room's inbox ──► delivery pass ──► socket
//!  accept     telnet,        pure:       lock-free        one at a time     written directly
//!  permits    lines,         a line in,  queue with a     a room; reads     └► backlog, only if it
//!             commands       effects out byte budget      the snapshot         would block; drained
//!                                                                              by the connection
//! ```
//!
//! - **[`server`](Server)** listens, accepts, refuses what is too much, and ends in good order.
//! - **connection**: one task. It reads into a buffer of its worker thread, takes [`telnet`]'s commands
//!   out of the bytes, cuts [`lines`], keeps memory only for an unfinished one, does what
//!   [commands](command) ask for, and ends for one named [reason](close::CloseReason).
//! - **[`session`]** says what a line means, without any I/O; its [`text`] is made safe once, here.
//! - **[`registry`]**: rooms by name. What it hands out is an `Arc<Room>` inside a
//!   [`Membership`](registry::Membership), whose drop is the leaving.
//! - **[`room`]**: an inbox, a [roster](roster::Roster), its [`history`], and a pass. Whoever pushes the
//!   first operation into a quiet room starts its pass; a quiet room has no task.
//! - **pass**: takes all that is in the inbox as one batch (`batch.rs`), applies the batch's joins and
//!   leaves in **one** copy of the roster, lays the lines end to end in one buffer, and hands that
//!   buffer to every [peer](peer::Peer) with one write each that never blocks (`delivery.rs`). What
//!   comes meanwhile is the next batch: under load a write carries many lines, and a quiet room waits
//!   for no timer. That next batch is gathered between deliveries, and its newcomers are let in and
//!   told at once: a join into a room of 10,000 does not wait for a pass to end.
//! - **[`piece`]**: a batch is laid out at most twice, with LF and, if somebody is a network virtual
//!   terminal, with CR LF. A peer that has the line [`editor`] gets neither: what passes leave for it
//!   is drawn by its own connection, around the line that is being typed.
//!
//! # Guarantees, and what keeps them
//!
//! 1. **One order per room**, membership included: one pass at a time (`inbox.rs`: who moves
//!    `pending` from 0 runs it). Held by `tests/order.rs` and `tests/churn.rs`.
//! 2. **A sender's lines keep their order**: one task reads them, one queue takes them.
//! 3. **Nobody waits for a slow reader**, and its memory is bounded: the rules above
//!    [`outbox`]'s `OutputBuffer`. A peer holds at most its backlog, as much again that came late while
//!    its backlog was being written, one read (64 KiB) that waits, and one parcel; with the line
//!    editor also what was drawn (a few 100 KiB). Held by `tests/slow_reader.rs`, `tests/bounds.rs`.
//! 4. **Joins and leaves never hold a broadcast up, nor it them**: a pass reads a snapshot
//!    ([`roster`]), a join is an operation in the inbox, which a pass looks at between deliveries.
//! 5. **What a peer types harms nobody**: not another's terminal ([`text`]), and no line passes for
//!    another's or the server's ([`name`], [`wire`]). Bad input harms its sender alone. Held by
//!    `tests/attacks.rs` and `tests/hostile.rs`.
//!
//! # What takes a lock
//!
//! | what | lock | when |
//! |---|---|---|
//! | a line inside a pass, to every member's socket | none | — |
//! | who may write to a peer | none: an atomic is swapped (`turn.rs`, `sync.rs`); who fails leaves its piece and goes on | each delivery |
//! | a room's roster | none: arc-swap | each pass, `/who`, `/rooms` |
//! | a batch with CR LF | none that is waited for: the pass that runs lays it out | the first NVT of a pass |
//! | a room's inbox | none: crossbeam's unbounded queue; for the instant in which another thread is between claiming a place and filling it, a receiver spins | each operation |
//! | a room's history | none: whoever runs its pass has it (an atomic is swapped) | each pass |
//! | rooms by name | a shard's read-write lock (`DashMap`) | join, `/rooms`, removal of an empty room, shutdown; never a line |
//! | starting a quiet room's pass | tokio's own list of tasks, a sharded mutex; a sleeping worker's mutex when one has to be woken | the first line into a quiet room; not one that comes while it is busy |
//! | timers | tokio's timer wheel, a mutex | login, a backlog, a sender beyond its rate |
//! | the log (`-v`) | the log writer's queue, which drops what it can't take; stdout's lock is taken by the writer's own thread | a connection opens or ends |
//!
//! All of these are held for an instant, none across an `await`, and none while a socket is written.
//!
//! # Races, and their answers
//!
//! 1. *A join meets the removal of the empty room*: both happen under the room's shard lock, and the
//!    removal looks at the roster and the inbox's queue there (`registry.rs`, and its test).
//!    `tests/membership.rs`.
//! 2. *Two writers on one socket*, a pass and the connection: `turn.rs`, modelled in `tests/loom.rs`.
//! 3. *A name taken between check and join*, or `/nick`: only the pass gives names (`batch.rs`). Who
//!    leaves before it knows which of two names it has gives both up.
//!    `tests/membership.rs`.
//! 4. *A peer closed inside a pass*: the pass only tells it; its connection ends itself. A mass exit
//!    is a batch like any other (`room.rs`'s tests count its writes).
//! 5. *A pass that lasts*: it breathes every 128 deliveries (`room.rs`, and its test).

pub mod config;
mod connection;
mod limits;
pub mod metrics;
mod net;
pub mod peer;
pub mod protocol;
pub mod room;
mod server;
mod terminal;
pub mod text;

pub use config::{RESERVED_FILES, Settings, SlowReader};
pub use metrics::counters::MetricsDelta;
pub use net::{BoundAddress, ListenError};
pub use server::{Server, ServerStats};
