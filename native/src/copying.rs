//! Lines of COPY -> events (twin of the snapshot's part of liberator/plan/python.py). Knows nothing of Python.
//!
//! A line is done whole or not at all: what can't be done here leaves no trace, and Python's executor does it.

use std::ops::Range;

use crate::envelope::{Changes, Told, Transaction, Written};
use crate::frames::Field;
use crate::plan::{Plan, Row};
use crate::transcoder::Event;

/// What is the same for the lines of a batch. prefix: of ids. in_front: fields before the table's columns, the first of which
/// names the row where the table has no key. lsn: of the snapshot, taken_us: when it was taken, microseconds since the epoch.
pub struct Lines<'a> {
    plan: &'a Plan,
    prefix: &'a [u8],
    in_front: usize,
    lsn: u64,
    changes: Changes,
}

/// Where a field's text is: in the line, or behind its escapes in a buffer of its own.
enum Place {
    Line(Range<usize>),
    Unescaped(Range<usize>),
    Null,
}

/// The fields of one line after the other; what they are read into is used again.
#[derive(Default)]
struct Fields {
    places: Vec<Place>,
    unescaped: Vec<u8>,
}

/// What stands in `data`, line by line, each with its newline.
pub fn lines_of(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let (line, behind) = rest.split_at_checked(end)?;
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

impl<'a> Lines<'a> {
    /// None: rows of this form are Python's.
    pub fn new(
        plan: &'a Plan,
        prefix: &'a [u8],
        in_front: usize,
        lsn: u64,
        taken_us: i128,
        now_us: i128,
    ) -> Option<Lines<'a>> {
        let read = Transaction {
            commit_lsn: 0,
            committed_us: taken_us,
            xid: None,
            last_commit: None,
            number: -1,
        };
        Some(Lines {
            plan,
            prefix,
            in_front,
            lsn,
            changes: plan.envelope.changes(&read, b"true", now_us)?,
        })
    }

    /// One event for each of `lines`, appended, up to the first line that can't be done here.
    pub fn run<'l>(
        &self,
        lines: impl Iterator<Item = &'l [u8]>,
        written: &mut Written,
        events: &mut Vec<Event>,
    ) {
        let (mut fields, mut row, mut id) = (Fields::default(), Row::default(), Vec::new());
        for line in lines {
            let mark = (written.bytes.len(), written.headers.len());
            match self.line(line, &mut fields, &mut row, &mut id, written) {
                Some(event) => events.push(event),
                None => {
                    written.bytes.truncate(mark.0);
                    written.headers.truncate(mark.1);
                    return;
                }
            }
        }
    }

    fn line(
        &self,
        line: &[u8],
        fields: &mut Fields,
        row: &mut Row,
        id: &mut Vec<u8>,
        written: &mut Written,
    ) -> Option<Event> {
        fields.read(line)?;
        let all = fields.of(line)?;
        let (front, columns) = all.split_at_checked(self.in_front)?;
        if columns.len() != self.plan.width() {
            return None;
        }
        self.plan.write(columns, row)?;
        if !self.plan.passes(row) {
            return None;
        }
        id.clear();
        id.extend_from_slice(self.prefix);
        if !self.plan.write_id(row, id)? {
            match front {
                [Field::Text(place)] => id.extend_from_slice(place),
                [] => {}
                _ => return None,
            }
        }
        self.event(row, id, written)
    }

    fn event(&self, row: &Row, id: &[u8], written: &mut Written) -> Option<Event> {
        let first = written.headers.len();
        let key = row.key.as_deref();
        let told = Told {
            op: b'r',
            before: None,
            after: &row.json,
            lsn: self.lsn,
            key,
            id,
            unchanged: &row.missing,
            forget: false,
        };
        let prefix = written.add(&[&self.plan.before_value]);
        let value = self.changes.row(&told, written)?;
        let key = key.map(|key| written.add(&[&self.plan.before_key, key]));
        let headers = first..written.headers.len();
        Some(Event {
            table: 0,
            key,
            value: Some(prefix.start..value.end),
            id: written.add(&[id]),
            headers: (!headers.is_empty()).then_some(headers),
        })
    }
}

impl Fields {
    /// Find the fields of a line. None: it has no end.
    fn read(&mut self, line: &[u8]) -> Option<()> {
        self.places.clear();
        self.unescaped.clear();
        let line = line.strip_suffix(b"\n")?;
        let has_escapes = memchr::memchr(b'\\', line).is_some();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\t', line).chain([line.len()]) {
            let field = line.get(start..end)?;
            let place = match field {
                b"\\N" => Place::Null,
                _ if has_escapes && field.contains(&b'\\') => {
                    Place::Unescaped(self.unescape(field))
                }
                _ => Place::Line(start..end),
            };
            self.places.push(place);
            start = end + 1;
        }
        Some(())
    }

    fn unescape(&mut self, field: &[u8]) -> Range<usize> {
        let start = self.unescaped.len();
        let mut rest = field.iter();
        while let Some(byte) = rest.next() {
            self.unescaped.push(match byte {
                b'\\' => match rest.next() {
                    Some(b'b') => 0x08,
                    Some(b'f') => 0x0c,
                    Some(b'n') => b'\n',
                    Some(b'r') => b'\r',
                    Some(b't') => b'\t',
                    Some(b'v') => 0x0b,
                    Some(other) => *other,
                    None => b'\\',
                },
                byte => *byte,
            });
        }
        start..self.unescaped.len()
    }

    fn of<'f>(&'f self, line: &'f [u8]) -> Option<Vec<Field<'f>>> {
        let field = |place: &Place| {
            Some(match place {
                Place::Line(range) => Field::Text(line.get(range.clone())?),
                Place::Unescaped(range) => Field::Text(self.unescaped.get(range.clone())?),
                Place::Null => Field::Null,
            })
        };
        self.places.iter().map(field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let description = serde_json::json!({
            "columns": [
                {"name": "\"id\"", "converter": ["verbatim"]},
                {"name": "\"v\"", "converter": ["text"]},
            ],
            "key": [0],
            "id": [["\"id\"", 0]],
            "identity": [0],
            "unique_key": true,
            "checks": [[1, {"null": true, "rules": [["maxLength", 3]]}]],
            "before_key": [],
            "before_value": [],
            "envelope": {"kind": "flat", "named": []},
        });
        Plan::parse(description.to_string().as_bytes()).unwrap()
    }

    /// How many lines were done, and the values and ids of their events.
    fn read(lines: &[&[u8]]) -> (usize, Vec<(String, String)>) {
        let (plan, mut written, mut events) = (plan(), Written::default(), Vec::new());
        let table = Lines::new(&plan, b"s/", 0, 7, 0, 0).unwrap();
        table.run(lines.iter().copied(), &mut written, &mut events);
        let done = events.len();
        let text = |piece: Range<usize>| String::from_utf8(written.bytes[piece].to_vec()).unwrap();
        let events = events
            .into_iter()
            .map(|event| (text(event.value.unwrap()), text(event.id)));
        (done, events.collect())
    }

    #[test]
    fn lines_end_behind_their_newlines() {
        let cut = |data| lines_of(data).collect::<Vec<&[u8]>>();
        assert_eq!(cut(b"1\n\n2\n"), [&b"1\n"[..], b"\n", b"2\n"]);
        assert_eq!(cut(b"1\n2"), [&b"1\n"[..], b"2"]);
        assert!(cut(b"").is_empty());
    }

    #[test]
    fn escapes_are_undone_and_null_is_told() {
        let (done, events) = read(&[b"1\ta\\tb\n", b"2\t\\N\n", b"3\t\\\\N\n", b"4\t\\q\\\n"]);
        assert_eq!(done, 4);
        let values: Vec<_> = events.iter().map(|(value, _)| value.as_str()).collect();
        assert_eq!(
            values,
            [
                r#"{"id":1,"v":"a\tb"}"#,
                r#"{"id":2,"v":null}"#,
                r#"{"id":3,"v":"\\N"}"#,
                r#"{"id":4,"v":"q\\"}"#
            ]
        );
        assert_eq!(events[0].1, r#"s/{"id":1}"#);
    }

    #[test]
    fn it_stops_before_a_line_that_is_not_its_own() {
        for wrong in [
            &b"2\tlong\n"[..],
            b"2\n",
            b"2\ta\tb\n",
            b"2\ta",
            b"\\N\ta\\",
            b"2\t\xff\n",
            b"",
            b"\n",
        ] {
            let (done, events) = read(&[b"1\ta\n", wrong, b"3\tc\n"]);
            assert_eq!((done, events.len()), (1, 1), "{wrong:?}");
        }
    }
}
