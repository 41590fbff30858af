//! Tests of the configuration file: what its keys set, and each mistake with its place.

use super::values::MAX_VALUES;
use super::*;
use crate::cli::parse::command;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::fs;
use std::path::PathBuf;
use std::process;

fn parse(text: &str) -> Result<ConfigFile, Vec<FileError>> {
    ConfigFile::parse("roomcast.toml".to_owned(), text, &command())
}

/// Returns the values of the key for this argument.
fn values(text: &str, id: &str) -> Vec<String> {
    parse(text).unwrap_or_else(|errors| panic!("{errors:?}")).entry(id).unwrap().values.clone()
}

/// Returns the mistakes of a text.
fn mistakes(text: &str) -> Vec<String> {
    parse(text).expect_err(text).iter().map(ToString::to_string).collect()
}

/// Returns the one mistake of a text.
fn mistake(text: &str) -> String {
    let [mistake] = &mistakes(text)[..] else { panic!("{:?}", mistakes(text)) };
    mistake.clone()
}

#[test]
fn keys_are_written_as_the_flags_or_with_underscores() {
    assert_eq!(values("max-line = 20000", "max_line"), ["20000"]);
    assert_eq!(values("# a comment\n\nmax_line = \"64KiB\"", "max_line"), ["64KiB"]);
    assert_eq!(values("port = 4000", "port"), ["4000"]);
}

#[test]
fn each_type_of_toml_is_a_value_of_its_flags() {
    assert_eq!(values("plain = true\n", "plain"), ["on"]);
    assert_eq!(values("plain = \"no\"\n", "plain"), ["no"]);
    assert_eq!(values("bell = false\n", "bell"), ["off"]);
    assert_eq!(values("rate = 1_000", "rate"), ["1000"]);
    assert_eq!(values("socket-mode = 0o660", "socket_mode"), ["0o660"]);
    assert_eq!(
        values("listen = [\n  \"tcp://:1\",\n  'unix:/run/rc', # two\n]", "listen"),
        ["tcp://:1", "unix:/run/rc"]
    );
    assert_eq!(values("exempt = \"10.0.0.0/8,::1\"", "exempt"), ["10.0.0.0/8,::1"]);
}

#[test]
fn file_without_keys_sets_nothing() {
    for text in ["", "\n", "# rate = 7\r\n"] {
        assert!(parse(text).unwrap().entries.is_empty(), "{text:?}");
    }
}

#[test]
fn unknown_key_is_told_with_the_nearest_key() {
    assert_eq!(mistake("\n\nrat = 7"), "roomcast.toml:3:1: unknown key 'rat'; did you mean 'rate'?");
    assert_eq!(
        mistake("  max_conections = 7"),
        "roomcast.toml:1:3: unknown key 'max_conections'; did you mean 'max-connections'?"
    );
    let told = "roomcast.toml:1:1: unknown key 'colour'; roomcast --help lists the flags, which are the keys; there are no tables";
    assert_eq!(mistake("colour = 'red'"), told);
    assert!(mistake(&format!("{} = 1", "x".repeat(100_000))).chars().count() < 300, "the key is not cut");
}

#[test]
fn value_that_its_flag_refuses_is_told_with_what_is_wanted() {
    for (text, told) in [
        (
            "rate = \"much\"",
            "1:8: invalid value 'much' for 'rate': a whole number is wanted (invalid digit found in string)",
        ),
        ("rate = -1", "1:8: invalid value '-1' for 'rate': -1 is not in 0..=4294967295"),
        (
            "\nbacklog = 'much'",
            "2:11: invalid value 'much' for 'backlog': a size from 1 to 1GiB is wanted, as 20000, 64KiB or 1MiB, or 0 for no limit",
        ),
        (
            "login-timeout = 30",
            "1:17: invalid value '30' for 'login-timeout': a time is wanted, as 500ms, 30s or 1h, or 0 for no limit",
        ),
        ("slow-reader = 'shout'", "1:15: invalid value 'shout' for 'slow-reader': skip or kick is wanted"),
        ("workers = 3000", "1:11: invalid value '3000' for 'workers': 3000 is not in 1..=1024"),
        (
            "burst = 0",
            "1:9: invalid value '0' for 'burst': a whole number is wanted (number would be zero for non-zero type)",
        ),
        ("port = 70000", "1:8: invalid value '70000' for 'port': 70000 is not in 0..=65535"),
        (
            "rate = 0x10",
            "1:8: invalid value '0x10' for 'rate': a whole number is wanted (invalid digit found in string)",
        ),
        ("plain = 'maybe'", "1:9: invalid value 'maybe' for 'plain': value was not a boolean"),
        ("motd = ''", "1:8: invalid value '' for 'motd': a value that is not empty is wanted"),
        ("bind = ['127.0.0.1', 'nowhere']", "1:22: invalid value 'nowhere' for 'bind': invalid IP address syntax"),
        (
            "log-level = 'loud'",
            "1:13: invalid value 'loud' for 'log-level': one of off, error, warn, info, debug, trace is wanted",
        ),
    ] {
        assert_eq!(mistake(text), format!("roomcast.toml:{told}"));
    }
}

#[test]
fn value_of_a_wrong_type_is_told_with_the_types_that_are_taken() {
    for (text, told) in [
        ("rate = true", "1:8: 'rate' takes no boolean: a string or a whole number is wanted"),
        ("rate = 1.5", "1:8: 'rate' takes no float: a string or a whole number is wanted"),
        ("drain = 07:32:00", "1:9: 'drain' takes no datetime: a string or a whole number is wanted"),
        ("plain = 1.0", "1:9: 'plain' takes no float: true or false is wanted"),
        ("rate = [1, 2]", "1:8: 'rate' takes one value and no list: a string or a whole number is wanted"),
        ("listen = []", "1:10: 'listen' has an empty list: write a value, or leave the key out"),
        ("listen = [['tcp://:1']]", "1:11: 'listen' takes no array: a string or a list of strings is wanted"),
        ("rate = { lines = 7 }", "1:8: 'rate' takes no table: a string or a whole number is wanted"),
    ] {
        assert_eq!(mistake(text), format!("roomcast.toml:{told}"));
    }
}

#[test]
fn list_is_bounded() {
    let list = |values: usize| format!("bind = [{}]", "'::1',".repeat(values));
    assert_eq!(values(&list(MAX_VALUES), "bind").len(), MAX_VALUES);
    assert_eq!(mistake(&list(MAX_VALUES + 1)), "roomcast.toml:1:8: 'bind' has more than 1000 values: shorten the list");
}

#[test]
fn tables_are_no_keys() {
    assert!(mistake("\n[network]\nport = 1").starts_with("roomcast.toml:2:2: unknown key 'network'; "));
    assert!(mistake("rate.lines = 7").contains(": 'rate' takes no table: "));
    assert!(mistake("[rate]\nlines = 7").contains(": 'rate' takes no table: "));
    assert!(mistake("[[listen]]\nurl = 'tcp://:1'").contains(": 'listen' takes no table: "));
}

#[test]
fn key_that_stands_twice_is_a_mistake_in_either_spelling() {
    let told = "roomcast.toml:3:1: the key 'max_line' stands in line 1 already";
    assert_eq!(mistake("max-line = 100\nrate = 7\nmax_line = 100"), told);
    let told = mistake("rate = 7\nrate = 8");
    assert!(told.starts_with("roomcast.toml:2:1: no TOML: duplicate key"), "{told}");
}

#[test]
fn keys_without_a_meaning_in_a_file_are_refused_with_what_to_do() {
    for key in ["config", "check-config", "show_config", "help", "version", "verbose"] {
        let told = mistake(&format!("rate = 7\n{key} = 1"));
        assert!(
            told.starts_with(&format!("roomcast.toml:2:1: '{key}' can't be set in a configuration file: ")),
            "{told}"
        );
    }
    assert!(mistake("verbose = 1").ends_with("write log-level = \"info\", or -v as a flag"));
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    for (text, place) in [
        ("rate = 7\nburst", "2:6"),
        ("rate = 7\n\nburst = \n", "3:9"),
        ("rate: 7", "1:7"),
        ("rate = much", "1:8"),
        ("\"rate = 7", "1:10"),
        ("é = 7", "1:1"),
        ("motd = \"é\" ü", "1:12"),
        ("rate = 7 8", "1:8"),
        ("{\"rate\": 7}", "1:1"),
    ] {
        let told = mistake(text);
        assert!(told.starts_with(&format!("roomcast.toml:{place}: no TOML: ")), "{text:?} gave {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn every_mistake_of_a_file_is_told_in_its_order() {
    let told = mistakes("zzz = 1\nrate = 'a'\nport = 1\nbell = 7\nport_ = 2");
    let places: Vec<&str> = told.iter().map(|told| &told[..18]).collect();
    assert_eq!(places, ["roomcast.toml:1:1:", "roomcast.toml:2:8:", "roomcast.toml:4:8:", "roomcast.toml:5:1:"]);
    let many = (0..1_000).fold(String::new(), |text, n| text + &format!("zzz{n} = 1\n"));
    assert_eq!(mistakes(&many).len(), MAX_ERRORS);
}

#[test]
fn mistakes_are_one_line_without_control_characters() {
    for text in
        ["\"a\\nb\\u001B[2J\" = 1", "motd = \"\"\"\n\n\"\"\"\nrate = \"a\\nb\\u0007\"", "exempt = \"\\u001B\\n://\""]
    {
        for told in mistakes(text) {
            assert!(!told.contains(char::is_control), "{told:?}");
        }
    }
    let long = mistake(&format!("rate = \"{}\"", "9".repeat(200_000)));
    assert!(long.chars().count() < 300, "the value is not cut: {} characters", long.chars().count());
}

#[test]
fn deeply_nested_text_is_a_mistake() {
    let arrays = format!("listen = {}", "[".repeat(100_000));
    let keys = format!("{}a = 1", "a.".repeat(200_000));
    let tables = format!("[{}a]", "a.".repeat(200_000));
    for text in [arrays, keys, tables] {
        assert!(mistakes(&text)[0].starts_with("roomcast.toml:1:"), "{}", &mistakes(&text)[0]);
    }
}

/// Returns the mistake of a file with these bytes, without its name.
fn mistake_of_bytes(bytes: &[u8]) -> String {
    let mistake = text::decode(bytes.to_vec()).unwrap_err().of_file("f");
    mistake.to_string()
}

#[test]
fn bytes_that_are_no_utf8_are_told_with_their_place() {
    assert_eq!(
        mistake_of_bytes(b"a = 1\nb = '\xC3\xA9\xFF'"),
        "f:2:7: the byte 0xFF is no UTF-8: write the file in UTF-8"
    );
    assert_eq!(mistake_of_bytes(b"\xE9"), "f:1:1: the byte 0xE9 is no UTF-8: write the file in UTF-8");
}

#[test]
fn byte_order_mark_is_no_part_of_the_text() {
    let text = text::decode("\u{FEFF}rat = 7".into()).unwrap();
    assert!(mistake(&text).starts_with("roomcast.toml:1:1: unknown key"));
}

#[test]
fn file_is_bounded() {
    assert!(text::decode(vec![b' '; text::MAX_FILE]).is_ok());
    assert_eq!(mistake_of_bytes(&vec![b' '; text::MAX_FILE + 1]), "f: it is larger than 1MiB: shorten it");
}

/// Returns a path of its own in the folder for temporary files.
fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("roomcast-config-{name}-{}", process::id()))
}

#[test]
fn file_that_cannot_be_read_is_told_with_the_systems_reason() {
    let read = |path: &Path| ConfigFile::read(path, &command()).unwrap_err()[0].to_string();
    let advice = "name a file that can be read with --config or ROOMCAST_CONFIG";
    assert_eq!(read(Path::new("/no/such")), format!("/no/such: No such file or directory (os error 2): {advice}"));
    assert_eq!(read(Path::new("/")), format!("/: it is a directory: {advice}"));
    assert_eq!(read(Path::new("/dev/zero")), format!("/dev/zero: it is no regular file: {advice}"));
    let pipe = temporary("pipe");
    assert!(process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(read(&pipe), format!("{}: it is no regular file: {advice}", pipe.display()), "a pipe is not waited for");
    fs::remove_file(pipe).unwrap();
}

#[test]
fn file_is_read_and_named_in_places() {
    let path = temporary("read");
    fs::write(&path, "\n rate = 7\n").unwrap();
    let file = ConfigFile::read(&path, &command()).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(file.place("rate"), Some(format!("{}:2:2", path.display())));
    assert_eq!(file.place("burst"), None);
}

/// Parts of which texts are made that are nearly TOML.
const PARTS: [&str; 24] = [
    "rate", "listen", "plain", "é", "=", " = ", ".", "[", "]", "{", "}", "'", "\"", "\\u00", "\n", "\r\n", "#", "true",
    "7", "-1.5", "07:32:00", "\u{1B}", ",", "\u{FEFF}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a file holds, each mistake is a line with a place in the file.
    #[test]
    fn any_text_is_read_or_told_with_places_in_it(parts in vec(select(&PARTS[..]), 0..20)) {
        let text = parts.concat();
        for error in parse(&text).err().into_iter().flatten() {
            let told = error.to_string();
            prop_assert!(!told.contains(char::is_control), "{:?} gave {:?}", text, told);
            let mut place = told.split(':').skip(1).map(str::parse::<usize>);
            let (Some(Ok(line)), Some(Ok(column))) = (place.next(), place.next()) else { panic!("{text:?} gave {told}") };
            let line = text.split('\n').nth(line - 1);
            prop_assert!(line.is_some_and(|line| column <= line.chars().count() + 1), "{:?} gave {}", text, told);
        }
    }
}
