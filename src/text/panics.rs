//! Panics: the text that a panic was raised with, for the log.

use std::any::Any;

/// Returns the text of a caught panic; `unknown` for one that was raised without a text.
pub(crate) fn panic_message(cause: &(dyn Any + Send)) -> &str {
    let text = cause.downcast_ref::<&str>().copied();
    text.or_else(|| cause.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_panic_is_found_in_both_forms() {
        let causes: [Box<dyn Any + Send>; 3] = [Box::new("plain"), Box::new("made".to_owned()), Box::new(7)];
        assert_eq!(causes.each_ref().map(|cause| panic_message(&**cause)), ["plain", "made", "unknown"]);
    }
}
