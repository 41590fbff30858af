//! Scripts: what clients do at the same moment, with names and texts that are unique in a case.
//!
//! Each name tells its room, its client and its place in the client's script, so that each line of a stream belongs to
//! one room and no two events of a room have the same line. Contested names differ in case alone, so one member of a
//! room at a time can have one.

use proptest::prelude::*;

/// The rooms. Each room but the last has an anchor: a member from the beginning to the shutdown.
pub const ROOMS: [char; 3] = ['a', 'b', 'c'];

/// The number of rooms with an anchor.
pub const ANCHORS: usize = 2;

/// The letters of a contested name, whose cases are the bits of a number.
const CONTESTED: &str = "contestantname";

/// One case.
#[derive(Clone, Debug)]
pub struct Script {
    /// The threads of the server's runtime.
    pub workers: usize,
    /// Lines a second of a connection; 0 for no limit.
    pub rate: u32,
    /// The actions of the anchors, which never move.
    pub anchors: Vec<Vec<Action>>,
    pub clients: Vec<ClientScript>,
    /// Whether the server shuts down as soon as all bytes are sent, and not after it has served them.
    pub shuts_down_early: bool,
}

#[derive(Clone, Debug)]
pub struct ClientScript {
    pub room: usize,
    pub is_contested: bool,
    pub actions: Vec<Action>,
    pub end: End,
}

#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Says so many lines in one packet.
    Say(usize),
    Act,
    Who,
    Rooms,
    /// Whispers to the member that has the contested name, or to the anchor's first name.
    Whisper {
        is_contested: bool,
    },
    Rename {
        is_contested: bool,
    },
    Move {
        room: usize,
        is_contested: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Stays until the shutdown.
    Stay,
    HalfClose,
    Quit,
    Reset,
}

/// The actions of one client, and its name.
pub struct Packets {
    /// Each is one write.
    pub writes: Vec<String>,
    /// The names that the client has asked for.
    pub names: Vec<String>,
    /// The texts of its lines, in order.
    pub texts: Vec<String>,
}

/// Returns a name that client `client` alone asks for, at this place of its script.
fn unique_name(room: char, client: usize, place: usize) -> String {
    format!("{room}{client}.{place}")
}

/// Returns a name that is taken in `room` if another member has a contested name.
fn contested_name(room: char, client: usize, place: usize) -> String {
    let bits = client * 64 + place;
    let letters = CONTESTED.chars().enumerate();
    let spelled: String =
        letters.map(|(bit, letter)| if bits >> bit & 1 == 1 { letter.to_ascii_uppercase() } else { letter }).collect();
    format!("{spelled}-{room}")
}

/// Returns the room of a name.
pub fn room_of(name: &str) -> char {
    let is_contested = name.to_ascii_lowercase().starts_with(CONTESTED);
    if is_contested { name.chars().last() } else { name.chars().next() }.expect("a name has a letter")
}

fn name(room: char, is_contested: bool, client: usize, place: usize) -> String {
    if is_contested { contested_name(room, client, place) } else { unique_name(room, client, place) }
}

/// Returns what a client sends. `start` is its first room and whether its first name is contested.
///
/// A rename asks for a name of the room in which the client is if no move was refused; a name of another room would
/// make the lines ambiguous, so each client but the anchors renames itself to names of one room: the one in which it
/// stays.
pub fn packets(client: usize, start: (usize, bool), actions: &[Action], end: End) -> Packets {
    let mut room = ROOMS[start.0];
    let has_moves = actions.iter().any(|action| matches!(action, Action::Move { .. }));
    let first = name(room, start.1, client, 0);
    let mut sent = Packets { writes: vec![format!("JOIN {room} {first}\n")], names: vec![first], texts: Vec::new() };
    for (place, action) in (1..).zip(actions) {
        let packet = match *action {
            Action::Say(count) => (0..count).fold(String::new(), |lines, _| lines + &sent.next_text(client) + "\n"),
            Action::Act => format!("/me {}\n", sent.next_text(client)),
            Action::Who => "/who\n".to_owned(),
            Action::Rooms => "/rooms\n".to_owned(),
            Action::Whisper { is_contested: true } => {
                format!("/msg {} whisper {client}.{place}\n", contested_name(room, 0, 0))
            }
            Action::Whisper { .. } => {
                let anchor = ROOMS.iter().position(|other| *other == room).unwrap_or_default();
                format!("/msg {} whisper {client}.{place}\n", unique_name(room, anchor, 0))
            }
            // After a move that may have been refused the client does not know its room.
            Action::Rename { .. } if has_moves => continue,
            Action::Rename { is_contested } => {
                let name = name(room, is_contested, client, place);
                sent.names.push(name.clone());
                format!("/nick {name}\n")
            }
            Action::Move { room: wanted, .. } if end == End::Reset && wanted >= ANCHORS => continue,
            Action::Move { room: wanted, is_contested } => {
                room = ROOMS[wanted];
                let name = name(room, is_contested, client, place);
                sent.names.push(name.clone());
                format!("/join {room} {name}\n")
            }
        };
        sent.writes.push(packet);
    }
    if matches!(end, End::Quit | End::HalfClose) {
        let text = sent.next_text(client);
        // A line that is unfinished at the end of the input counts.
        sent.writes.push(if end == End::Quit { format!("/quit {text}\n") } else { text });
    }
    sent
}

impl Packets {
    fn next_text(&mut self, client: usize) -> String {
        let text = format!("line {client}.{}", self.texts.len());
        self.texts.push(text.clone());
        text
    }
}

fn stationary_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1usize..5).prop_map(Action::Say),
        1 => Just(Action::Act),
        2 => Just(Action::Who),
        1 => Just(Action::Rooms),
        2 => any::<bool>().prop_map(|is_contested| Action::Whisper { is_contested }),
        2 => any::<bool>().prop_map(|is_contested| Action::Rename { is_contested }),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let moving = (0..ROOMS.len(), any::<bool>()).prop_map(|(room, is_contested)| Action::Move { room, is_contested });
    prop_oneof![3 => stationary_action(), 1 => moving]
}

/// Returns the strategy of all scripts.
pub fn script() -> impl Strategy<Value = Script> {
    let end = prop_oneof![2 => Just(End::Stay), 1 => Just(End::HalfClose), 1 => Just(End::Quit), 1 => Just(End::Reset)];
    let client = (0..ROOMS.len(), any::<bool>(), prop::collection::vec(action(), 0..14), end).prop_map(
        |(room, is_contested, actions, end)| {
            // A room without an anchor has no reset: no stream would hold what its last member missed.
            let room = if end == End::Reset { room % ANCHORS } else { room };
            ClientScript { room, is_contested, actions, end }
        },
    );
    let anchor = prop::collection::vec(stationary_action(), 0..10);
    let rate = prop_oneof![6 => Just(0u32), 1 => Just(2_000u32)];
    (
        prop::sample::select(vec![1usize, 2, 4]),
        rate,
        prop::collection::vec(anchor, ANCHORS),
        prop::collection::vec(client, 1..8),
        any::<bool>(),
    )
        .prop_map(|(workers, rate, anchors, clients, shuts_down_early)| Script {
            workers,
            rate,
            anchors,
            clients,
            shuts_down_early,
        })
}
