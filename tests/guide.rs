//! The operators' guide, `packaging/OPERATIONS.md`: its configurations, commands, alerts and links are those of the program.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::ctl::ctl_done;
use common::folder::Folder;
use common::{Client, ServerProcess, find_or_skip, wait_until};
use roomcast::admin::check_command;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_roomcast");

/// The folder of the configuration in the guide.
const CONFIGURATION: &str = "/etc/roomcast/";

fn packaged(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file)
}

fn guide() -> String {
    fs::read_to_string(packaged("OPERATIONS.md")).unwrap()
}

/// Returns the texts of the fenced blocks whose first line is this, of which there is at least one.
fn blocks(guide: &str, info: &str) -> Vec<String> {
    let fence = format!("```{info}\n");
    let texts: Vec<String> =
        guide.split(&*fence).skip(1).map(|after| after.split("\n```").next().unwrap().to_owned() + "\n").collect();
    assert!(!texts.is_empty(), "no block {info}");
    texts
}

/// Returns the output of a command that has to succeed.
#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {told}");
    output
}

/// Makes the guide's own certificate in a folder, which takes the place of the folder of the configuration.
fn make_certificate(guide: &str, folder: &Folder) -> Option<()> {
    find_or_skip("openssl")?;
    let [script] = &blocks(guide, "sh certificate")[..] else { panic!("one certificate") };
    // The group of the service's user is that of an installed package.
    let script = script.replace(CONFIGURATION, &folder.text("")).replace("chgrp roomcast", "true");
    run(Command::new("sh").args(["-ec", &script]));
    Some(())
}

/// Returns a configuration of the guide with this folder in place of its folders, and free ports.
fn for_test(configuration: &str, folder: &Folder) -> String {
    let mut text = configuration.to_owned();
    for path in [CONFIGURATION, "/run/roomcast/", "/var/lib/roomcast/"] {
        text = text.replace(path, &folder.text(""));
    }
    for port in ["//:2323", "//:6697", "127.0.0.1:9464", "127.0.0.1:4000"] {
        let (address, _) = port.rsplit_once(':').unwrap();
        text = text.replace(port, &format!("{address}:0"));
    }
    text
}

#[test]
fn configurations_are_accepted() {
    let (guide, folder) = (guide(), Folder::new("guide-check"));
    if make_certificate(&guide, &folder).is_none() {
        return;
    }
    for configuration in blocks(&guide, "toml config") {
        let path = folder.write("roomcast.toml", &for_test(&configuration, &folder));
        run(Command::new(PROGRAM).args(["--config", &path, "--check-config"]));
    }
}

#[test]
fn server_of_the_guide_serves_telnet_and_obeys_each_command_of_the_guide() {
    let (guide, folder) = (guide(), Folder::new("guide-serve"));
    if make_certificate(&guide, &folder).is_none() {
        return;
    }
    let configuration = for_test(&blocks(&guide, "toml config")[0], &folder);
    let path = folder.write("roomcast.toml", &configuration);
    let mut command = Command::new(PROGRAM);
    let mut server = ServerProcess::start_command(command.args(["--config", &path]).stderr(Stdio::null()));
    assert!(server.startup_lines.iter().any(|line| line.contains(" listening on tls://")), "{:?}", server.startup_lines);
    let socket = folder.join("admin");
    assert_eq!(ctl_done(&socket, &["ready"]), "ready\n");
    let mut clients = Vec::new();
    for name in ["alice", "mallory"] {
        let mut client = Client::connect_raw(server.address);
        client.send(format!("JOIN lobby {name}\r\n"));
        wait_until("the client is in the room", || ctl_done(&socket, &["peers", "in", "lobby"]).contains(name));
        clients.push(client);
    }
    for line in blocks(&guide, "ctl").concat().lines() {
        ctl_done(&socket, &line.split(' ').collect::<Vec<_>>());
    }
    server.send_signal("TERM");
    assert_eq!(server.wait_for_exit().0, Some(0));
}

#[test]
fn commands_of_ctl_in_the_text_exist() {
    let guide = guide();
    let commands = guide.split("roomcast ctl ").skip(1).filter_map(|after| after.split('`').next());
    for command in commands.filter(|command| !command.starts_with('…')) {
        let command = command.lines().next().unwrap().trim_start_matches("--socket /run/roomcast/admin ");
        check_command(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

#[test]
fn proxies_accept_their_configurations() {
    let (guide, folder) = (guide(), Folder::new("guide-proxies"));
    if make_certificate(&guide, &folder).is_none() {
        return;
    }
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    folder.write("chat.pem", &(read("fullchain.pem") + &read("privkey.pem")));
    if let Some(haproxy) = find_or_skip("haproxy") {
        let text = blocks(&guide, "haproxy").concat().replace("/etc/haproxy/", &folder.text(""));
        run(Command::new(haproxy).args(["-c", "-f", &folder.write("haproxy.cfg", &text)]));
    }
    if let Some(nginx) = find_or_skip("nginx") {
        let text = blocks(&guide, "nginx").concat().replace("/etc/nginx/", &folder.text(""));
        let modules = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n";
        let text = format!("{modules}pid {};\nerror_log stderr;\nevents {{}}\n{text}", folder.text("pid"));
        run(Command::new(nginx).args(["-t", "-c", &folder.write("nginx.conf", &text)]));
    }
}

#[test]
fn deploy_hook_of_certbot_copies_the_certificate() {
    let (guide, folder) = (guide(), Folder::new("guide-hook"));
    if make_certificate(&guide, &folder).is_none() {
        return;
    }
    let (live, hooks, target) = (folder.join("live"), folder.join("hooks"), folder.join("copies"));
    for path in [&live, &hooks, &target] {
        fs::create_dir(path).unwrap();
    }
    for name in ["fullchain.pem", "privkey.pem"] {
        fs::copy(folder.join(name), live.join(name)).unwrap();
    }
    let script = blocks(&guide, "sh hook")[0]
        .replace("/etc/letsencrypt/renewal-hooks/deploy", hooks.to_str().unwrap())
        .replace("/etc/letsencrypt/live/chat.example", live.to_str().unwrap())
        .replace(CONFIGURATION, &format!("{}/", target.display()))
        .replace(" -g roomcast", "")
        .replace("systemctl", "true");
    run(Command::new("sh").args(["-ec", &script]));
    assert_eq!(fs::read(target.join("privkey.pem")).unwrap(), fs::read(folder.join("privkey.pem")).unwrap());
}

#[test]
fn each_alert_is_explained_and_each_explained_alert_exists() {
    let words = |text: &str, start: &str| -> BTreeSet<String> {
        let after = text.split(start).skip(1);
        after.map(|after| after.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
    };
    let rules = fs::read_to_string(packaged("prometheus/roomcast.rules.yml")).unwrap();
    assert_eq!(words(&guide(), "\n| `Roomcast"), words(&rules, "alert: Roomcast"));
}

#[test]
fn each_flag_and_key_in_the_text_exists() {
    let example = fs::read_to_string(packaged("roomcast.toml")).unwrap();
    let guide = guide();
    let codes = guide.split('`').skip(1).step_by(2);
    let flags = codes.filter_map(|code| code.strip_prefix("--")).map(|flag| {
        flag.split(|char: char| !char.is_ascii_alphanumeric() && char != '-').next().unwrap_or_default()
    });
    // These are no keys of the file: they are for one command.
    for flag in flags.filter(|flag| !["socket", "check-config"].contains(flag)) {
        assert!(example.contains(&format!("\n#{flag} = ")), "--{flag}");
    }
}

#[test]
fn links_within_the_guide_have_their_headings() {
    let guide = guide();
    let headings: BTreeSet<String> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.to_lowercase().replace(',', "").replace(' ', "-"))
        .collect();
    let links: BTreeSet<String> =
        guide.split("](#").skip(1).map(|after| after.split(')').next().unwrap().to_owned()).collect();
    assert_eq!(links, headings);
}
