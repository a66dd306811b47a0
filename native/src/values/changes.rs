//! Masks and casts: the JSON of one value -> the JSON that takes its place, as liberator/transform/values.py does it.

use std::borrow::Cow;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::cursor::Cursor;
use super::numbers::integer;
use super::{Converted, Converter, Unfit, plain_string};

#[derive(Clone)]
pub enum Change {
    /// The hash so far, of the salt.
    Sha256(Sha256),
    Constant(&'static [u8]),
    Truncate(usize),
    ToString,
    ToNumber,
    ToInteger,
    ToBoolean,
}

impl std::fmt::Debug for Change {
    /// The salt is secret.
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Change")
    }
}

impl Change {
    pub fn parse(described: &Value) -> Option<Change> {
        let (name, given) = described.as_array()?.split_first()?;
        match (name.as_str()?, given) {
            ("sha256", [salt]) => Some(Change::Sha256(Sha256::new_with_prefix(salt.as_str()?))),
            ("redact", []) => Some(Change::Constant(b"\"***\"")),
            ("null", []) => Some(Change::Constant(b"null")),
            ("truncate", [most]) => Some(Change::Truncate(usize::try_from(most.as_u64()?).ok()?)),
            ("string", []) => Some(Change::ToString),
            ("number", []) => Some(Change::ToNumber),
            ("integer", []) => Some(Change::ToInteger),
            ("boolean", []) => Some(Change::ToBoolean),
            _ => None,
        }
    }

    fn apply(&self, json: &[u8], out: &mut Vec<u8>) -> Converted {
        match self {
            Change::Sha256(salted) => {
                let digest = salted.clone().chain_update(text_of(json)?).finalize();
                out.push(b'"');
                for byte in digest {
                    out.extend_from_slice(format!("{byte:02x}").as_bytes());
                }
                out.push(b'"');
            }
            Change::Constant(constant) => out.extend_from_slice(constant),
            Change::Truncate(most) => return truncate(json, *most, out),
            Change::ToString if json.first() == Some(&b'"') => out.extend_from_slice(json),
            Change::ToString => plain_string(std::str::from_utf8(json).map_err(|_| Unfit)?, out),
            Change::ToNumber => {
                let text = text_of(json)?;
                if !is_number(&text) {
                    return Err(Unfit);
                }
                out.extend_from_slice(&text);
            }
            Change::ToInteger => out.extend_from_slice(whole(&text_of(json)?).ok_or(Unfit)?),
            Change::ToBoolean => {
                let word: &[u8] = match &*text_of(json)? {
                    b"true" | b"t" | b"1" => b"true",
                    b"false" | b"f" | b"0" => b"false",
                    _ => return Err(Unfit),
                };
                out.extend_from_slice(word);
            }
        }
        Ok(())
    }
}

/// A converter and what is done to what it makes. What has become null stays null.
pub fn changed(raw: &[u8], inner: &Converter, changes: &[Change], out: &mut Vec<u8>) -> Converted {
    let mut json = Vec::with_capacity(raw.len() + 2);
    inner.convert(raw, &mut json)?;
    for change in changes {
        if json == b"null" {
            break;
        }
        let mut next = Vec::with_capacity(json.len());
        change.apply(&json, &mut next)?;
        json = next;
    }
    out.extend_from_slice(&json);
    Ok(())
}

/// What a JSON string says, or any other JSON as it is.
fn text_of(json: &[u8]) -> Result<Cow<'_, [u8]>, Unfit> {
    match json {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Ok(Cow::Borrowed(inner)),
        [b'"', ..] => {
            let text: String = serde_json::from_slice(json).map_err(|_| Unfit)?;
            Ok(Cow::Owned(text.into_bytes()))
        }
        _ => Ok(Cow::Borrowed(json)),
    }
}

fn truncate(json: &[u8], most: usize, out: &mut Vec<u8>) -> Converted {
    if json.first() != Some(&b'"') {
        return Err(Unfit);
    }
    if json.len() <= most.saturating_add(2) && !json.contains(&b'\\') {
        out.extend_from_slice(json);
        return Ok(());
    }
    let text = text_of(json)?;
    let text = std::str::from_utf8(&text).map_err(|_| Unfit)?;
    let end = text
        .char_indices()
        .nth(most)
        .map_or(text.len(), |(at, _)| at);
    plain_string(text.get(..end).unwrap_or(text), out);
    Ok(())
}

/// A number of JSON.
fn is_number(raw: &[u8]) -> bool {
    let mut text = Cursor::new(raw);
    let Some(()) = integer(&mut text) else {
        return false;
    };
    if text.eat(b'.') && text.digits().is_none() {
        return false;
    }
    if text.eat(b'e') || text.eat(b'E') {
        let _ = text.eat(b'+') || text.eat(b'-');
        if text.digits().is_none() {
            return false;
        }
    }
    text.is_done()
}

/// A whole number, without the zeros behind its point.
fn whole(raw: &[u8]) -> Option<&[u8]> {
    let mut text = Cursor::new(raw);
    let number = text.part(integer)?;
    let is_whole = match text.rest() {
        [] => true,
        [b'.', zeros @ ..] => !zeros.is_empty() && zeros.iter().all(|byte| *byte == b'0'),
        _ => false,
    };
    is_whole.then_some(if number == b"-0" { b"0" } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(change: Value, value: &str) -> Option<String> {
        let mut out = Vec::new();
        Change::parse(&change)?
            .apply(value.as_bytes(), &mut out)
            .ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn masks_leave_what_they_promise() {
        assert_eq!(made(json!(["redact"]), "1").unwrap(), "\"***\"");
        assert_eq!(made(json!(["null"]), "1").unwrap(), "null");
        assert_eq!(
            made(json!(["truncate", 2]), "\"é\\nx\"").unwrap(),
            "\"é\\n\""
        );
        assert_eq!(made(json!(["truncate", 2]), "1"), None);
        let digest = made(json!(["sha256", "a"]), "\"bc\"").unwrap();
        assert_eq!(
            digest,
            "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""
        );
    }

    #[test]
    fn casts_keep_every_digit_or_refuse() {
        assert_eq!(
            made(json!(["string"]), "{\"a\":1}").unwrap(),
            r#""{\"a\":1}""#
        );
        assert_eq!(made(json!(["number"]), "\"1.10\"").unwrap(), "1.10");
        assert_eq!(made(json!(["number"]), "\"NaN\""), None);
        assert_eq!(made(json!(["integer"]), "\"-12.00\"").unwrap(), "-12");
        assert_eq!(made(json!(["integer"]), "-0").unwrap(), "0");
        assert_eq!(made(json!(["integer"]), "1.5"), None);
        assert_eq!(made(json!(["boolean"]), "\"f\"").unwrap(), "false");
        assert_eq!(made(json!(["boolean"]), "2"), None);
    }
}
