//! A conversation: one member on each server of a cluster says numbered lines while something breaks, and what each has
//! received is checked against what the others have said.

#![allow(clippy::disallowed_methods, reason = "no line of a server waits for these locks")]

use super::nats::Node;
use super::{Client, ClientSender, DEADLINE};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The room of a conversation.
pub const ROOM: &str = "lobby";

/// The time between two lines of one member.
const PAUSE: Duration = Duration::from_millis(20);

/// The lines that one member has received so far.
#[derive(Default)]
pub struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

impl Log {
    /// Follows a client in a thread, until its end.
    pub fn follow(mut client: Client) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let followed = Arc::clone(&log);
        thread::spawn(move || {
            while let Some(line) = client.read_line_or_end() {
                followed.push(line);
            }
        });
        log
    }

    fn push(&self, line: String) {
        self.lines.lock().unwrap().push(line);
        self.changed.notify_all();
    }

    /// Waits until the lines fulfil a condition.
    #[track_caller]
    pub fn wait(&self, what: &str, condition: impl Fn(&[String]) -> bool) {
        let lines = self.lines.lock().unwrap();
        let (lines, timeout) = self.changed.wait_timeout_while(lines, DEADLINE, |lines| !condition(lines)).unwrap();
        let events = lines.iter().filter(|line| !line.contains(": "));
        assert!(!timeout.timed_out(), "not within the deadline: {what}: {:?}", events.collect::<Vec<_>>());
    }

    /// Returns all lines.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// Returns those of the lines which are said on `node`, each with the number of lines that were told to be missing
/// since the one before; and the number that was told since the last one.
pub fn heard_from<'a>(
    lines: &'a [String],
    node: &str,
    is_said: impl Fn(&str) -> bool,
) -> (Vec<(&'a str, usize)>, usize) {
    let from = format!(" from node {node} ");
    let (mut heard, mut told) = (Vec::new(), 0);
    for line in lines {
        if is_said(line) {
            heard.push((&**line, std::mem::take(&mut told)));
        } else if let Some(notice) = line.strip_prefix("*** ")
            && notice.contains(&from)
        {
            told += notice.split(' ').next().unwrap().parse::<usize>().unwrap();
        }
    }
    (heard, told)
}

/// A member that talks.
pub struct Talker {
    pub name: String,
    /// The server of the member.
    pub node: String,
    pub log: Arc<Log>,
    said: Arc<AtomicUsize>,
    sender: ClientSender,
    stop: Option<mpsc::Sender<()>>,
    talking: Option<JoinHandle<()>>,
}

impl Talker {
    fn start(node: &Node, number: usize) -> Self {
        let name = format!("u{number}");
        let client = node.server.join(ROOM, &name);
        let (sender, log) = (client.sender(), Log::follow(client));
        let (said, node) = (Arc::new(AtomicUsize::new(0)), node.name.clone());
        Self { name, node, log, said, sender, stop: None, talking: None }
    }

    /// Says one line after the other until the conversation ends.
    fn talk(&mut self) {
        let (stop, stopped) = mpsc::channel();
        let (said, mut sender) = (Arc::clone(&self.said), ClientSender(self.sender.0.try_clone().unwrap()));
        self.stop = Some(stop);
        self.talking = Some(thread::spawn(move || {
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                // Relaxed: the count is read after the thread's end, or as a lower bound.
                let number = said.fetch_add(1, Ordering::Relaxed);
                sender.send(format!("{number}\n"));
            }
        }));
    }

    /// Returns the number of lines that the member has said.
    pub fn said(&self) -> usize {
        self.said.load(Ordering::Relaxed)
    }

    /// Returns the numbers of this member's lines among those that another one has received, each with the lines that were told
    /// to be missing since the one before; and the lines that were told since the last one.
    fn heard_in(&self, lines: &[String]) -> (Vec<(usize, usize)>, usize) {
        let prefix = format!("{}: ", self.name);
        let (heard, told) = heard_from(lines, &self.node, |line| line.starts_with(&prefix));
        let number = |line: &str| line[prefix.len()..].parse().unwrap();
        (heard.into_iter().map(|(line, told)| (number(line), told)).collect(), told)
    }

    /// Returns how many of this member's lines another one has received or was told to be missing.
    fn accounted_in(&self, lines: &[String]) -> usize {
        let (heard, told) = self.heard_in(lines);
        heard.len() + heard.iter().map(|(_, told)| told).sum::<usize>() + told
    }

    /// Waits until a line came that `other` has said from now on.
    #[track_caller]
    pub fn wait_for_news(&self, other: &Self) {
        let said = other.said();
        let what = format!("{} receives what {} says from now on", self.name, other.name);
        self.log.wait(&what, |lines| other.heard_in(lines).0.last().is_some_and(|(number, _)| *number > said));
    }

    /// Asserts that each line of `other` came once and in order, and that each hole was told with its number of lines.
    /// Returns the number of lines that were told to be missing.
    #[track_caller]
    fn check(&self, other: &Self) -> usize {
        let lines = self.log.lines();
        let (heard, rest) = other.heard_in(&lines);
        let (mut next, mut missing) = (0, 0);
        for (number, told) in heard {
            assert_eq!(
                number,
                next + told,
                "{} has lines of {} up to {next}, and {told} are told to be missing before the next one",
                self.name,
                other.name
            );
            (next, missing) = (number + 1, missing + told);
        }
        assert_eq!(next + rest, other.said(), "{} has all lines of {}, or is told", self.name, other.name);
        missing + rest
    }

    /// Asserts that each other member leaves only after it has come, and comes only after it has left. Returns how often
    /// others have left.
    #[track_caller]
    fn check_departures(&self, others: &[Self]) -> usize {
        let lines = self.log.lines();
        let mut left = 0;
        for other in others.iter().filter(|other| other.name != self.name) {
            let (joins, leaves) = (format!("{} has joined", other.name), format!("{} has left", other.name));
            // Members that came later are here when the talk begins.
            let events = lines.iter().filter(|line| **line == joins || **line == leaves);
            let events: Vec<&String> = events.collect();
            let is_double = events.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(!is_double, "{} sees {} leave or join twice: {events:?}", self.name, other.name);
            left += events.iter().filter(|line| ***line == leaves).count();
        }
        left
    }
}

/// The result of a conversation.
#[derive(Debug, Default)]
pub struct Talk {
    /// For each two members, the lines of the second one that the first one was told to be missing.
    pub missing: Vec<(String, String, usize)>,
    /// For each member, how often it saw others leave.
    pub departures: Vec<(String, usize)>,
    /// For each member, all lines that it has received.
    pub lines: Vec<(String, Vec<String>)>,
}

impl Talk {
    /// Returns the lines of `from` that were told to `to` to be missing.
    pub fn missing(&self, to: &str, from: &str) -> usize {
        self.missing.iter().find(|(one, other, _)| one == to && other == from).unwrap().2
    }
}

/// The members, `u1` on the first server and so on.
pub struct Conversation {
    pub talkers: Vec<Talker>,
}

impl Conversation {
    /// Joins a member on each server, and lets all talk once each knows the others.
    pub fn start(nodes: &[Node]) -> Self {
        let mut talkers: Vec<Talker> = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let talker = Talker::start(node, at + 1);
            for other in &talkers {
                let line = format!("{} has joined", talker.name);
                other.log.wait(&line, |lines| lines.contains(&line));
            }
            talkers.push(talker);
        }
        talkers.iter_mut().for_each(Talker::talk);
        let conversation = Self { talkers };
        conversation.wait_for_news();
        conversation
    }

    /// Waits until each member has a line that each other one has said from now on.
    #[track_caller]
    pub fn wait_for_news(&self) {
        for (one, other) in self.pairs() {
            one.wait_for_news(other);
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&Talker, &Talker)> {
        let all = || self.talkers.iter();
        all().flat_map(move |one| all().filter(|other| other.name != one.name).map(move |other| (one, other)))
    }

    /// Ends the talk, and checks that all members agree on who is there and that each has every line or was told.
    #[track_caller]
    pub fn finish(mut self) -> Talk {
        for talker in &mut self.talkers {
            drop(talker.stop.take());
            talker.talking.take().unwrap().join().unwrap();
        }
        for (one, other) in self.pairs() {
            let what = format!("{} accounts for all lines of {}", one.name, other.name);
            one.log.wait(&what, |lines| other.accounted_in(lines) >= other.said());
        }
        self.check_rosters();
        let missing = self.pairs().map(|(one, other)| (one.name.clone(), other.name.clone(), one.check(other)));
        let departures =
            self.talkers.iter().map(|talker| (talker.name.clone(), talker.check_departures(&self.talkers)));
        let lines = self.talkers.iter().map(|talker| (talker.name.clone(), talker.log.lines()));
        Talk { missing: missing.collect(), departures: departures.collect(), lines: lines.collect() }
    }

    /// Asks on each server for the members until these are all.
    #[track_caller]
    fn check_rosters(&mut self) {
        let names: Vec<&str> = self.talkers.iter().map(|talker| &*talker.name).collect();
        let expected = format!("*** {} in {ROOM}: {}", names.len(), names.join(", "));
        let is_answer = |line: &&String| line.starts_with("*** ") && line.contains(&format!(" in {ROOM}: "));
        for talker in &mut self.talkers {
            super::wait_until("each server knows all members", || {
                let before = talker.log.lines().iter().filter(is_answer).count();
                talker.sender.send("/who\n");
                talker.log.wait("an answer to /who", |lines| lines.iter().filter(is_answer).count() > before);
                talker.log.lines().iter().rfind(is_answer) == Some(&expected)
            });
        }
    }
}
