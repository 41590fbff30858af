//! The operators' guide, `packaging/OPERATIONS.md`: its configurations, commands, alerts, metrics, messages and links are
//! those of the program and of the programs before it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::ctl::ctl_done;
use common::folder::Folder;
use common::proxy::{Proxy, connect_from};
use common::tls::{TestCertificate, TlsClient, client_config};
use common::{Client, ServerProcess, WELCOME, find_or_skip, http, skip, wait_until};
use roomcast::admin::check_command;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
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

/// Returns the text between two backquotes on one line, for each such pair outside of the fenced blocks.
fn codes(guide: &str) -> impl Iterator<Item = &str> {
    let prose = guide.split("```").step_by(2).flat_map(str::lines);
    prose.flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Returns the output of a command that has to succeed.
#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}: {told}");
    output
}

/// Runs a script of the guide; a stand-in named `true` takes the place of each of these programs.
#[track_caller]
fn run_script(script: &str, replaced: &[&str]) {
    let without = replaced.iter().fold(script.to_owned(), |text, program| text.replace(program, "true"));
    run(Command::new("sh").args(["-ec", &without]));
}

/// Makes the guide's own certificate in a folder, which takes the place of the folder of the configuration. `None` without
/// openssl.
fn make_certificate(guide: &str, folder: &Folder) -> Option<()> {
    find_or_skip("openssl")?;
    let [script] = &blocks(guide, "sh certificate")[..] else { panic!("one certificate") };
    // An installed package makes the group.
    run_script(&script.replace(CONFIGURATION, &folder.text("")), &["chgrp roomcast"]);
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
        let address = if address == "//" { "//127.0.0.1" } else { address };
        text = text.replace(port, &format!("{address}:0"));
    }
    text
}

/// Starts the program with the configuration of this number in the guide.
fn start(guide: &str, number: usize, folder: &Folder) -> ServerProcess {
    let configuration = for_test(&blocks(guide, "toml config")[number], folder);
    let path = folder.write("roomcast.toml", &configuration);
    ServerProcess::start_command(Command::new(PROGRAM).args(["--config", &path]).stderr(Stdio::null()))
}

/// Returns what a startup line says after this.
fn listening_after<'a>(server: &'a ServerProcess, scheme: &str) -> &'a str {
    let mut lines = server.startup_lines.iter();
    lines.find_map(|line| line.split_once(&format!(" listening on {scheme}://"))).expect("no such listener").1
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
    let mut server = start(&guide, 0, &folder);
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
fn friend_with_the_certificate_joins_by_the_openssl_of_the_guide() {
    let (guide, folder) = (guide(), Folder::new("guide-friend"));
    if make_certificate(&guide, &folder).is_none() {
        return;
    }
    let server = start(&guide, 0, &folder);
    let connect = format!("-connect {}", listening_after(&server, "tls"));
    let script = blocks(&guide, "sh client")[0].replace("-connect chat.example:6697", &connect);
    assert!(script.contains(&connect), "{script}");
    let mut command = Command::new("sh");
    command.args(["-ec", &script.replace("fullchain.pem", &folder.text("fullchain.pem"))]);
    let mut friend =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh exists");
    // The server closes the connection after this, and openssl ends with it.
    friend.stdin.as_mut().unwrap().write_all(b"JOIN lobby carol\nhello\n/quit\n").unwrap();
    let told = String::from_utf8(friend.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(told.replace('\r', ""), format!("{WELCOME}carol has joined\ncarol: hello\n"));
}

#[test]
fn metrics_of_the_text_exist() {
    let (guide, folder) = (guide(), Folder::new("guide-metrics"));
    if make_certificate(&guide, &folder).is_none() {
        return;
    }
    let server = start(&guide, 0, &folder);
    let address = listening_after(&server, "http").strip_suffix("/metrics").unwrap();
    let mut metrics = http::get(address.parse().unwrap(), "/metrics").body;
    if cfg!(feature = "cluster") {
        // A server of a cluster has more. NATS need not be there for that.
        let args = ["--cluster", "nats://127.0.0.1:1", "--node", "n1", "--metrics", "127.0.0.1:0"];
        let node = ServerProcess::start(&args);
        let address = listening_after(&node, "http").strip_suffix("/metrics").unwrap();
        metrics += &http::get(address.parse().unwrap(), "/metrics").body;
    }
    let is_built = |name: &str| cfg!(feature = "cluster") || !name.starts_with("roomcast_cluster_");
    let is_name = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words: BTreeSet<&str> = guide.split(|char| !is_name(char)).collect();
    let mut names = words.into_iter().filter(|word| word.starts_with("roomcast_") || word.starts_with("process_"));
    // The name of the Debian package begins in the same way.
    let missing: Vec<&str> = names
        .by_ref()
        .filter(|name| {
            is_built(name) && !name.starts_with("roomcast_0") && !metrics.contains(&format!("# TYPE {name} "))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn commands_of_ctl_in_the_text_exist() {
    let guide = guide();
    let commands = guide.split("roomcast ctl ").skip(1).filter_map(|after| after.split(['`', '\n']).next());
    for command in commands.filter(|command| !command.starts_with('-')) {
        check_command(command).unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

/// Sends a line through a proxy that is configured as the guide says, and expects the client's address in the list.
fn check_proxy(server: &ServerProcess, folder: &Folder, proxy: &Proxy, certificate: &TestCertificate) {
    let (socket, port) = connect_from(5, proxy.address);
    let mut alice = TlsClient::over(socket, &client_config(&[certificate]));
    alice.expect_text(WELCOME);
    alice.send("JOIN lobby alice\nhi\n");
    alice.expect_line("alice has joined");
    alice.expect_line("alice: hi");
    let peers = ctl_done(&folder.join("admin"), &["peers"]);
    assert!(peers.contains(&format!(" 127.0.0.5:{port} ")), "{peers}: {:?}", server.startup_lines);
}

/// Replaces the port of clients and that of the server in the configuration of a proxy.
fn with_ports(configuration: &str, (clients, client_port): (SocketAddr, &str), server: SocketAddr) -> String {
    let text = configuration.replace(client_port, &clients.to_string()).replace("127.0.0.1:4000", &server.to_string());
    assert!(text.contains(&clients.to_string()) && text.contains(&server.to_string()), "{text}");
    text
}

#[test]
fn haproxy_of_the_guide_names_its_clients() {
    let (guide, folder, certificate) = (guide(), Folder::new("guide-haproxy"), TestCertificate::new());
    let Some(haproxy) = find_or_skip("haproxy") else { return };
    let read = |path: &str| fs::read_to_string(path).unwrap();
    let pem = folder.write("chat.pem", &(read(certificate.certificate()) + &read(certificate.key())));
    let text = blocks(&guide, "haproxy").concat().replace("/etc/haproxy/chat.pem", &pem);
    run(Command::new(haproxy).args(["-c", "-f", &folder.write("haproxy.cfg", &text)]));
    let server = start(&guide, 1, &folder);
    let configuration = |address| with_ports(&text, (address, ":6697"), server.address);
    let arguments = |file: &Path| vec!["-db".to_owned(), "-f".to_owned(), file.display().to_string()];
    let proxy = Proxy::start("haproxy", configuration, arguments).unwrap();
    check_proxy(&server, &folder, &proxy, &certificate);
}

#[test]
fn nginx_of_the_guide_names_its_clients() {
    let (guide, folder, certificate) = (guide(), Folder::new("guide-nginx"), TestCertificate::new());
    let Some(nginx) = find_or_skip("nginx") else { return };
    let folders = ["/usr/lib/nginx/modules/", "/usr/share/nginx/modules/"].into_iter();
    let Some(module) =
        folders.map(|path| path.to_owned() + "ngx_stream_module.so").find(|path| Path::new(path).exists())
    else {
        return skip("the stream module of nginx is missing (.ci/setup installs it)");
    };
    let block = blocks(&guide, "nginx").concat();
    let block = block.replace("/etc/nginx/fullchain.pem", certificate.certificate());
    let block = block.replace("/etc/nginx/privkey.pem", certificate.key());
    let head = format!("load_module {module};\npid {};\nerror_log stderr;\nevents {{}}\n", folder.text("pid"));
    let checked = folder.write("nginx.conf", &(head.clone() + &block));
    run(Command::new(nginx).args(["-t", "-e", "stderr", "-c", &checked]));
    let server = start(&guide, 1, &folder);
    let in_front = "daemon off;\nmaster_process off;\n";
    let configuration = |address| head.clone() + in_front + &with_ports(&block, (address, "6697"), server.address);
    let arguments = |file: &Path| ["-e", "stderr", "-c", file.to_str().unwrap()].map(str::to_owned).to_vec();
    let proxy = Proxy::start("nginx", configuration, arguments).unwrap();
    check_proxy(&server, &folder, &proxy, &certificate);
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
        .replace(" -g roomcast", "");
    run_script(&script, &["systemctl"]);
    for name in ["fullchain.pem", "privkey.pem"] {
        assert_eq!(fs::read(target.join(name)).unwrap(), fs::read(folder.join(name)).unwrap());
    }
}

#[test]
fn install_from_the_source_makes_a_unit_that_reads_the_configuration_and_reloads() {
    let (guide, folder) = (guide(), Folder::new("guide-install"));
    let script = blocks(&guide, "sh install")[0]
        .replace("target/release/roomcast", PROGRAM)
        .replace("/usr/bin/roomcast", &folder.text("roomcast"))
        .replace("/etc/roomcast", &folder.text("etc"))
        .replace("/etc/systemd/system/", &folder.text(""));
    run_script(&script, &["cargo", "getent", "adduser", "systemctl"]);
    run(Command::new(folder.join("roomcast")).arg("--version"));
    assert!(folder.join("etc").is_dir());
    let unit = fs::read_to_string(folder.join("roomcast.service")).unwrap();
    for line in [
        "User=roomcast",
        "Environment=ROOMCAST_CONFIG=/etc/roomcast/roomcast.toml",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ] {
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
}

#[test]
fn backup_is_restored_with_configuration_certificate_and_bans() {
    let (guide, folder) = (guide(), Folder::new("guide-backup"));
    let etc = folder.join("etc/roomcast");
    let state = folder.join("var/lib/private/roomcast");
    fs::create_dir_all(&etc).unwrap();
    fs::create_dir_all(&state).unwrap();
    // systemd keeps the state of a service with DynamicUser= there.
    std::os::unix::fs::symlink(&state, folder.join("var/lib/roomcast")).unwrap();
    let files = [etc.join("roomcast.toml"), etc.join("privkey.pem"), state.join("bans")];
    for file in &files {
        fs::write(file, file.to_str().unwrap()).unwrap();
    }
    let here = |info: &str| {
        let script = blocks(&guide, info)[0].replace("tar -C /", &format!("tar -C {}", folder.text("")));
        let script = script.replace("roomcast-backup", &folder.text("backup"));
        script.replace(
            "/var/lib/roomcast | cut -c2-",
            &format!("{} | sed s,^.*/var,var,", folder.text("var/lib/roomcast")),
        )
    };
    run_script(&here("sh backup"), &[]);
    for file in &files {
        fs::remove_file(file).unwrap();
    }
    let (restore, _) =
        here("sh restore").split_once('\n').map(|(tar, rest)| (tar.to_owned(), rest.to_owned())).unwrap();
    run_script(&restore, &[]);
    for file in &files {
        assert_eq!(fs::read_to_string(file).unwrap(), file.to_str().unwrap());
    }
}

#[test]
fn each_alert_is_explained_and_each_explained_alert_exists() {
    let words = |text: &str, start: &str| -> BTreeSet<String> {
        let after = text.split(start).skip(1);
        after.map(|after| after.chars().take_while(char::is_ascii_alphanumeric).collect()).collect()
    };
    let rules = fs::read_to_string(packaged("prometheus/roomcast.rules.yml")).unwrap();
    let guide = guide();
    assert_eq!(words(&guide, "\n| `Roomcast"), words(&rules, "alert: Roomcast"));
    assert!(words(&guide, "`Roomcast").is_subset(&words(&rules, "alert: Roomcast")));
}

/// Adds the text of all Rust files below a folder.
fn read_sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            read_sources(&entry.path(), text);
        } else {
            text.push_str(&fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[test]
fn error_messages_of_the_guide_are_those_of_the_program() {
    let mut source = String::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    // A string that goes on in the next line of the source has a backslash at the end of the line.
    let mut parts = source.split("\\\n");
    let first = parts.next().unwrap().to_owned();
    let source = parts.fold(first, |text, part| text + part.trim_start());
    let guide = guide();
    let table = guide.split("## Error messages").nth(1).unwrap().lines().skip_while(|line| !line.starts_with("|---"));
    let messages: Vec<&str> = table.skip(1).filter_map(|line| line.split('`').nth(1)).collect();
    assert!(messages.len() > 10, "{messages:?}");
    for message in messages {
        // Parts in quotes or in capitals differ, too.
        let fragments = message.split(['…', '\'', ':']).map(str::trim).filter(|fragment| fragment.len() > 5);
        for fragment in fragments {
            assert!(source.contains(fragment), "{message}: the program never says '{fragment}'");
        }
    }
}

#[test]
fn each_flag_and_key_in_the_text_exists() {
    let example = fs::read_to_string(packaged("roomcast.toml")).unwrap();
    let guide = guide();
    let flags = codes(&guide)
        .filter_map(|code| code.strip_prefix("--"))
        .map(|flag| flag.split(|char: char| !char.is_ascii_alphanumeric() && char != '-').next().unwrap_or_default());
    // Flags for one command are no keys of the file.
    for flag in flags.filter(|flag| !["socket", "check-config"].contains(flag)) {
        assert!(example.contains(&format!("\n#{flag} = ")), "--{flag}");
    }
    let keys = codes(&guide).filter_map(|code| code.split_once(" = ")).map(|(key, _)| key);
    for key in keys {
        assert!(example.contains(&format!("\n#{key} = ")), "{key}");
    }
}

#[test]
fn links_within_the_guide_have_their_headings() {
    let guide = guide();
    let anchor = |title: &str| title.to_lowercase().replace(',', "").replace(' ', "-");
    let sections: BTreeSet<String> = guide.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let links: BTreeSet<String> =
        guide.split("](#").skip(1).map(|after| after.split(')').next().unwrap().to_owned()).collect();
    assert_eq!(links, sections, "each section is in the list, and each link has its section");
}
