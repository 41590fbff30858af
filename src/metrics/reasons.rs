//! Reasons: how many connections were closed or refused for each reason, under names that stay the same.

use std::sync::atomic::{AtomicU64, Ordering};

/// Declares an enum of reasons with the value of the label `reason` for each, and the list of all.
macro_rules! reasons {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $reason:ident => $label:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$meaning])* $reason,)+
        }

        impl $name {
            /// Every reason, in the order of its declaration.
            pub(crate) const ALL: &[Self] = &[$(Self::$reason,)+];

            /// Returns the value of the label `reason`.
            pub(crate) fn label(self) -> &'static str {
                match self {
                    $(Self::$reason => $label,)+
                }
            }
        }
    };
}

reasons! {
    /// The kinds of reasons for which connections end, without what differs from one connection to another.
    CloseKind {
        /// The peer closed its sending side.
        EndOfInput => "end_of_input",
        /// A read or a write failed.
        ConnectionLost => "connection_lost",
        /// The first line was no JOIN line.
        BadFirstLine => "bad_first_line",
        /// The JOIN line did not come in time.
        LoginTimeout => "login_timeout",
        /// The connection had not joined, and made way for another one.
        MadeWay => "made_way",
        /// The JOIN line would have opened a room too many.
        TooManyRooms => "too_many_rooms",
        /// The member sent nothing for the idle timeout.
        Idle => "idle",
        /// Another member of the room had the name.
        NameTaken => "name_taken",
        /// A line was longer than allowed.
        LineTooLong => "line_too_long",
        /// A telnet subnegotiation was too long.
        BadTelnet => "bad_telnet",
        /// The peer asked for the end.
        Quit => "quit",
        /// The backlog was full, and slow readers are closed.
        TooSlow => "too_slow",
        /// The memory of the server was used up.
        NoMemory => "no_memory",
        /// The peer took no byte of its backlog for the stall timeout.
        Stalled => "stalled",
        /// A pass of the room panicked.
        RoomFailed => "room_failed",
        /// The server shut down.
        Shutdown => "shutdown",
        /// The server had begun as many TLS handshakes as it may.
        TooManyHandshakes => "too_many_handshakes",
        /// The TLS of the connection failed.
        TlsFailed => "tls_failed",
        /// The peer broke the protocol of WebSocket.
        WebSocketFailed => "websocket_failed",
        /// The peer's request was for the page, or for nothing that is there.
        Answered => "answered",
        /// An operator closed the connection.
        Kicked => "kicked",
        /// An operator banned the address.
        Banned => "banned",
        /// The connection panicked.
        Panic => "panic",
    }
}

reasons! {
    /// The kinds of reasons for which accepted connections are not served.
    RefusalKind {
        /// No place was free.
        Full => "full",
        /// The last places are for addresses that have no connection.
        Reserved => "reserved",
        /// The memory of the server was used up.
        Memory => "memory",
        /// The address had as many connections as it may have.
        TooManyOfAddress => "too_many_of_address",
        /// The address opened connections too fast.
        TooFast => "too_fast",
        /// The connection began with no PROXY header of a trusted proxy.
        ProxyHeader => "proxy_header",
        /// The address was banned.
        Banned => "banned",
        /// An operator lets no new connection in.
        Draining => "draining",
        /// The server shut down.
        Shutdown => "shutdown",
    }
}

/// How often each of `N` reasons was given. One cell each and no shards: a connection adds once in its life. All accesses
/// are relaxed: a count orders nothing.
#[derive(Debug)]
pub(super) struct ReasonCounts<const N: usize>([AtomicU64; N]);

/// The counts of closed connections.
pub(super) type CloseCounts = ReasonCounts<{ CloseKind::ALL.len() }>;

/// The counts of refused connections.
pub(super) type RefusalCounts = ReasonCounts<{ RefusalKind::ALL.len() }>;

impl<const N: usize> Default for ReasonCounts<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> ReasonCounts<N> {
    /// Counts the reason of this index once more.
    pub(super) fn add(&self, index: usize) {
        self.0[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts in the order of the reasons.
    pub(super) fn read(&self) -> [u64; N] {
        self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Asserts that the labels are distinct words that need no escape in a query.
    fn assert_are_labels(labels: &[&str]) {
        assert_eq!(labels.iter().collect::<HashSet<_>>().len(), labels.len(), "{labels:?}");
        let is_word = |label: &&str| label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        assert!(labels.iter().all(is_word), "{labels:?}");
    }

    #[test]
    fn each_reason_has_a_label_of_its_own() {
        assert_are_labels(&CloseKind::ALL.iter().map(|kind| kind.label()).collect::<Vec<_>>());
        assert_are_labels(&RefusalKind::ALL.iter().map(|kind| kind.label()).collect::<Vec<_>>());
    }

    #[test]
    fn each_reason_has_the_index_of_its_place_in_the_list() {
        assert!(CloseKind::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
        assert!(RefusalKind::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
    }

    #[test]
    fn reason_is_counted_in_its_own_cell() {
        let counts = RefusalCounts::default();
        counts.add(RefusalKind::Memory as usize);
        counts.add(RefusalKind::Memory as usize);
        counts.add(RefusalKind::Shutdown as usize);
        assert_eq!(counts.read(), [0, 0, 2, 0, 0, 0, 0, 0, 1]);
    }
}
