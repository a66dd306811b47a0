//! Events as lines of JSON (twin of liberator/publish/ndjson.py), for batches in which nothing needs care.

use crate::values;

/// One event without headers of its own. Key and value: JSON, None for null.
pub struct Line<'a> {
    pub topic: &'a str,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub id: &'a [u8],
}

/// The lines of `events`. None: one of them has a line break or begins with a byte that no JSON has, or an id needs more than
/// its quotes escaped; those are Python's.
pub fn lines(events: &[Line]) -> Option<Vec<u8>> {
    let room = |line: &Line| {
        let json = line.key.map_or(4, <[u8]>::len) + line.value.map_or(4, <[u8]>::len);
        json + 2 * line.id.len() + line.topic.len() + 80
    };
    let mut out = Vec::with_capacity(events.iter().map(room).sum());
    let (mut topic, mut head, mut id) = (None, Vec::new(), Vec::new());
    for line in events {
        if topic != Some(line.topic) {
            topic = Some(line.topic);
            head.clear();
            head.extend_from_slice(b"{\"topic\":");
            values::plain_string(line.topic, &mut head);
            head.extend_from_slice(b",\"key\":");
        }
        id.clear();
        escaped(line.id, &mut id)?;
        let parts: [&[u8]; 8] = [
            &head,
            json(line.key)?,
            b",\"value\":",
            json(line.value)?,
            b",\"headers\":{\"id\":\"",
            &id,
            b"\"},\"position\":\"",
            &id,
        ];
        for part in parts {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"\"}\n");
    }
    Some(out)
}

/// JSON that fits into a line. NUL begins a registry's binary form.
fn json(part: Option<&[u8]>) -> Option<&[u8]> {
    let Some(json) = part else {
        return Some(b"null");
    };
    memchr::memchr2(b'\n', b'\0', json)
        .is_none()
        .then_some(json)
}

/// Append an id of plain letters, in which quotes are escaped.
fn escaped(id: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for byte in id {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b' '..=b'[' | b']'..=0x7f => out.push(*byte),
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(key: Option<&'a str>, value: Option<&'a str>, id: &'a str) -> Line<'a> {
        Line {
            topic: "a\"b",
            key: key.map(str::as_bytes),
            value: value.map(str::as_bytes),
            id: id.as_bytes(),
        }
    }

    #[test]
    fn an_event_is_a_line() {
        let made = lines(&[
            line(Some("1"), Some("{}"), "x/{\"id\":1}"),
            line(None, None, "y"),
        ])
        .unwrap();
        assert_eq!(
            String::from_utf8(made).unwrap(),
            "{\"topic\":\"a\\\"b\",\"key\":1,\"value\":{},\"headers\":{\"id\":\"x/{\\\"id\\\":1}\"},\
             \"position\":\"x/{\\\"id\\\":1}\"}\n\
             {\"topic\":\"a\\\"b\",\"key\":null,\"value\":null,\"headers\":{\"id\":\"y\"},\"position\":\"y\"}\n"
        );
    }

    #[test]
    fn what_needs_care_is_left_to_python() {
        for wrong in [
            line(Some("\n1"), None, "x"),
            line(None, Some("{\n}"), "x"),
            line(None, Some("\0\0"), "x"),
            line(None, None, "back\\slash"),
            line(None, None, "é"),
            line(None, None, "\u{1}"),
        ] {
            assert_eq!(lines(&[wrong]), None);
        }
    }
}
