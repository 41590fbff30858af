//! The example of a configuration file, `packaging/roomcast.toml`: every key with its help, commented out.

use super::config_file::{ConfigFile, is_key, key_of};
use super::parse::command;
use super::show_config::{in_force, toml_values};
use clap::Arg;
use roomcast::Settings;
use std::fs;
use std::process;

/// The longest line of a comment, in bytes.
const WIDTH: usize = 100;

/// Values of keys whose default is no value.
const EXAMPLES: [(&str, &str); 17] = [
    ("bind", "127.0.0.1,::1"),
    ("listen", "tcp://:1234,telnet://:2323"),
    ("socket_mode", "0660"),
    ("workers", "4"),
    ("max_connections", "10000"),
    ("memory", "1GiB"),
    ("motd", "/etc/roomcast/motd"),
    ("metrics", "127.0.0.1:9464"),
    ("tls_cert", "/etc/roomcast/fullchain.pem"),
    ("tls_key", "/etc/roomcast/privkey.pem"),
    ("allow_origin", "https://chat.example"),
    ("admin", "/run/roomcast/admin"),
    ("bans", "/var/lib/roomcast/bans"),
    ("cluster", "nats://127.0.0.1:4222"),
    ("node", "n1"),
    ("cluster_credentials", "/etc/roomcast/nats.creds"),
    ("cluster_ca", "/etc/roomcast/nats-ca.pem"),
];

const INTRODUCTION: &str = "\
# An example of a configuration file for roomcast --config FILE, with every key.
#
# Each key is a flag, and its value is what the flag takes; a flag and a variable come before it. A line
# without its # sets the value that stands there: the default, or an example where the default is no value.
# roomcast --check-config --config FILE checks a file, and SIGHUP makes a running server read it again.
";

/// Returns the key of an argument with a value, without a comment.
fn assignment(arg: &Arg) -> String {
    let id = arg.get_id().as_str();
    let example = EXAMPLES.iter().find(|(example, _)| *example == id).map(|(_, value)| (*value).to_owned());
    let value = example.or_else(|| in_force(id, &Settings::default()));
    let value = value.unwrap_or_else(|| panic!("{id} has no default that is a value: add one to EXAMPLES"));
    format!("{} = {}", key_of(id), toml_values(arg, &[&value]))
}

/// Returns a text as lines of a comment.
fn comment(text: &str) -> String {
    let (mut comment, mut length) = ("#".to_owned(), 1);
    for word in text.split_whitespace() {
        if length + 1 + word.len() > WIDTH {
            comment.push_str("\n#");
            length = 1;
        }
        comment.extend([" ", word]);
        length += 1 + word.len();
    }
    comment
}

/// Returns the text of the example.
pub(super) fn example() -> String {
    let command = command();
    let keys = command.get_arguments().filter(|arg| is_key(arg.get_id().as_str()));
    keys.fold(INTRODUCTION.to_owned(), |text, arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        format!("{text}\n{}\n#{}\n", comment(&help), assignment(arg))
    })
}

#[test]
fn each_line_of_the_example_is_accepted_without_its_comment_sign() {
    let path = std::env::temp_dir().join(format!("roomcast-example-{}", process::id()));
    for arg in command().get_arguments().filter(|arg| is_key(arg.get_id().as_str())) {
        fs::write(&path, assignment(arg)).unwrap();
        let read = ConfigFile::read(&path, &command());
        assert!(read.is_ok(), "{}: {read:?}", assignment(arg));
    }
    fs::remove_file(path).unwrap();
}
