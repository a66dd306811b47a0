//! Text: JSON strings as orjson writes them, "char", and documents that are spliced in.

use super::{Converted, Unfit, quoted};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A JSON string. Refuses what is not UTF-8.
pub fn string(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let text = std::str::from_utf8(raw).map_err(|_| Unfit)?;
    plain_string(text, out);
    Ok(())
}

/// A JSON string of what is known to be text.
pub fn plain_string(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    while let Some((plain, [escaped, behind @ ..])) = rest.split_at_checked(plain_length(rest)) {
        out.extend_from_slice(plain);
        escape(*escaped, out);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// How many bytes there are before one that a JSON string can't hold as it is. Sixteen at a time, which compilers make one
/// look of.
fn plain_length(raw: &[u8]) -> usize {
    let is_plain = |chunk: &&[u8]| {
        !chunk
            .iter()
            .fold(false, |any, byte| any | is_escaped(*byte))
    };
    let chunks = raw.chunks_exact(16).take_while(is_plain).count() * 16;
    let rest = raw.get(chunks..).unwrap_or_default();
    chunks
        + rest
            .iter()
            .position(|byte| is_escaped(*byte))
            .unwrap_or(rest.len())
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(b'0' + (byte >> 4));
            out.extend(HEX.get(usize::from(byte & 15)));
            return;
        }
    };
    out.push(b'\\');
    out.push(short);
}

/// char(n) without its padding.
pub fn trimmed(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let end = raw
        .iter()
        .rposition(|byte| *byte != b' ')
        .map_or(0, |last| last + 1);
    string(raw.get(..end).unwrap_or_default(), out)
}

/// The one-byte type "char": older servers send a byte with the high bit set as it is, newer ones in octal.
pub fn one_byte(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    match raw {
        [byte] if *byte > 0x7f => quoted(format!("\\\\{byte:o}").as_bytes(), out),
        _ => string(raw, out),
    }
}

/// A document as it stands, if it is UTF-8.
pub fn document(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    std::str::from_utf8(raw).map_err(|_| Unfit)?;
    out.extend_from_slice(raw);
    Ok(())
}

/// json keeps its writer's line breaks between tokens, which would break newline-delimited output.
pub fn document_line(raw: &[u8], out: &mut Vec<u8>) -> Converted {
    let start = out.len();
    document(raw, out)?;
    for byte in out.iter_mut().skip(start) {
        if matches!(*byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(convert: fn(&[u8], &mut Vec<u8>) -> Converted, raw: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        convert(raw, &mut out).ok().map(|()| out)
    }

    #[test]
    fn escapes_what_json_must_not_hold_and_nothing_else() {
        let all: Vec<u8> = (0..0x80).collect();
        let json = made(string, &all).unwrap();
        assert_eq!(
            serde_json::from_slice::<String>(&json).unwrap().as_bytes(),
            all
        );
        assert_eq!(
            made(string, "é\u{7f}/😀".as_bytes()).unwrap(),
            "\"é\u{7f}/😀\"".as_bytes()
        );
        assert_eq!(
            made(string, b"0123456789abcdef\x1f\"\\").unwrap(),
            br#""0123456789abcdef\u001f\"\\""#
        );
    }

    #[test]
    fn refuses_what_is_not_utf8() {
        assert_eq!(made(string, b"\xff"), None);
        assert_eq!(made(document, b"[\"\xff\"]"), None);
    }

    #[test]
    fn a_high_byte_becomes_octal_and_padding_goes() {
        assert_eq!(made(one_byte, b"\x80").unwrap(), br#""\\200""#);
        assert_eq!(made(trimmed, b"ab  ").unwrap(), b"\"ab\"");
        assert_eq!(made(trimmed, b"  ").unwrap(), b"\"\"");
        assert_eq!(made(document_line, b"{\r\n}").unwrap(), b"{  }");
    }
}
