//! The forms of recalled lines, for the tests of the texts that must not have one.

use super::names::MAX_NAME_LENGTH;

/// Returns whether `line` could be the line of a member, recalled with `*** ` before it.
///
/// The form is judged more strictly than lines of rooms are built: every `NAME has …` counts, not only
/// `NAME has joined` and `NAME has left`.
pub(crate) fn could_be_recalled(line: &str) -> bool {
    let Some(line) = line.strip_prefix("*** ") else {
        return false;
    };
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    let is_chat = first.strip_suffix(':').is_some_and(could_be_user_name);
    let is_notice = rest.starts_with("has ") || rest.starts_with("is now known as ");
    first == "*" || is_chat || (is_notice && could_be_user_name(first))
}

/// Returns whether `word` follows the rules for user names: 1 to 20 printable ASCII bytes, which neither
/// begin with `/` or `*`, nor end in `:`, nor are enclosed in `<>`.
fn could_be_user_name(word: &str) -> bool {
    let is_printable = word.bytes().all(|byte| byte.is_ascii_graphic());
    let is_enclosed = word.starts_with('<') && word.ends_with('>');
    is_printable
        && (1..=MAX_NAME_LENGTH).contains(&word.len())
        && !word.starts_with(['/', '*'])
        && !word.ends_with(':')
        && !is_enclosed
}

#[test]
fn recalled_lines_are_told_from_replies() {
    for recalled in
        ["alice: hi", "alice: ", "a:b: hi", "* alice waves", "alice has joined", "al has left", "a is now known as b"]
    {
        assert!(could_be_recalled(&format!("*** {recalled}")), "{recalled}");
    }
    for reply in
        ["/msg: the text is missing", "2 here: alice", "alice whispers: hi", "you are in x: y: z", "a::: x", ""]
    {
        assert!(!could_be_recalled(&format!("*** {reply}")), "{reply}");
    }
    assert!(!could_be_recalled("alice: hi"), "a line without the stars is not recalled");
}
