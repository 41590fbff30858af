//! Offsets from UTC, as people write them: `+2`, `-3`, `+5:30`.

/// The westernmost offset in minutes: UTC-12, Baker Island.
const MIN_OFFSET: i16 = -12 * 60;

/// The easternmost offset in minutes: UTC+14, the Line Islands.
const MAX_OFFSET: i16 = 14 * 60;

/// Parses a sign, one or two digits of hours and, after a colon, two digits of minutes. Returns minutes
/// east of UTC.
///
/// A sign is required, so that a time of day such as `5:30` is not taken for an offset.
pub(super) fn parse_time_offset(text: &str) -> Option<i16> {
    let (sign, unsigned) = match text.split_at_checked(1)? {
        ("+", unsigned) => (1, unsigned),
        ("-", unsigned) => (-1, unsigned),
        _ => return None,
    };
    let (hours, minutes) = unsigned.split_once(':').unwrap_or((unsigned, "00"));
    let has_valid_length = matches!(hours.len(), 1 | 2) && minutes.len() == 2;
    if !has_valid_length || !hours.bytes().chain(minutes.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = sign * (hours * 60 + minutes);
    (minutes < 60 && (MIN_OFFSET..=MAX_OFFSET).contains(&offset)).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_is_parsed_to_minutes_east_of_utc() {
        for (text, minutes) in [
            ("+2", 120),
            ("+02", 120),
            ("-3", -180),
            ("+5:30", 330),
            ("-03:30", -210),
            ("+05:45", 345),
            ("+0", 0),
            ("-0", 0),
            ("-0:30", -30),
            ("-12", -720),
            ("+14:00", 840),
        ] {
            assert_eq!(parse_time_offset(text), Some(minutes), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_offset_is_refused() {
        for text in [
            "", "+", "-", "2", "5:30", "+5:", "+:30", "+5:3", "+5:300", "+5:60", "+15", "+14:01", "-12:01", "-13",
            "++2", "+-2", "+ 2", "+2h", "+002", "+1:2:3", "é2", "+é", "+٢", "−2", "utc",
        ] {
            assert_eq!(parse_time_offset(text), None, "{text}");
        }
    }
}
