//! A cluster of machines on a simulated bus that loses, delays, holds, doubles and cuts, under schedules that proptest
//! makes: in both orders. `PROPTEST_CASES=10000 cargo test --lib cluster::core::simulation` runs 10,000 of them.
//!
//! The log of a cluster with one order is simulated, too: it takes frames late, answers late, stands still, and takes a frame
//! twice; what it has reaches each server in its order, some time after the server is in reach.

use super::{Channel, Core, Effect, Event, LogFrame, StoredFrame};
use crate::config::ClusterOrder;
use crate::room::remote::{LocalChange, RemoteChange};
use crate::text::names::{NodeName, RoomName, UserName};
use crate::text::time::Minute;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// The schedules of one run; the environment sets more.
const CASES: u32 = 500;

const NODES: usize = 3;
const ROOMS: usize = 2;
const USERS: usize = 4;

/// The frames in rooms that a node may publish again.
const PUBLISHED: usize = 20;

/// One step of a schedule.
#[derive(Clone, Debug)]
enum Action {
    Join {
        node: usize,
        room: usize,
        user: usize,
    },
    Leave {
        node: usize,
        room: usize,
        user: usize,
    },
    Say {
        node: usize,
        room: usize,
        user: usize,
        lines: u32,
    },
    Wait(u64),
    /// Frames from one node to another are lost from now on, or arrive again.
    Cut {
        from: usize,
        to: usize,
        is_cut: bool,
    },
    /// A node is cut off from the bus in both directions, or is connected again.
    Offline {
        node: usize,
        is_offline: bool,
    },
    /// The connection of a node that carries rooms is down from now on, or up again, which its client notices.
    DataDown {
        node: usize,
        is_down: bool,
    },
    /// The frames of a node are held, and come as a burst later.
    Hold {
        node: usize,
        is_held: bool,
    },
    /// The next frame that a node publishes reaches no other node.
    LoseNext(usize),
    /// The next frame that a node publishes in a room arrives twice.
    DoubleNext(usize),
    /// The log takes nothing from now on, or takes frames again.
    StopLog(bool),
    /// A member takes another name.
    Rename {
        node: usize,
        room: usize,
        user: usize,
        to: usize,
    },
    /// A frame that a node has published in a room before arrives again: `back` frames before the last one.
    Repeat {
        node: usize,
        back: usize,
    },
    /// A process ends without a word, and starts again after a while.
    Kill(usize),
    /// The bus keeps lines of rooms from now on, or they can't be read.
    Store(bool),
}

/// A line or a hole, as the members of one node see it in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// The line of this number that was said in an instance of the room.
    Line {
        node: NodeName,
        instance: u64,
        number: u64,
    },
    Missing {
        node: NodeName,
        lines: u64,
    },
}

#[derive(Debug, Default)]
struct Room {
    instance: u64,
    members: BTreeMap<String, UserName>,
    waiting: Vec<UserName>,
    /// The names that peers have claimed, with the time.
    claims: Vec<(UserName, u64)>,
    is_opening: bool,
    opened_at: u64,
    remote: BTreeMap<NodeName, BTreeSet<String>>,
    seen: Vec<Seen>,
    has_earlier: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Node {
    name: NodeName,
    core: Core,
    boot: u64,
    rooms: HashMap<RoomName, Room>,
    subscribed: BTreeSet<RoomName>,
    /// The entries of the log of each room that have come.
    read: HashMap<RoomName, usize>,
    /// Whether members wait for the log, as rooms see it.
    is_ordered: bool,
    /// The instance of each room, and the lines that were said there.
    said: HashMap<RoomName, (u64, u64)>,
    is_offline: bool,
    is_data_down: bool,
    is_held: bool,
    loses: u32,
    doubles: u32,
    held: Vec<Sent>,
    /// The last frames in rooms.
    published: VecDeque<(Channel, Vec<u8>)>,
    dead_until: Option<u64>,
}

/// A frame on its way to the log.
struct Appending {
    arrives: u64,
    from: usize,
    boot: u64,
    frame: LogFrame,
    is_double: bool,
}

/// A frame that a node has sent.
struct Sent {
    /// Whether it is sent on the connection that carries rooms.
    by_data: bool,
    channel: Channel,
    bytes: Vec<u8>,
}

/// A frame under way.
struct Flying {
    arrives: u64,
    channel: Channel,
    bytes: Bytes,
}

/// The frames under way from one node to another: in order where both have them on the same connections, each
/// the one that carries rooms or the other one.
#[derive(Default)]
struct Link([VecDeque<Flying>; 4]);

impl Link {
    fn way(&mut self, is_sent_by_data: bool, is_received_by_data: bool) -> &mut VecDeque<Flying> {
        &mut self.0[usize::from(is_sent_by_data) * 2 + usize::from(is_received_by_data)]
    }

    /// Takes a frame that has arrived.
    fn pop(&mut self, now: u64) -> Option<Flying> {
        let has_arrived = |way: &&mut VecDeque<Flying>| way.front().is_some_and(|flying| flying.arrives <= now);
        self.0.iter_mut().find(has_arrived)?.pop_front()
    }
}

struct Cluster {
    order: ClusterOrder,
    now: u64,
    /// The entries of the log of each room.
    log: HashMap<RoomName, Vec<Bytes>>,
    appending: Vec<Appending>,
    /// The answers of the log: the time, the node, its process, and the frame.
    appended: Vec<(u64, usize, u64, (RoomName, u64))>,
    is_log_stopped: bool,
    nodes: Vec<Node>,
    /// By receiver, and then by sender.
    links: [[Link; NODES]; NODES],
    cut: BTreeSet<(usize, usize)>,
    pings: Vec<(u64, usize, NodeName)>,
    /// The frames that the bus has kept of each room, in the order in which it got them.
    stored: HashMap<RoomName, Vec<StoredFrame>>,
    has_store: bool,
    /// The readings that are answered at a time: by which node, and for which room and instance.
    readings: Vec<(u64, usize, (RoomName, u64))>,
    instances: u64,
    random: fastrand::Rng,
}

fn node_name(node: usize) -> NodeName {
    NodeName::parse(&format!("n{node}")).unwrap()
}

fn room_name(room: usize) -> RoomName {
    RoomName::parse(&format!("r{room}")).unwrap()
}

fn user_name(user: usize) -> UserName {
    UserName::parse(&format!("u{user}")).unwrap()
}

/// Returns the node, the number and the process of a line.
fn parse_line(line: &str) -> (NodeName, u64, u64) {
    let mut words = line.split_once(": ").unwrap().1.split(' ');
    let node = NodeName::parse(words.next().unwrap()).unwrap();
    let mut number = || words.next().unwrap().parse().unwrap();
    (node, number(), number())
}

fn key(name: &UserName) -> String {
    name.as_str().to_ascii_lowercase()
}

impl Node {
    fn new(node: usize, now: u64, order: ClusterOrder) -> Self {
        let name = node_name(node);
        Self {
            name,
            core: Core::new(name, now, 20_000, order),
            boot: now,
            rooms: HashMap::new(),
            subscribed: BTreeSet::new(),
            read: HashMap::new(),
            is_ordered: false,
            said: HashMap::new(),
            is_offline: false,
            is_data_down: false,
            is_held: false,
            loses: 0,
            doubles: 0,
            held: Vec::new(),
            published: VecDeque::new(),
            dead_until: None,
        }
    }

    fn is_subscribed(&self, channel: Channel) -> bool {
        match channel {
            Channel::All => true,
            Channel::Node(node) => node == self.name,
            Channel::Room(room) | Channel::Changes(room) => self.subscribed.contains(&room),
        }
    }

    fn has_name(&self, room: RoomName, name: &UserName) -> bool {
        self.rooms.get(&room).is_some_and(|room| {
            room.members.contains_key(&key(name)) || room.remote.values().any(|names| names.contains(&key(name)))
        })
    }

    fn commit(&mut self, room: RoomName, changes: Vec<LocalChange>) {
        let instance = self.rooms[&room].instance;
        self.core.on_batch(room, instance, changes, !self.is_ordered);
    }

    fn admit(&mut self, room: RoomName, name: UserName, now: u64) {
        if self.has_name(room, &name) {
            return;
        }
        let open = self.rooms.get_mut(&room).unwrap();
        if !self.is_ordered {
            open.members.insert(key(&name), name);
            self.commit(room, vec![LocalChange::Joined(name)]);
        } else if !open.claims.iter().any(|(claimed, _)| *claimed == name) {
            open.claims.push((name, now));
            self.commit(room, vec![LocalChange::Claimed(name)]);
        }
    }

    fn decide(&mut self, room: RoomName, name: UserName, is_granted: bool) {
        let open = self.rooms.get_mut(&room).unwrap();
        let waiting = open.claims.iter().position(|(claimed, _)| *claimed == name).map(|at| open.claims.remove(at));
        let is_member = open.members.contains_key(&key(&name));
        match waiting {
            Some(_) if is_granted && !is_member => drop(open.members.insert(key(&name), name)),
            None if is_granted && !is_member => self.commit(room, vec![LocalChange::Left(name)]),
            _ => {}
        }
        self.close_if_empty(room);
    }

    fn rename(&mut self, room: RoomName, from: UserName, to: UserName) {
        if from != to && self.has_name(room, &to) {
            return;
        }
        if self.is_ordered {
            return self.commit(room, vec![LocalChange::ClaimedRename(from, to)]);
        }
        let open = self.rooms.get_mut(&room).unwrap();
        if open.members.remove(&key(&from)).is_some() {
            open.members.insert(key(&to), to);
            self.commit(room, vec![LocalChange::Renamed(from, to)]);
        }
    }

    fn decide_rename(&mut self, room: RoomName, from: UserName, to: UserName) {
        let open = self.rooms.get_mut(&room).unwrap();
        if from != to && open.members.contains_key(&key(&to)) {
            if open.members.contains_key(&key(&from)) {
                self.commit(room, vec![LocalChange::Joined(from)]);
            }
        } else if open.members.remove(&key(&from)).is_some() {
            open.members.insert(key(&to), to);
        } else {
            self.commit(room, vec![LocalChange::Left(to)]);
        }
    }

    fn close_if_empty(&mut self, name: RoomName) {
        let room = &self.rooms[&name];
        if room.members.is_empty() && room.waiting.is_empty() && room.claims.is_empty() {
            let instance = room.instance;
            self.rooms.remove(&name);
            self.core.close_room(name, instance);
        }
    }
}

impl Cluster {
    fn new(seed: u64, order: ClusterOrder) -> Self {
        let now = 1_000_000;
        Self {
            order,
            now,
            log: HashMap::new(),
            appending: Vec::new(),
            appended: Vec::new(),
            is_log_stopped: false,
            nodes: (0..NODES).map(|node| Node::new(node, now, order)).collect(),
            links: <[[Link; NODES]; NODES]>::default(),
            cut: BTreeSet::new(),
            pings: Vec::new(),
            stored: HashMap::new(),
            has_store: false,
            readings: Vec::new(),
            instances: 0,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Wait(time) => return self.run(time),
            Action::Cut { from, to, is_cut: true } => drop(self.cut.insert((from, to))),
            Action::Cut { from, to, is_cut: false } => drop(self.cut.remove(&(from, to))),
            Action::Offline { node, is_offline } => self.set_offline(node, is_offline),
            Action::DataDown { node, is_down } => self.set_data_down(node, is_down),
            Action::Hold { node, is_held } => self.hold(node, is_held),
            Action::LoseNext(node) => self.nodes[node].loses += 1,
            Action::DoubleNext(node) => self.nodes[node].doubles += 1,
            Action::Repeat { node, back } => self.repeat(node, back),
            Action::Kill(node) => self.kill(node),
            Action::StopLog(is_stopped) => self.is_log_stopped = is_stopped,
            Action::Rename { node, room, user, to } => {
                let (room, from, to) = (room_name(room), user_name(user), user_name(to));
                if self.is_running(node)
                    && self.nodes[node].rooms.get(&room).is_some_and(|room| room.members.contains_key(&key(&from)))
                {
                    self.nodes[node].rename(room, from, to);
                }
            }
            Action::Store(has_store) => self.has_store = has_store,
            Action::Join { node, room, user } => self.join(node, room_name(room), user_name(user)),
            Action::Leave { node, room, user } => self.leave(node, room_name(room), user_name(user)),
            Action::Say { node, room, user, lines } => self.say(node, room_name(room), user_name(user), lines),
        }
        self.run(1);
    }

    fn is_running(&self, node: usize) -> bool {
        self.nodes[node].dead_until.is_none()
    }

    /// Cuts a node off from the bus or connects it again, which its client notices.
    fn set_offline(&mut self, node: usize, is_offline: bool) {
        let was_offline = std::mem::replace(&mut self.nodes[node].is_offline, is_offline);
        if was_offline && !is_offline && self.is_running(node) {
            self.nodes[node].core.set_time(self.now);
            self.nodes[node].core.renew();
        }
    }

    fn set_data_down(&mut self, node: usize, is_down: bool) {
        self.nodes[node].is_data_down = is_down;
        if self.is_running(node) {
            self.nodes[node].core.set_time(self.now);
            self.nodes[node].core.set_data_down(is_down);
        }
    }

    fn hold(&mut self, node: usize, is_held: bool) {
        self.nodes[node].is_held = is_held;
        if !is_held {
            for sent in std::mem::take(&mut self.nodes[node].held) {
                self.publish(node, sent);
            }
        }
    }

    fn repeat(&mut self, node: usize, back: usize) {
        let published = &self.nodes[node].published;
        if let Some((channel, bytes)) = published.iter().rev().nth(back).cloned() {
            self.send(node, Sent { by_data: true, channel, bytes });
        }
    }

    fn kill(&mut self, node: usize) {
        if self.is_running(node) {
            let back = self.now + self.random.u64(300..9_000);
            self.start_process(node);
            self.nodes[node].dead_until = Some(back);
            for to in 0..NODES {
                self.links[to][node] = Link::default();
            }
        }
    }

    /// Starts a process in place of the one before, whose connections to the bus are as that one's were.
    fn start_process(&mut self, node: usize) {
        let Node { is_offline, is_data_down, .. } = self.nodes[node];
        self.nodes[node] = Node { is_offline, is_data_down, ..Node::new(node, self.now, self.order) };
        self.nodes[node].core.set_data_down(is_data_down);
    }

    fn join(&mut self, node: usize, room: RoomName, user: UserName) {
        if !self.is_running(node) {
            return;
        }
        self.instances += 1;
        let (now, instance, own) = (self.now, self.instances, &mut self.nodes[node]);
        if !own.rooms.contains_key(&room) {
            own.core.set_store(self.has_store && !own.is_offline);
            let is_opening = own.core.has_other_nodes() || (self.has_store && !own.is_offline);
            own.rooms.insert(room, Room { instance, is_opening, opened_at: now, ..Room::default() });
            if is_opening {
                own.core.open_room(room, instance);
            }
        }
        let open = own.rooms.get_mut(&room).unwrap();
        if open.is_opening {
            open.waiting.push(user);
        } else {
            own.admit(room, user, now);
        }
    }

    fn leave(&mut self, node: usize, room: RoomName, user: UserName) {
        if self.is_running(node)
            && let Some(open) = self.nodes[node].rooms.get_mut(&room)
            && let Some(user) = open.members.remove(&key(&user))
        {
            self.nodes[node].commit(room, vec![LocalChange::Left(user)]);
            self.nodes[node].close_if_empty(room);
        }
    }

    fn say(&mut self, node: usize, room: RoomName, user: UserName, lines: u32) {
        let (order, own) = (self.order, &mut self.nodes[node]);
        if own.rooms.get(&room).is_some_and(|room| room.members.contains_key(&key(&user))) {
            let (name, instance) = (own.name, own.rooms[&room].instance);
            let said = own.said.entry(room).or_default();
            if said.0 != instance {
                *said = (instance, 0);
            }
            let numbers = said.1..said.1 + u64::from(lines);
            said.1 = numbers.end;
            let text: Vec<String> =
                numbers.clone().map(|number| format!("{user}: {name} {instance} {number}\n")).collect();
            if !own.is_ordered && order == ClusterOrder::Total {
                let open = own.rooms.get_mut(&room).unwrap();
                open.seen.extend(numbers.map(|number| Seen::Line { node: name, instance, number }));
            }
            own.commit(room, vec![LocalChange::Lines { bytes: text.concat().into(), lines }]);
        }
    }

    /// Lets time go on.
    fn run(&mut self, time: u64) {
        let until = self.now + time;
        loop {
            self.settle();
            for room in self.nodes.iter().flat_map(|node| node.rooms.values()) {
                let waits = |(_, since): &(UserName, u64)| self.now - since >= 14_000;
                assert!(!room.claims.iter().any(waits), "a claim waits for too long");
                assert!(!room.is_opening || self.now - room.opened_at < 7_000, "a join waits for too long");
            }
            if self.now >= until {
                return;
            }
            self.now = (self.now + 10).min(until);
            for node in 0..NODES {
                if self.nodes[node].dead_until.is_some_and(|until| until <= self.now) {
                    self.start_process(node);
                }
                if self.is_running(node) && self.now % 50 < 10 {
                    self.nodes[node].core.set_time(self.now);
                    self.nodes[node].core.on_tick();
                }
                // Rooms see it a little later than the machine decides it.
                self.nodes[node].is_ordered = self.nodes[node].core.is_ordered();
            }
        }
    }

    /// Delivers what arrives now, and carries out what comes of it.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            let mut is_busy = false;
            for node in 0..NODES {
                if self.is_running(node) {
                    self.nodes[node].core.set_time(self.now);
                    is_busy |= self.carry_out(node);
                    is_busy |= self.receive(node);
                }
            }
            self.answer_pings();
            is_busy |= self.run_log();
            self.answer_readings();
            if !is_busy {
                return;
            }
        }
        panic!("frames come without an end");
    }

    fn carry_out(&mut self, node: usize) -> bool {
        let effects = self.nodes[node].core.take_effects();
        let mut is_busy = !effects.is_empty();
        for effect in effects {
            match effect {
                Effect::Subscribe(room) => {
                    self.nodes[node].subscribed.insert(room);
                    let entries = self.log.get(&room).map_or(0, Vec::len);
                    self.nodes[node].read.entry(room).or_insert(entries);
                }
                Effect::Unsubscribe(room) => {
                    self.nodes[node].subscribed.remove(&room);
                    self.nodes[node].read.remove(&room);
                }
                Effect::Update(room, instance, update) => self.update(node, room, instance, update.0),
                Effect::Ping(name) => self.pings.push((self.now + 5, node, name)),
                Effect::Log(Event::NameShared(_)) => panic!("n{node} takes itself for another process"),
                Effect::ReadStored(room, instance, _) => {
                    let at = self.now + self.random.u64(0..500);
                    self.readings.push((at, node, (room, instance)));
                }
                _ => {}
            }
        }
        while let Some(frame) = self.nodes[node].core.take_log_frame() {
            let own = &mut self.nodes[node];
            let is_double = own.doubles > 0;
            own.doubles -= u32::from(is_double);
            let arrives = self.now + self.random.u64(0..30);
            self.appending.push(Appending { arrives, from: node, boot: own.boot, frame, is_double });
            is_busy = true;
        }
        // An answer needs the subscription, so frames go out last.
        while let Some((channel, bytes)) = self.nodes[node].core.take_data_frame() {
            self.publish(node, Sent { by_data: true, channel, bytes });
            is_busy = true;
        }
        while let Some((channel, bytes)) = self.nodes[node].core.take_control_frame() {
            self.publish(node, Sent { by_data: false, channel, bytes });
            is_busy = true;
        }
        is_busy
    }

    fn publish(&mut self, from: usize, sent: Sent) {
        let own = &mut self.nodes[from];
        if own.is_held {
            return own.held.push(sent);
        }
        let is_room = matches!(sent.channel, Channel::Room(_) | Channel::Changes(_));
        if is_room {
            own.published.push_back((sent.channel, sent.bytes.clone()));
            if own.published.len() > PUBLISHED {
                own.published.pop_front();
            }
        }
        self.send(from, sent);
    }

    fn send(&mut self, from: usize, Sent { by_data, channel, bytes }: Sent) {
        let own = &mut self.nodes[from];
        let is_room = matches!(channel, Channel::Room(_) | Channel::Changes(_));
        let is_lost = own.loses > 0 && is_room;
        own.loses -= u32::from(is_lost);
        let is_double = own.doubles > 0 && is_room;
        own.doubles -= u32::from(is_double);
        let bytes = Bytes::from(bytes);
        if let Channel::Changes(room) = channel
            && !is_lost
            && !self.nodes[from].is_offline
        {
            let frame = StoredFrame { sequence: 0, minute: Minute(1), bytes: bytes.clone() };
            let frames = self.stored.entry(room).or_default();
            frames.extend(std::iter::repeat_n(frame, 1 + usize::from(is_double)));
        }
        for to in 0..NODES {
            let is_cut = self.cut.contains(&(from, to)) || self.nodes[from].is_offline || self.nodes[to].is_offline;
            // A room's frames do not come back to their sender.
            let is_own = from == to && is_room;
            let is_cut_off = by_data && self.nodes[from].is_data_down || is_room && self.nodes[to].is_data_down;
            if is_cut
                || is_cut_off
                || is_own
                || is_lost
                || !self.nodes[to].is_subscribed(channel)
                || !self.is_running(to)
            {
                continue;
            }
            let link = self.links[to][from].way(by_data, is_room);
            let earliest = link.back().map_or(0, |last| last.arrives);
            let arrives = earliest.max(self.now + self.random.u64(0..30));
            for _ in 0..=usize::from(is_double) {
                link.push_back(Flying { arrives, channel, bytes: bytes.clone() });
            }
        }
    }

    fn receive(&mut self, node: usize) -> bool {
        let mut is_busy = false;
        for from in 0..NODES {
            while let Some(Flying { channel, bytes, .. }) = self.links[node][from].pop(self.now) {
                if self.nodes[node].is_subscribed(channel) {
                    self.nodes[node].core.on_frame(channel, &bytes);
                    is_busy = true;
                }
            }
        }
        is_busy
    }

    /// Lets the log take frames, answer, and send what it has to the servers that are in reach.
    fn run_log(&mut self) -> bool {
        let now = self.now;
        if self.now % 50 < 10 && self.nodes.iter().any(|node| !node.core.log.is_there) && !self.is_log_stopped {
            self.nodes.iter_mut().for_each(|node| node.core.on_log_there());
        }
        let (due, later) = self.appending.drain(..).partition(|frame| frame.arrives <= now);
        self.appending = later;
        for mut frame in due {
            let node = &self.nodes[frame.from];
            if node.boot != frame.boot || node.dead_until.is_some() {
                continue;
            }
            if node.is_offline || node.is_data_down || self.is_log_stopped {
                frame.arrives = now + 100;
                self.appending.push(frame);
                continue;
            }
            let LogFrame { room, number, bytes } = frame.frame;
            let entries = self.log.entry(room).or_default();
            entries.extend(std::iter::repeat_n(bytes.clone(), 1 + usize::from(frame.is_double)));
            let stored = StoredFrame { sequence: 0, minute: Minute(1), bytes };
            self.stored.entry(room).or_default().push(stored);
            self.appended.push((now + self.random.u64(0..60), frame.from, frame.boot, (room, number)));
        }
        let (due, later) = self.appended.drain(..).partition(|(at, ..)| *at <= now);
        self.appended = later;
        for (_, node, boot, (room, number)) in due {
            if self.nodes[node].boot == boot && self.is_running(node) {
                self.nodes[node].core.on_appended(room, number);
            }
        }
        let mut is_busy = false;
        for node in 0..NODES {
            let Node { is_offline, is_data_down, is_held, .. } = self.nodes[node];
            if !self.is_running(node) || is_offline || is_data_down || is_held {
                continue;
            }
            for room in self.nodes[node].subscribed.clone() {
                let entries = self.log.get(&room).map_or(&[][..], |entries| entries);
                let own = &mut self.nodes[node];
                let read = own.read.get_mut(&room).unwrap();
                let most = self.random.usize(0..4);
                let new: Vec<Bytes> = entries[*read..].iter().take(most).cloned().collect();
                *read += new.len();
                for bytes in new {
                    own.core.on_frame(Channel::Room(room), &bytes);
                    is_busy = true;
                }
            }
        }
        is_busy
    }

    fn answer_pings(&mut self) {
        let now = self.now;
        let (due, later) = self.pings.drain(..).partition(|(at, ..)| *at <= now);
        self.pings = later;
        for (_, node, target) in due {
            let to = (0..NODES).find(|to| node_name(*to) == target).unwrap();
            if !self.is_running(node) || self.nodes[node].is_offline {
                continue;
            }
            if !self.is_running(to) || self.nodes[to].is_offline {
                // The bus knows that nobody has subscribed.
                self.nodes[node].core.on_ping_failed(target);
            } else if !self.nodes[to].is_offline && !self.cut.contains(&(node, to)) && !self.cut.contains(&(to, node)) {
                let pong = Bytes::from(self.nodes[to].core.pong_frame());
                let own = self.nodes[node].name;
                self.nodes[node].core.on_frame(Channel::Node(own), &pong);
            }
        }
    }

    /// Answers readings whose time has come: with the last frames of the room, or with none.
    fn answer_readings(&mut self) {
        let now = self.now;
        let (due, later) = self.readings.drain(..).partition(|(at, ..)| *at <= now);
        self.readings = later;
        for (_, node, (room, instance)) in due {
            let frames = self.stored.get(&room).cloned().unwrap_or_default();
            let first = frames.len().saturating_sub(self.random.usize(1..50));
            let frames = self.has_store.then_some(&frames[first..]);
            if self.is_running(node) {
                self.nodes[node].core.on_stored(room, instance, frames);
            }
        }
    }

    /// Applies changes as a room does.
    fn update(&mut self, node: usize, name: RoomName, instance: u64, changes: Vec<RemoteChange>) {
        for change in changes {
            let (now, own) = (self.now, &mut self.nodes[node]);
            let Some(room) = own.rooms.get_mut(&name).filter(|room| room.instance == instance) else { return };
            match change {
                RemoteChange::Lines { bytes, .. } => {
                    for line in str::from_utf8(&bytes).unwrap().lines() {
                        let (node, instance, number) = parse_line(line);
                        room.seen.push(Seen::Line { node, instance, number });
                    }
                }
                RemoteChange::Notice(line) => {
                    if let Some((lines, rest)) = line.trim_start_matches("*** ").split_once(" line")
                        && let Some((_, from)) = rest.split_once("from node ")
                    {
                        let from = NodeName::parse(from.split(' ').next().unwrap()).unwrap();
                        room.seen.push(Seen::Missing { node: from, lines: lines.parse().unwrap() });
                    }
                }
                RemoteChange::Joined(from, user) | RemoteChange::Added(from, user) => {
                    let is_new = room.remote.entry(from).or_default().insert(key(&user));
                    assert!(is_new, "{user} of {from} arrives in {name} on n{node} a second time");
                }
                RemoteChange::Left(from, user) => {
                    room.remote.entry(from).or_default().remove(&key(&user));
                }
                RemoteChange::Removed(from, user) => {
                    assert!(room.remote.entry(from).or_default().remove(&key(&user)), "{user} was there");
                }
                RemoteChange::Renamed(from, old, new) => {
                    let names = room.remote.entry(from).or_default();
                    assert!(names.remove(&key(&old)) && names.insert(key(&new)), "{old} becomes {new}");
                }
                RemoteChange::Opened => {
                    room.is_opening = false;
                    for user in std::mem::take(&mut room.waiting) {
                        own.admit(name, user, now);
                    }
                    own.close_if_empty(name);
                }
                RemoteChange::JoinDecided(user, is_granted) => own.decide(name, user, is_granted),
                RemoteChange::RenameDecided(from, to, true) => own.decide_rename(name, from, to),
                RemoteChange::RenameDecided(_, _, false)
                | RemoteChange::Departed(_)
                | RemoteChange::NodeChecked(_)
                | RemoteChange::Earlier(_) => {}
                RemoteChange::Stored(lines) => {
                    assert!(room.is_opening && !room.has_earlier, "earlier lines come once, and first");
                    room.has_earlier = true;
                    let mut last = HashMap::new();
                    for line in lines.iter().filter(|line| !line.is_notice) {
                        let (node, instance, number) = parse_line(str::from_utf8(&line.text).unwrap());
                        let is_live = |seen: &Seen| *seen == Seen::Line { node, instance, number };
                        assert!(!room.seen.iter().any(is_live), "{number} of {node} is there twice");
                        let before = last.insert((node, instance), number);
                        assert!(before.is_none_or(|before| before < number), "{number} of {node} after {before:?}");
                    }
                }
                RemoteChange::HistoryWanted(from) => own.core.send_history(name, from, Vec::new()),
                RemoteChange::Yield(user) => self.yield_name(node, name, user),
            }
        }
    }

    fn yield_name(&mut self, node: usize, room: RoomName, user: UserName) {
        let own = &mut self.nodes[node];
        let free = (2..).map(|number| UserName::parse(&format!("{}~{number}", user.as_str())).unwrap());
        let Some(free) = free.take(20).find(|name| !own.has_name(room, name)) else { return };
        if let Some(old) = own.rooms[&room].members.get(&key(&user)).copied() {
            own.rename(room, old, free);
        }
    }

    /// Ends all faults and waits until all is calm.
    fn heal(&mut self) {
        self.cut.clear();
        self.is_log_stopped = false;
        for node in 0..NODES {
            self.set_offline(node, false);
            self.set_data_down(node, false);
            (self.nodes[node].loses, self.nodes[node].doubles) = (0, 0);
            self.hold(node, false);
        }
        self.run(9_000);
        // Everything is said again where it was lost, at the latest.
        self.run(6_000);
    }

    fn check(&self) {
        for node in &self.nodes {
            for (name, room) in &node.rooms {
                assert!(!room.is_opening, "{name} on {} is still being opened", node.name);
                for other in self.nodes.iter().filter(|other| other.name != node.name) {
                    let there = other.rooms.get(name);
                    let members: BTreeSet<String> =
                        there.map(|room| room.members.keys().cloned().collect()).unwrap_or_default();
                    let known = room.remote.get(&other.name).cloned().unwrap_or_default();
                    assert_eq!(known, members, "members of {} in {name}, as {} knows them", other.name, node.name);
                    let doubles: Vec<&String> = members.iter().filter(|key| room.members.contains_key(*key)).collect();
                    assert!(doubles.is_empty(), "{doubles:?} are in {name} on {} and {}", node.name, other.name);
                    Self::check_lines(node, room, other, name);
                    if self.order == ClusterOrder::Total {
                        Self::check_order(room, other.rooms.get(name), name);
                    }
                }
                if self.order == ClusterOrder::Total {
                    Self::check_lines(node, room, node, name);
                }
            }
        }
    }

    /// Checks that the lines that two servers have are in one order on both.
    fn check_order(room: &Room, other: Option<&Room>, name: &RoomName) {
        let lines = |room: &Room| -> Vec<(NodeName, u64, u64)> {
            let line = |seen: &Seen| match *seen {
                Seen::Line { node, instance, number } => Some((node, instance, number)),
                Seen::Missing { .. } => None,
            };
            room.seen.iter().filter_map(line).collect()
        };
        let Some(other) = other else { return };
        let (here, there) = (lines(room), lines(other));
        let common = |lines: &[(NodeName, u64, u64)], others: &[(NodeName, u64, u64)]| -> Vec<(NodeName, u64, u64)> {
            lines.iter().filter(|line| others.contains(line)).copied().collect()
        };
        assert_eq!(common(&here, &there), common(&there, &here), "lines of {name}");
    }

    /// Checks that lines of one server came in order and once, and that holes were told exactly. The last lines of an instance
    /// that was closed out of reach are told to nobody: no later word of it says how many they were.
    fn check_lines(node: &Node, room: &Room, other: &Node, name: &RoomName) {
        let (mut last, mut told): (Option<(u64, u64)>, u64) = (None, 0);
        for seen in &room.seen {
            match *seen {
                Seen::Line { node: from, instance, number } if from == other.name => {
                    let place = format!("{name} on {}: {number} of {from} after {last:?}, {told} told", node.name);
                    match last {
                        Some((same, before)) if same == instance => assert_eq!(before + 1 + told, number, "{place}"),
                        Some((earlier, _)) => assert!(earlier < instance && told >= number, "{place}"),
                        None => {}
                    }
                    (last, told) = (Some((instance, number)), 0);
                }
                Seen::Missing { node: from, lines } if from == other.name && last.is_some() => told += lines,
                _ => {}
            }
        }
        let (Some((instance, last)), Some((current, said))) = (last, other.said.get(name)) else { return };
        if other.rooms.get(name).is_some_and(|room| room.instance == *current) {
            let is_told = if instance == *current { last + 1 + told == *said } else { told >= *said };
            assert!(is_told, "{name} on {}: {last} of {instance} and {told} told, {said} said in {current}", node.name);
        }
    }
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let (node, room, user) = (0..NODES, 0..ROOMS, 0..USERS);
    let place = move || (node.clone(), room.clone(), user.clone());
    let action = prop_oneof![
        6 => place().prop_map(|(node, room, user)| Action::Join { node, room, user }),
        3 => place().prop_map(|(node, room, user)| Action::Leave { node, room, user }),
        8 => (place(), 1u32..5).prop_map(|((node, room, user), lines)| Action::Say { node, room, user, lines }),
        4 => (1u64..400).prop_map(Action::Wait),
        1 => (1_000u64..8_000).prop_map(Action::Wait),
        1 => (0..NODES, 0..NODES, any::<bool>()).prop_map(|(from, to, is_cut)| Action::Cut { from, to, is_cut }),
        1 => (0..NODES, any::<bool>()).prop_map(|(node, is_offline)| Action::Offline { node, is_offline }),
        1 => (0..NODES, any::<bool>()).prop_map(|(node, is_down)| Action::DataDown { node, is_down }),
        1 => (0..NODES, any::<bool>()).prop_map(|(node, is_held)| Action::Hold { node, is_held }),
        2 => (0..NODES).prop_map(Action::LoseNext),
        1 => (0..NODES).prop_map(Action::DoubleNext),
        1 => (0..NODES, 0..PUBLISHED).prop_map(|(node, back)| Action::Repeat { node, back }),
        1 => (0..NODES).prop_map(Action::Kill),
        1 => any::<bool>().prop_map(Action::StopLog),
        1 => (place(), 0..USERS).prop_map(|((node, room, user), to)| Action::Rename { node, room, user, to }),
        1 => any::<bool>().prop_map(Action::Store),
    ];
    proptest::collection::vec(action, 1..60)
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn rooms_agree_after_any_schedule(actions in actions(), seed in any::<u64>()) {
        run_schedule(&actions, seed, ClusterOrder::Sender);
    }

    #[test]
    fn rooms_agree_and_have_one_order_after_any_schedule(actions in actions(), seed in any::<u64>()) {
        run_schedule(&actions, seed, ClusterOrder::Total);
    }
}

fn run_schedule(actions: &[Action], seed: u64, order: ClusterOrder) {
    let mut cluster = Cluster::new(seed, order);
    cluster.run(3_000);
    for action in actions {
        cluster.act(action);
    }
    cluster.heal();
    cluster.check();
}
