//! Files of `packaging/` that the flags make: the example of a configuration file, the manual pages, the completions.

use super::{ctl, example_config, parse};
use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::path::PathBuf;

/// The variable that makes the tests write the files in place of comparing them.
const UPDATE: &str = "ROOMCAST_UPDATE_EXAMPLE";

/// Compares a file of `packaging/` with its text, or writes it.
#[track_caller]
fn check(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let is_current = fs::read_to_string(&path).is_ok_and(|found| found == text);
    assert!(is_current, "packaging/{name} differs from the flags: run the tests of the program with {UPDATE}=1");
}

/// Returns a manual page in the form of troff. Its date would change each day, and is left out.
fn manual_page(command: Command) -> String {
    let mut page = Vec::new();
    Man::new(command).manual("User Commands").render(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

#[test]
fn example_has_every_key_with_its_help_and_default() {
    check("roomcast.toml", &example_config::example());
}

#[test]
fn manual_pages_have_every_flag_and_command() {
    let page = manual_page(parse::command());
    for flag in parse::command().get_arguments().filter_map(|arg| arg.get_long()) {
        assert!(page.contains(&flag.replace('-', "\\-")), "--{flag}");
    }
    check("man/roomcast.1", &page);
    check("man/roomcast-ctl.1", &manual_page(ctl::command().name("roomcast-ctl").bin_name("roomcast ctl")));
}

#[test]
fn completions_know_every_flag() {
    for (shell, name) in [(Shell::Bash, "roomcast.bash"), (Shell::Zsh, "_roomcast"), (Shell::Fish, "roomcast.fish")] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut parse::command(), "roomcast", &mut text);
        let text = String::from_utf8(text).unwrap();
        for flag in parse::command().get_arguments().filter_map(|arg| arg.get_long()) {
            assert!(text.contains(flag), "--{flag} in {:?}", shell.to_possible_value());
        }
        check(&format!("completions/{name}"), &text);
    }
}
