//! Roomcast: a lock-free sharded multi-room chat server for browsers, telnet, nc and programs.
//!
//! The program `roomcast` turns its arguments into [`Settings`] and runs a [`Server`]. The other public modules are
//! public for the program, the tests and the benches; they promise no stable interface.
//!
//! # Example
//!
//! A server on a free port, and two clients:
//!
//! ```
//! use roomcast::{BoundAddress, Server, Settings};
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//! use tokio::runtime::Runtime;
//! use tokio::sync::oneshot;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = Settings::default();
//! settings.network.listen = vec!["tcp://127.0.0.1:0".parse()?];
//!
//! let runtime = Runtime::new()?;
//! let server = runtime.block_on(async { Server::bind(&settings, 100) })?;
//! let BoundAddress::Tcp(address) = server.addresses().remove(0) else { unreachable!("the settings name TCP") };
//! let (stop, stopped) = oneshot::channel::<()>();
//! let running = runtime.spawn(server.run(async { drop(stopped.await) }));
//!
//! let mut alice = TcpStream::connect(address)?;
//! let mut alice_sees = BufReader::new(alice.try_clone()?).lines();
//! alice.write_all(b"JOIN lobby alice\n")?;
//! assert_eq!(alice_sees.next().unwrap()?, "Welcome! Use the command:");
//! assert_eq!(alice_sees.next().unwrap()?, "JOIN <ROOMNAME> <USERNAME>");
//! assert_eq!(alice_sees.next().unwrap()?, "alice has joined");
//!
//! let mut bob = TcpStream::connect(address)?;
//! let mut bob_sees = BufReader::new(bob.try_clone()?).lines().skip(2);
//! bob.write_all(b"JOIN lobby bob\nhello\n")?;
//! assert_eq!(bob_sees.next().unwrap()?, "bob has joined");
//! assert_eq!(bob_sees.next().unwrap()?, "bob: hello");
//! assert_eq!(alice_sees.next().unwrap()?, "bob has joined");
//! assert_eq!(alice_sees.next().unwrap()?, "bob: hello");
//!
//! stop.send(()).unwrap();
//! assert_eq!(alice_sees.next().unwrap()?, "*** server is shutting down");
//! assert!(alice_sees.next().is_none(), "the server closes the connection");
//! drop((alice, alice_sees, bob, bob_sees));
//! runtime.block_on(running)?;
//! # Ok(())
//! # }
//! ```
//!
//! # The path of a line
//!
//! ```text
//! listener ──► connection ──► protocol ──► room inbox ──► delivery pass ──► peer ──────► socket
//!  accept       one task:      pure:        lock-free      one at a time     write lock   written directly;
//!  admission    reads, runs    telnet,      queue with     per room, reads   and route    output buffer only
//!               commands       lines,       a byte         the snapshot of                if the write would block
//!                              JOIN,        capacity       the members,                   or if the connection
//!                              commands                    then replies                   encodes the lines
//! ```
//!
//! - The **acceptor** (`src/server/acceptor.rs`) accepts connections, and the **admission** (`src/server/admission.rs`)
//!   refuses those beyond the maximum. An accept loop that panics starts again. On a listener with a proxy a task of its own reads the PROXY header before that
//!   (`src/server/proxied.rs`, `src/net/proxy_header.rs`), and the admission decides by the client's address.
//! - A **connection** (`src/connection/`) is one task. It reads into a buffer of its worker thread, keeps memory only
//!   for an unfinished line, and ends for one named reason (`src/connection/close_reason.rs`). Its state is one enum
//!   with named transitions (`src/connection/state/mod.rs`). On a `telnet://` listener it requests the telnet options
//!   of the input line at once, and opens the input line after the client's agreement (`src/connection/agreement.rs`).
//! - The **protocol** (`src/protocol/`) decodes telnet commands, line ends, the JOIN line and chat commands, without
//!   I/O. [`text::sanitize`] makes the text of a line safe once, before the line is encoded for a room.
//! - A **room** ([`room`]) is an inbox, a [roster](room::roster::Roster) and a [history](room::history::History). The
//!   first operation in a quiet room makes a pass due; a quiet room has no task and no timer.
//! - A **pass** (`src/room/passes.rs`) takes everything in the inbox as one batch (`src/room/batch.rs`), applies the
//!   batch's joins and leaves in **one** copy of the roster, concatenates the lines in one buffer, and writes that
//!   buffer to every member with one non-blocking write each (`src/room/fanout.rs`). Lines that arrive during a pass
//!   form the next batch, so under load each write carries many lines. The next batch is gathered between deliveries,
//!   and its joiners get their first lines at once: a join into a room of 10,000 does not wait for a pass to end.
//!   Requests such as `/who` and `/msg` are operations in the inbox, too: the pass replies to them after it has
//!   delivered the batch that holds them (`src/room/replies.rs`). A worker, a pass or an accept loop that
//!   stands still is found by a check on behalf of the service manager's watchdog (`src/server/stall_check.rs`).
//! - A **peer** ([`peer`]) is a connection's output. A batch has shared encodings, LF and, where a peer needs them, CR LF and frames
//!   ([`peer::line_batch`]), and a pass writes the one that the peer's [route](peer::route::Route) names. For a peer
//!   with the input line, times, colors or hidden names a pass appends the lines to the output buffer, each with the
//!   minute in which it was said, and the peer's own task encodes them (`src/connection/display.rs`). The same holds for
//!   each peer inside TLS: its own task seals all bytes (`src/connection/transport.rs`, `src/net/codec/mod.rs`).
//! - A **browser**'s connection begins with an HTTP request (`src/connection/web.rs`, `src/web/mod.rs`): for the page, or for
//!   WebSocket. Its messages are decoded to lines (`src/net/codec/websocket.rs`), and a batch has one more shared encoding, text
//!   frames with many lines each (`src/peer/line_frames.rs`), which passes write as they write the others. Without such a
//!   member a batch makes no frame.
//!
//! - A server of a **cluster** (`src/cluster/`) shares its rooms with others over NATS. Before any member has a batch, the
//!   pass gives what members of this server did to a tap, which never waits; what comes from other servers enters the
//!   room's inbox as an operation (`src/room/remote.rs`, `src/room/batch_cluster.rs`). A server of its own pays one branch
//!   a pass. NATS may keep the changes of rooms in a stream of its own accord, of which a room that is opened reads its last
//!   lines (`src/cluster/history.rs`).
//!
//! # Layers
//!
//! A folder of `src` imports only folders of lower layers, and no two folders import each other. `tests/layers.rs`
//! checks that.
//!
//! ```text
//! 6  server/  composition: acceptor, admission, metrics, shutdown    cli/  arguments, logging, signals, exit messages
//! 5  cluster/  servers that share their rooms: frames, state machine, bus    admin/  operators' commands, sessions and replies    handover/  the channel to a new process
//! 4  connection/  event loop, state, input, commands, telnet, input line, output, close, timers
//! 3  net/  sockets, listeners, PROXY header, TLS, lingering close    protocol/  telnet, lines, JOIN, commands    terminal/  line editor    http/  heads, responses, a responder for metrics and health checks    web/  the page, the WebSocket handshake
//! 2  room/  registry, membership, inbox, passes, batch, fan-out, roster, history, replay
//! 1  peer/  route, line batch, write lock, deferred list, output buffer, events
//! 0  config/  settings    text/  names, sanitizing, messages    limits/  permits, rates, addresses, bans    metrics/  counters, histograms, text format
//! ```
//!
//! # Guarantees
//!
//! 1. **One order per room.** Every member of a room sees the same lines in the same order, joins and leaves included,
//!    from its own `has joined` to its end: one pass at a time runs in a room. Implemented in `src/room/inbox.rs` (the
//!    thread that moves `pending` from 0 has to run the pass) and `src/room/batch.rs`; tested by `tests/order.rs`,
//!    `tests/churn.rs` and `tests/moves.rs`. Replies to `/who`, `/rooms`, `/last` and `/msg` stand in that order, too
//!    (`src/room/replies.rs`); tested by `tests/roster.rs`.
//! 2. **A sender's lines keep their order, and no received line is lost silently.** One task reads the lines of a
//!    connection, and one queue holds them (`src/connection/decoding.rs`, `src/connection/lines.rs`). Lines beyond the
//!    rate are delayed, also after their sender has closed. After a reset of the connection, a command whose answer only
//!    its sender would read is dropped, and one for which the budget of the address has to wait ends the connection. At
//!    shutdown each connection sends its room all input that
//!    it has received, before the room's notice (`src/connection/input_flush.rs`). Other lines that the server itself
//!    drops are counted in the log. Tested by `tests/order.rs`, `tests/commands.rs` and `tests/delayed_lines.rs`.
//! 3. **No member waits for a slow reader, and the memory of each peer is bounded.** The rules stand above
//!    `OutputBuffer` in `src/peer/output_buffer/mod.rs`. Slow readers of one room share the memory of its lines
//!    (`src/peer/shared_lines.rs`), the kernel's buffers of each socket have a fixed size (`src/net/socket_options.rs`),
//!    and all of that is charged to one budget with a ceiling. [`limits::memory`] has the formula for the whole server and
//!    for one peer. At the ceiling the largest backlogs are dropped and told, and readers are closed if that is not enough. Tested by `tests/slow_reader.rs`,
//!    `tests/bounds.rs` and `tests/memory.rs`.
//! 4. **A broadcast takes no lock; joins and leaves never delay a broadcast, and a broadcast never delays a join.** A
//!    pass reads a snapshot (`src/room/roster.rs`), and a join is an operation in the inbox, which a pass gathers
//!    between deliveries (`src/room/passes.rs`). Tested by `joiner_during_a_pass_is_admitted_before_its_end` in
//!    `src/room/tests/mod.rs`, and by `tests/counts.rs`.
//! 5. **A member's text harms no other member's terminal, and no line of a user passes for another user's line or for
//!    the server's.** [`text::sanitize`] drops escape sequences whole, and characters that control a terminal or
//!    reorder text. [`text::names`] refuses names that look like a command or a line of the server, and no reply has
//!    the form of an earlier line that `/last` shows (`src/text/replies.rs`). Tested by `tests/attacks.rs`.
//! 6. **Bad input ends at most the connection that sent it.** Implemented in `src/protocol/` and
//!    `src/connection/close.rs`; tested by `tests/hostile.rs`.
//! 7. **A shutdown is graceful.** Each room delivers the lines that its members had sent and the replies that are due,
//!    and then `*** server is shutting down` as the last line. Output buffers are flushed until the drain time is
//!    over, and the program exits with 0. Implemented in `src/server/mod.rs`, `src/room/batch.rs` and
//!    `src/cli/os_signals.rs`; tested by `tests/shutdown.rs` and `tests/delayed_lines.rs`.
//! 8. **A ban that an operator is told of survives a crash, and closes each connection from its network.** The file of
//!    bans is replaced as a whole and is on the disk before the ban is in force (`src/limits/bans/storage.rs`). The ban is
//!    in force before the directory of connections is searched, and a connection is in the directory before it asks for
//!    bans once more (`src/server/acceptor.rs`), so one of the two finds the other. Tested by
//!    `crash_at_any_byte_and_step_leaves_the_old_list_or_the_new_one` and by `tests/admin.rs`.
//! 9. **An upgrade closes no connection but those inside TLS, and loses no byte.** The process copies connections and rooms
//!    while nothing moves, and ends only when the new process has rebuilt them; after any error before that it goes on
//!    (`src/server/handover.rs`, `src/connection/handover.rs`, `src/handover/mod.rs`). Tested by `tests/handover.rs`.
//!
//! 10. **In a cluster each sender's lines keep their order on every server, come once, and a hole is told with its number of
//!     lines.** Each frame has its position in the changes of its server in its room (`src/cluster/core/origin_room.rs`).
//!     Local delivery waits for no other server: what waits for the bus is bounded (`src/cluster/core/outgoing.rs`). Tested by
//!     `src/cluster/core/simulation.rs`, `tests/cluster.rs` and `tests/cluster_faults.rs`.
//!
//! # Accounting
//!
//! Work is charged before it is done, so one client's misbehaviour does not slow the others.
//!
//! | charged to | what | how |
//! |---|---|---|
//! | one poll | lines, commands, keys, telnet commands, redraws, writes, TLS records and handshakes; in a pass deliveries, operations, replies, copies | one counter for all kinds of work; about a quarter of a millisecond in a connection and half a millisecond in a pass, then the task yields until the runtime has asked the system for events (`src/connection/poll_slice.rs`, `src/room/passes.rs`) |
//! | a connection | lines, bytes, short reads without a line's end, TLS records without content, telnet commands, keys, completions, redraws | rate limits: input is read more slowly, and nothing is lost (`src/connection/decoding.rs`, `src/protocol/telnet/budget.rs`) |
//! | an address | connections and attempts; the units of commands (`src/protocol/commands/cost.rs`); the deliveries of joins, leaves and renames; the bytes that are encoded for input lines, times and colors, and those that are discarded when it is closed | a budget that all connections of the address share and that outlives them: commands and JOIN lines wait (`src/connection/delayed_line.rs`, `src/limits/addresses.rs`) |
//! | a room | bytes in its inbox | blocked senders are admitted in the order of their shares, by bytes (`src/room/fair_queue.rs`) |
//! | the server, and an address | TLS handshakes | a handshake waits for its turn: about 800 a second for each worker, 66 for one address, and fewer with an RSA certificate; the address pays first, and takes no turn of the server while it is in debt (`src/net/tls_crypto.rs`, `src/limits/handshake_budget.rs`, `src/connection/transport.rs`) |
//! | the server | slices that connections use up | about a quarter of each worker's time; the input of the others waits for its turn, unless the rates are off (`src/limits/slice_budget.rs`) |
//! | the server | bytes in output buffers, inboxes, histories, unfinished lines and kernel buffers | one counter with a ceiling, which only peers that fall behind change ([`limits::memory`]) |
//!
//! A well-behaved member's line pays two rate limits and the counter of its poll, and touches neither its address nor the
//! memory budget. Lines that are encoded for an input line, times or colors touch the budget of the reader's address.
//! Tested by `tests/accounting.rs`, `tests/admission.rs`, `tests/fairness.rs` and `tests/memory.rs`; `loadtest zoo` measures what each kind of bad client does to 1,000 good ones.
//!
//! # What takes a lock
//!
//! No lock is on the path of a line from a sender's task through a running pass to the members' sockets. A pass that
//! replies to `/rooms` takes locks for that reply.
//!
//! | what | lock | when |
//! |---|---|---|
//! | a batch's delivery to a member's socket | none | each delivery |
//! | the write lock of a peer | none that is waited for: an atomic swap; a thread that fails to take it leaves its lines in the deferred list (`src/peer/write_lock.rs`) | each delivery, each write of the connection |
//! | a room's roster | none: arc-swap, and an atomic for the number of members | each pass, which also replies to `/who`; `/rooms`, TAB in the input line |
//! | a batch's encoding with CR LF, in frames or with numbers | a `OnceLock` that one thread at a time uses: the pass that runs | the first peer of a pass that needs it |
//! | a room's inbox | none: crossbeam's unbounded queue. The receiver spins for the instant between a sender's claim of a place and its filling; a sender spins at the border of two blocks | each operation |
//! | a room's history and its last whisperers | none: an atomic swap; the pass that runs holds them | the first and the last batch of a busy time |
//! | the live settings, the message of the day | none: arc-swap | each read, timer and command; each JOIN line |
//! | the TLS certificate | none: arc-swap | a connection to a TLS listener is accepted |
//! | the trusted proxies | none: arc-swap | a connection is accepted on a listener with a proxy |
//! | the counters and histograms | none: atomics, in shards of their own cache lines; the reasons of closes and refusals have one cell each | each pass, each poll in which a connection writes, a delay by the rates, a connection opens, ends or is refused |
//! | a request for metrics or health | the mutex of tokio's threads for blocking work; for metrics the lock of each shard of the backlogs (`DashMap`), one after the other | each request |
//! | the count of tasks (`TaskTracker`), the connections of an address | none: atomics | a connection opens or ends, a pass is started |
//! | the places for connections | the mutex of a `tokio::sync::Semaphore` | a connection opens or ends |
//! | the addresses, and the connections that have not joined | a `tokio::sync::Mutex` that only the listeners' tasks, and connections that wait for a place, take (`src/server/admission.rs`) | a connection is accepted |
//! | the bans | none: arc-swap. A change takes a `tokio::sync::Mutex` and writes the file on a thread that is no worker (`src/limits/bans/list.rs`) | a connection is accepted; an operator's ban |
//! | the directory of connections, with `--admin` alone | a shard's read-write lock (`DashMap`) | a connection opens or closes, an operator's command and what it asks of a connection |
//! | rooms by name | a shard's read-write lock (`DashMap`) | a join; an operator's command about rooms; `/rooms`, for which the pass of the asker's room reads one shard after the other; the removal of an empty room; shutdown |
//! | connections that have not flushed their input | none: an atomic. The last one at a shutdown takes the mutex of a `tokio::sync::Notify` | a connection opens or ends, shutdown |
//! | backlogs of peers whose sockets take nothing | a shard's read-write lock (`DashMap`) | a drain finds a socket blocked, such a backlog becomes empty; a charge beyond the memory ceiling reads one shard after the other |
//! | the memory of a batch | a `OnceLock`, in which a value is stored and nothing is computed | the first peer that keeps lines of the batch |
//! | the memory budget | none: atomics | a peer's waiting output grows or shrinks by 4 KiB, a batch is kept, a history's capacity changes |
//! | the cancellation tokens for shutdown | one mutex for each of the two tokens, shared by all connections (tokio-util) | a connection is accepted, waits for its JOIN line, joins, or closes |
//! | the start of a quiet room's pass | tokio's list of tasks, a sharded mutex; a mutex of the scheduler where a sleeping worker has to be woken | the first operation in a quiet room |
//! | a socket's readiness | tokio's mutex for this socket, shared by the connection's task and the I/O driver | a connection waits for input or for a full socket, the driver reports one |
//! | the list of sockets | tokio's mutex | a connection opens or ends |
//! | timers | tokio's timer wheel, a mutex | a login, a backlog, a sender beyond its rate, a command or an encoding beyond the budget of its address, an idle timeout, an agreement on the input line and each redraw of it, Ctrl-C in telnet, a close |
//! | memory | the allocator's own locks | an allocation: a few for a line, none for each delivery (`tests/allocations.rs` has the bound) |
//! | the log | the queue of the log's writer, which drops and counts what exceeds its capacity; the writer's own thread takes the lock of stdout or stderr | at level `info` a connection opens or ends; at level `trace` each pass |
//! | the tap of a cluster | none: tokio's unbounded queue, and an atomic; the members of other servers in a room are an arc-swap snapshot of their own | each pass of a server in a cluster |
//! | the lines that NATS keeps | the mutex of a `tokio::sync::Semaphore` | a room is opened with `--history-for` |
//! | a reload | a `tokio::sync::Mutex` that only reloads and handovers take (`src/server/handle.rs`) | SIGHUP with a configuration file, an upgrade |
//! | a handover to another process | a `tokio::sync::Mutex` that only handovers and the server's end take, and the lock of a `tokio::sync::watch` that acceptors read; the steps of connections are atomics | an upgrade, shutdown |
//!
//! Each of these locks is held for an instant: none across an `await`, and none during a write to a socket.
//!
//! # Races
//!
//! 1. *A join meets the removal of an empty room.* The registry sends the join while it holds the room's shard lock. It
//!    removes a room under the same lock, and only if roster and queue are both empty (`src/room/registry/mod.rs`). A
//!    listing holds no guard of the map once it has returned. Tested by
//!    `room_with_a_join_in_its_queue_stays_in_the_registry` and `listing_rooms_locks_nothing_while_its_caller_joins` in
//!    `src/room/registry/tests.rs`, and by `tests/membership.rs`.
//! 2. *Two threads write to one socket.* Every byte passes the peer's write lock, those of the input line included
//!    (`src/peer/write_lock.rs`, `src/peer/mod.rs`). A route changes under that lock. Tested by `tests/loom.rs`, which
//!    runs the write lock in every interleaving with at most 4 preemptions, and by `src/peer/output_buffer/tests.rs`.
//! 3. *A name is taken between its check and the join.* Only a pass gives names, at a join and at a rename
//!    (`src/room/batch_operations.rs`). A membership that is dropped while a rename is pending sends a leave for both
//!    names (`src/room/membership.rs`). Tested by `tests/membership.rs`, `tests/moves.rs` and
//!    `membership_dropped_with_a_rename_pending_leaves_under_either_name` in `src/room/registry/tests.rs`.
//! 4. *A peer closes during a pass.* The pass raises an event, and the connection ends itself (`src/peer/mod.rs`,
//!    `src/connection/close.rs`). A mass exit is one batch with one copy of the roster. Tested by
//!    `many_leaves_in_one_batch_cost_one_copy_and_one_write_each` in `src/room/tests/mod.rs`, and by
//!    `mass_exit_reaches_the_remaining_member` in `tests/membership.rs`.
//! 5. *A pass takes long.* It charges all work of one poll to one slice, yields when the slice is used up, and gathers
//!    joiners every few deliveries (`src/room/passes.rs`). Tested by `long_pass_yields_to_other_tasks`,
//!    `passes_of_a_refilling_room_yield_on_one_slice` and `joiner_during_a_pass_is_admitted_before_its_end` in
//!    `src/room/tests/mod.rs`.
//! 6. *An event of a previous room comes late.* A room raises its events in the slot of the membership, and a
//!    connection's two memberships have different slots (`src/peer/events.rs`, `src/connection/state/mod.rs`). Tested
//!    by `room_events_are_seen_in_their_own_slot_only` in `src/peer/events.rs`,
//!    `rooms_raise_events_in_the_slot_of_the_membership` in `src/room/registry/tests.rs`, and by `tests/moves.rs`.
//! 7. *A connection or a pass panics.* The panic ends that connection (`src/connection/event_loop.rs`) or that room
//!    (`src/room/pass_token.rs`) and no other, is logged with its cause, and releases everything. Input buffers are
//!    taken out of their thread-local while they are in use, so no input is left in them for the next connection
//!    (`src/connection/input.rs`). Tested by `panic_in_a_pass_closes_its_room_and_no_other` and
//!    `panic_in_a_pass_without_a_runtime_closes_its_room` in `src/room/registry/tests.rs`.
//! 8. *No thread runs a pass that is due.* The obligation is a token that runs the rest of the passes when it is
//!    dropped (`src/room/pass_token.rs`), so a [`Membership`](room::membership::Membership) may be dropped outside a
//!    runtime. Tested by `membership_dropped_outside_a_runtime_leaves_its_room`,
//!    `passes_of_a_runtime_that_shuts_down_are_run_to_their_end` and
//!    `pass_that_is_dropped_between_two_slices_goes_on_where_it_was` in `src/room/registry/tests.rs`.
//! 9. *A permit is free before its descriptor.* The permit lives beside the socket and is dropped after it
//!    (`src/net/socket.rs`, with its test), because a pass keeps a peer alive a moment longer than its connection. When
//!    all places are taken, the oldest connection that has not joined makes way for a new one: one compare-exchange
//!    decides between its end and its JOIN line (`src/limits/login_queue.rs`), and its place goes to the new connection
//!    when its descriptor is closed (`src/limits/server_limits.rs`). Tested by `src/server/admission.rs` and
//!    `tests/admission.rs`.
//! 10. *The shutdown notice meets lines and replies.* The server waits until each connection has flushed its input, for
//!     half of the drain time at the most (`src/connection/input_flush.rs`), and then sends each room its shutdown. The
//!     batch that holds the shutdown is delivered without the notice, then its replies, and the next batch is the
//!     notice alone (`src/room/batch.rs`). These are last lines, after which a peer's output takes no line
//!     (`src/peer/mod.rs`). Tested by `shutdown_notice_is_the_last_line_whatever_is_requested` in
//!     `src/room/tests/shutdown.rs`, `output_takes_no_line_after_the_last_lines_of_its_peer` in
//!     `src/peer/tests/mod.rs`, and `notice_is_the_last_line_of_peers_that_are_busy_with_commands` in
//!     `tests/shutdown.rs`.
//! 11. *A client's agreement meets lines that are on their way.* The change of a route is an operation on the output
//!     buffer, under the write lock, so it stands between two lines. The holder of the lock gives a batch that was
//!     chosen for the old route the encoding of the new one, and batches that were deferred before the change go out
//!     on the old route. Telnet options are never inside a line (`src/peer/output_buffer/mod.rs`). Tested by
//!     `batch_chosen_for_the_old_route_is_delivered_for_the_new_route` and
//!     `batch_deferred_before_a_route_change_goes_out_on_the_old_route` in `src/peer/tests/mod.rs`,
//!     `a_route_changes_between_two_lines` in `src/peer/output_buffer/tests.rs`, and
//!     `input_line_switched_by_a_slow_reader_tears_no_line` in `tests/slow_reader.rs`.
//! 12. *A line is sent while the server is copied for another process.* Each connection stops its input first, at a moment at
//!     which no room owes it an answer; then the rooms finish their passes, and only then connections are copied. A
//!     connection that ends meanwhile is counted until it has left its rooms (`src/server/handover.rs`). Tested by
//!     `lines_of_all_senders_arrive_once_and_in_order_while_processes_follow_each_other` in `tests/handover.rs`.

pub mod admin;
mod cluster;
pub mod config;
mod connection;
pub mod handover;
mod http;
pub mod limits;
pub mod metrics;
mod net;
pub mod peer;
#[cfg(any(test, fuzzing))]
#[path = "../tests/properties/mod.rs"]
pub mod properties;
pub mod protocol;
pub mod room;
mod server;
mod terminal;
pub mod text;
mod web;

pub use cluster::ClusterError;
pub use config::{RESERVED_FILES, Settings, SlowReader};
pub use metrics::counters::MetricsDelta;
pub use net::{
    ActivatedSockets, ActivatedSocketsError, BoundAddress, BoundListener, CertificateError, ListenError, TlsAcceptor,
    TlsCertificate,
};
pub use server::{
    Freeze, FreezeError, HandoverTurn, NotReady, Reloaded, Server, ServerHandle, ServerProbe, ServerStats, Stall,
    StartError,
};
