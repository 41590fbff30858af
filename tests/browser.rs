//! The page in Chromium, as people use it.
//!
//! `ROOMCAST_SCREENSHOTS=FOLDER` writes pictures of it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod common;

use common::browser::{Browser, Page};
use common::relay::Relay;
use common::web::{WEB_LOOPBACK, start_web};
use common::{Client, ServerProcess, skip, wait_until};
use serde_json::json;
use std::path::PathBuf;
use std::process::Command;

/// Writes a picture of a page if a folder for it is given.
fn screenshot(page: &mut Page, name: &str) {
    if let Some(folder) = std::env::var_os("ROOMCAST_SCREENSHOTS") {
        page.write_screenshot(&PathBuf::from(folder).join(format!("{name}.png")));
    }
}

#[test]
fn two_pages_and_telnet_talk_in_one_room() {
    let Some(browser) = Browser::start() else { return };
    let (server, address) = start_web(|_| {});
    let url = format!("http://{address}/#lobby");
    let mut telnet = server.join("lobby", "alice");
    let mut bob = browser.open(&url, true);
    bob.resize(900, 520, false);
    assert_eq!(bob.evaluate("document.getElementById('room').value"), json!("lobby"), "the room of the link");
    screenshot(&mut bob, "login");
    bob.join("lobby", "bob");
    telnet.expect_line("bob has joined");
    let mut carol = browser.open(&url, true);
    carol.join("lobby", "carol");
    telnet.expect_line("carol has joined");
    bob.say("hello from a page");
    telnet.expect_line("bob: hello from a page");
    carol.wait_for_line("bob: hello from a page");
    telnet.send("hi bob, grüße 🎉 <b>no tag</b>\n");
    telnet.expect_line("alice: hi bob, grüße 🎉 <b>no tag</b>");
    bob.wait_for_line("alice: hi bob, grüße 🎉 <b>no tag</b>");
    assert_eq!(bob.evaluate("document.querySelectorAll('#log .mention').length"), json!(1));
    assert_eq!(bob.evaluate("document.querySelectorAll('#log b b').length"), json!(0), "no tag of a member is one");
    carol.say("/msg bob a secret");
    bob.wait_for_line("carol: (to you) a secret");
    assert_eq!(bob.evaluate("document.querySelectorAll('#log .whisper').length"), json!(1));
    carol.say("/me waves");
    telnet.expect_line("* carol waves");
    bob.wait_for("document.querySelectorAll('#names li').length === 3");
    assert_eq!(bob.evaluate("document.getElementById('count').textContent"), json!("3"));
    // Lines of others arrive with numbers, which no line shows.
    assert!(!bob.lines().iter().any(|line| line.starts_with('#')), "{:?}", bob.lines());
    screenshot(&mut bob, "chat");
    bob.set_dark(true);
    screenshot(&mut bob, "chat-dark");
    carol.say("/quit");
    telnet.expect_line("carol has left");
    bob.wait_for("document.querySelectorAll('#names li').length === 2");
}

#[test]
fn errors_are_told_in_the_form() {
    let Some(browser) = Browser::start() else { return };
    let (server, address) = start_web(|_| {});
    let _alice = server.join("lobby", "alice");
    let mut page = browser.open(&format!("http://{address}/"), true);
    page.evaluate("document.getElementById('name').value = 'alice'; document.getElementById('join').requestSubmit()");
    page.wait_for("document.getElementById('join-error').textContent.startsWith('the name alice is taken in lobby')");
    screenshot(&mut page, "name-taken");
}

/// The address of a page, which any other page may change, names a room and nothing more.
#[test]
fn link_with_a_line_break_joins_nothing_and_says_nothing() {
    let Some(browser) = Browser::start() else { return };
    let (server, address) = start_web(|_| {});
    let mut alice = server.join("lobby", "alice");
    let mut page = browser.open(&format!("http://{address}/#lobby%0Aforged"), true);
    assert_eq!(page.evaluate("document.getElementById('room').value"), json!("lobby"), "the link is no room");
    page.join("hall", "bob");
    for hash in
        ["lobby%20mallory%0Aforged%0A", "lobby%20mallory", "lobby%0Dx", "%00", "%C3%A9", "123456789012345678901"]
    {
        page.evaluate(&format!(
            "new Promise((resolve) => {{ addEventListener('hashchange', resolve, {{ once: true }}); location.hash = \
             {}; }}).then(() => 1)",
            json!(hash)
        ));
    }
    page.say("still in the hall");
    page.wait_for_line("bob: still in the hall");
    // A link to a room is followed. Lines that a link before it had forged would have come earlier.
    page.evaluate("location.hash = 'lobby'");
    alice.expect_line("bob has joined");
    page.wait_for("document.getElementById('room-name').textContent === 'lobby'");
}

/// The page comes back after the server's end, with its room and name, and with what was said meanwhile.
#[test]
fn page_comes_back_after_the_server_is_killed() {
    let Some(browser) = Browser::start() else { return };
    let start = |web: &str, tcp: &str| {
        let arguments = ["--listen", tcp, "--listen", web, "--exempt", "127.0.0.0/8"];
        ServerProcess::start_command(Command::new(env!("CARGO_BIN_EXE_roomcast")).args(arguments))
    };
    let mut server = start(&WEB_LOOPBACK.to_string(), "tcp://127.0.0.1:0");
    let web = server.startup_lines.iter().find_map(|line| line.split_once("listening on ws://")).unwrap().1.to_owned();
    let mut page = browser.open(&format!("http://{web}/#lobby"), true);
    page.join("lobby", "bob");
    let tcp = format!("tcp://{}", server.address);
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    page.wait_for_status("trying again");
    screenshot(&mut page, "reconnecting");
    let server = start(&format!("ws://{web}"), &tcp);
    let mut alice = Client::connect(server.address);
    alice.send("JOIN lobby alice\n");
    page.wait_for_status("connected");
    alice.skip_to_line("bob has joined");
    alice.send("welcome back\n");
    page.wait_for_line("alice: welcome back");
}

/// The network is away for a while: what was said meanwhile comes once.
#[test]
fn lines_that_were_said_while_the_network_was_away_come_once() {
    let Some(browser) = Browser::start() else { return };
    let (server, address) = start_web(|_| {});
    let relay = Relay::start(address);
    let mut alice = server.join("lobby", "alice");
    let mut page = browser.open(&format!("http://{}/#lobby", relay.address), true);
    page.join("lobby", "bob");
    alice.expect_line("bob has joined");
    alice.send("before\n");
    page.wait_for_line("alice: before");
    alice.expect_line("alice: before");
    relay.cut();
    alice.expect_line("bob has left");
    page.wait_for_status("trying again");
    for number in 0..50 {
        alice.send(format!("missed {number}\n"));
    }
    alice.skip_to_line("alice: missed 49");
    relay.restore();
    page.evaluate("window.dispatchEvent(new Event('online'))");
    alice.skip_to_line("bob has joined");
    alice.send("after\n");
    page.wait_for_line("alice: after");
    let lines = page.lines();
    let talk: Vec<&String> = lines.iter().filter(|line| line.starts_with("alice: ")).collect();
    let missed = (0..50).map(|number| format!("alice: missed {number}"));
    let expected: Vec<String> =
        std::iter::once("alice: before".to_owned()).chain(missed).chain(["alice: after".to_owned()]).collect();
    assert_eq!(talk, expected.iter().collect::<Vec<_>>());
}

#[test]
fn page_is_used_by_the_keyboard_alone() {
    let Some(browser) = Browser::start() else { return };
    let (server, address) = start_web(|_| {});
    let mut alice = server.join("lobby", "alice");
    let mut page = browser.open(&format!("http://{address}/#lobby"), true);
    page.type_text("bob");
    page.press("Enter");
    page.wait_for_status("connected");
    alice.expect_line("bob has joined");
    page.wait_for("document.activeElement.id === 'text'");
    page.type_text("first");
    page.press("Enter");
    alice.expect_line("bob: first");
    page.wait_for("document.querySelectorAll('#names li').length === 2");
    page.type_text("al");
    page.press("Tab");
    page.wait_for("document.getElementById('text').value === 'alice: '");
    page.type_text("second");
    page.press("Enter");
    alice.expect_line("bob: alice: second");
    for expected in ["alice: second", "first"] {
        page.press("ArrowUp");
        page.wait_for(&format!("document.getElementById('text').value === {}", json!(expected)));
    }
    // Without a word the key goes on to the next control.
    page.evaluate("document.getElementById('text').value = ''");
    page.press("Tab");
    page.wait_for("document.activeElement.id === 'complete'");
}

#[test]
fn page_fits_a_phone() {
    let Some(browser) = Browser::start() else { return };
    let (server, address) = start_web(|_| {});
    let mut alice = server.join("lobby", "alice");
    let mut page = browser.open(&format!("http://{address}/#lobby"), true);
    page.resize(360, 640, true);
    screenshot(&mut page, "phone-login");
    page.join("lobby", "bob");
    alice.expect_line("bob has joined");
    alice.send(format!("a word that is very long: {}\n", "x".repeat(200)));
    page.wait_for_line("very long");
    for _ in 0..3 {
        alice.send("and some more to read on a small screen\n");
    }
    page.wait_for("document.querySelectorAll('#log p').length >= 4");
    assert_eq!(page.evaluate("document.documentElement.scrollWidth <= 360"), json!(true), "the page is too wide");
    assert_eq!(page.evaluate("document.getElementById('say').getBoundingClientRect().bottom <= 640"), json!(true));
    screenshot(&mut page, "phone");
    page.evaluate("document.getElementById('people-button').click()");
    page.wait_for("document.getElementById('people').getBoundingClientRect().width > 0");
    page.wait_for("document.querySelector('#names button') !== null");
    page.evaluate("document.querySelector('#names button').click()");
    page.wait_for("document.getElementById('text').value.endsWith(': ')");
}

#[test]
fn page_takes_20_000_lines_and_keeps_the_last_ones() {
    let Some(browser) = Browser::start() else { return };
    let (server, address) = start_web(|settings| {
        settings.live.rate = 0;
        settings.live.byte_rate = 0;
        settings.live.backlog = 64 << 20;
    });
    let mut alice = server.join("lobby", "alice");
    let mut page = browser.open(&format!("http://{address}/#lobby"), true);
    page.join("lobby", "bob");
    alice.expect_line("bob has joined");
    // The longest time that a frame of the screen had to wait.
    page.evaluate(
        "window.longest = 0; (() => { let last = performance.now(); const tick = () => { const now = \
         performance.now(); window.longest = Math.max(window.longest, now - last); last = now; \
         requestAnimationFrame(tick); }; requestAnimationFrame(tick); })()",
    );
    let mut sender = alice.sender();
    let sending = std::thread::spawn(move || {
        for number in 0..20_000 {
            sender.send(format!("line {number}\n"));
        }
    });
    for number in 0..20_000 {
        alice.expect_line(&format!("alice: line {number}"));
    }
    sending.join().unwrap();
    page.wait_for_line("alice: line 19999");
    let count = page.evaluate("document.querySelectorAll('#log p').length").as_u64().unwrap();
    assert!(count <= 2_000, "{count} lines are in the page");
    println!("the longest frame took {} ms", page.evaluate("Math.round(window.longest)"));
    page.say("still here");
    alice.expect_line("bob: still here");
    page.wait_for("document.getElementById('log').getAttribute('aria-live') === 'polite'");
}

#[test]
fn axe_finds_nothing() {
    let Some(browser) = Browser::start() else { return };
    let root = Command::new("npm").args(["root", "-g"]).output();
    let root = root.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default();
    let Ok(axe) = std::fs::read_to_string(PathBuf::from(root.trim()).join("axe-core/axe.min.js")) else {
        return skip("axe-core is missing (.ci/setup installs it)");
    };
    let (server, address) = start_web(|_| {});
    let mut alice = server.join("lobby", "alice");
    let mut page = browser.open(&format!("http://{address}/#lobby"), true);
    let check = "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', \
                 'best-practice'] }).then((result) => JSON.stringify(result.violations.map((violation) => \
                 [violation.id, violation.help, violation.nodes.map((node) => node.html)])))";
    page.evaluate(&axe);
    for is_dark in [false, true] {
        page.set_dark(is_dark);
        assert_eq!(page.evaluate(check), json!("[]"), "the form");
    }
    page.join("lobby", "bob");
    alice.expect_line("bob has joined");
    alice.send("hello bob\n/msg bob psst\n");
    page.wait_for_line("psst");
    page.wait_for("document.querySelectorAll('#names li').length === 2");
    for (width, is_dark) in [(900, false), (900, true), (360, false), (360, true)] {
        page.resize(width, 640, width < 500);
        page.set_dark(is_dark);
        assert_eq!(page.evaluate(check), json!("[]"), "the chat, {width} pixels wide");
    }
    wait_until("the member is there", || server.stats.rooms() == 1);
}
