//! The border to Python: what comes in is looked up and held before a run, what goes out is made after it; in between the
//! interpreter's lock is released.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::copying::{Lines, lines_of};
use crate::envelope::{Piece, Transaction, Written};
use crate::frames::Kind;
use crate::lines::Line;
use crate::transcoder::{Event, Place, Settings, Table, Transcoder};

/// A compiled plan: `Plan(description: bytes)`. ValueError says what of it is not known here.
#[pyclass(frozen)]
pub struct Plan(crate::plan::Plan);

#[pymethods]
impl Plan {
    #[new]
    fn new(description: &[u8]) -> PyResult<Plan> {
        crate::plan::Plan::parse(description)
            .map(Plan)
            .map_err(PyValueError::new_err)
    }
}

/// (change, message, inside, begun, committed_us, transaction) as Python's executor has them; the transaction is
/// (commit_lsn, committed_us, xid, last_commit, number).
type PlaceTuple = (u64, u64, bool, u64, i128, TransactionTuple);
type TransactionTuple = (u64, i128, Option<u32>, Option<u64>, i64);

/// What a run has made, in one piece of memory until Python asks for columns: `Packed` in liberator/change.py.
#[pyclass(frozen)]
pub struct Events {
    room: Room,
    /// Of each table that events name.
    topics: Vec<Option<Py<PyString>>>,
    /// Where the room goes back to.
    spare: Spare,
}

/// What a run fills.
#[derive(Default)]
struct Room {
    written: Written,
    events: Vec<Event>,
}

/// The room of a run whose events are gone, for the next one: to write into fresh memory costs more than to write.
type Spare = Arc<Mutex<Option<Room>>>;

/// Bytes of a room that is kept at most.
const KEPT: usize = 4 << 20;

impl Drop for Events {
    fn drop(&mut self) {
        let mut room = std::mem::take(&mut self.room);
        room.events.clear();
        room.written.bytes.clear();
        room.written.headers.clear();
        if let (..=KEPT, Ok(mut spare)) = (room.written.bytes.capacity(), self.spare.lock()) {
            *spare = Some(room);
        }
    }
}

#[pymethods]
impl Events {
    fn __len__(&self) -> usize {
        self.room.events.len()
    }

    /// Bytes of keys and values.
    fn size(&self) -> usize {
        let size = |piece: &Option<Piece>| piece.as_ref().map_or(0, ExactSizeIterator::len);
        let sizes = self
            .room
            .events
            .iter()
            .map(|it| size(&it.key) + size(&it.value));
        sizes.sum()
    }

    /// How many there are of each topic.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut numbers = vec![0_usize; self.topics.len()];
        for event in &self.room.events {
            if let Some(number) = numbers.get_mut(event.table) {
                *number += 1;
            }
        }
        let counts = PyDict::new(py);
        for (topic, number) in self.topics.iter().zip(numbers) {
            if let (Some(topic), 1..) = (topic, number) {
                let before = counts.get_item(topic)?;
                let before = before.map_or(Ok(0), |it| it.extract::<usize>())?;
                counts.set_item(topic, before + number)?;
            }
        }
        Ok(counts)
    }

    /// All of them as lines of JSON. None: some of them need the care of Python's.
    fn lines<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut topics = Vec::with_capacity(self.topics.len());
        for topic in &self.topics {
            let text = topic.as_ref().map(|it| it.bind(py).to_cow()).transpose()?;
            topics.push(text.unwrap_or_default());
        }
        let (written, topics) = (&self.room.written, &topics);
        let piece = |place: &Piece| written.bytes.get(place.clone());
        let line = |event: &Event| {
            Some(Line {
                topic: topics.get(event.table)?,
                key: event.key.as_ref().and_then(piece),
                value: event.value.as_ref().and_then(piece),
                id: piece(&event.id).filter(|_| event.headers.is_none())?,
            })
        };
        written_lines(py, || self.room.events.iter().map(line))
    }

    /// Append them to columns.
    fn give<'py>(&self, py: Python<'py>, columns: Columns<'py>) -> PyResult<()> {
        let (topics, keys, values, ids, headers) = columns;
        let bytes = |piece: &Piece| {
            let bytes = self.room.written.bytes.get(piece.clone());
            PyBytes::new(py, bytes.unwrap_or_default())
        };
        for event in &self.room.events {
            let topic = self.topics.get(event.table);
            topics.append(topic.and_then(Option::as_ref))?;
            keys.append(event.key.as_ref().map(bytes))?;
            values.append(event.value.as_ref().map(bytes))?;
            ids.append(bytes(&event.id))?;
            headers.append(told_headers(py, &self.room.written, event)?)?;
        }
        Ok(())
    }
}

/// The columns of an `EncodedBatch`: topics, keys, values, ids, headers.
type Columns<'py> = (
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
);

/// What is the same for all runs of a connector: `Executor(id_place: bytes, tombstones: bool)`.
#[pyclass(frozen)]
pub struct Executor {
    id_place: Vec<u8>,
    tombstones: bool,
    spare: Spare,
}

impl Executor {
    fn room(&self) -> Room {
        let spare = self.spare.lock().ok().and_then(|mut spare| spare.take());
        spare.unwrap_or_default()
    }

    fn events(
        &self,
        written: Written,
        events: Vec<Event>,
        topics: Vec<Option<Py<PyString>>>,
    ) -> Events {
        Events {
            room: Room { written, events },
            topics,
            spare: Arc::clone(&self.spare),
        }
    }
}

#[pymethods]
impl Executor {
    #[new]
    fn new(id_place: Vec<u8>, tombstones: bool) -> Executor {
        Executor {
            id_place,
            tombstones,
            spare: Spare::default(),
        }
    }

    /// The events of `frames[start:end]`, up to the first frame that is Python's. plans: oid -> `TablePlan` or None; padded:
    /// oid -> bool. commits: may it do Commit messages? Returns (the events, index of the first frame that is not done, the
    /// place behind the last one that is).
    #[allow(clippy::too_many_arguments)]
    fn run<'py>(
        &self,
        py: Python<'py>,
        frames: &Bound<'py, PyList>,
        start: usize,
        end: usize,
        plans: &Bound<'py, PyDict>,
        padded: &Bound<'py, PyDict>,
        now_us: i128,
        commits: bool,
        place: PlaceTuple,
    ) -> PyResult<(Events, usize, PlaceTuple)> {
        let held = Held::collect(frames, start, end, commits, plans, padded)?;
        let tables = held.tables.iter().map(Announced::table).collect();
        let settings = Settings {
            id_place: &self.id_place,
            tombstones: self.tombstones,
            now_us,
        };
        let mut transcoder = Transcoder::new(settings, place_of(place), tables);
        Room {
            written: transcoder.written,
            events: transcoder.events,
        } = self.room();
        let work = held.work();
        let done = py.detach(|| transcoder.run(&work));
        let topics = held.tables.iter();
        let topics = topics.map(|it| it.topic.clone().map(Bound::unbind));
        let events = self.events(transcoder.written, transcoder.events, topics.collect());
        Ok((events, start + done, tuple_of(transcoder.place)))
    }

    /// The events of the COPY lines from number `start` of `data`, up to the first one that is Python's, and never beyond
    /// number `end`: one for each. prefix: of ids; in_front: fields before the table's columns.
    #[allow(clippy::too_many_arguments)]
    fn copy(
        &self,
        py: Python<'_>,
        data: &[u8],
        start: usize,
        end: usize,
        plan: &Plan,
        topic: Py<PyString>,
        prefix: &[u8],
        in_front: usize,
        lsn: u64,
        taken_us: i128,
        now_us: i128,
    ) -> Events {
        let Room {
            mut written,
            mut events,
        } = self.room();
        py.detach(|| {
            if let Some(table) = Lines::new(&plan.0, prefix, in_front, lsn, taken_us, now_us) {
                let lines = lines_of(data).skip(start).take(end.saturating_sub(start));
                table.run(lines, &mut written, &mut events);
            }
        });
        self.events(written, events, vec![Some(topic)])
    }
}

/// The events of a batch without headers as lines of JSON. None: some of them need the care of Python's.
#[pyfunction]
pub fn lines<'py>(
    py: Python<'py>,
    topics: Vec<PyBackedStr>,
    keys: Vec<Option<PyBackedBytes>>,
    values: Vec<Option<PyBackedBytes>>,
    ids: Vec<PyBackedBytes>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    written_lines(py, || {
        let events = topics.iter().zip(&keys).zip(&values).zip(&ids);
        events.map(|(((topic, key), value), id)| {
            Some(Line {
                topic,
                key: key.as_deref(),
                value: value.as_deref(),
                id,
            })
        })
    })
}

fn written_lines<'py, 'a, Events>(
    py: Python<'py>,
    events: impl Fn() -> Events + Sync,
) -> PyResult<Option<Bound<'py, PyBytes>>>
where
    Events: Iterator<Item = Option<Line<'a>>>,
{
    let Some(size) = py.detach(|| crate::lines::size(events())) else {
        return Ok(None);
    };
    let write = |out: &mut [u8]| Ok(py.detach(|| crate::lines::write(events(), out))?);
    PyBytes::new_with(py, size, write).map(Some)
}

/// A table as the first frame of a run that names it finds it. topic: None for one that is not captured.
struct Announced<'py> {
    plan: Option<Bound<'py, Plan>>,
    topic: Option<Bound<'py, PyString>>,
    padded: bool,
}

impl Announced<'_> {
    fn table(&self) -> Table<'_> {
        Table::new(self.plan.as_ref().map(|plan| &plan.get().0), self.padded)
    }
}

/// The frames of a run and the tables that they name. It owns a reference to each, so that their bytes stay while others
/// have the interpreter's lock.
struct Held<'py> {
    frames: Vec<(Bound<'py, PyBytes>, Kind, usize)>,
    tables: Vec<Announced<'py>>,
}

impl<'py> Held<'py> {
    /// Up to the first frame that is surely Python's.
    fn collect(
        frames: &Bound<'py, PyList>,
        start: usize,
        end: usize,
        commits: bool,
        plans: &Bound<'py, PyDict>,
        padded: &Bound<'py, PyDict>,
    ) -> PyResult<Held<'py>> {
        let mut held = Held {
            frames: Vec::with_capacity(end.min(frames.len()).saturating_sub(start)),
            tables: Vec::new(),
        };
        let mut indexes: HashMap<u32, usize> = HashMap::new();
        for index in start..end.min(frames.len()) {
            let Ok(frame) = frames.get_item(index)?.cast_into::<PyBytes>() else {
                break;
            };
            let Some(kind) = Kind::of(frame.as_bytes()) else {
                break;
            };
            let table = match kind {
                Kind::Begin => 0,
                Kind::Commit if commits => 0,
                Kind::Commit => break,
                Kind::Insert(oid) | Kind::Update(oid) | Kind::Delete(oid) => {
                    match indexes.get(&oid) {
                        Some(index) => *index,
                        None => {
                            let Some(table) = announced(oid, plans, padded)? else {
                                break;
                            };
                            held.tables.push(table);
                            indexes.insert(oid, held.tables.len() - 1);
                            held.tables.len() - 1
                        }
                    }
                }
            };
            held.frames.push((frame, kind, table));
        }
        Ok(held)
    }

    fn work(&self) -> Vec<(&[u8], Kind, usize)> {
        self.frames
            .iter()
            .map(|(frame, kind, table)| (frame.as_bytes(), *kind, *table))
            .collect()
    }
}

/// The table with this oid; None: its changes are Python's.
fn announced<'py>(
    oid: u32,
    plans: &Bound<'py, PyDict>,
    padded: &Bound<'py, PyDict>,
) -> PyResult<Option<Announced<'py>>> {
    let py = plans.py();
    let Some(plan) = plans.get_item(oid)? else {
        return Ok(None);
    };
    if plan.is_none() {
        return Ok(Some(Announced {
            plan: None,
            topic: None,
            padded: false,
        }));
    }
    let Ok(native) = plan
        .getattr(pyo3::intern!(py, "native"))?
        .cast_into::<Plan>()
    else {
        return Ok(None);
    };
    let padded = match padded.get_item(oid)? {
        Some(told) => told.is_truthy()?,
        None => true,
    };
    Ok(Some(Announced {
        plan: Some(native),
        topic: Some(plan.getattr(pyo3::intern!(py, "topic"))?.cast_into()?),
        padded,
    }))
}

fn told_headers<'py>(
    py: Python<'py>,
    written: &Written,
    event: &Event,
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let Some(range) = &event.headers else {
        return Ok(None);
    };
    let headers = written.headers.get(range.clone());
    let pairs = headers.unwrap_or_default().iter().map(|(name, piece)| {
        let text = written.bytes.get(piece.clone());
        (
            PyString::intern(py, name),
            PyBytes::new(py, text.unwrap_or_default()),
        )
    });
    PyTuple::new(py, pairs.collect::<Vec<_>>()).map(Some)
}

fn place_of(told: PlaceTuple) -> Place {
    let (change, message, inside, begun, committed_us, transaction) = told;
    let (commit_lsn, transaction_us, xid, last_commit, number) = transaction;
    Place {
        change,
        message,
        inside,
        begun,
        committed_us,
        transaction: Transaction {
            commit_lsn,
            committed_us: transaction_us,
            xid,
            last_commit,
            number,
        },
    }
}

fn tuple_of(place: Place) -> PlaceTuple {
    let transaction = place.transaction;
    (
        place.change,
        place.message,
        place.inside,
        place.begun,
        place.committed_us,
        (
            transaction.commit_lsn,
            transaction.committed_us,
            transaction.xid,
            transaction.last_commit,
            transaction.number,
        ),
    )
}
