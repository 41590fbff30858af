//! The checker of concurrent cases: derives the order of each room from the streams of its members, and replays it.
//!
//! Each line of a room is unique in its case. So the streams agree on one order if and only if each line has one
//! successor in all streams that hold it and a next line. The lines then form chains: one for each life of the room,
//! from the join into the empty room to its last line.

use crate::recording::{Recording, Visit, subject};
use crate::script::End;
use std::collections::{HashMap, HashSet};

/// The order of all rooms.
#[derive(Default)]
struct Order<'a> {
    chains: Vec<Vec<&'a str>>,
    /// The chain of each line, and its place there.
    places: HashMap<&'a str, (usize, usize)>,
    /// The members after each line of each chain, by name.
    members: Vec<Vec<Vec<&'a str>>>,
}

/// Checks a case.
///
/// # Errors
/// A text that names the guarantee that does not hold, and the lines that show it.
pub fn check(recordings: &[Recording]) -> Result<(), String> {
    for recording in recordings {
        if let Some(line) = recording.stray.first() {
            return Err(format!("a client saw {line:?} of a room that it was not in"));
        }
        let must_end_with_notice = recording.end == End::Stay && !recording.is_refused;
        if must_end_with_notice && !recording.ends_with_notice || recording.notices > 1 {
            return Err(format!("the shutdown notice is not the one last line of {:?}", recording.visits.last()));
        }
    }
    let order = merge(recordings)?;
    for recording in recordings {
        for (index, visit) in recording.visits.iter().enumerate() {
            order.check_end_of_visit(recording, index, visit)?;
        }
        order.check_answers(recording)?;
    }
    order.check_ends_of_chains(recordings)?;
    order.check_texts(recordings)?;
    order.check_whispers(recordings)
}

/// Merges the streams into chains, and replays the members over each.
fn merge(recordings: &[Recording]) -> Result<Order<'_>, String> {
    let (mut next, mut previous, mut lines) = (HashMap::new(), HashMap::new(), Vec::new());
    for recording in recordings {
        let mut seen = HashSet::new();
        for line in recording.visits.iter().flat_map(|visit| &visit.lines) {
            if !seen.insert(line.as_str()) {
                return Err(format!("a client saw {line:?} twice"));
            }
            lines.push(line.as_str());
        }
        for pair in recording.visits.iter().flat_map(|visit| visit.lines.windows(2)) {
            let (before, after) = (pair[0].as_str(), pair[1].as_str());
            let other_after = *next.entry(before).or_insert(after);
            let other_before = *previous.entry(after).or_insert(before);
            if other_after != after || other_before != before {
                return Err(format!(
                    "a client saw {after:?} right after {before:?}; another one saw {other_after:?} after {before:?}, or \
                     {other_before:?} before {after:?}"
                ));
            }
        }
    }
    let mut order = Order::default();
    for first in lines.iter().filter(|line| !previous.contains_key(**line)) {
        if !order.places.contains_key(first) {
            order.add_chain(std::iter::successors(Some(*first), |line| next.get(line).copied()).collect())?;
        }
    }
    match lines.into_iter().find(|line| !order.places.contains_key(line)) {
        Some(line) => Err(format!("the streams order {line:?} before itself")),
        None => Ok(order),
    }
}

impl<'a> Order<'a> {
    /// Adds the lines of one life of a room, from its first join on, and replays the members.
    fn add_chain(&mut self, chain: Vec<&'a str>) -> Result<(), String> {
        let (mut members, mut after_each): (Vec<&str>, Vec<Vec<&str>>) = (Vec::new(), Vec::new());
        let is_taken = |members: &[&str], name: &str| members.iter().any(|member| member.eq_ignore_ascii_case(name));
        for (place, line) in chain.iter().enumerate() {
            self.places.insert(line, (self.chains.len(), place));
            let name = subject(line);
            let at = members.iter().position(|member| *member == name);
            let mistake = |what: &str| Err(format!("{what}: {line:?}, after {:?}", &chain[..place]));
            if line.ends_with(" has joined") {
                if is_taken(&members, name) {
                    return mistake("a name was given twice");
                }
                members.push(name);
            } else if let Some(at) = at {
                if line.ends_with(" has left") {
                    members.remove(at);
                } else if let Some((_, new_name)) = line.split_once(" is now known as ") {
                    members.remove(at);
                    if is_taken(&members, new_name) {
                        return mistake("a name was given twice");
                    }
                    members.push(new_name);
                }
            } else {
                return mistake("a line names no member");
            }
            after_each.push(members.clone());
        }
        self.chains.push(chain);
        self.members.push(after_each);
        Ok(())
    }

    /// Returns the chain and the place of the last of the first `count` lines of a visit.
    fn place(&self, visit: &Visit, count: usize) -> (usize, usize) {
        self.places[visit.lines[count - 1].as_str()]
    }

    /// Checks that a visit ends right before the leave of its client, or at the end of the room.
    fn check_end_of_visit(&self, recording: &Recording, index: usize, visit: &Visit) -> Result<(), String> {
        if recording.end == End::Reset {
            return Ok(());
        }
        let (chain, place) = self.place(visit, visit.lines.len());
        let after = self.chains[chain].get(place + 1).copied();
        let own_name = visit.lines.iter().fold(visit.name.as_str(), |name, line| {
            line.split_once(" is now known as ").filter(|(old, _)| *old == name).map_or(name, |(_, new)| new)
        });
        let left = format!("{own_name} has left");
        match after {
            None => Ok(()),
            Some(line) if line == left && !recording.is_last_stay(index) => Ok(()),
            Some(line) => Err(format!("{own_name} did not see {line:?} after {:?}", visit.lines.last())),
        }
    }

    /// Checks that a room ends with its last member, or with the members that stay until the shutdown.
    fn check_ends_of_chains(&self, recordings: &[Recording]) -> Result<(), String> {
        let mut staying = vec![0; self.chains.len()];
        for recording in recordings {
            if let Some(visit) = recording.visits.last().filter(|_| recording.end == End::Stay) {
                staying[self.place(visit, 1).0] += 1;
            }
        }
        for (chain, staying) in staying.into_iter().enumerate() {
            let left = self.members[chain].last().map_or(&[][..], Vec::as_slice);
            if left.len() != staying.max(1) {
                return Err(format!(
                    "a room ends with the members {left:?}, of which {staying} stay: a leave is missing"
                ));
            }
        }
        Ok(())
    }

    /// Checks that each line is there once, in the order of its sender; lines that a reset destroyed are the last ones.
    fn check_texts(&self, recordings: &[Recording]) -> Result<(), String> {
        let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
        for line in self.places.keys() {
            if let Some(at) = line.find("line ").filter(|_| !line.contains(" is now known as "))
                && places.insert(&line[at..], self.places[line]).is_some()
            {
                return Err(format!("{:?} was said twice", &line[at..]));
            }
        }
        for recording in recordings.iter().filter(|recording| !recording.is_refused) {
            let found: Vec<_> = recording.texts.iter().map(|text| places.get(text.as_str())).collect();
            let said = found.iter().take_while(|place| place.is_some()).count();
            if found[said..].iter().any(Option::is_some) || (said < found.len() && recording.end != End::Reset) {
                return Err(format!("{:?} was lost, of {:?}", recording.texts[said], recording.texts));
            }
            for pair in found[..said].windows(2).filter_map(|pair| pair[0].zip(pair[1])) {
                if pair.0.0 == pair.1.0 && pair.0.1 > pair.1.1 {
                    return Err(format!("lines of a sender changed places: {:?}", recording.texts));
                }
            }
        }
        Ok(())
    }

    /// Checks that listings equal the members at their place in the order.
    fn check_answers(&self, recording: &Recording) -> Result<(), String> {
        for answer in &recording.answers {
            let Some(visit) = recording.visits.get(answer.visit) else { continue };
            let (chain, place) = self.place(visit, answer.place);
            let mut names = self.members[chain][place].clone();
            names.sort_by_key(|name| name.to_ascii_lowercase());
            let (room, after) = (visit.room, &self.chains[chain][place]);
            let text = answer.text.as_str();
            let listing = format!("{} in {room}: {}", names.len(), names.join(", "));
            let is_members = text.split_once(" in ").is_some_and(|(count, _)| count.parse::<usize>().is_ok());
            if is_members && text != listing {
                return Err(format!("/who answered {text:?} after {after:?}, where the members are {listing:?}"));
            }
            if text.ends_with(&format!("; you are in {room}")) {
                let own = format!("{room} ({})", names.len());
                if !text.contains(&own) || text.contains("(0)") {
                    return Err(format!("/rooms answered {text:?} after {after:?}, where it is {own}"));
                }
            }
            if let Some(name) = text.strip_prefix("no member here is called ").and_then(|rest| rest.split(':').next())
                && names.iter().any(|member| member.eq_ignore_ascii_case(name))
            {
                return Err(format!("/msg answered {text:?} after {after:?}, where the members are {names:?}"));
            }
        }
        Ok(())
    }

    /// Checks that each whisper reaches its addressee once, at one place of the order for both.
    fn check_whispers(&self, recordings: &[Recording]) -> Result<(), String> {
        let mut received: HashMap<&str, Vec<(usize, usize)>> = HashMap::new();
        let place_of = |recording: &Recording, visit: usize, place: usize| self.place(&recording.visits[visit], place);
        for recording in recordings {
            for answer in &recording.answers {
                if let Some((_, text)) = answer.text.split_once(" whispers: ") {
                    received.entry(text).or_default().push(place_of(recording, answer.visit, answer.place));
                }
            }
        }
        let has_reset = recordings.iter().any(|recording| recording.end == End::Reset);
        for recording in recordings {
            for answer in &recording.answers {
                let Some(rest) = answer.text.strip_prefix("you whisper to ") else { continue };
                let (addressee, text) = rest.split_once(": ").expect("a whisper has a text");
                let (chain, place) = place_of(recording, answer.visit, answer.place);
                if !self.members[chain][place].contains(&addressee) {
                    return Err(format!("{text:?} went to {addressee}, which is no member at its place"));
                }
                match received.remove(text).as_deref() {
                    Some([addressee_place]) if *addressee_place == (chain, place) => {}
                    None if has_reset => {}
                    other => {
                        return Err(format!("{text:?} was sent at {:?} and received at {other:?}", (chain, place)));
                    }
                }
            }
        }
        match received.keys().next().filter(|_| !has_reset) {
            Some(text) => Err(format!("{text:?} was received and its sender was not told")),
            None => Ok(()),
        }
    }
}
