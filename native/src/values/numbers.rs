//! Numbers: floating point, numeric, money, bool, and what is put together of numbers.

use super::cursor::Cursor;
use super::{Converted, Unfit, quoted, quoted_if};

/// -?(0|[1-9][0-9]*)
pub(super) fn integer(text: &mut Cursor<'_>) -> Option<()> {
    text.eat(b'-');
    if !text.eat(b'0') {
        text.digits()?;
    }
    Some(())
}

/// An integer, and `([.][0-9]+)?(e[+-][0-9]+)?`, as far as it goes.
fn number(text: &mut Cursor<'_>) -> Option<()> {
    integer(text)?;
    text.part(|text| text.eat(b'.').then(|| text.digits())?.map(drop));
    text.part(|text| {
        let signed = text.eat(b'e') && (text.eat(b'+') || text.eat(b'-'));
        signed.then(|| text.digits())?.map(drop)
    });
    Some(())
}

/// Is all of `raw` one `part`?
fn is_whole(raw: &[u8], part: impl FnOnce(&mut Cursor<'_>) -> Option<()>) -> bool {
    let mut text = Cursor::new(raw);
    part(&mut text).is_some() && text.is_done()
}

/// A float4 or float8. JSON has no word for three values, and many readers take `-0` for the integer 0.
pub fn float(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    match raw {
        b"NaN" | b"Infinity" | b"-Infinity" => return quoted(raw, out),
        b"-0" => out.extend_from_slice(b"-0.0"),
        _ if is_whole(raw, number) => out.extend_from_slice(raw),
        _ => return Err(Unfit),
    }
    Ok(())
}

/// Every digit stays, so it is a string.
pub fn numeric(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let unsigned = raw.strip_prefix(b"-").unwrap_or(raw);
    let points = unsigned.iter().filter(|byte| **byte == b'.').count();
    let fits = unsigned
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && points <= 1
        && unsigned.len() > points;
    quoted_if(
        fits || matches!(raw, b"NaN" | b"Infinity" | b"-Infinity"),
        raw,
        out,
    )
}

/// -$1,234.50, as lc_monetary=C writes it, without its ornaments.
pub fn money(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let bare: Vec<u8> = raw
        .iter()
        .copied()
        .filter(|byte| !matches!(byte, b'$' | b','))
        .collect();
    let fits = is_whole(&bare, |text| {
        text.eat(b'-');
        text.digits()?;
        (text.eat(b'.') && text.digits()?.len() == 2).then_some(())
    });
    quoted_if(fits, &bare, out)
}

/// `t` and `f`.
pub fn truth(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let word: &[u8] = match raw {
        b"t" => b"true",
        b"f" => b"false",
        _ => return Err(Unfit),
    };
    out.extend_from_slice(word);
    Ok(())
}

/// int2vector and oidvector: numbers between single blanks.
pub fn integers(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let mut text = Cursor::new(raw);
    out.push(b'[');
    while !raw.is_empty() {
        out.extend_from_slice(text.part(integer).ok_or(Unfit)?);
        match text.next() {
            None => break,
            Some(b' ') => out.push(b','),
            Some(_) => return Err(Unfit),
        }
    }
    out.push(b']');
    Ok(())
}

/// `(1,NaN)`.
pub fn point(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let inner = raw
        .strip_prefix(b"(")
        .and_then(|rest| rest.strip_suffix(b")"))
        .ok_or(Unfit)?;
    let mut text = Cursor::new(inner);
    let x = text.until(|byte| byte == b',');
    if !text.eat(b',') {
        return Err(Unfit);
    }
    out.extend_from_slice(b"{\"x\":");
    float(x, out)?;
    out.extend_from_slice(b",\"y\":");
    float(text.rest(), out)?;
    out.push(b'}');
    Ok(())
}

/// vector and halfvec write a JSON array of finite numbers, save that readers would lose the sign of `-0`.
pub fn vector(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    if raw.first() != Some(&b'[') || raw.last() != Some(&b']') {
        return Err(Unfit);
    }
    for (at, byte) in raw.iter().enumerate() {
        if matches!(byte, b',' | b']')
            && raw.get(..at).is_some_and(|before| before.ends_with(b"-0"))
        {
            out.extend_from_slice(b".0");
        }
        out.push(*byte);
    }
    Ok(())
}

/// sparsevec, `{1:1.5,3:2}/5`: indices begin at 1.
pub fn sparse_vector(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let mut text = Cursor::new(raw);
    let entries = text.until(|byte| byte == b'}');
    let entries = entries.strip_prefix(b"{").ok_or(Unfit)?;
    let dimensions = text.rest().strip_prefix(b"}/").ok_or(Unfit)?;
    if !is_whole(dimensions, integer) {
        return Err(Unfit);
    }
    out.extend_from_slice(b"{\"dimensions\":");
    out.extend_from_slice(dimensions);
    out.extend_from_slice(b",\"vector\":{");
    let mut text = Cursor::new(entries);
    while !entries.is_empty() {
        quoted(text.digits().ok_or(Unfit)?, out)?;
        if !text.eat(b':') {
            return Err(Unfit);
        }
        out.push(b':');
        out.extend_from_slice(text.part(number).ok_or(Unfit)?);
        match text.next() {
            None => break,
            Some(b',') => out.push(b','),
            Some(_) => return Err(Unfit),
        }
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::tests::made_by;

    #[test]
    fn floats_are_numbers_of_json() {
        for same in ["0", "-1.5", "1e+22", "1.5e-07", "123456789012345"] {
            assert_eq!(made_by(float, same).unwrap(), same);
        }
        assert_eq!(made_by(float, "-0").unwrap(), "-0.0");
        assert_eq!(made_by(float, "-Infinity").unwrap(), "\"-Infinity\"");
        for wrong in ["", "-", "01", "1.", ".5", "1e5", "1e+", "1 ", "nan", "0x1"] {
            assert_eq!(made_by(float, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numerics_keep_every_digit() {
        for same in ["0", "-1.50", "12300", "NaN", "-Infinity", "00.10"] {
            assert_eq!(made_by(numeric, same).unwrap(), format!("\"{same}\""));
        }
        for wrong in ["", "-", ".", "1.2.3", "1e5", "--1", "+1", "Inf"] {
            assert_eq!(made_by(numeric, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn money_loses_its_ornaments() {
        assert_eq!(
            made_by(money, "-$92,233,720.08").unwrap(),
            "\"-92233720.08\""
        );
        for wrong in ["", "$1", "$1.2", "$1.234", "-$.10"] {
            assert_eq!(made_by(money, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_put_together_of_numbers_becomes_arrays_and_objects() {
        assert_eq!(made_by(integers, "1 -2 0").unwrap(), "[1,-2,0]");
        assert_eq!(made_by(integers, "").unwrap(), "[]");
        assert_eq!(made_by(integers, "1 "), None);
        assert_eq!(
            made_by(point, "(-0,NaN)").unwrap(),
            r#"{"x":-0.0,"y":"NaN"}"#
        );
        assert_eq!(made_by(point, "(1)"), None);
        assert_eq!(made_by(vector, "[1,-0,-0]").unwrap(), "[1,-0.0,-0.0]");
        assert_eq!(
            made_by(sparse_vector, "{1:1.5,3:2}/5").unwrap(),
            r#"{"dimensions":5,"vector":{"1":1.5,"3":2}}"#
        );
        assert_eq!(made_by(sparse_vector, "{1:1,}/5"), None);
    }
}
