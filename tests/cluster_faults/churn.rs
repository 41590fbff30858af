//! Members of three servers that join, leave, rename themselves, move and talk, while servers and NATS break.

use crate::common::folder::Folder;
use crate::common::nats::{NatsServer, Node};
use crate::common::talk::{Log, heard_from};
use crate::common::{Client, ClientSender, DEADLINE, find_or_skip};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MEMBERS: usize = 300;
const ROOMS: usize = 20;

/// The rooms in which a witness stays on each server. The other rooms are opened and closed on the way.
const WITNESSED: usize = 8;

/// The names that members take from each other.
const POOL: usize = 30;

/// The longest pause of a member between two actions, in milliseconds.
const PAUSE: u64 = 800;

/// The lines that a member received from one room on one connection.
#[derive(Default)]
struct Stay {
    room: usize,
    lines: Vec<String>,
}

/// A member that comes and goes.
struct Member {
    id: usize,
    /// The servers on which it may be, by their numbers.
    servers: Arc<Vec<SocketAddr>>,
    random: fastrand::Rng,
    /// The number of its server.
    server: usize,
    client: Client,
    /// The number of its connections so far.
    life: usize,
    said: usize,
    room: usize,
    name: String,
    stays: Vec<Stay>,
}

impl Member {
    fn start(id: usize, servers: &Arc<Vec<SocketAddr>>) -> Self {
        let mut random = fastrand::Rng::with_seed(id as u64);
        let (server, (client, room, name)) = join_any(servers, id, &mut random);
        let stays = vec![Stay { room, lines: Vec::new() }];
        Self { id, servers: Arc::clone(servers), random, server, client, life: 0, said: 0, room, name, stays }
    }

    /// Acts until the end.
    fn run(mut self, is_over: &AtomicBool) -> Self {
        // Relaxed: the flag orders nothing.
        while !is_over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(self.random.u64(..PAUSE)));
            self.act();
        }
        self
    }

    fn act(&mut self) {
        let goes_on = match self.random.u8(..10) {
            0..5 => self.say(""),
            5 | 6 => {
                let name = some_name(self.id, &mut self.random);
                self.say(&format!("/nick {name}\n"))
            }
            7 | 8 => self.change_room(),
            _ => false,
        };
        if !goes_on {
            self.connect_again();
        }
    }

    /// Sends a command, and a line after it, and reads up to that line, which tells the name that the member has. Returns false
    /// if the server has ended.
    fn say(&mut self, command: &str) -> bool {
        self.said += 1;
        // The line after a move is said in the old room or the new one, and is compared with no other one.
        let place =
            if command.starts_with("/join ") { format!("move{}", self.said) } else { format!("r{}", self.room) };
        let line = format!("n{} m{}.{} {place} {}", self.server, self.id, self.life, self.said);
        if self.client.try_send(format!("{command}{line}\n")).is_err() {
            return false;
        }
        let end = format!(": {line}");
        while let Some(line) = self.client.read_line_or_end() {
            let name = line.strip_suffix(&end).map(str::to_owned);
            self.stays.last_mut().unwrap().lines.push(line);
            if let Some(name) = name {
                self.name = name;
                return true;
            }
        }
        false
    }

    fn change_room(&mut self) -> bool {
        let to = (self.room + self.random.usize(1..ROOMS)) % ROOMS;
        let (before, name) = (self.room, some_name(self.id, &mut self.random));
        // The old room's last lines may come between the new room's first ones.
        self.room = to;
        self.stays.push(Stay { room: to, lines: Vec::new() });
        let goes_on = self.say(&format!("/join r{to} {name}\n"));
        let stay = self.stays.last_mut().unwrap();
        if stay.lines.iter().any(|line| line.starts_with("*** the name ") && line.contains(": you stay here")) {
            (stay.room, self.room) = (before, before);
        }
        goes_on
    }

    /// Ends the connection, and joins a room on any server that runs.
    fn connect_again(&mut self) {
        self.life += 1;
        (self.server, (self.client, self.room, self.name)) = join_any(&self.servers, self.id, &mut self.random);
        self.stays.push(Stay { room: self.room, lines: Vec::new() });
    }

    /// Asks for the names of all members.
    fn ask_roster(&mut self) -> BTreeSet<String> {
        self.client.send("/who\n");
        let start = format!(" in r{}: ", self.room);
        loop {
            let line = self.client.read_line();
            if let Some((_, names)) = line.split_once(&start).filter(|_| line.starts_with("*** ")) {
                return names.split(", ").map(str::to_owned).collect();
            }
        }
    }

    /// Checks that lines of each connection came once and in order.
    fn check_order(&self) {
        for Stay { room, lines } in &self.stays {
            let mut last: HashMap<&str, usize> = HashMap::new();
            for line in lines {
                let Some((_, said)) = line.split_once(": n") else { continue };
                let (sender, number) = said.rsplit_once(' ').unwrap();
                let number = number.parse().unwrap();
                let before = last.insert(sender, number);
                assert!(before < Some(number), "m{} in r{room}: {line:?} after {before:?}", self.id);
            }
        }
    }
}

/// Returns a name of the pool, or the member's own one.
fn some_name(id: usize, random: &mut fastrand::Rng) -> String {
    if random.bool() { format!("p{}", random.usize(..POOL)) } else { format!("m{id}x{}", random.u8(..3)) }
}

/// Joins any room on any server that runs. Returns the number of the server, and what [`join`] does.
fn join_any(servers: &[SocketAddr], id: usize, random: &mut fastrand::Rng) -> (usize, (Client, usize, String)) {
    loop {
        let server = random.usize(..servers.len());
        if let Some(joined) = join(servers[server], id, random) {
            return (server, joined);
        }
    }
}

/// Joins any room. Returns `None` if the server has ended.
fn join(server: SocketAddr, id: usize, random: &mut fastrand::Rng) -> Option<(Client, usize, String)> {
    // Addresses have budgets of their own.
    let ip = [127, 0, 1, u8::try_from(id % 250).unwrap()];
    loop {
        let mut client = Client::try_connect_from(ip, server).ok()?;
        let (room, name) = (random.usize(..ROOMS), some_name(id, random));
        client.try_send(format!("JOIN r{room} {name}\n")).ok()?;
        let joined = format!("{name} has joined");
        loop {
            match client.read_line_or_end()? {
                line if line == joined => return Some((client, room, name)),
                line if line == "ERROR" => break,
                _ => {}
            }
        }
    }
}

/// A member that stays in its room.
struct Witness {
    room: usize,
    /// The number of its server.
    server: usize,
    log: Arc<Log>,
    sender: ClientSender,
}

impl Witness {
    fn start(room: usize, server: usize, nodes: &[Node]) -> Self {
        let client = nodes[server].server.join(&format!("r{room}"), &format!("w{server}"));
        let (sender, log) = (client.sender(), Log::follow(client));
        Self { room, server, log, sender }
    }

    /// Says the last line, and waits until it comes back.
    fn end(&mut self) {
        let last = format!("w{}: n{} end", self.server, self.server);
        self.sender.send(format!("n{} end\n", self.server));
        self.log.wait(&last, |lines| lines.contains(&last));
    }

    /// Waits until all lines of another witness's server have come or are told to be missing, and asserts that they came once
    /// and in the order in which that witness saw them.
    fn compare(&self, other: &Self) {
        let lines = other.log.lines();
        let said: Vec<&str> = heard_on(other.server, &lines).0.into_iter().map(|(line, _)| line).collect();
        let what = format!("the lines of r{} on n{} come on n{}", self.room, other.server + 1, self.server + 1);
        self.log.wait(&what, |lines| {
            let (heard, told) = heard_on(other.server, lines);
            heard.len() + heard.iter().map(|(_, told)| told).sum::<usize>() + told >= said.len()
        });
        let lines = self.log.lines();
        let (heard, rest) = heard_on(other.server, &lines);
        let missing = heard.iter().map(|(_, told)| told).sum::<usize>() + rest;
        // A line that is rejected is told before the others of its frame.
        let mut rest = said.iter();
        for (line, _) in &heard {
            assert!(rest.any(|said| said == line), "{what}: {line:?} comes twice or in another order");
        }
        assert_eq!(heard.len() + missing, said.len(), "{what}");
    }

    /// Asserts that the lines which both witnesses have came in one order.
    fn compare_order(&self, other: &Self) {
        let (lines, others) = (self.log.lines(), other.log.lines());
        let (own, theirs) = (said(&lines), said(&others));
        let (own_set, their_set): (HashSet<&str>, HashSet<&str>) =
            (own.iter().copied().collect(), theirs.iter().copied().collect());
        let common: Vec<&str> = own.into_iter().filter(|line| their_set.contains(line)).collect();
        let expected: Vec<&str> = theirs.into_iter().filter(|line| own_set.contains(line)).collect();
        assert!(common == expected, "r{} has two orders on n{} and n{}", self.room, self.server + 1, other.server + 1);
    }
}

/// Returns the lines of members, in their order.
fn said(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| !line.starts_with("*** ") && line.contains(": ")).collect()
}

/// Returns those of the lines which were said on a server, as [`heard_from`] does, without the names.
fn heard_on(server: usize, lines: &[String]) -> (Vec<(&str, usize)>, usize) {
    let said = format!(": n{server} ");
    let (heard, told) = heard_from(lines, &format!("n{}", server + 1), |line| line.contains(&said));
    (heard.into_iter().map(|(line, told)| (line.split_once(": ").unwrap().1, told)).collect(), told)
}

/// Returns a difference between the members and a roster, or between their names.
fn difference(members: &mut [Member], witnesses: &[Witness]) -> Option<String> {
    let mut rooms: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for Witness { room, server, .. } in witnesses {
        rooms.entry(*room).or_default().insert(format!("w{server}"));
    }
    for member in &mut *members {
        assert!(member.say(""), "the server of m{} has ended", member.id);
        if !rooms.entry(member.room).or_default().insert(member.name.clone()) {
            return Some(format!("two are called {} in r{}", member.name, member.room));
        }
    }
    members.iter_mut().find_map(|member| {
        let (roster, expected) = (member.ask_roster(), &rooms[&member.room]);
        let place = format!("r{} on n{}", member.room, member.server + 1);
        let (more, fewer): (Vec<_>, Vec<_>) =
            (roster.difference(expected).collect(), expected.difference(&roster).collect());
        (roster != *expected).then(|| format!("{place} has {more:?} and not {fewer:?}"))
    })
}

/// Has members come and go while `break_things` runs, and checks that all agree after it. Servers with a number of `broken` or
/// a greater one may end.
fn churn(nodes: &[Node], broken: usize, break_things: impl FnOnce(&[Node])) -> Vec<Witness> {
    let servers: Arc<Vec<SocketAddr>> = Arc::new(nodes.iter().map(|node| node.server.address).collect());
    let place = |room| (0..broken).map(move |server| (room, server));
    let places = (0..WITNESSED).flat_map(place);
    let mut witnesses: Vec<Witness> = places.map(|(room, server)| Witness::start(room, server, nodes)).collect();
    let is_over = AtomicBool::new(false);
    let mut members: Vec<Member> = thread::scope(|scope| {
        let run = |id| {
            let (servers, is_over) = (Arc::clone(&servers), &is_over);
            scope.spawn(move || Member::start(id, &servers).run(is_over))
        };
        let members: Vec<_> = (0..MEMBERS).map(run).collect();
        break_things(nodes);
        is_over.store(true, Ordering::Relaxed);
        members.into_iter().map(|member| member.join().unwrap()).collect()
    });
    let start = Instant::now();
    while let Some(difference) = difference(&mut members, &witnesses) {
        assert!(start.elapsed() < DEADLINE, "{difference}");
    }
    members.iter().for_each(Member::check_order);
    witnesses.iter_mut().for_each(Witness::end);
    for (one, other) in pairs(&witnesses) {
        one.compare(other);
    }
    witnesses
}

/// Returns each witness with each other one in its room.
fn pairs(witnesses: &[Witness]) -> impl Iterator<Item = (&Witness, &Witness)> {
    let all = witnesses.iter().flat_map(move |one| witnesses.iter().map(move |other| (one, other)));
    all.filter(|(one, other)| one.room == other.room && one.server != other.server)
}

#[test]
fn rosters_agree_after_three_hundred_members_have_come_and_gone() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 3);
    churn(&nodes, 3, |_| thread::sleep(Duration::from_secs(4)));
}

/// Kills a server, stops another one for 8 s, and restarts NATS meanwhile.
fn break_servers(nodes: &[Node], nats: &mut NatsServer) {
    thread::sleep(Duration::from_secs(2));
    nodes[3].server.send_signal("KILL");
    thread::sleep(Duration::from_secs(1));
    nodes[2].server.send_signal("STOP");
    thread::sleep(Duration::from_secs(4));
    nats.kill();
    thread::sleep(Duration::from_secs(1));
    nats.restart();
    thread::sleep(Duration::from_secs(3));
    nodes[2].server.send_signal("CONT");
    thread::sleep(Duration::from_secs(2));
}

#[test]
fn rosters_agree_after_a_server_was_killed_another_one_stopped_and_nats_restarted() {
    let Some(mut nats) = NatsServer::start() else { return };
    let nodes = Node::start_some(&nats, 4);
    churn(&nodes, 3, |nodes| break_servers(nodes, &mut nats));
}

#[test]
fn one_order_holds_while_a_server_is_killed_another_one_stopped_and_nats_restarted() {
    let Some(program) = find_or_skip("nats-server") else { return };
    let folder = Folder::new("churn-in-one-order");
    let mut nats = NatsServer::start_jetstream(&program, &folder.join("store"));
    let nodes = Node::start_in_one_order(&vec![nats.url(); 4], &[]);
    let witnesses = churn(&nodes, 3, |nodes| break_servers(nodes, &mut nats));
    for (one, other) in pairs(&witnesses) {
        one.compare_order(other);
    }
}
