//! Frames -> events, one after the other (twin of liberator/plan/python.py). Knows nothing of Python.
//!
//! A frame is done whole or not at all: what can't be done here leaves no trace, and Python's executor does it.

use std::ops::Range;

use crate::envelope::{Changes, NO_ROW, Piece, Told, Transaction, Written};
use crate::frames::{self, Field, Kind, Old};
use crate::plan::{Plan, Row};

/// 2000-01-01 in microseconds since the Unix epoch.
const EPOCH_US: i128 = 946_684_800_000_000;

/// Where the stream is; what Python's executor knows by the same names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub change: u64,
    pub message: u64,
    pub inside: bool,
    pub begun: u64,
    pub committed_us: i128,
    pub transaction: Transaction,
}

/// A table whose changes are in a run. plan: None: it is not captured. padded: may an old row have nulls that were not sent?
pub struct Table<'a> {
    pub plan: Option<&'a Plan>,
    pub padded: bool,
    /// What was put together for the transaction under way.
    changes: Option<(i64, Changes)>,
}

impl<'a> Table<'a> {
    pub fn new(plan: Option<&'a Plan>, padded: bool) -> Self {
        Table {
            plan,
            padded,
            changes: None,
        }
    }
}

/// One event. table: its index. headers: None for none at all.
pub struct Event {
    pub table: usize,
    pub key: Option<Piece>,
    pub value: Option<Piece>,
    pub id: Piece,
    pub headers: Option<Range<usize>>,
}

/// What is the same for a whole run. id_place: what ids begin with. tombstones: are they asked for?
pub struct Settings<'a> {
    pub id_place: &'a [u8],
    pub tombstones: bool,
    pub now_us: i128,
}

/// One run.
pub struct Transcoder<'a> {
    settings: Settings<'a>,
    pub place: Place,
    pub tables: Vec<Table<'a>>,
    pub written: Written,
    pub events: Vec<Event>,
    id_prefix: Vec<u8>,
    id: Vec<u8>,
    before: Row,
    after: Row,
}

impl<'a> Transcoder<'a> {
    pub fn new(settings: Settings<'a>, place: Place, tables: Vec<Table<'a>>) -> Self {
        let id_prefix = id_prefix(settings.id_place, place.begun);
        Transcoder {
            settings,
            place,
            tables,
            written: Written::default(),
            events: Vec::new(),
            id_prefix,
            id: Vec::new(),
            before: Row::default(),
            after: Row::default(),
        }
    }

    /// The events of `frames`, of which each has its kind and, of a change, the index of its table. How many were done.
    pub fn run(&mut self, frames: &[(&[u8], Kind, usize)]) -> usize {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for (number, (frame, kind, table)) in frames.iter().enumerate() {
            let mark = (
                self.events.len(),
                self.written.bytes.len(),
                self.written.headers.len(),
            );
            new.clear();
            old.clear();
            let done = match kind {
                Kind::Begin => self.begin(frame),
                Kind::Commit => self.commit(frame),
                Kind::Insert(_) => self.insert(frame, *table, &mut new),
                Kind::Update(_) => self.update(frame, *table, &mut old, &mut new),
                Kind::Delete(_) => self.delete(frame, *table, &mut old),
            };
            if done.is_none() {
                self.events.truncate(mark.0);
                self.written.bytes.truncate(mark.1);
                self.written.headers.truncate(mark.2);
                return number;
            }
        }
        frames.len()
    }

    fn begin(&mut self, frame: &[u8]) -> Option<()> {
        let begin = frames::begin(frame)?;
        let before = self.place.transaction.commit_lsn;
        self.place.transaction = Transaction {
            commit_lsn: begin.final_lsn,
            committed_us: i128::from(begin.committed_us) + EPOCH_US,
            xid: Some(begin.xid),
            last_commit: (before != 0).then_some(before),
            number: self.place.transaction.number.checked_add(1)?,
        };
        self.id_prefix = id_prefix(self.settings.id_place, begin.final_lsn);
        (self.place.change, self.place.message) = (0, 0);
        (self.place.inside, self.place.begun) = (true, begin.final_lsn);
        Some(())
    }

    fn commit(&mut self, frame: &[u8]) -> Option<()> {
        self.place.committed_us = i128::from(frames::commit(frame)?) + EPOCH_US;
        self.place.inside = false;
        Some(())
    }

    /// The plan of a table and its changes in the transaction under way; None: it is not captured.
    fn plan(&mut self, table: usize) -> Option<Option<&'a Plan>> {
        let table = self.tables.get_mut(table)?;
        let Some(plan) = table.plan else {
            return Some(None);
        };
        let transaction = &self.place.transaction;
        if !matches!(&table.changes, Some((number, _)) if *number == transaction.number) {
            let changes = plan
                .envelope
                .changes(transaction, b"false", self.settings.now_us)?;
            table.changes = Some((transaction.number, changes));
        }
        Some(Some(plan))
    }

    fn insert<'f>(
        &mut self,
        frame: &'f [u8],
        table: usize,
        new: &mut Vec<Field<'f>>,
    ) -> Option<()> {
        let change = self.place.change.checked_add(1)?;
        if let Some(plan) = self.plan(table)? {
            frames::insert(frame, new)?;
            has_width(plan, new)?;
            plan.write(new, &mut self.after)?;
            self.emit(plan, table, b'c', false, frames::lsn(frame)?, None)?;
        }
        self.place.change = change;
        Some(())
    }

    fn update<'f>(
        &mut self,
        frame: &'f [u8],
        table: usize,
        old: &mut Vec<Field<'f>>,
        new: &mut Vec<Field<'f>>,
    ) -> Option<()> {
        let change = self.place.change.checked_add(1)?;
        if let Some(plan) = self.plan(table)? {
            let sent = frames::update(frame, old, new)?;
            has_width(plan, new)?;
            if sent != Old::Nothing {
                has_width(plan, old)?;
                plan.fill(new, old, sent == Old::Row);
                self.old(plan, table, sent, old)?;
            }
            plan.write(new, &mut self.after)?;
            let lsn = frames::lsn(frame)?;
            let has_before = sent != Old::Nothing;
            if has_before && self.before.key.is_some() && self.before.key != self.after.key {
                self.remove(plan, table, lsn, Some("__debezium.newkey"))?;
                self.emit(plan, table, b'c', false, lsn, Some("__debezium.oldkey"))?;
            } else {
                self.emit(plan, table, b'u', has_before, lsn, None)?;
            }
        }
        self.place.change = change;
        Some(())
    }

    fn delete<'f>(
        &mut self,
        frame: &'f [u8],
        table: usize,
        old: &mut Vec<Field<'f>>,
    ) -> Option<()> {
        let change = self.place.change.checked_add(1)?;
        if let Some(plan) = self.plan(table)? {
            let sent = frames::delete(frame, old)?;
            has_width(plan, old)?;
            self.old(plan, table, sent, old)?;
            self.remove(plan, table, frames::lsn(frame)?, None)?;
        }
        self.place.change = change;
        Some(())
    }

    /// What was sent of an old row, into `before`.
    fn old(&mut self, plan: &Plan, table: usize, sent: Old, old: &mut [Field]) -> Option<()> {
        if sent == Old::Key {
            plan.keep_identity(old);
        } else if self.tables.get(table)?.padded && old.contains(&Field::Null) {
            return None;
        }
        plan.write(old, &mut self.before)
    }

    /// The id of the change under way, into `id` and the buffer.
    fn id(&mut self, end: &[u8]) -> Piece {
        self.id.clear();
        self.id.extend_from_slice(&self.id_prefix);
        let mut digits = itoa::Buffer::new();
        let number = digits.format(self.place.change);
        self.id.extend_from_slice(number.as_bytes());
        self.id.extend_from_slice(end);
        self.written.add(&[&self.id])
    }

    /// An event with the row in `after`. moved: the name of the header that tells what its key was. None where the row
    /// does not surely keep its contract.
    fn emit(
        &mut self,
        plan: &Plan,
        table: usize,
        op: u8,
        has_before: bool,
        lsn: u64,
        moved: Option<&'static str>,
    ) -> Option<()> {
        if !plan.passes(&self.after) {
            return None;
        }
        let id = self.id(if moved.is_some() { b"/c" } else { b"" });
        let first = self.written.headers.len();
        let key = self.after.key.as_deref();
        let told = Told {
            op,
            before: has_before.then_some(&self.before.json),
            after: &self.after.json,
            lsn,
            key,
            id: &self.id,
            unchanged: &self.after.missing,
            forget: false,
        };
        let prefix = self.written.add(&[&plan.before_value]);
        let changes = &self.tables.get(table)?.changes.as_ref()?.1;
        let value = changes.row(&told, &mut self.written)?;
        let key = key.map(|key| self.written.add(&[&plan.before_key, key]));
        if let Some(name) = moved {
            self.header(name, self.before.key.clone());
        }
        self.event(table, key, Some(prefix.start..value.end), id, first)
    }

    /// A delete of the row in `before`, and its tombstone. moved: the name of the header that tells the key in `after`.
    fn remove(
        &mut self,
        plan: &Plan,
        table: usize,
        lsn: u64,
        moved: Option<&'static str>,
    ) -> Option<()> {
        let id = self.id(b"");
        let first = self.written.headers.len();
        let key = self.before.key.as_deref();
        let forget = key.is_some() && plan.unique_key && self.settings.tombstones;
        let told = Told {
            op: b'd',
            before: Some(&self.before.json),
            after: NO_ROW,
            lsn,
            key,
            id: &self.id,
            unchanged: b"",
            forget,
        };
        let prefix = self.written.add(&[&plan.before_value]);
        let changes = &self.tables.get(table)?.changes.as_ref()?.1;
        let value = changes
            .removed(&told, &mut self.written)?
            .map(|value| prefix.start..value.end);
        let written_key = key.map(|key| self.written.add(&[&plan.before_key, key]));
        let is_forgotten = forget && value.is_some();
        if let Some(name) = moved {
            self.header(name, self.after.key.clone());
        }
        self.event(table, written_key.clone(), value, id, first)?;
        if is_forgotten {
            let id = self.id(b"/t");
            let first = self.written.headers.len();
            let changes = &self.tables.get(table)?.changes.as_ref()?.1;
            let key = self.before.key.as_deref();
            changes.tombstone(lsn, key, &self.id, &mut self.written)?;
            if let Some(name) = moved {
                self.header(name, self.after.key.clone());
            }
            self.event(table, written_key, None, id, first)?;
        }
        Some(())
    }

    /// One more header of the event under way: a key, bare.
    fn header(&mut self, name: &'static str, key: Option<Vec<u8>>) {
        self.written
            .header(name, &[key.as_deref().unwrap_or(NO_ROW)]);
    }

    fn event(
        &mut self,
        table: usize,
        key: Option<Piece>,
        value: Option<Piece>,
        id: Piece,
        first_header: usize,
    ) -> Option<()> {
        let headers = first_header..self.written.headers.len();
        self.events.push(Event {
            table,
            key,
            value,
            id,
            headers: (!headers.is_empty()).then_some(headers),
        });
        Some(())
    }
}

fn has_width(plan: &Plan, fields: &[Field]) -> Option<()> {
    (fields.len() == plan.width()).then_some(())
}

/// `system/slot/X/Y/`
fn id_prefix(place: &[u8], commit_lsn: u64) -> Vec<u8> {
    let (high, low) = (commit_lsn >> 32, commit_lsn & 0xFFFF_FFFF);
    [place, format!("/{high:X}/{low:X}/").as_bytes()].concat()
}
