//! Envelopes: what stands around a row's JSON (twin of liberator/codec/envelope.py).
//!
//! An envelope of a table comes as data, gives the changes of one transaction, and these write values and headers.

mod cloudevents;
mod debezium;
mod flat;

use std::ops::Range;

use serde_json::Value;

/// In the place of a row that there is none of.
pub const NO_ROW: &[u8] = b"null";

/// Where the changes that follow come from; see `Transaction` in Python. Times: microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub commit_lsn: u64,
    pub committed_us: i128,
    pub xid: Option<u32>,
    pub last_commit: Option<u64>,
    pub number: i64,
}

/// What an envelope may tell of one event.
pub struct Told<'a> {
    /// `c`, `u` or `d`.
    pub op: u8,
    /// None: nothing was sent of it.
    pub before: Option<&'a [u8]>,
    pub after: &'a [u8],
    pub lsn: u64,
    pub key: Option<&'a [u8]>,
    pub id: &'a [u8],
    /// Columns that were not sent: JSON strings with commas between them.
    pub unchanged: &'a [u8],
    /// Of a delete: a tombstone follows.
    pub forget: bool,
}

/// A piece of `Written::bytes`.
pub type Piece = Range<usize>;

/// A header: its name, and its text.
pub type Header = (&'static str, Piece);

/// All that a run has written: one buffer, and what is where in it.
#[derive(Default)]
pub struct Written {
    pub bytes: Vec<u8>,
    pub headers: Vec<Header>,
}

impl Written {
    /// Append `parts`; where they are.
    pub fn add(&mut self, parts: &[&[u8]]) -> Piece {
        let start = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        start..self.bytes.len()
    }

    /// Append a header of the event under way.
    pub fn header(&mut self, name: &'static str, parts: &[&[u8]]) {
        let text = self.add(parts);
        self.headers.push((name, text));
    }
}

/// The envelope of a table.
pub enum Envelope {
    Debezium(debezium::Table),
    CloudEvents(cloudevents::Table),
    Flat(flat::Table),
}

/// Changes of a table in one transaction.
pub enum Changes {
    Debezium(debezium::Changes),
    CloudEvents(cloudevents::Changes),
    Flat(flat::Changes),
}

impl Envelope {
    /// From its description; None: not known here.
    pub fn parse(description: &Value) -> Option<Envelope> {
        match description.get("kind")?.as_str()? {
            "debezium" => debezium::Table::parse(description).map(Envelope::Debezium),
            "cloudevents" => cloudevents::Table::parse(description).map(Envelope::CloudEvents),
            "flat" => flat::Table::parse(description).map(Envelope::Flat),
            _ => None,
        }
    }

    /// For the changes in a transaction. mark: is it a snapshot? now_us: the processing time.
    pub fn changes(&self, transaction: &Transaction, mark: &[u8], now_us: i128) -> Option<Changes> {
        Some(match self {
            Envelope::Debezium(it) => Changes::Debezium(it.changes(transaction, mark, now_us)),
            Envelope::CloudEvents(it) => Changes::CloudEvents(it.changes(transaction, mark)?),
            Envelope::Flat(it) => Changes::Flat(it.changes(transaction, now_us)),
        })
    }
}

impl Changes {
    /// The value of an event with a row, and its headers. None: Python's.
    pub fn row(&self, told: &Told, out: &mut Written) -> Option<Piece> {
        match self {
            Changes::Debezium(changes) => Some(changes.value(told, out)),
            Changes::CloudEvents(changes) => changes.value(told, out),
            Changes::Flat(changes) => Some(changes.row(told, out)),
        }
    }

    /// The value of a delete, None inside: it is null; and its headers. None: Python's.
    pub fn removed(&self, told: &Told, out: &mut Written) -> Option<Option<Piece>> {
        match self {
            Changes::Debezium(changes) => Some(Some(changes.value(told, out))),
            Changes::CloudEvents(changes) => Some(Some(changes.value(told, out)?)),
            Changes::Flat(changes) => Some(changes.removed(told, out)),
        }
    }

    /// The headers of a tombstone. None: Python's.
    pub fn tombstone(
        &self,
        lsn: u64,
        key: Option<&[u8]>,
        id: &[u8],
        out: &mut Written,
    ) -> Option<()> {
        match self {
            Changes::Debezium(_) => {}
            Changes::CloudEvents(changes) => changes.headers(b'd', key, id, lsn, out)?,
            Changes::Flat(changes) => changes.headers(b'd', lsn, b"true", out),
        }
        Some(())
    }
}
