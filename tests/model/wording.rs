//! The wording of the model: the reasons of refusals and the replies of commands, as the contract and the help have them.

/// The bytes that each connection begins with.
pub const WELCOME: [&str; 2] = ["Welcome! Use the command:", "JOIN <ROOMNAME> <USERNAME>"];

/// The last line of each member at shutdown.
pub const SHUTTING_DOWN: &str = "*** server is shutting down";

const USAGE: &str = "write: JOIN <ROOMNAME> <USERNAME>, for example: JOIN lobby alice";

/// Returns the room and the name of a JOIN line, or the reason for which it is refused.
pub fn parse_join(line: &str) -> Result<(String, String), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        [] => Err(format!("the first line was empty; {USAGE}")),
        [word, ..] if !word.eq_ignore_ascii_case("JOIN") => {
            Err(format!("the first line did not start with JOIN; {USAGE}"))
        }
        [_, room, user] => {
            let bare = |name: &str| name.strip_prefix('<').and_then(|name| name.strip_suffix('>')).map(str::to_owned);
            if let (Some(room), Some(user)) = (bare(room), bare(user)) {
                return Err(format!(
                    "the brackets of <ROOMNAME> and <USERNAME> are not part of the names; write: JOIN {room} {user}"
                ));
            }
            check_word(room).map_err(|error| format!("the room name {error}; {USAGE}"))?;
            check_user_name(user).map_err(|error| format!("the user name {error}; {USAGE}"))?;
            Ok((room.to_owned(), user.to_owned()))
        }
        _ => Err(format!("JOIN takes 2 names and got {}; {USAGE}", words.len() - 1)),
    }
}

/// Checks the rules that rooms and users share: 1 to 20 printable ASCII bytes.
fn check_word(word: &str) -> Result<(), String> {
    if let Some(character) = word.chars().find(|character| !character.is_ascii_graphic()) {
        return Err(format!("holds {character:?}, a name has printable ASCII characters only"));
    }
    if word.len() > 20 { Err(format!("has {} characters, a name has 1 to 20", word.len())) } else { Ok(()) }
}

/// Checks a user's name, which has no form that forges a line.
pub fn check_user_name(name: &str) -> Result<(), String> {
    check_word(name)?;
    if name.starts_with('/') {
        return Err("begins with /, as commands do: leave the slash out".to_owned());
    }
    if name.starts_with('*') {
        return Err("begins with *, as lines of the server do: leave the star out".to_owned());
    }
    if name.ends_with(':') {
        return Err("ends in a colon, which separates a name from its text: leave the colon out".to_owned());
    }
    Ok(())
}

/// Returns a name that resembles `name`, for the example in a refusal.
pub fn similar_name(name: &str) -> String {
    let digit = if name.ends_with('2') { '3' } else { '2' };
    format!("{}{digit}", &name[..name.len().min(19)])
}

/// Returns the notice that takes the place of `count` lines that a slow reader has missed.
pub fn skipped(count: usize) -> String {
    format!("*** {count} line{} skipped", if count == 1 { "" } else { "s" })
}

/// Splits a command into its word, in lower case, and its arguments; `None` for a line of chat.
pub fn split_command(line: &str) -> Option<(String, &str)> {
    let rest = line.trim_start().strip_prefix('/')?;
    let letters = rest.find(|character: char| !character.is_alphabetic()).unwrap_or(rest.len());
    let (word, arguments) = rest.split_at(if rest.starts_with('?') { 1 } else { letters });
    let is_command = !word.is_empty() && (arguments.is_empty() || arguments.starts_with(char::is_whitespace));
    is_command.then(|| (word.to_ascii_lowercase(), arguments.trim()))
}

/// Returns what a line of chat says: a second slash before a command makes it chat, and is removed.
pub fn chat_text(line: &str) -> String {
    let start = line.len() - line.trim_start().len();
    let is_escaped = line[start..].strip_prefix('/').is_some_and(|rest| rest.starts_with('/'))
        && split_command(&line[start + 1..]).is_some();
    if is_escaped { format!("{}{}", &line[..start], &line[start + 1..]) } else { line.to_owned() }
}
