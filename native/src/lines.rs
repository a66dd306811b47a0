//! Events as lines of JSON (twin of liberator/publish/ndjson.py), for batches in which nothing needs care.

use std::io::{self, Write};

use crate::values;

/// One event without headers of its own. Key and value: JSON, None for null.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    pub topic: &'a str,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub id: &'a [u8],
}

/// Bytes that the lines of `events` have together. None: one of them has a line break or begins with a byte that no JSON
/// has, or an id needs more than its quotes escaped, or is no line at all; those are Python's.
pub fn size<'a>(events: impl Iterator<Item = Option<Line<'a>>>) -> Option<usize> {
    let (mut head, mut size) = (Head::default(), 0);
    for line in events {
        let line = line?;
        let json = json(line.key)?.len() + json(line.value)?.len();
        size += head.of(line.topic).len() + json + 2 * escaped_size(line.id)? + BETWEEN;
    }
    Some(size)
}

/// Write the lines of `events` into `out`, which has their size.
pub fn write<'a>(
    events: impl Iterator<Item = Option<Line<'a>>>,
    mut out: &mut [u8],
) -> io::Result<()> {
    let mut head = Head::default();
    for line in events.flatten() {
        out.write_all(head.of(line.topic))?;
        out.write_all(line.key.unwrap_or(NULL))?;
        out.write_all(VALUE)?;
        out.write_all(line.value.unwrap_or(NULL))?;
        out.write_all(HEADERS)?;
        write_escaped(line.id, &mut out)?;
        out.write_all(POSITION)?;
        write_escaped(line.id, &mut out)?;
        out.write_all(END)?;
    }
    Ok(())
}

const NULL: &[u8] = b"null";
const VALUE: &[u8] = b",\"value\":";
const HEADERS: &[u8] = b",\"headers\":{\"id\":\"";
const POSITION: &[u8] = b"\"},\"position\":\"";
const END: &[u8] = b"\"}\n";
const BETWEEN: usize = VALUE.len() + HEADERS.len() + POSITION.len() + END.len();

/// What a line of the last topic begins with.
#[derive(Default)]
struct Head<'a> {
    topic: Option<&'a str>,
    text: Vec<u8>,
}

impl<'a> Head<'a> {
    fn of(&mut self, topic: &'a str) -> &[u8] {
        if self.topic != Some(topic) {
            self.topic = Some(topic);
            self.text.clear();
            self.text.extend_from_slice(b"{\"topic\":");
            values::plain_string(topic, &mut self.text);
            self.text.extend_from_slice(b",\"key\":");
        }
        &self.text
    }
}

/// JSON that fits into a line. NUL begins a registry's binary form.
fn json(part: Option<&[u8]>) -> Option<&[u8]> {
    let json = part.unwrap_or(NULL);
    memchr::memchr2(b'\n', b'\0', json)
        .is_none()
        .then_some(json)
}

/// Of an id of plain letters, in which quotes are escaped.
fn escaped_size(id: &[u8]) -> Option<usize> {
    let plain = id
        .iter()
        .all(|byte| matches!(byte, b' '..=b'[' | b']'..=0x7f));
    plain.then(|| id.len() + memchr::memchr_iter(b'"', id).count())
}

fn write_escaped(id: &[u8], out: &mut &mut [u8]) -> io::Result<()> {
    let mut rest = id;
    while let Some((before, quote)) =
        memchr::memchr(b'"', rest).and_then(|place| rest.split_at_checked(place))
    {
        out.write_all(before)?;
        out.write_all(b"\\\"")?;
        rest = quote.get(1..).unwrap_or_default();
    }
    out.write_all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(events: &[Line]) -> Option<Vec<u8>> {
        let each = || events.iter().copied().map(Some);
        let mut out = vec![0; size(each())? + 1];
        let (room, behind) = out.split_at_mut(size(each())?);
        write(each(), room).unwrap();
        assert_eq!(behind, [0]);
        out.pop();
        Some(out)
    }

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
