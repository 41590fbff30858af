//! The event loop: waits for the next event of a connection and does what it asks for.

use super::close_reason::CloseReason;
use super::state::{MembershipEnd, Refusal, RoomOutcome};
use super::timers::Deadline;
use super::{Connection, OutputStatus};
use crate::peer::OutputOp;
use crate::peer::events::{MembershipSlot, PeerEvents};
use crate::text::names::{RoomName, UserName};
use crate::text::panics::panic_message;
use crate::text::replies;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::task::yield_now;
use tracing::debug;

/// The longest time for which the server's budget of slices delays the input of a connection.
const LONGEST_SLICE_DELAY: Duration = Duration::from_secs(1);

/// One event of a connection.
pub(super) enum Event {
    /// Rooms or passes raised these.
    Raised(PeerEvents),
    /// A deadline has come.
    Deadline(Deadline),
    /// The server begins to end, or the connection has to make way for another one.
    Shutdown,
    /// The socket takes bytes and some wait, or output waits for the write lock.
    Writable,
    /// The socket may have input.
    Readable,
}

impl Connection {
    /// Serves the peer until there is a reason to close, and closes. A panic ends this connection alone: it is
    /// logged with its cause, and everything is released.
    ///
    /// Boxed: what an async function takes by value its future holds twice.
    pub(crate) async fn serve(self: Box<Self>) {
        self.serve_from(|connection| {
            connection.begin();
            Ok(())
        })
        .await;
    }

    /// Serves the peer, as [`Connection::serve`] does, from a beginning that may end the connection.
    pub(super) async fn serve_from(mut self: Box<Self>, begin: fn(&mut Self) -> Result<(), CloseReason>) {
        let outcome = {
            let mut run = pin!(self.run(begin));
            poll_fn(|context| poll_catching_panic(run.as_mut(), context)).await
        };
        if let Err(cause) = outcome {
            self.release_after_panic(&cause);
        }
    }

    async fn run(&mut self, begin: fn(&mut Self) -> Result<(), CloseReason>) {
        let mut outcome = begin(self);
        let reason = loop {
            match outcome {
                Ok(()) => outcome = self.step().await,
                Err(reason) => break reason,
            }
        };
        // Boxed: it is larger than all the rest of the future, which is there for the whole life.
        Box::pin(self.close(reason)).await;
    }

    /// Waits for the next event and does what it asks for.
    pub(super) async fn step(&mut self) -> Result<(), CloseReason> {
        let outcome = match self.next_event().await {
            Event::Raised(events) => self.handle_events(events),
            Event::Deadline(deadline) => self.handle_deadline(deadline),
            Event::Shutdown if self.login.as_ref().is_some_and(|login| login.makes_way()) => Err(CloseReason::MadeWay),
            Event::Shutdown => Err(CloseReason::Shutdown),
            Event::Writable => {
                self.drain_output();
                self.resume_input()
            }
            Event::Readable => self.read_input(),
        };
        self.charge_kept_input();
        self.check_stopped();
        outcome
    }

    /// Waits for the next event.
    pub(super) fn next_event(&mut self) -> impl Future<Output = Event> + '_ {
        poll_fn(|context| {
            let event = self.poll_event(context);
            if event.is_pending() {
                self.slice.restart();
            }
            event
        })
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if self.slice.is_used_up() {
            self.charge_used_slice();
            // `yield_now` wakes the task only after the runtime has asked the system for events. `wake_by_ref` would let it
            // run again before that, and connections that use up their slices would delay all others for many slices.
            let _ = pin!(yield_now()).poll(context);
            return Poll::Pending;
        }
        let events = self.peer.take_events(context);
        if self.is_copied() {
            // Nothing else may have an effect: another process goes on with the copy, or this one tries again later.
            return if events == PeerEvents::NONE { Poll::Pending } else { Poll::Ready(Event::Raised(events)) };
        }
        if events != PeerEvents::NONE {
            return Poll::Ready(Event::Raised(events));
        }
        if self.is_stopped() {
            return self.poll_output(context).unwrap_or(Poll::Pending);
        }
        if let Poll::Ready(deadline) = self.deadlines.poll(context) {
            return Poll::Ready(Event::Deadline(deadline));
        }
        if let Some(login) = &mut self.login
            && login.poll_end(context).is_ready()
        {
            return Poll::Ready(Event::Shutdown);
        }
        if let Some(poll) = self.poll_output(context) {
            return poll;
        }
        if self.is_input_paused() {
            return Poll::Pending;
        }
        if self.has_input_to_resume() {
            // The pause ended at an event that does not resume input itself, or with the slice.
            return Poll::Ready(Event::Readable);
        }
        ready!(self.peer.sink().poll_readable(context));
        Poll::Ready(Event::Readable)
    }

    /// Waits for the socket or the write lock where output waits for one of them; `None` where input may be looked at.
    fn poll_output(&mut self, context: &mut Context<'_>) -> Option<Poll<Event>> {
        match self.output_status {
            OutputStatus::Empty => None,
            // The output goes on at the deadline.
            OutputStatus::Waiting if self.deadlines.is_set(Deadline::Encoding) && self.pending_output.is_none() => None,
            OutputStatus::Contended => {
                self.output_status = OutputStatus::Waiting;
                context.waker().wake_by_ref();
                Some(Poll::Pending)
            }
            OutputStatus::Waiting => {
                // Output that waited for the write lock alone does not wait for the socket.
                let is_writable = self.peer.sink().poll_writable(context).is_ready();
                (is_writable || self.pending_output.is_some()).then_some(Poll::Ready(Event::Writable))
            }
        }
    }

    /// Charges a slice that is used up to the server. Beyond the server's budget the connection's input waits, so that the
    /// connections that need whole slices leave time for all others. It does not apply where the rate of lines is off, nor
    /// to the flush at shutdown.
    pub(super) fn charge_used_slice(&mut self) {
        if self.line_limit().is_unlimited() {
            return;
        }
        let (now, used) = (Instant::now(), self.slice.used());
        let allowed_at = self.context.slices.spend(used, now);
        if allowed_at > now + LONGEST_SLICE_DELAY {
            // Encoded output uses slices, too, and is not delayed here: its debt must not grow without a bound.
            self.context.slices.refund(used, now);
        }
        if allowed_at > now {
            let delayed_until = allowed_at.min(now + LONGEST_SLICE_DELAY);
            self.delay_input(delayed_until, now);
        }
    }

    /// Does what raised events ask for. All of them are handled before the connection ends for one of them.
    pub(super) fn handle_events(&mut self, events: PeerEvents) -> Result<(), CloseReason> {
        if events.contains(PeerEvents::OPERATOR_REQUEST) {
            self.follow_handover()?;
        }
        if self.is_copied() {
            return Ok(());
        }
        let (mut end, mut inbox_ready) = (None, false);
        for slot in MembershipSlot::ALL {
            let outcome = self.handle_room_events(slot, events.of_slot(slot));
            end = outcome.end.or(end);
            inbox_ready |= outcome.inbox_ready;
        }
        if events.contains(PeerEvents::OUTPUT_BLOCKED) {
            self.begin_draining();
            self.register_waiting_output();
        }
        if events.contains(PeerEvents::RECLAIM) {
            self.add_output([OutputOp::DropLines]);
        }
        if events.contains(PeerEvents::FLUSH_INPUT) {
            self.begin_input_flush()?;
        }
        if let Some(end) = end {
            match end {
                MembershipEnd::NameTaken(room, name) => self.refuse_login(CloseReason::NameTaken(room, name))?,
                MembershipEnd::Shutdown => return Err(CloseReason::Shutdown),
                MembershipEnd::RoomFailed => return Err(CloseReason::RoomFailed),
            }
        }
        // During a handover operators' requests wait for its end.
        if events.contains(PeerEvents::OPERATOR_REQUEST) && !self.is_in_handover() {
            self.handle_operator_requests()?;
        }
        if events.contains(PeerEvents::WRITE_FAILED) {
            self.start_read_grace();
        }
        if events.contains(PeerEvents::TOO_SLOW) {
            return Err(CloseReason::TooSlow(self.context.live.get().backlog));
        }
        if events.contains(PeerEvents::RECLAIM) && self.has_to_free_memory() {
            return Err(CloseReason::NoMemory);
        }
        if inbox_ready {
            self.run_blocked_command()?;
        }
        self.resume_input()
    }

    /// Follows a room's events and tells the peer what the room refused; returns what else they ask for.
    pub(super) fn handle_room_events(&mut self, slot: MembershipSlot, events: PeerEvents) -> RoomOutcome {
        let mut outcome = self.state.apply_room_events(slot, events);
        if events.intersects(PeerEvents::JOINED | PeerEvents::RENAMED) {
            self.update_display_identity();
        }
        if outcome.admitted {
            let (room, name) = self.identity().unzip();
            let (connection, address) = (self.peer.id().0, self.address);
            let (room, name) = (room.as_ref().map(RoomName::as_str), name.as_ref().map(UserName::as_str));
            debug!(connection, %address, room, name, "admitted");
            self.complete_login();
        }
        // A command that waits for the room comes first; the conflict is raised again.
        if outcome.name_conflict && self.blocked_input.is_none() {
            self.give_name_up();
        }
        if let Some((refusal, (here, _))) = outcome.refused.take().zip(self.identity()) {
            self.reply_with(|out| match refusal {
                Refusal::NameTakenThere(room, name) => replies::push_name_taken_in(out, &room, &name),
                Refusal::NameTakenHere(name) => replies::push_name_taken(out, &here, &name),
                Refusal::RoomFailed(room) => {
                    replies::push_reply(
                        out,
                        &format_args!("the room {} has failed: you stay here, try again", room.as_str()),
                    );
                }
            });
        }
        outcome
    }

    pub(super) fn handle_deadline(&mut self, deadline: Deadline) -> Result<(), CloseReason> {
        match deadline {
            Deadline::Login => self.on_login_timeout(),
            // The peer may have read meanwhile, after a stop of the process.
            Deadline::Stall if self.drain_output() => Ok(()),
            Deadline::Stall => self.on_stall_timeout(),
            Deadline::Idle => self.on_idle_timeout(),
            Deadline::RateLimit => self.resume_input(),
            Deadline::Encoding => {
                self.begin_draining();
                self.drain_output();
                self.resume_input()
            }
            Deadline::AddressBudget => {
                self.check_delayed_line()?;
                self.resume_input()
            }
            Deadline::Agreement => {
                self.on_agreement_timeout();
                Ok(())
            }
            Deadline::InterruptNotice => {
                self.send_interrupt_notice();
                Ok(())
            }
            Deadline::Redraw => {
                self.redraw_input_line();
                Ok(())
            }
            Deadline::Ping => self.on_ping_due(),
            // The mute has ended with its deadline.
            Deadline::Mute => Ok(()),
            // The received input is processed first, however long that takes at the peer's rate.
            Deadline::ReadGrace if self.has_unprocessed_input() => {
                self.start_read_grace();
                Ok(())
            }
            Deadline::ReadGrace | Deadline::Flush => Err(CloseReason::Lost(io::ErrorKind::BrokenPipe)),
        }
    }

    /// Closes the connection of a peer that takes no byte of its backlog, unless the limit was lifted meanwhile.
    fn on_stall_timeout(&self) -> Result<(), CloseReason> {
        let timeout = self.context.live.get().stall_timeout;
        if timeout.is_zero() { Ok(()) } else { Err(CloseReason::Stalled(timeout)) }
    }

    /// Closes the connection of a peer that has sent no JOIN line in time, unless the limit was lifted meanwhile.
    fn on_login_timeout(&mut self) -> Result<(), CloseReason> {
        // A JOIN line that came in time waits for its room, which may refuse it, or for the budget of its address. After
        // a stop of the process it may wait in the socket.
        if self.has_sent_join() || (self.read_late_input()? && self.has_sent_join()) {
            return Ok(());
        }
        let timeout = self.context.live.get().login_timeout;
        if timeout.is_zero() { Ok(()) } else { Err(CloseReason::LoginTimeout(timeout)) }
    }

    /// Closes the connection of an idle member, unless its input is not processed yet or the limit was lifted meanwhile.
    /// After a stop of the process, input may wait in the socket.
    fn on_idle_timeout(&mut self) -> Result<(), CloseReason> {
        let timeout = self.context.live.get().idle_timeout;
        if timeout.is_zero() || self.has_unprocessed_input() || self.read_late_input()? {
            self.deadlines.set_after(Deadline::Idle, timeout);
            return Ok(());
        }
        Err(CloseReason::Idle)
    }

    /// Returns whether the connection has received input that it has not processed, or its input is paused.
    fn has_unprocessed_input(&self) -> bool {
        self.has_received_input() || self.is_input_paused()
    }

    /// Returns whether a JOIN line of the peer waits for its room, or for the budget of its address.
    fn has_sent_join(&self) -> bool {
        self.state.awaits_room() || self.delayed_line.is_some()
    }
}

/// Polls a future; a panic in it is the error, as text.
fn poll_catching_panic<F: Future + ?Sized>(
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<Result<F::Output, String>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(panic_message(&*payload).to_owned())),
    }
}
