//! The configuration file of the program, its reload by SIGHUP, and the log: level, form and dropped records.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::{Client, DEADLINE, ServerProcess, wait_until};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A file in the folder for temporary files, which is removed at the end.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(name: &str, text: impl AsRef<[u8]>) -> Self {
        let file = Self(std::env::temp_dir().join(format!("roomcast-{name}-{}.toml", std::process::id())));
        file.write(text);
        file
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(&self.0, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A server with a configuration file, and its log.
struct ConfiguredServer {
    process: ServerProcess,
    file: TemporaryFile,
    /// The records as the server writes them.
    log: Receiver<String>,
}

impl ConfiguredServer {
    fn start(name: &str, text: &str) -> Self {
        let file = TemporaryFile::new(name, text);
        let mut command = ServerProcess::command(&["--config", file.path()]);
        let mut process = ServerProcess::start_command(command.stderr(Stdio::piped()));
        let stderr = BufReader::new(process.process.stderr.take().unwrap());
        let (sender, log) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, file, log }
    }

    /// Writes the file anew and asks for a reload.
    fn request_reload(&self, text: &str) {
        self.file.write(text);
        self.process.send_signal("HUP");
    }

    /// Waits for a record that contains this; returns the records until then, it included.
    #[track_caller]
    fn wait_for_record(&self, part: &str) -> Vec<String> {
        let mut records = Vec::new();
        while !records.last().is_some_and(|record: &String| record.contains(part)) {
            records.push(self.log.recv_timeout(DEADLINE).expect(part));
        }
        records
    }

    /// Reloads with this text. The log must be at level info.
    #[track_caller]
    fn reload(&self, text: &str) {
        self.request_reload(text);
        self.wait_for_record("settings reloaded");
    }
}

/// Runs the program; returns its exit code, and the lines of stdout and stderr.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, Vec<String>, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    let output = command.args(arguments).envs(variables.iter().copied()).output().unwrap();
    let lines = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect();
    (output.status.code(), lines(output.stdout), lines(output.stderr))
}

#[test]
fn check_lists_every_mistake_with_its_place_and_a_start_the_first_one() {
    let file = TemporaryFile::new("mistakes", "rat = 7\nport = 4000\nbacklog = 'much'\n[network]\n");
    let path = file.path();
    let mistakes = [
        format!("roomcast: {path}:1:1: unknown key 'rat'; did you mean 'rate'?"),
        format!(
            "roomcast: {path}:3:11: invalid value 'much' for 'backlog': a size from 1 to 1GiB is wanted, as 20000, 64KiB \
             or 1MiB, or 0 for no limit"
        ),
    ];
    let (code, output, told) = run(&["--check-config", "--config", path], &[]);
    assert_eq!((code, output.len(), told.len()), (Some(2), 0, 3), "{told:?}");
    assert_eq!(told[..2], mistakes);
    let (code, output, told) = run(&["--config", path], &[]);
    assert_eq!((code, output.len(), &told[..]), (Some(2), 0, &mistakes[..1]));
}

#[test]
fn check_accepts_a_file_without_serving() {
    let file = TemporaryFile::new("checked", "listen = ['tcp://192.0.2.1:1']\nbell = false\n");
    for (arguments, variables) in [
        (&["--check-config", "--config", file.path()][..], &[][..]),
        (&["--check-config"], &[("ROOMCAST_CONFIG", file.path())]),
    ] {
        assert_eq!(run(arguments, variables), (Some(0), vec![format!("{}: ok", file.path())], vec![]));
    }
    let (code, _, told) = run(&["--check-config"], &[("ROOMCAST_CONFIG", "")]);
    assert_eq!(code, Some(2));
    assert_eq!(told, ["roomcast: --check-config has no file to check: add --config FILE; see roomcast --help"]);
}

#[test]
fn contradiction_names_the_places_of_the_values_that_come_from_the_file() {
    let file = TemporaryFile::new("contradiction", "history = 10\n\n  replay = 20\nmotd = '/no/such'\n");
    let path = file.path();
    let told = |arguments: &[&str]| {
        let (code, _, told) = run(&[&["--check-config", "--config", path], arguments].concat(), &[]);
        assert_eq!((code, told.len()), (Some(2), 1), "{told:?}");
        told[0].clone()
    };
    let advice = "lower --replay or raise --history";
    assert_eq!(
        told(&[]),
        format!(
            "roomcast: {path}:3:3: --replay 20 is more than --history 10: {advice} (--history at {path}:1:1); see roomcast --help"
        )
    );
    assert_eq!(
        told(&["--replay", "30"]),
        format!("roomcast: {path}:1:1: --replay 30 is more than --history 10: {advice}; see roomcast --help")
    );
    let motd = told(&["--replay", "0"]);
    assert!(motd.starts_with(&format!("roomcast: {path}:4:1: --motd /no/such: No such file")), "{motd}");
    let listen = TemporaryFile::new("listen", "port = 1\n\nlisten = 'tcp://:1'");
    let (_, _, told) = run(&["--config", listen.path()], &[]);
    let path = listen.path();
    assert!(
        told[0].starts_with(&format!("roomcast: {path}:3:1: --listen and a port (an argument or ROOMCAST_PORT) ")),
        "{told:?}"
    );
    assert!(told[0].contains(&format!("(--port at {path}:1:1)")), "{told:?}");
}

#[test]
fn flag_comes_before_variable_and_variable_before_file() {
    let file = TemporaryFile::new("order", "rate = 1\nburst = 1\nhistory = 1\nexempt = ['::1']\n");
    let arguments = ["--config", file.path(), "--rate", "3", "--show-config"];
    let (code, shown, _) = run(&arguments, &[("ROOMCAST_RATE", "2"), ("ROOMCAST_BURST", "2"), ("ROOMCAST_REPLAY", "")]);
    assert_eq!(code, Some(0));
    let shown: Vec<String> = shown.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "rate = 3 # flag",
        "burst = 2 # variable ROOMCAST_BURST",
        &format!("history = 1 # {}:3:1", file.path()),
        &format!("exempt = [\"::1\"] # {}:4:1", file.path()),
        "replay = 0 # default",
        "#workers = # default: one for each core",
    ] {
        assert!(shown.iter().any(|shown| shown == line), "{line} is not in {shown:#?}");
    }
}

#[test]
fn shown_settings_are_a_configuration_file() {
    let (code, shown, _) = run(&["4000", "--rate", "7", "--exempt", "10.0.0.0/8", "--show-config"], &[]);
    assert_eq!(code, Some(0));
    let file = TemporaryFile::new("shown", shown.join("\n"));
    let (code, output, told) = run(&["--check-config", "--config", file.path()], &[]);
    assert_eq!((code, output), (Some(0), vec![format!("{}: ok", file.path())]), "{told:?}");
    let (_, again, _) = run(&["--config", file.path(), "--show-config"], &[]);
    assert!(
        again.iter().any(|line| line.starts_with("rate = 7 ")
            && line.ends_with(&format!(
                "# {}:{}:1",
                file.path(),
                shown.iter().position(|line| line.starts_with("rate = ")).unwrap() + 1
            ))),
        "{again:#?}"
    );
}

#[test]
fn example_is_a_file_that_changes_nothing() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/roomcast.toml");
    assert_eq!(run(&["--check-config", "--config", example], &[]).0, Some(0));
    let shown = |arguments: &[&str]| run(arguments, &[]).1;
    assert_eq!(shown(&["--config", example, "--show-config"]), shown(&["--show-config"]));
}

#[test]
fn reload_changes_what_connections_do_and_keeps_them() {
    let motd = TemporaryFile::new("motd", "first");
    let server = ConfiguredServer::start("reload", "log-level = 'info'\n");
    let (mut alice, mut bob) = server.process.join_pair("lobby", "alice", "bob");
    alice.send("/who\n");
    alice.expect_line("*** 2 in lobby: alice, bob");
    server.reload(&format!("log-level = 'info'\nplain = true\nmotd = '{}'\n", motd.path()));
    alice.send("/who\n");
    bob.expect_line("alice: /who");
    server.process.join("other", "carol").expect_line("*** first");
    // The content of a file that a key names is read again, too.
    motd.write("second");
    server.reload(&format!("log-level = 'info'\nmotd = '{}'\n", motd.path()));
    server.process.join("other", "dave").skip_to_line("*** second");
    alice.expect_line("alice: /who");
    alice.send("/who\n");
    alice.expect_line("*** 2 in lobby: alice, bob");
}

/// Reads the lines of all senders until each one's last; returns the numbers that each sender's lines have.
fn numbers_of_senders(client: &mut Client, senders: usize, lines: usize) -> HashMap<String, Vec<usize>> {
    let mut numbers: HashMap<String, Vec<usize>> = HashMap::new();
    while numbers.values().map(Vec::len).sum::<usize>() < senders * lines {
        let line = client.read_line();
        let Some((sender, number)) = line.split_once(": ") else {
            assert!(line.ends_with(" has joined"), "{line}");
            continue;
        };
        numbers.entry(sender.to_owned()).or_default().push(number.parse().unwrap());
    }
    numbers
}

/// Members talk all the time, and the settings change as often as the server can.
#[test]
fn reloads_under_load_keep_every_connection_and_line() {
    const SENDERS: usize = 4;
    const LINES: usize = 2_000;
    let text = |n: usize| {
        let (format, level) = if n.is_multiple_of(2) { ("json", "info") } else { ("text", "trace") };
        format!(
            "rate = 0\nbyte-rate = 0\nburst = {}\nidle-timeout = '{}h'\nstall-timeout = '{}s'\nplain = {}\nmax-line = {}\n\
             log-format = '{format}'\nlog-level = '{level}'\n",
            n + 1,
            n + 1,
            n % 30 + 20,
            n.is_multiple_of(3),
            n + 100
        )
    };
    let server = ConfiguredServer::start("load", &text(0));
    let members: Vec<Client> = (0..SENDERS).map(|n| server.process.join("lobby", &format!("u{n}"))).collect();
    let talking = AtomicUsize::new(SENDERS);
    let reloads = thread::scope(|scope| {
        for mut client in members {
            let talking = &talking;
            scope.spawn(move || {
                let mut sender = client.sender();
                let sending = thread::spawn(move || {
                    for number in 0..LINES {
                        sender.send(format!("{number}\n"));
                        if number % 50 == 0 {
                            thread::yield_now();
                        }
                    }
                });
                let numbers = numbers_of_senders(&mut client, SENDERS, LINES);
                talking.fetch_sub(1, Ordering::Relaxed);
                sending.join().unwrap();
                assert_eq!(numbers.len(), SENDERS);
                for (sender, numbers) in numbers {
                    assert!(numbers.iter().copied().eq(0..LINES), "lines of {sender} are missing or out of order");
                }
            });
        }
        let mut reloads = 0;
        while talking.load(Ordering::Relaxed) > 0 || reloads < 10 {
            reloads += 1;
            server.reload(&text(reloads));
        }
        reloads
    });
    assert!(reloads >= 10);
    server.process.send_signal("TERM");
    let ConfiguredServer { mut process, log, .. } = server;
    assert_eq!(process.wait_for_exit().0, Some(0));
    let rest: Vec<String> = log.iter().collect();
    assert!(!rest.iter().any(|record| record.contains("not reloaded") || record.contains("panicked")), "{rest:#?}");
}

/// Each mistake is one record with its place, and the settings of before stay in force.
#[test]
fn reload_of_a_bad_file_keeps_what_was() {
    let server = ConfiguredServer::start("bad", "plain = true\nlog-level = 'info'\n");
    let path = server.file.path().to_owned();
    let (mut alice, mut bob) = server.process.join_pair("lobby", "alice", "bob");
    for (text, told) in [
        ("plain = false\nlog-level = 'off'\nrat = 7\n", ":3:1: unknown key 'rat'; did you mean 'rate'?"),
        ("plain = false\nrate = 'much'\n", ":2:8: invalid value 'much' for 'rate': a whole number is wanted"),
        ("plain = false\nrate", ":2:5: no TOML: "),
        ("plain = false\nreplay = 200\n", ":2:1: --replay 200 is more than --history 100: "),
        ("plain = false\nmotd = '/no/such'\n", ":2:1: --motd /no/such: No such file or directory"),
        ("plain = false\nlisten = 'tcp://:1'\n", ":2:1: --listen and a port (an argument or ROOMCAST_PORT) contradict"),
    ] {
        server.request_reload(text);
        let records = server.wait_for_record("settings not reloaded: all stay as they were");
        let record = records.last().unwrap();
        assert!(record.contains("ERROR") && record.contains(&format!("reason=\"{path}{told}")), "{record}");
        alice.send("/who\n");
        alice.skip_to_line("alice: /who");
        bob.expect_line("alice: /who");
    }
    fs::remove_file(&server.file.0).unwrap();
    server.process.send_signal("HUP");
    let records = server.wait_for_record("settings not reloaded: all stay as they were");
    assert!(records.last().unwrap().contains(&format!("reason=\"{path}: No such file or directory")), "{records:?}");
    server.reload("log-level = 'info'\n");
    alice.send("/who\n");
    alice.expect_line("*** 2 in lobby: alice, bob");
}

#[test]
fn reload_names_settings_that_need_a_restart_and_changes_the_others() {
    let server = ConfiguredServer::start("restart", "log-level = 'info'\nmax-rooms = 1\n");
    let mut alice = server.process.join("lobby", "alice");
    for _ in 0..2 {
        server.request_reload("log-level = 'info'\nmax-rooms = 5\nworkers = 3\nplain = true\n");
        let records = server.wait_for_record("settings reloaded");
        let warnings: Vec<&String> = records.iter().filter(|record| record.contains("needs a restart")).collect();
        assert_eq!(warnings.len(), 2, "{records:#?}");
        for (warning, flag) in warnings.iter().zip(["--workers", "--max-rooms"]) {
            assert!(warning.contains(" WARN ") && warning.ends_with(&format!("setting=\"{flag}\"")), "{warning}");
        }
    }
    alice.send("/who\n");
    alice.expect_line("alice: /who");
    let mut bob = Client::connect(server.process.address);
    bob.send("JOIN other bob\n");
    assert!(bob.expect_error().contains("1 room"), "the bound on rooms changed without a restart");
}

#[test]
fn hangup_ends_a_server_without_a_configuration_file() {
    let mut server = ServerProcess::start(&["-v"]);
    let mut alice = server.join("lobby", "alice");
    server.send_signal("HUP");
    assert_eq!(alice.read_to_end(), ["*** server is shutting down"]);
    assert_eq!(server.wait_for_exit().0, Some(0));
}

/// Returns the record with this event, and fails if a record is no JSON object with the fields that all have.
#[track_caller]
fn records_of(records: &[String], event: &str) -> Vec<Value> {
    let records = records.iter().map(|record| {
        let value: Value = serde_json::from_str(record).unwrap_or_else(|error| panic!("{record}: {error}"));
        for field in ["ts", "level", "event"] {
            assert!(value[field].is_string(), "{record} has no {field}");
        }
        value
    });
    records.filter(|record| record["event"] == event).collect()
}

#[test]
fn json_records_of_a_connection_have_its_number_address_and_reason() {
    let server = ConfiguredServer::start(
        "json",
        "log-format = 'json'\nlog-level = 'trace'\nexempt = 'none'\nmax-per-address = 1\n",
    );
    let mut alice = server.process.join("lobby", "alice");
    alice.send("one\n\u{1B}[2J\"forged\": 1}\n");
    alice.expect_line("alice: one");
    Client::connect_raw(server.process.address).expect_error();
    let address = alice.stream().local_addr().unwrap().to_string();
    alice.leave();
    let mut records = server.wait_for_record("\"closed\"");
    server.process.send_signal("TERM");
    records.extend(server.log.iter());
    let [opened] = &records_of(&records, "opened")[..] else { panic!("{records:#?}") };
    let [admitted] = &records_of(&records, "admitted")[..] else { panic!("{records:#?}") };
    let [closed] = &records_of(&records, "closed")[..] else { panic!("{records:#?}") };
    let [refused] = &records_of(&records, "refused")[..] else { panic!("{records:#?}") };
    for record in [opened, admitted, closed] {
        assert_eq!((&record["connection"], &record["address"]), (&opened["connection"], &address.clone().into()));
        assert!(record["connection"].is_u64());
    }
    for record in [admitted, closed] {
        assert_eq!((&record["room"], &record["name"]), (&"lobby".into(), &"alice".into()));
    }
    assert_eq!((&closed["level"], &closed["reason"]), (&"info".into(), &"end of input".into()));
    assert_eq!((&closed["lines_in"], &admitted["level"]), (&3.into(), &"debug".into()));
    assert!(refused["connection"].is_u64() && refused["connection"] != opened["connection"], "{refused}");
    assert!(refused["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{refused}");
    assert!(refused["reason"].as_str().unwrap().starts_with("your address has as many connections"), "{refused}");
    assert!(!records_of(&records, "pass").is_empty() && !records_of(&records, "shutting down").is_empty());
    assert!(!records.iter().any(|record| record.contains("forged")), "the log holds what a user sent: {records:#?}");
}

#[test]
fn level_and_form_of_the_log_change_at_run_time() {
    let server = ConfiguredServer::start("level", "log-level = 'info'\n");
    server.process.join("lobby", "alice").leave();
    assert!(server.wait_for_record("closed")[0].contains(" INFO opened connection=0 address=127.0.0.1:"));
    server.reload("log-level = 'debug'\nlog-format = 'json'\n");
    server.process.join("lobby", "bob").leave();
    let records = server.wait_for_record("\"closed\"");
    assert_eq!(records_of(&records, "admitted").len(), 1, "{records:#?}");
    // At level error a reload logs nothing, so the next record is the mistake after it.
    let motd = TemporaryFile::new("level-motd", "quiet");
    server.request_reload(&format!("log-level = 'error'\nmotd = '{}'\n", motd.path()));
    wait_until("the reload is in force", || {
        let mut visitor = server.process.join("lobby", "visitor");
        visitor.send("/who\n");
        visitor.leave().iter().any(|line| line == "*** quiet")
    });
    while server.log.try_recv().is_ok() {}
    server.process.join("lobby", "carol").leave();
    server.request_reload("rat = 7");
    let records = server.wait_for_record("not reloaded");
    assert!(!records.iter().any(|record| record.contains("carol")), "{records:#?}");
}

/// The level is raised at run time, and no reader takes what the server logs from then on.
#[test]
fn records_that_a_stuck_pipe_drops_are_counted_and_reported() {
    const LINES: usize = 8_000;
    let motd = TemporaryFile::new("flood-motd", "flood");
    let file = TemporaryFile::new("flood", "rate = 0\n");
    let mut command = ServerProcess::command(&["--config", file.path()]);
    let mut server = ServerProcess::start_command(command.stderr(Stdio::piped()));
    file.write(format!("rate = 0\nlog-level = 'trace'\nlog-format = 'json'\nmotd = '{}'\n", motd.path()));
    server.send_signal("HUP");
    wait_until("the reload is in force", || {
        let mut visitor = server.join("lobby", "visitor");
        visitor.send("/who\n");
        visitor.leave().iter().any(|line| line == "*** flood")
    });
    let mut alice = server.join("room", "alice");
    alice.expect_line("*** flood");
    for _ in 0..LINES {
        // Each line is a pass, which is logged.
        alice.send("a\n");
        alice.expect_line("alice: a");
    }
    let stderr = BufReader::new(server.process.stderr.take().unwrap());
    let mut passes = 0;
    let report = stderr.lines().map_while(Result::ok).find_map(|record| {
        let record: Value = serde_json::from_str(&record).unwrap();
        passes += usize::from(record["event"] == "pass" && record["room"] == "room");
        record["dropped"].as_u64()
    });
    let dropped = usize::try_from(report.expect("the drops are not reported")).unwrap();
    assert!(dropped > 0 && passes + dropped >= LINES, "{passes} passes are logged, and {dropped} records were dropped");
    server.send_signal("TERM");
    assert_eq!(alice.read_to_end(), ["*** server is shutting down"]);
    assert_eq!(server.wait_for_exit().0, Some(0));
}

/// The reader of stdout, on which the writer of the log waits, never comes back.
#[test]
fn stuck_log_does_not_keep_the_process_from_ending() {
    let file = TemporaryFile::new("stuck", "rate = 0\nlog-level = 'warn'\n");
    let mut server = ServerProcess::start(&["--config", file.path(), "-vvv"]);
    let mut alice = server.join("room", "alice");
    for _ in 0..2_000 {
        alice.send("a\n");
        alice.expect_line("alice: a");
    }
    server.send_signal("TERM");
    assert_eq!(alice.read_to_end(), ["*** server is shutting down"]);
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
}
