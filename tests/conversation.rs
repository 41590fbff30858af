//! A conversation of three clients that use every command: each line that each of them sends and receives.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, TestServer};
use std::collections::VecDeque;

const ALICE: &str = "
Welcome! Use the command:
JOIN <ROOMNAME> <USERNAME>
1> JOIN lobby alice
alice has joined
bob has joined
carol has joined
4> /help
*** /help [COMMAND]        list the commands, or explain one of them
*** /who                   list the members of this room
*** /rooms                 list the rooms and how many are in each
*** /join ROOM [NAME]      leave this room for another one
*** /nick NAME             change your name
*** /me TEXT               describe an action: * alice waves
*** /msg NAME TEXT         whisper to one member of this room
*** /reply TEXT            whisper back to the member that whispered last
*** /last [N]              show the last lines of this room
*** /ignore [NAME]         hide the lines of NAME, or list the hidden names
*** /unignore NAME         show the lines of NAME again
*** /ui [on|off]           edit lines with the arrow keys (telnet, PuTTY)
*** /time [on|off|OFFSET]  show when each line was said
*** /color [on|off]        a color for each name
*** /ids [on|off|KEY ID]   number what is said in this room, for programs
*** /quit [TEXT]           leave the server, after a last text
*** for more about one of them write its name after /help: /help msg
*** to say a line that looks like a command, write a second /: //who
5> /who
*** 3 in lobby: alice, bob, carol
6> hello, both of you
alice: hello, both of you
bob: hi alice
* carol waves
9> /msg bob she never says anything
*** you whisper to bob: she never says anything
*** bob whispers: shh
11> /mgs bob oops
*** unknown command /mgs: did you mean /msg? //mgs says it
12> /nick al
alice is now known as al
carol has left
bob: /who is a command
16> /msg carol are you still here
*** no member here is called carol: /who lists the members
17> /rooms
*** 2 rooms: lobby (2), attic (1); you are in lobby
carol has joined
19> /last 3
*** carol has left
*** bob: /who is a command
*** carol has joined
20> /quit so long
al: so long
.
";

const BOB: &str = "
Welcome! Use the command:
JOIN <ROOMNAME> <USERNAME>
2> JOIN lobby bob
bob has joined
carol has joined
alice: hello, both of you
7> hi alice
bob: hi alice
* carol waves
*** alice whispers: she never says anything
10> /msg Alice shh
*** you whisper to alice: shh
alice is now known as al
carol has left
14> /who
*** 2 in lobby: al, bob
15> //who is a command
bob: /who is a command
carol has joined
al: so long
al has left
22> /who is it
*** /who takes no arguments; write: /who
23> /nick ***
*** /nick: the name begins with *, as lines of the server do: leave the star out; write: /nick NAME, for example: /nick alice2
24> /nick carol
*** the name carol is taken in lobby: you keep your name; write: /nick NAME, for example: /nick carol2
25> /last 0
*** /last: \"0\" is no number from 1 to 65535; write: /last [N], for example: /last 5
26> /time
*** time is off
27> /ui on
*** ui is off: it needs a telnet client, such as telnet or PuTTY in telnet mode
carol: /etc/passwd
carol has left
30> /quit
.
";

const CAROL: &str = "
Welcome! Use the command:
JOIN <ROOMNAME> <USERNAME>
3> JOIN lobby carol
carol has joined
alice: hello, both of you
bob: hi alice
8> /me waves
* carol waves
alice is now known as al
13> /join attic
carol has joined
18> /join lobby
carol has joined
al: so long
al has left
21> /join lobby
*** you are in lobby already
28> /etc/passwd
carol: /etc/passwd
29> /quit
.
";

/// A client with its script.
struct ScriptedClient {
    client: Client,
    /// The lines that are still to be sent, each after its step's number, and to be received. A dot is the end.
    script: VecDeque<&'static str>,
}

/// Returns the step and the text of a script line that is sent.
fn sent_line(line: &str) -> Option<(usize, &str)> {
    let (step, line) = line.split_once("> ")?;
    Some((step.parse().ok()?, line))
}

impl ScriptedClient {
    fn connect(server: &TestServer, script: &'static str) -> Self {
        Self { client: Client::connect_raw(server.address), script: script.trim().lines().collect() }
    }

    /// Returns the next step in which this client sends.
    fn next_step(&self) -> Option<usize> {
        self.script.iter().find_map(|line| sent_line(line)).map(|(step, _)| step)
    }

    /// Receives the next line. Returns false if the script sends first.
    #[track_caller]
    fn receive_line(&mut self) -> bool {
        let Some(line) = self.script.front().copied().filter(|line| sent_line(line).is_none()) else {
            return false;
        };
        self.script.pop_front();
        assert_eq!(self.client.try_read_line().as_deref().unwrap_or("."), line);
        true
    }
}

/// Sends the steps in their order, each after all lines before it in its script have arrived, and the next
/// step after one line has arrived in reply.
#[test]
fn three_clients_use_every_command() {
    let server = TestServer::start();
    let mut clients = [ALICE, BOB, CAROL].map(|script| ScriptedClient::connect(&server, script));
    for step in 1.. {
        let Some(client) = clients.iter_mut().find(|client| client.next_step() == Some(step)) else {
            break;
        };
        while client.receive_line() {}
        let (_, line) = client.script.pop_front().and_then(sent_line).unwrap();
        client.client.send(format!("{line}\n"));
        client.receive_line();
    }
    for client in &mut clients {
        while client.receive_line() {}
        assert!(client.script.is_empty(), "{:?}", client.script);
    }
}
