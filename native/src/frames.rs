//! The log's frames: XLogData payloads that hold one pgoutput message (twin of liberator/postgres/pgoutput.py).
//!
//! Every read is bounds-checked and gives `None` where bytes are missing or wrong. What is wrong then is said by Python's
//! decoder, which reads the same frame again.

/// Bytes before the message: `w`, WAL start, WAL end, send time.
const HEADER: usize = 25;

/// The commit times that events can tell.
const TIMES: std::ops::RangeInclusive<i64> = -63_082_281_600_000_000..=252_455_615_999_999_999;

/// A column's value in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Text(&'a [u8]),
    Null,
    /// A TOASTed value that did not change, and was not sent.
    Unchanged,
}

/// What a frame holds, as far as runs know it. Of a change: the table's oid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Begin,
    Commit,
    Insert(u32),
    Update(u32),
    Delete(u32),
}

impl Kind {
    /// None: Python's executor does it.
    pub fn of(frame: &[u8]) -> Option<Kind> {
        let mut reader = Reader::new(frame, HEADER);
        Some(match reader.u8()? {
            b'B' => Kind::Begin,
            b'C' => Kind::Commit,
            b'I' => Kind::Insert(reader.u32()?),
            b'U' => Kind::Update(reader.u32()?),
            b'D' => Kind::Delete(reader.u32()?),
            _ => return None,
        })
    }
}

/// The position of a frame in the log.
pub fn lsn(frame: &[u8]) -> Option<u64> {
    Reader::new(frame, 1).u64()
}

/// A Begin message. Time: microseconds since 2000-01-01.
pub struct Begin {
    pub final_lsn: u64,
    pub committed_us: i64,
    pub xid: u32,
}

/// Reads the Begin in `frame`.
pub fn begin(frame: &[u8]) -> Option<Begin> {
    let mut reader = Reader::new(frame, HEADER + 1);
    let begin = Begin {
        final_lsn: reader.u64()?,
        committed_us: reader.i64()?,
        xid: reader.u32()?,
    };
    (reader.end() && TIMES.contains(&begin.committed_us)).then_some(begin)
}

/// The commit time of the Commit in `frame`, microseconds since 2000-01-01.
pub fn commit(frame: &[u8]) -> Option<i64> {
    let mut reader = Reader::new(frame, HEADER + 1);
    reader.bytes(1 + 8 + 8)?;
    let committed_us = reader.i64()?;
    reader.end().then_some(committed_us)
}

/// What a change sends of the row before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    Nothing,
    /// The columns of its identity; the others mean nothing.
    Key,
    /// The whole row.
    Row,
}

/// The row of the insert in `frame` into `new`, which is empty.
pub fn insert<'a>(frame: &'a [u8], new: &mut Vec<Field<'a>>) -> Option<()> {
    let mut reader = Reader::change(frame);
    reader.expect(b'N')?;
    reader.tuple(new)?;
    reader.end().then_some(())
}

/// The rows of the update in `frame`.
pub fn update<'a>(
    frame: &'a [u8],
    old: &mut Vec<Field<'a>>,
    new: &mut Vec<Field<'a>>,
) -> Option<Old> {
    let mut reader = Reader::change(frame);
    let mut kind = reader.u8()?;
    let sent = match kind {
        b'K' => Old::Key,
        b'O' => Old::Row,
        _ => Old::Nothing,
    };
    if sent != Old::Nothing {
        reader.tuple(old)?;
        kind = reader.u8()?;
    }
    if kind != b'N' {
        return None;
    }
    reader.tuple(new)?;
    reader.end().then_some(sent)
}

/// The row of the delete in `frame`.
pub fn delete<'a>(frame: &'a [u8], old: &mut Vec<Field<'a>>) -> Option<Old> {
    let mut reader = Reader::change(frame);
    let sent = match reader.u8()? {
        b'K' => Old::Key,
        b'O' => Old::Row,
        _ => return None,
    };
    reader.tuple(old)?;
    reader.end().then_some(sent)
}

struct Reader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn new(data: &'a [u8], position: usize) -> Self {
        Reader { data, position }
    }

    /// Behind the oid of a row's change.
    fn change(data: &'a [u8]) -> Self {
        Reader::new(data, HEADER + 5)
    }

    fn end(&self) -> bool {
        self.position == self.data.len()
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(count)?;
        let bytes = self.data.get(self.position..end)?;
        self.position = end;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.u8()? == byte).then_some(())
    }

    /// TupleData. No count in it makes `into` grow beyond the bytes that are there.
    fn tuple(&mut self, into: &mut Vec<Field<'a>>) -> Option<()> {
        let count = self.array().map(u16::from_be_bytes)?;
        for _ in 0..count {
            into.push(match self.u8()? {
                b't' => {
                    let size = usize::try_from(self.u32()?).ok()?;
                    Field::Text(self.bytes(size)?)
                }
                b'n' => Field::Null,
                b'u' => Field::Unchanged,
                _ => return None,
            });
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(message: &[u8]) -> Vec<u8> {
        [&[0; HEADER], message].concat()
    }

    #[test]
    fn an_insert_has_text_null_and_what_was_not_sent() {
        let frame = frame(b"I\0\0\0\x07N\0\x03t\0\0\0\x02abnu");
        let mut new = Vec::new();
        assert_eq!(Kind::of(&frame), Some(Kind::Insert(7)));
        assert_eq!(insert(&frame, &mut new), Some(()));
        assert_eq!(new, [Field::Text(b"ab"), Field::Null, Field::Unchanged]);
    }

    #[test]
    fn a_message_that_ends_early_or_late_is_left_to_python() {
        let whole = frame(b"U\0\0\0\x07O\0\x01t\0\0\0\x01aN\0\x01t\0\0\0\x01b");
        let (mut old, mut new) = (Vec::new(), Vec::new());
        assert_eq!(update(&whole, &mut old, &mut new), Some(Old::Row));
        for end in 0..whole.len() {
            let (mut old, mut new) = (Vec::new(), Vec::new());
            assert_eq!(update(&whole[..end], &mut old, &mut new), None);
        }
        let late = [&whole[..], b"x"].concat();
        let (mut old, mut new) = (Vec::new(), Vec::new());
        assert_eq!(update(&late, &mut old, &mut new), None);
    }

    #[test]
    fn a_count_that_the_bytes_do_not_hold_allocates_nothing() {
        let frame = frame(b"I\0\0\0\x07N\xff\xff");
        let mut new = Vec::new();
        assert_eq!(insert(&frame, &mut new), None);
        assert_eq!(new.capacity(), 0);
    }
}
