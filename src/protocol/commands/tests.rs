//! Tests of the grammar, the table, the help and the errors.

use super::error::MAX_SHOWN_WORD;
use super::table::COMMANDS;
use super::*;
use crate::text::messages::push_chat;
use crate::text::recalled_form::could_be_recalled;
use crate::text::replies;
use proptest::prelude::*;

fn name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

#[track_caller]
fn parsed(line: &str) -> Command<'_> {
    match parse(line) {
        Ok(ParsedLine::Command(command)) => command,
        other => panic!("{line:?} gave {other:?}"),
    }
}

#[track_caller]
fn error_text(line: &str) -> String {
    parse(line).unwrap_err().to_string()
}

fn chat(text: &str) -> ParsedLine<'_> {
    ParsedLine::Chat(Cow::Borrowed(text))
}

fn help_of(line: &str) -> String {
    let Command::Help(topic) = parsed(line) else { panic!("{line} is no help") };
    let mut out = Vec::new();
    push_help(&mut out, topic);
    String::from_utf8(out).unwrap()
}

/// Blanks of every kind: what no one sees before a command.
const BLANKS: [&str; 10] =
    [" ", "\t", "\u{A0}", "\u{3000}", "\u{2003}", "\u{202F}", "\u{200B}", "\u{200F}", "\u{2060}", " \t\u{A0}"];

#[test]
fn chat_line_is_kept_as_it_is() {
    for line in ["", "hi", "/", "/ who", "/etc/passwd", "/who's there", "/1", "/who2 x", "// foo", "//", "/who/", " "] {
        assert_eq!(parse(line), Ok(chat(line)));
        assert_eq!(parse(&format!(" {line}")), Ok(chat(&format!(" {line}"))));
    }
    for line in
        ["//etc/passwd", "///who", "//1 x", "http://who", "/?x", "/??", "//?x", "x /who", "\u{200B}/", "/\u{200B}"]
    {
        assert_eq!(parse(line), Ok(chat(line)));
    }
}

#[test]
fn second_slash_escapes_a_command_and_keeps_the_blanks_before_it() {
    for line in ["//who", "//msg bob hi", "//nonsense", "//who\t", "//?", "//мсг x"] {
        assert_eq!(parse(line), Ok(chat(&line[1..])));
        for blanks in BLANKS {
            assert_eq!(parse(&format!("{blanks}{line}")), Ok(chat(&format!("{blanks}{}", &line[1..]))));
        }
    }
    assert!(matches!(parse("//who"), Ok(ParsedLine::Chat(Cow::Borrowed("/who")))), "no blanks need no copy");
}

#[test]
fn blanks_before_a_command_and_between_its_words_do_not_make_it_chat() {
    for blanks in BLANKS {
        assert_eq!(parsed(&format!("{blanks}/who")), Command::Who, "{blanks:?}");
        assert_eq!(parsed(&format!("{blanks}/msg bob hi")), Command::Msg { to: name("bob"), text: "hi" });
        assert_eq!(parsed(&format!("{blanks}/?")), Command::Help(None));
        assert!(parse(&format!("{blanks}/msh bob hi")).is_err());
    }
    for blank in BLANKS.iter().filter(|blank| blank.trim().is_empty()) {
        assert_eq!(parsed(&format!("/msg{blank}bob{blank}hi")), Command::Msg { to: name("bob"), text: "hi" });
        assert_eq!(parsed(&format!("/who{blank}")), Command::Who);
    }
}

#[test]
fn each_command_is_parsed_in_any_case_and_spacing() {
    let join = |room_name: &str, user| Command::Join { room: room(room_name), user };
    for (line, command) in [
        ("/help", Command::Help(None)),
        ("/who", Command::Who),
        ("/WHO", Command::Who),
        ("/Who \t ", Command::Who),
        ("/rooms", Command::Rooms),
        ("/join  lobby", join("lobby", None)),
        ("/join\tlobby \t al ", join("lobby", Some(name("al")))),
        ("/nick al", Command::Nick(name("al"))),
        ("/me  waves  a lot ", Command::Me("waves  a lot")),
        ("/msg bob\t a  secret", Command::Msg { to: name("bob"), text: "a  secret" }),
        ("/reply  so  it is ", Command::Reply("so  it is")),
        ("/last", Command::Last(20)),
        ("/last 7", Command::Last(7)),
        ("/last 65535", Command::Last(65535)),
        ("/ignore", Command::Ignore(None)),
        ("/ignore bob", Command::Ignore(Some(name("bob")))),
        ("/unignore bob", Command::Unignore(name("bob"))),
        ("/quit", Command::Quit(None)),
        ("/quit  so long", Command::Quit(Some("so long"))),
        ("/ui", Command::Ui(None)),
        ("/ui on", Command::Ui(Some(true))),
        ("/UI OFF", Command::Ui(Some(false))),
        ("/color", Command::Color(None)),
        ("/color off", Command::Color(Some(false))),
        ("/ids", Command::Ids(IdsSetting::State)),
        ("/ids ON", Command::Ids(IdsSetting::On)),
        ("/ids off", Command::Ids(IdsSetting::Off)),
        ("/ids 0000beef 17", Command::Ids(IdsSetting::After { numbering: 0xBEEF, last_id: 17 })),
        ("/ids 0000BEEF #0", Command::Ids(IdsSetting::After { numbering: 0xBEEF, last_id: 0 })),
        ("/time", Command::Time(None)),
        ("/time On", Command::Time(Some(TimeSetting::On))),
        ("/time off", Command::Time(Some(TimeSetting::Off))),
        ("/time +5:30", Command::Time(Some(TimeSetting::Offset(330)))),
        ("/time -3", Command::Time(Some(TimeSetting::Offset(-180)))),
    ] {
        assert_eq!(parsed(line), command);
    }
}

#[test]
fn each_alias_runs_its_command() {
    for (alias, line) in [
        ("/h", "/help"),
        ("/?", "/help"),
        ("/? msg", "/help msg"),
        ("/names", "/who"),
        ("/list", "/rooms"),
        ("/nickname al", "/nick al"),
        ("/w bob hi", "/msg bob hi"),
        ("/TELL bob hi", "/msg bob hi"),
        ("/r hi", "/reply hi"),
        ("/exit", "/quit"),
        ("/part bye", "/quit bye"),
    ] {
        assert_eq!(parsed(alias), parsed(line));
    }
    let words: Vec<&str> = COMMANDS.iter().flat_map(CommandSpec::words).collect();
    let distinct: std::collections::HashSet<&&str> = words.iter().collect();
    assert_eq!(distinct.len(), words.len(), "each word belongs to one command");
}

#[test]
fn unknown_command_is_an_error_with_the_nearest_command() {
    for (line, expected) in [
        ("/foo bar", "unknown command /foo: /help lists them; //foo says it"),
        ("/wo", "unknown command /wo: did you mean /who? //wo says it"),
        ("/mgs bob secret", "unknown command /mgs: did you mean /msg? //mgs says it"),
        ("/MSGG bob secret", "unknown command /MSGG: did you mean /msg? //MSGG says it"),
        ("/joni x", "unknown command /joni: did you mean /join? //joni says it"),
        ("/name", "unknown command /name: did you mean /who? //name says it"),
        ("/exti", "unknown command /exti: did you mean /quit? //exti says it"),
        ("/x", "unknown command /x: /help lists them; //x says it"),
        ("/hx", "unknown command /hx: /help lists them; //hx says it"),
        ("/мсг bob secret", "unknown command /мсг: /help lists them; //мсг says it"),
        ("/नमस्ते", "unknown command /नमस्ते: /help lists them; //नमस्ते says it"),
    ] {
        assert_eq!(error_text(line), expected);
    }
    let long = format!("/{}", "ä".repeat(10_000));
    let shown = format!("{}...", "ä".repeat(MAX_SHOWN_WORD));
    assert_eq!(error_text(&long), format!("unknown command /{shown}: /help lists them; //{shown} says it"));
}

#[test]
fn error_text_names_the_mistake_the_usage_and_an_example() {
    for (line, mistake, usage) in [
        ("/help nonsense", "/help: no command is called \"nonsense\"", "/help [COMMAND], for example: /help msg"),
        ("/help who am i", "/help: too many arguments, from \"am\" on", "/help [COMMAND], for example: /help msg"),
        ("/join", "/join: the room is missing", "/join ROOM [NAME], for example: /join lobby"),
        ("/join a b c", "/join: too many arguments, from \"c\" on", "/join ROOM [NAME], for example: /join lobby"),
        ("/nick", "/nick: the name is missing", "/nick NAME, for example: /nick alice2"),
        ("/nick al ice", "/nick: too many arguments, from \"ice\" on", "/nick NAME, for example: /nick alice2"),
        ("/me ", "/me: the text is missing", "/me TEXT, for example: /me waves"),
        ("/msg", "/msg: the name is missing", "/msg NAME TEXT, for example: /msg bob hello"),
        ("/msg bob", "/msg: the text is missing", "/msg NAME TEXT, for example: /msg bob hello"),
        ("/w bob", "/msg: the text is missing", "/msg NAME TEXT, for example: /msg bob hello"),
        ("/reply", "/reply: the text is missing", "/reply TEXT, for example: /reply hello"),
        ("/last 0", "/last: \"0\" is no number from 1 to 65535", "/last [N], for example: /last 5"),
        ("/last -1", "/last: \"-1\" is no number from 1 to 65535", "/last [N], for example: /last 5"),
        ("/last 65536", "/last: \"65536\" is no number from 1 to 65535", "/last [N], for example: /last 5"),
        ("/last few", "/last: \"few\" is no number from 1 to 65535", "/last [N], for example: /last 5"),
        ("/last 5 6", "/last: too many arguments, from \"6\" on", "/last [N], for example: /last 5"),
        ("/ignore a b", "/ignore: too many arguments, from \"b\" on", "/ignore [NAME], for example: /ignore bob"),
        ("/unignore", "/unignore: the name is missing", "/unignore NAME, for example: /unignore bob"),
        ("/ui maybe", "/ui: \"maybe\" is neither on nor off", "/ui [on|off], for example: /ui on"),
        ("/color on off", "/color: too many arguments, from \"off\" on", "/color [on|off], for example: /color on"),
        (
            "/time 25:00",
            "/time: \"25:00\" is neither on nor off nor an offset from UTC between -12 and +14 hours",
            "/time [on|off|OFFSET], for example: /time +2",
        ),
        ("/time +2 +3", "/time: too many arguments, from \"+3\" on", "/time [on|off|OFFSET], for example: /time +2"),
    ] {
        assert_eq!(error_text(line), format!("{mistake}; write: {usage}"));
    }
    assert_eq!(error_text("/who is there?"), "/who takes no arguments; write: /who");
    for line in ["/join grüße", "/nick grüße", "/msg grüße x", "/nick aaaaaaaaaaaaaaaaaaaaa", "/nick bob:"] {
        let error = error_text(line);
        assert!(
            error.contains("name ") && error.contains("; write: /") && error.contains(", for example: /"),
            "{error}"
        );
    }
    let long = format!("/time {}", "9".repeat(20_000));
    assert!(error_text(&long).len() < 200, "an error shows the start of a long argument");
}

#[test]
fn example_of_each_command_runs_it_and_each_usage_is_parsed() {
    for spec in &COMMANDS {
        assert!(parse(spec.example).is_ok(), "{}", spec.example);
        assert!(spec.example.starts_with(&format!("/{}", spec.word)), "{}", spec.example);
        let words = [("ROOM", "lobby"), ("NAME", "bob"), ("TEXT", "so long"), ("COMMAND", "who"), ("N", "5")];
        let needed = spec.arguments.split('[').next().unwrap_or_default();
        for arguments in [needed, if spec.arguments.contains('|') { "on" } else { spec.arguments }] {
            let arguments =
                words.iter().fold(arguments.to_owned(), |text, (word, example)| text.replace(word, example));
            let line = format!("/{} {}", spec.word, arguments.replace(['[', ']'], ""));
            assert!(matches!(parse(&line), Ok(ParsedLine::Command(_))), "{line}");
        }
    }
}

#[test]
fn list_of_commands_is_aligned_and_fits_a_screen() {
    let text = help_of("/help");
    assert!(text.ends_with('\n') && text.lines().count() < 24, "{text}");
    let column = |summary: &str| text.lines().find_map(|line| line.find(summary)).unwrap();
    assert!(COMMANDS.iter().all(|spec| column(spec.summary) == column(COMMANDS[0].summary)), "{text}");
    assert!(text.starts_with("*** /help [COMMAND]        list the commands, or explain one of them\n"), "{text}");
}

#[test]
fn help_of_a_command_has_usage_effect_other_names_and_example() {
    let expected = "*** /msg NAME TEXT: whisper to one member of this room\n\
                    *** no other member sees it\n\
                    *** /w, /tell are other names of it\n\
                    *** for example: /msg bob hello\n";
    for line in ["/help msg", "/help /msg", "/help MSG", "/help w", "/help /tell", "/h msg", "/? msg"] {
        assert_eq!(help_of(line), expected);
    }
    assert_eq!(help_of("/help /?"), help_of("/help help"));
    let who = "*** /who: list the members of this room\n*** /names is another name of it\n*** for example: /who\n";
    assert_eq!(help_of("/help who"), who);
    let last =
        "*** /last [N]: show the last lines of this room\n*** without N, the last 20\n*** for example: /last 5\n";
    assert_eq!(help_of("/help last"), last, "a command without other names");
    assert_ne!(parsed("/help who"), parsed("/help msg"), "topics differ by their command");
    for spec in &COMMANDS {
        let help = help_of(&format!("/help {}", spec.word));
        assert!(help.lines().count() <= 5 && help.contains(spec.summary) && help.contains(spec.example), "{help}");
    }
}

#[test]
fn no_row_of_help_and_no_error_could_be_a_recalled_line() {
    let topics = COMMANDS.iter().map(|spec| help_of(&format!("/help {}", spec.word)));
    let words = COMMANDS.iter().flat_map(CommandSpec::words);
    let lines =
        words.flat_map(|word| ["", " a", " a b c", " <b> x", " :", " has joined"].map(|rest| format!("/{word}{rest}")));
    let unknown = ["/wo", "/foo", "/мсг"].map(str::to_owned);
    let errors = lines.chain(unknown).filter_map(|line| {
        let mut out = Vec::new();
        replies::push_reply(&mut out, &parse(&line).err()?.to_string());
        Some(String::from_utf8(out).unwrap())
    });
    let help: String = topics.chain([help_of("/help")]).collect();
    assert!(help.lines().all(|row| row.chars().count() <= 79), "a row is wider than 79 columns:\n{help}");
    let mut rows = 0;
    for row in errors.chain([help]).collect::<String>().lines() {
        assert!(row.starts_with("*** ") && !could_be_recalled(row), "{row}");
        rows += 1;
    }
    assert!(rows > 100, "{rows} rows are fewer than the table has");
}

/// Lines in which slashes, blanks and letters are as frequent as in commands.
fn line() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        prop::sample::select(vec![
            "/", "//", "?", " ", "\t", "\u{A0}", "\u{200B}", "\u{301}", "msg", "bob", "мсг", "+2"
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
        "[a-z]{1,8}",
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

#[test]
fn lines_that_others_see_or_that_change_what_follows_concern_more_than_their_sender() {
    let alone = ["/help", "/?", "/who", "/rooms", "/last 5", "/ignore bob", "/unignore bob", "/time on", "/color off"];
    for line in alone.into_iter().chain(["/nonsense", "/join", "/nick"]) {
        assert!(concerns_sender_alone(&parse(line)), "{line}");
    }
    let others = ["hi", "//who", "/me waves", "/msg bob hi", "/reply hi", "/nick bob", "/join hall", "/quit", "/ui on"];
    for line in others {
        assert!(!concerns_sender_alone(&parse(line)), "{line}");
    }
}

proptest! {
    #[test]
    fn parse_of_any_line_returns(line in line()) {
        if let Ok(ParsedLine::Chat(text)) = parse(&line) {
            let slash_less = line.len() - text.len();
            prop_assert!(slash_less <= 1, "{:?} lost more than a slash: {:?}", line, text);
            let mut out = Vec::new();
            push_chat(&mut out, &name("al"), &text);
            prop_assert!(out.starts_with(b"al: "));
        }
    }

    #[test]
    fn blanks_slash_and_letters_are_chat_only_after_a_second_slash(
        blanks in "[\\s\u{200B}\u{200E}\u{2060}]{0,3}",
        word in "\\p{Alphabetic}{1,10}",
        rest in "(\\s.{0,10})?",
    ) {
        let (said, escaped) = (format!("{blanks}/{word}{rest}"), format!("{blanks}//{word}{rest}"));
        let parsed = parse(&said);
        prop_assert!(!matches!(parsed, Ok(ParsedLine::Chat(_))), "{:?} gave {:?}", said, parsed);
        prop_assert_eq!(parse(&escaped), Ok(chat(&said)));
    }
}
