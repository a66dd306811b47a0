//! The two ways in which PostgreSQL quotes values inside of values, and hstore, which is made of one of them.
//!
//! Array and hstore escape with a backslash; composite and range write quote and backslash twice.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::{Converted, Unfit, text};

/// A value in quotes, the first of which is taken: escapes are a backslash and the character.
pub fn backslashed<'a>(from: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, Unfit> {
    let ahead = from.until(|byte| matches!(byte, b'"' | b'\\'));
    if from.eat(b'"') {
        return Ok(Cow::Borrowed(ahead));
    }
    let mut value = ahead.to_vec();
    loop {
        match from.next().ok_or(Unfit)? {
            b'"' => return Ok(Cow::Owned(value)),
            b'\\' => {
                let escaped = from.next().ok_or(Unfit)?;
                if !matches!(escaped, b'"' | b'\\') {
                    value.push(b'\\');
                }
                value.push(escaped);
            }
            byte => value.push(byte),
        }
    }
}

/// A value in quotes, the first of which is taken: quotes and backslashes are written twice.
fn doubled<'a>(from: &mut Cursor<'a>) -> Result<Cow<'a, [u8]>, Unfit> {
    let ahead = from.until(|byte| matches!(byte, b'"' | b'\\'));
    let mut value = Cow::Borrowed(ahead);
    loop {
        match from.next().ok_or(Unfit)? {
            b'"' if !from.eat(b'"') => return Ok(value),
            b'\\' => {
                from.eat(b'\\');
                value.to_mut().push(b'\\');
            }
            byte => value.to_mut().push(byte),
        }
    }
}

/// The field of a composite or bound of a range, unquoted up to a byte that is `special`; None when nothing is written, which
/// is NULL.
pub fn field<'a>(from: &mut Cursor<'a>, special: &[u8]) -> Result<Option<Cow<'a, [u8]>>, Unfit> {
    if from.eat(b'"') {
        return doubled(from).map(Some);
    }
    let bare = from.until(|byte| special.contains(&byte));
    Ok((!bare.is_empty()).then_some(Cow::Borrowed(bare)))
}

/// `"a"=>"1", "b"=>NULL`; keys are unique, the server sees to that.
pub fn hstore(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let mut from = Cursor::new(raw);
    out.push(b'{');
    while !from.is_done() {
        if !from.eat(b'"') {
            return Err(Unfit);
        }
        text::string(&backslashed(&mut from)?, out)?;
        out.push(b':');
        if from.eat_all(b"=>\"") {
            text::string(&backslashed(&mut from)?, out)?;
        } else if from.eat_all(b"=>NULL") {
            out.extend_from_slice(b"null");
        } else {
            return Err(Unfit);
        }
        if from.eat_all(b", ") {
            if from.peek() != Some(b'"') {
                return Err(Unfit);
            }
            out.push(b',');
        } else if !from.is_done() {
            return Err(Unfit);
        }
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_escapes_quotes_and_itself_and_stays_before_others() {
        let mut from = Cursor::new(br#"a\"b\\c\d",rest"#);
        assert_eq!(&*backslashed(&mut from).unwrap(), br#"a"b\c\d"#);
        assert_eq!(from.rest(), b",rest");
        assert_eq!(backslashed(&mut Cursor::new(b"open\\")), Err(Unfit));
    }

    #[test]
    fn quotes_and_backslashes_come_twice() {
        let mut from = Cursor::new(br#""a""b\\c",x"#);
        assert_eq!(
            field(&mut from, b",").unwrap().as_deref(),
            Some(&br#"a"b\c"#[..])
        );
        assert_eq!(from.rest(), b",x");
        assert_eq!(field(&mut Cursor::new(b",x"), b",").unwrap(), None);
        assert_eq!(field(&mut Cursor::new(b"\"open\"\""), b","), Err(Unfit));
    }

    #[test]
    fn an_hstore_is_an_object() {
        let mut out = Vec::new();
        hstore(br#""a"=>"1", "b\"c"=>NULL"#, &mut out).unwrap();
        assert_eq!(out, br#"{"a":"1","b\"c":null}"#);
        for wrong in [&br#""a"=>"1", "#[..], br#""a"=>NULLx"#, br#""a""#, b"a"] {
            assert_eq!(hstore(wrong, &mut Vec::new()), Err(Unfit));
        }
    }
}
