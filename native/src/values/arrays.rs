//! Arrays: nested JSON arrays of the element's form, whatever the dimensions.

use serde_json::Value;

use super::cursor::Cursor;
use super::quoting::backslashed;
use super::{Converted, Converter, Unfit, text};

/// What becomes of an array that does not begin at 1.
#[derive(Debug)]
enum Bounds {
    Drop,
    Fail,
    Text,
}

#[derive(Debug)]
pub struct Array {
    element: Converter,
    delimiter: u8,
    bounds: Bounds,
}

impl Array {
    /// given: the element's converter, the delimiter, what becomes of bounds.
    pub fn parse(given: &[Value]) -> Option<Array> {
        let [element, delimiter, bounds] = given else {
            return None;
        };
        let delimiter = match delimiter.as_str()?.as_bytes() {
            [one] if one.is_ascii() && !b"{}\"\\".contains(one) => *one,
            _ => return None,
        };
        let bounds = match bounds.as_str()? {
            "drop" => Bounds::Drop,
            "fail" => Bounds::Fail,
            "text" => Bounds::Text,
            _ => return None,
        };
        Some(Array {
            element: Converter::parse(element)?,
            delimiter,
            bounds,
        })
    }

    pub fn is_checked(&self) -> bool {
        self.element.is_checked()
    }

    pub fn convert(&self, raw: &[u8], out: &mut Vec<u8>) -> Converted {
        let mut from = Cursor::new(raw);
        if from.peek() != Some(b'{') {
            bounds(&mut from).ok_or(Unfit)?;
            return match self.bounds {
                Bounds::Drop => self.nested(&mut from, out),
                Bounds::Fail => Err(Unfit),
                Bounds::Text => text::string(raw, out),
            };
        }
        if matches!(self.element, Converter::Verbatim) && !raw.contains(&b'"') {
            as_it_stands(&mut from, out);
            return Ok(());
        }
        self.nested(&mut from, out)
    }

    /// Any dimensions, any quoting, from a place on.
    fn nested(&self, from: &mut Cursor<'_>, out: &mut Vec<u8>) -> Converted {
        let mut depth = 0usize;
        let mut expected = true; // an item or an opening brace must come now,
        let mut fresh = false; // or, right after an opening brace, its closing one
        while let Some(byte) = from.peek() {
            if byte == b'}' && depth > 0 && (fresh || !expected) {
                out.push(b']');
                depth -= 1;
                (expected, fresh) = (false, false);
                if depth == 0 {
                    from.next();
                    break;
                }
            } else if byte == self.delimiter && !expected {
                out.push(b',');
                expected = true;
            } else if byte == b'{' && expected {
                out.push(b'[');
                depth += 1;
                fresh = true;
            } else if depth > 0 && expected {
                self.item(from, out)?;
                (expected, fresh) = (false, false);
                continue;
            } else {
                return Err(Unfit);
            }
            from.next();
        }
        if depth == 0 && !expected && from.is_done() {
            Ok(())
        } else {
            Err(Unfit)
        }
    }

    fn item(&self, from: &mut Cursor<'_>, out: &mut Vec<u8>) -> Converted {
        if from.eat(b'"') {
            return self.element.convert(&backslashed(from)?, out);
        }
        match from.until(|byte| byte == self.delimiter || b"{}\"\\".contains(&byte)) {
            b"" => return Err(Unfit),
            b"NULL" => out.extend_from_slice(b"null"),
            value => self.element.convert(value, out)?,
        }
        Ok(())
    }
}

/// `[0:1][2:3]=`, taken.
fn bounds(from: &mut Cursor<'_>) -> Option<()> {
    let signed = |from: &mut Cursor<'_>| {
        from.eat(b'-');
        from.digits().map(drop)
    };
    while from.eat(b'[') {
        signed(from)?;
        from.eat(b':').then_some(())?;
        signed(from)?;
        from.eat(b']').then_some(())?;
        if from.eat(b'=') {
            return Some(());
        }
    }
    None
}

/// Elements that are JSON as they are: only braces and NULL need another letter.
fn as_it_stands(from: &mut Cursor<'_>, out: &mut Vec<u8>) {
    while !from.is_done() {
        if from.eat_all(b"NULL") {
            out.extend_from_slice(b"null");
            continue;
        }
        match from.next() {
            Some(b'{') => out.push(b'['),
            Some(b'}') => out.push(b']'),
            byte => out.extend(byte),
        }
    }
}
