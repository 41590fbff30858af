//! Comparison of what a client has received with what the model says that it has to see.

use crate::reference::{OutputLine, Source, parse_skip_notice};
use crate::wording::SHUTTING_DOWN;

/// Compares received bytes with the output lines of one step, all of which have arrived. The lines of each source keep
/// their order.
///
/// # Errors
/// A text that shows both.
pub fn compare_step(received: &[u8], expected: &[OutputLine]) -> Result<(), String> {
    let whole: String = expected.iter().map(|line| line.text.as_str()).collect();
    if received == whole.as_bytes() {
        return Ok(());
    }
    let mut sources: Vec<(&Source, Vec<&[u8]>)> = Vec::new();
    for line in expected {
        match sources.iter_mut().find(|(source, _)| *source == &line.source) {
            Some((_, lines)) => lines.push(line.text.as_bytes()),
            None => sources.push((&line.source, vec![line.text.as_bytes()])),
        }
    }
    let mut queues: Vec<&[&[u8]]> = sources.iter().map(|(_, lines)| lines.as_slice()).collect();
    let received_lines: Vec<&[u8]> = received.split_inclusive(|byte| *byte == b'\n').collect();
    if is_interleaving(&received_lines, &mut queues) { Ok(()) } else { Err(difference(received, &whole)) }
}

/// Returns whether `lines` are the lines of all queues, those of each in order.
fn is_interleaving<'a>(lines: &[&'a [u8]], queues: &mut [&[&'a [u8]]]) -> bool {
    let Some((line, rest)) = lines.split_first() else {
        return queues.iter().all(|queue| queue.is_empty());
    };
    for index in 0..queues.len() {
        let queue = queues[index];
        if queue.first() == Some(line) {
            queues[index] = &queue[1..];
            if is_interleaving(rest, queues) {
                return true;
            }
            queues[index] = queue;
        }
    }
    false
}

/// Compares received bytes with output lines of which some may be skipped, each gap with an exact notice in its place.
/// Returns the number of output lines that the received ones reach.
///
/// # Errors
/// A text that shows the line that is neither the next output line nor a notice.
pub fn compare_with_gaps(received: &[u8], expected: &[OutputLine]) -> Result<usize, String> {
    let mut next = 0;
    for line in received.split_inclusive(|byte| *byte == b'\n') {
        if !line.ends_with(b"\n") {
            break;
        }
        if expected.get(next).is_some_and(|expected| expected.text.as_bytes() == line) {
            next += 1;
            continue;
        }
        let text = str::from_utf8(line).map_err(|error| error.to_string())?;
        match parse_skip_notice(text.trim_end()) {
            Some(skipped) if is_skippable(expected.get(next..next + skipped)) => next += skipped,
            _ => {
                let wanted = expected.get(next).map_or("the end", |expected| &expected.text);
                return Err(format!("received line {:?}, expected line {next}: {:?}", cut(text), cut(wanted)));
            }
        }
    }
    Ok(next)
}

/// Returns whether a slow reader may miss these lines: the server's own last lines are sent whatever waits.
fn is_skippable(lines: Option<&[OutputLine]>) -> bool {
    lines.is_some_and(|lines| lines.iter().all(|line| ![SHUTTING_DOWN, "ERROR"].contains(&line.text.trim_end())))
}

/// Returns the first hundred characters of a line.
fn cut(line: &str) -> String {
    line.chars().take(100).collect()
}

fn difference(received: &[u8], expected: &str) -> String {
    format!("received:\n{}\nexpected:\n{expected}", String::from_utf8_lossy(received))
}
