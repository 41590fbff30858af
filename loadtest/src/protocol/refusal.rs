//! Refusals of other servers: their causes, and the settings that mend them.
//!
//! The default settings of these servers refuse many loads. A hint names each setting as its server's documentation
//! does.

use super::ProtocolKind;

/// The cause of a refusal, and the settings of the server that mend it.
struct Hint {
    /// The protocol of the server.
    protocol: ProtocolKind,
    /// The refusal contains one of these texts, in any case of its letters.
    patterns: &'static [&'static str],
    /// The cause, and the settings.
    text: &'static str,
}

const fn hint(protocol: ProtocolKind, patterns: &'static [&'static str], text: &'static str) -> Hint {
    Hint { protocol, patterns, text }
}

/// All hints. The first one that matches a refusal counts.
const HINTS: [Hint; 17] = [
    hint(
        ProtocolKind::Redis,
        &["protected mode"],
        "Redis accepts only clients from 127.0.0.1: set `protected-mode no`, or run loadtest on its machine with \
         --sources 1",
    ),
    hint(
        ProtocolKind::Redis,
        &["max number of clients"],
        "raise `maxclients`, and the limit of open files of the server (`ulimit -n`)",
    ),
    hint(
        ProtocolKind::Redis,
        &["-noauth", "-wrongpass"],
        "the server asks for a password, and loadtest sends none: remove `requirepass`, or set \
         `user default on nopass`",
    ),
    hint(
        ProtocolKind::Redis,
        &["-noperm"],
        "the user `default` may not subscribe or publish: set `user default on nopass +@all allchannels`",
    ),
    hint(
        ProtocolKind::Redis,
        &["unknown command", "-noproto"],
        "the server has no RESP3, in which a subscriber may publish: use Redis 6 or later without `rename-command`",
    ),
    hint(
        ProtocolKind::Redis,
        &["-loading"],
        "the server still reads its data: wait, or start it without data and with `save \"\"`",
    ),
    hint(
        ProtocolKind::Nats,
        &["maximum connections exceeded"],
        "raise `max_connections`, and the limit of open files of the server (`ulimit -n`)",
    ),
    hint(
        ProtocolKind::Nats,
        &["account active connections"],
        "raise the connections of the account: `nsc edit account --conns`",
    ),
    hint(
        ProtocolKind::Nats,
        &["authorization violation", "authentication timeout"],
        "the server asks for credentials, and loadtest sends none: remove `authorization`, or name a user in \
         `no_auth_user`",
    ),
    hint(
        ProtocolKind::Nats,
        &["permissions violation"],
        "the user may not use the subjects of the rooms: allow `*` in `publish` and `subscribe` of its `permissions`",
    ),
    hint(
        ProtocolKind::Irc,
        &["connections from your ip", "allowed from your host", "too many user connections", "too many clients from"],
        "the server bounds the connections of one address: raise `MaxConnectionsIP` (ngIRCd), `localmax` and \
         `globalmax` in `<connect>` (InspIRCd) or `ip-limits` (Ergo)",
    ),
    hint(
        ProtocolKind::Irc,
        &["connection limit reached", "no more connections allowed", "server is full"],
        "the server bounds its connections: raise `MaxConnections` (ngIRCd) or `softlimit` in `<performance>` \
         (InspIRCd)",
    ),
    hint(
        ProtocolKind::Irc,
        &["throttled", "too fast", "too many times"],
        "the server bounds the new connections of one address in a time: unload `connectban` and `connflood` \
         (InspIRCd), raise `ip-limits` (Ergo), or lower --connecting",
    ),
    hint(
        ProtocolKind::Irc,
        &[" 432 "],
        "the server refuses nicks of 12 characters: set `MaxNickLength = 12` (ngIRCd) or `maxnick` in `<limits>` \
         (InspIRCd)",
    ),
    hint(
        ProtocolKind::Irc,
        &[" 464 ", "password", "access denied"],
        "the server asks for a password, and loadtest sends none: remove `Password` (ngIRCd) or `password` in \
         `<connect>` (InspIRCd)",
    ),
    hint(
        ProtocolKind::Irc,
        &[" 513 "],
        "the server did not get the answer to its PING before registration: set `RequireAuthPing = no` (ngIRCd), or \
         unload `conn_waitpong` (InspIRCd)",
    ),
    hint(ProtocolKind::Irc, &["registration timeout", "registration timed out"], IRC_LOOKUPS),
];

/// The settings of the lookups that an IRC server does before it accepts a client.
const IRC_LOOKUPS: &str = "the server may wait for lookups of the address and the user: set `DNS = no` and `Ident = no` \
                           (ngIRCd), or `resolvehostnames=\"no\"` and `useident=\"no\"` in `<connect>` (InspIRCd)";

impl ProtocolKind {
    /// Describes a refusal: its text, followed by its cause and the settings that mend it where they are known.
    pub(crate) fn describe_refusal(self, refusal: &str) -> String {
        let lower = refusal.to_lowercase();
        let matches = |hint: &&Hint| hint.protocol == self && hint.patterns.iter().any(|text| lower.contains(text));
        match HINTS.iter().find(matches) {
            Some(hint) => format!("`{refusal}`: {}", hint.text),
            None => format!("`{refusal}`"),
        }
    }

    /// Describes what may be done about a server that accepts connections and lets no client in.
    pub(crate) fn describe_silence(self) -> String {
        let lookups = if self == Self::Irc { format!("; {IRC_LOOKUPS}") } else { String::new() };
        format!("raise --patience if it is slow{lookups}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_described_with_the_setting_that_mends_it() {
        for (protocol, refusal, setting) in [
            (ProtocolKind::Redis, "-DENIED Redis is running in protected mode because", "`protected-mode no`"),
            (ProtocolKind::Redis, "-ERR max number of clients reached", "`maxclients`"),
            (ProtocolKind::Redis, "-NOAUTH HELLO must be called with the client already", "`requirepass`"),
            (ProtocolKind::Redis, "-NOPERM this user has no permissions", "allchannels"),
            (ProtocolKind::Redis, "-ERR unknown command `HELLO`", "Redis 6"),
            (ProtocolKind::Redis, "-LOADING Redis is loading the dataset in memory", "reads its data"),
            (ProtocolKind::Nats, "-ERR 'maximum connections exceeded'", "`max_connections`"),
            (ProtocolKind::Nats, "-ERR 'maximum account active connections exceeded'", "of the account"),
            (ProtocolKind::Nats, "-ERR 'Authorization Violation'", "`no_auth_user`"),
            (ProtocolKind::Nats, "-ERR 'Permissions Violation for Subscription to \"r00000\"'", "`permissions`"),
            (
                ProtocolKind::Irc,
                "ERROR :Connection refused, too many connections from your IP address",
                "`MaxConnectionsIP`",
            ),
            (
                ProtocolKind::Irc,
                "ERROR :Closing link: (a@b) [No more connections allowed from your host via",
                "`localmax`",
            ),
            (ProtocolKind::Irc, "ERROR :Connection limit reached", "`MaxConnections`"),
            (ProtocolKind::Irc, "ERROR :Closing link: (a@b) [No more connections allowed]", "`softlimit`"),
            (ProtocolKind::Irc, "ERROR :Trying to reconnect too fast.", "--connecting"),
            (
                ProtocolKind::Irc,
                ":irc 432 * u00000x00000 :Nickname too long, max. 9 characters",
                "`MaxNickLength = 12`",
            ),
            (ProtocolKind::Irc, ":irc 464 * :Password incorrect", "`password`"),
            (ProtocolKind::Irc, "ERROR :Closing link: (a@b) [Access denied by configuration]", "`password`"),
            (ProtocolKind::Irc, ":irc 513 u00000x00000 :To connect, type /QUOTE PONG 1", "`RequireAuthPing = no`"),
            (ProtocolKind::Irc, "ERROR :Closing link: (a@b) [Registration timeout]", "`Ident = no`"),
        ] {
            let text = protocol.describe_refusal(refusal);
            assert!(text.starts_with(&format!("`{refusal}`: ")) && text.contains(setting), "{text}");
        }
    }

    #[test]
    fn unknown_refusal_and_refusal_of_another_protocol_get_no_hint() {
        for protocol in [ProtocolKind::Line, ProtocolKind::Nats, ProtocolKind::Irc] {
            assert_eq!(protocol.describe_refusal("-ERR max number of clients"), "`-ERR max number of clients`");
        }
        assert_eq!(ProtocolKind::Redis.describe_refusal("-ERR syntax error"), "`-ERR syntax error`");
    }
}
