//! Dates and times in UTC, with `T` and `Z` put in.
//!
//! The common forms are told by their shape alone; infinity, BC and years beyond 9999 go to the pattern.

use std::sync::OnceLock;

use regex::bytes::{Captures, Regex};

use super::{Converted, Unfit, quoted, quoted_if, whole};

const DATE: &str = "[0-9]{4,7}-[0-9]{2}-[0-9]{2}";
const TIME: &str = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,6})?";

type Pattern = OnceLock<Option<Regex>>;

fn captures<'a>(
    cell: &'static Pattern,
    text: impl FnOnce() -> String,
    raw: &'a [u8],
) -> Option<Captures<'a>> {
    cell.get_or_init(|| whole(&text())).as_ref()?.captures(raw)
}

/// Does `raw` look like `shape`, in which 0 stands for any digit?
fn looks_like(raw: &[u8], shape: &[u8]) -> bool {
    raw.len() == shape.len()
        && raw.iter().zip(shape).all(|(byte, like)| {
            if *like == b'0' {
                byte.is_ascii_digit()
            } else {
                byte == like
            }
        })
}

fn is_date(raw: &[u8]) -> bool {
    looks_like(raw, b"0000-00-00")
}

fn is_time(raw: &[u8]) -> bool {
    match raw.split_at_checked(8) {
        Some((clock, fraction)) => looks_like(clock, b"00:00:00") && is_fraction(fraction),
        None => false,
    }
}

fn is_fraction(raw: &[u8]) -> bool {
    match raw {
        [] => true,
        [b'.', digits @ ..] => {
            (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    }
}

/// The date and the time of what has the shape of a timestamp.
fn timestamp_parts(raw: &[u8]) -> Option<(&[u8], &[u8])> {
    let (date, rest) = raw.split_at_checked(10)?;
    let time = rest.strip_prefix(b" ")?;
    (is_date(date) && is_time(time)).then_some((date, time))
}

fn is_infinity(raw: &[u8]) -> bool {
    matches!(raw, b"infinity" | b"-infinity")
}

pub fn date(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    static RARE: Pattern = OnceLock::new();
    let fits = is_date(raw)
        || is_infinity(raw)
        || captures(&RARE, || format!("{DATE}(?: BC)?"), raw).is_some();
    quoted_if(fits, raw, out)
}

pub fn time(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    quoted_if(is_time(raw), raw, out)
}

/// The offset is part of the value: kept, with its minutes always written.
pub fn timetz(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    static PARTS: Pattern = OnceLock::new();
    let parts = || format!("(?:{TIME}|24:00:00)[+-][0-9]{{2}}(:[0-9]{{2}}(?::[0-9]{{2}})?)?");
    let found = captures(&PARTS, parts, raw).ok_or(Unfit)?;
    quoted(raw, out)?;
    if found.get(1).is_none() {
        out.pop();
        out.extend_from_slice(b":00\"");
    }
    Ok(())
}

pub fn timestamp(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    static RARE: Pattern = OnceLock::new();
    if let Some((date, time)) = timestamp_parts(raw) {
        return moment(&[date, b"T", time], out);
    }
    match captures(&RARE, || format!("({DATE}) ({TIME})( BC)?"), raw) {
        Some(found) => moment(
            &[group(&found, 1), b"T", group(&found, 2), group(&found, 3)],
            out,
        ),
        None => quoted_if(is_infinity(raw), raw, out),
    }
}

/// The session's zone is UTC; `Z` says so, and stands where PostgreSQL reads it back, before BC.
pub fn timestamptz(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    static RARE: Pattern = OnceLock::new();
    if let Some((date, time)) = raw.strip_suffix(b"+00").and_then(timestamp_parts) {
        return moment(&[date, b"T", time, b"Z"], out);
    }
    match captures(&RARE, || format!("({DATE}) ({TIME})[+]00( BC)?"), raw) {
        Some(found) => moment(
            &[
                group(&found, 1),
                b"T",
                group(&found, 2),
                b"Z",
                group(&found, 3),
            ],
            out,
        ),
        None => quoted_if(is_infinity(raw), raw, out),
    }
}

fn group<'a>(found: &Captures<'a>, number: usize) -> &'a [u8] {
    found.get(number).map_or(b"", |group| group.as_bytes())
}

fn moment(parts: &[&[u8]], out: &mut Vec<u8>) -> Converted {
    out.push(b'"');
    for part in parts {
        out.extend_from_slice(part);
    }
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::tests::made_by;

    #[test]
    fn common_and_rare_moments_are_told_apart() {
        for (raw, json) in [
            ("2024-01-02 03:04:05.000001", "2024-01-02T03:04:05.000001"),
            ("4713-01-01 00:00:00 BC", "4713-01-01T00:00:00 BC"),
            (
                "294276-12-31 23:59:59.999999",
                "294276-12-31T23:59:59.999999",
            ),
            ("-infinity", "-infinity"),
        ] {
            assert_eq!(made_by(timestamp, raw).unwrap(), format!("\"{json}\""));
        }
        for (raw, json) in [
            ("2024-03-31 00:30:00+00", "2024-03-31T00:30:00Z"),
            ("0044-02-01 11:12:13.5+00 BC", "0044-02-01T11:12:13.5Z BC"),
            ("infinity", "infinity"),
        ] {
            assert_eq!(made_by(timestamptz, raw).unwrap(), format!("\"{json}\""));
        }
        for wrong in [
            "2024-01-02",
            "2024-01-02 03:04",
            "2024-01-02T03:04:05",
            "2024-01-02 03:04:05.",
            "12024-01-02 25:00:00",
        ] {
            assert_eq!(made_by(timestamp, wrong), None, "{wrong}");
        }
        assert_eq!(made_by(timestamptz, "2024-03-31 00:30:00+01"), None);
    }

    #[test]
    fn an_offset_has_its_minutes() {
        assert_eq!(
            made_by(timetz, "13:51:30.12+02").unwrap(),
            "\"13:51:30.12+02:00\""
        );
        assert_eq!(
            made_by(timetz, "24:00:00-15:59:59").unwrap(),
            "\"24:00:00-15:59:59\""
        );
        assert_eq!(made_by(timetz, "13:51:30"), None);
    }

    #[test]
    fn dates_reach_beyond_four_digits() {
        for same in ["2024-02-29", "0044-03-15 BC", "5874897-12-31", "infinity"] {
            assert_eq!(made_by(date, same).unwrap(), format!("\"{same}\""));
        }
        assert_eq!(made_by(date, "2024-02-291"), None);
    }
}
