//! Web: a connection of a browser, from the head of its request to the last frame.
//!
//! The head is read under the login deadline. A request for a file of the page is answered, and the connection closed. After
//! a handshake the connection is one as on a plain listener: the text of messages is its input, and passes write its lines
//! in frames that all such peers share.

use super::Connection;
use super::OutputStatus;
use super::close_reason::CloseReason;
use super::lines::LineEncoder;
use super::poll_slice::{COMMAND_WORK, ITEM_WORK};
use super::timers::Deadline;
use crate::http::{HeadReader, Status};
use crate::net::codec::websocket::{CloseCode, DecodedFrames, FrameDecoder, close_frame, ping_frame, pong_frame};
use crate::peer::OutputOp;
use crate::peer::route::Route;
use crate::web::{self, Answer};
use serde::{Deserialize, Serialize};
use tracing::debug;

/// The state of a browser's connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WebState {
    phase: WebPhase,
    /// Whether a ping was sent after the last bytes that were received.
    has_unanswered_ping: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum WebPhase {
    /// The head of the request is not complete.
    Head(HeadReader),
    /// The connection speaks WebSocket.
    Open(FrameDecoder),
    /// The request is answered, or the peer has ended its output: the bytes after that are no input.
    Ended {
        /// Whether a close frame of the peer has to be answered.
        by_frame: bool,
    },
}

impl WebState {
    /// Returns the state of a new connection.
    pub(super) fn new() -> Self {
        Self { phase: WebPhase::Head(HeadReader::default()), has_unanswered_ping: false }
    }

    /// Returns whether lines can be sent.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, WebPhase::Open(_))
    }

    /// Returns the bytes of memory that hold received input which is not decoded.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.phase {
            WebPhase::Head(head) => head.held_bytes(),
            WebPhase::Open(decoder) => decoder.held_bytes(),
            WebPhase::Ended { .. } => 0,
        }
    }
}

impl Connection {
    /// Returns the route of a browser's lines.
    pub(super) fn web_route(&self, encodes_lines: bool) -> Route {
        if encodes_lines || self.transport.is_some() { Route::BufferedFrames } else { Route::DirectFrames }
    }

    /// Processes plain bytes of a browser: the head of its request, or frames.
    pub(super) fn process_web(&mut self, input: &[u8], lines: &mut LineEncoder) -> Result<(), CloseReason> {
        let Some(web) = &mut self.web else {
            return Ok(());
        };
        web.has_unanswered_ping = false;
        match &mut web.phase {
            WebPhase::Ended { .. } => Ok(()),
            WebPhase::Head(head) => match head.push(input) {
                None => Ok(()),
                Some(request) => {
                    let answer = web::answer(&request, head, &self.context.allowed_origins);
                    self.send_answer(answer)
                }
            },
            WebPhase::Open(decoder) => {
                let mut text = Vec::new();
                let outcome = decoder.decode(input, &mut text);
                self.process_frames(&text, lines)?;
                match outcome {
                    Ok(frames) => self.follow_frames(frames, lines),
                    Err(error) => Err(CloseReason::WebSocket(error)),
                }
            }
        }
    }

    /// Sends the answer to a request, which begins WebSocket or ends the connection.
    fn send_answer(&mut self, answer: Answer) -> Result<(), CloseReason> {
        self.slice.charge(COMMAND_WORK);
        match answer {
            Answer::Response(response, status) => {
                self.set_web_phase(WebPhase::Ended { by_frame: false });
                self.add_output([OutputOp::Encoded(response)]);
                Err(CloseReason::Answered(status))
            }
            Answer::Upgrade(response) => {
                debug!(address = %self.address, "WebSocket handshake completed");
                self.set_web_phase(WebPhase::Open(FrameDecoder::default()));
                self.add_output([OutputOp::Encoded(response)]);
                self.greet();
                self.restart_ping_deadline();
                Ok(())
            }
        }
    }

    fn set_web_phase(&mut self, phase: WebPhase) {
        if let Some(web) = &mut self.web {
            web.phase = phase;
        }
    }

    /// Processes the text of decoded frames.
    fn process_frames(&mut self, text: &[u8], lines: &mut LineEncoder) -> Result<(), CloseReason> {
        if text.is_empty() {
            return Ok(());
        }
        self.restart_idle_deadline();
        self.process_lines(text, lines)
    }

    /// Charges decoded frames, answers a ping, and ends the input after a close frame.
    fn follow_frames(&mut self, decoded: DecodedFrames, lines: &mut LineEncoder) -> Result<(), CloseReason> {
        let DecodedFrames { frames, empty_frames, ping, end } = decoded;
        self.slice.charge(frames.saturating_mul(ITEM_WORK));
        if empty_frames > 0 {
            self.charge_partial_reads(empty_frames);
        }
        if let Some(payload) = ping {
            self.add_output([OutputOp::Raw(pong_frame(&payload))]);
        }
        if end.is_none() {
            return Ok(());
        }
        self.set_web_phase(WebPhase::Ended { by_frame: true });
        self.input_closed = true;
        if self.held_input.is_none() { self.end_of_input(lines) } else { Ok(()) }
    }

    /// Sets the time of the next ping: twice in the time after which a peer that does not answer is dead. A proxy between
    /// the server and the browser answers TCP's own questions.
    fn restart_ping_deadline(&mut self) {
        self.deadlines.set_after(Deadline::Ping, self.context.live.get().dead_timeout / 2);
    }

    /// Pings the peer, or closes the connection of one that has not answered the ping before.
    ///
    /// # Errors
    /// [`CloseReason::Lost`] for a peer that has not answered.
    pub(super) fn on_ping_due(&mut self) -> Result<(), CloseReason> {
        // An answer may wait in the socket, or behind input that is paused.
        let may_have_answered = self.is_input_paused() || self.has_received_input() || self.read_late_input()?;
        let dead_timeout = self.context.live.get().dead_timeout;
        let Some(web) = self.web.as_mut().filter(|web| web.is_open() && !dead_timeout.is_zero()) else {
            return Ok(());
        };
        if web.has_unanswered_ping && !may_have_answered {
            return Err(CloseReason::Lost(std::io::ErrorKind::TimedOut));
        }
        // A ping that waits behind lines says nothing; a peer that takes none of them stalls.
        if self.output_status == OutputStatus::Empty && !may_have_answered {
            web.has_unanswered_ping = true;
            self.add_output([OutputOp::Raw(ping_frame())]);
        }
        self.restart_ping_deadline();
        Ok(())
    }

    /// Tells a browser whose request is not complete why its connection is closed.
    pub(super) fn send_web_refusal(&mut self, reason: CloseReason, told: &str) {
        let is_sealed = self.transport.as_ref().is_some_and(|transport| !transport.is_open());
        if let Some(WebPhase::Head(head)) = self.web.as_ref().map(|web| &web.phase)
            && !head.is_empty()
            && !is_sealed
        {
            let is_late = matches!(reason, CloseReason::LoginTimeout(_));
            let status = if is_late { Status::RequestTimeout } else { Status::Unavailable };
            let told = if is_late { crate::http::explanation(status) } else { told };
            let answer = web::unanswered(status, told, head);
            self.add_output([OutputOp::Encoded(answer)]);
        }
    }

    /// Ends the frames of a browser, after all output that waited; returns false if nothing is to be sent for that.
    pub(super) fn end_frames(&mut self, code: CloseCode) -> bool {
        let Some(web) = &mut self.web else {
            return false;
        };
        let code = match web.phase {
            WebPhase::Open(_) => code,
            // The peer knows its reason.
            WebPhase::Ended { by_frame: true } => CloseCode::Normal,
            WebPhase::Head(_) | WebPhase::Ended { by_frame: false } => return false,
        };
        web.phase = WebPhase::Ended { by_frame: false };
        self.add_output([OutputOp::Encoded(close_frame(code))]);
        true
    }
}
