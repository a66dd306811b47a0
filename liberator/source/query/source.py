"""A query source: its thread reads the tables that are due, pass by pass, into a bounded queue.

Enters: settings and a database. Leaves: batches with the position behind their last row. Called by the capture loop. The
thread stands still while the queue is full, so a slow publisher is waited for by the reader, not by memory. Never writes to
the database.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from liberator.change import Batch, State
from liberator.errors import CheckpointError, LiberatorError, PreconditionError, SourceError
from liberator.postgres.selection import require_named
from liberator.protocols import PassProgress
from liberator.source.query.batch import RowBatch
from liberator.source.query.database import Database, Mark, Relation, Shape
from liberator.source.query.keys import KeySet
from liberator.source.query.passes import FIRST_PAGE, Clock, TablePass
from liberator.source.query.position import TablePosition, positions_of
from liberator.source.query.reconcile import Comparison
from liberator.source.query.settings import QuerySettings, TableSettings

log = logging.getLogger(__name__)

_BATCH_BYTES = 512 * 1024
_TIMED_OUT = ("postgres.57014", "source.timeout")
_TOO_SLOW = "raise source.query.statement_timeout, or see to an index that begins with the cursor, or the key"
_LEAST_ROWS = 100
_WAY_OUT = 8.0


@dataclass(slots=True)
class _Table:
    """A table and when it is read next (monotonic seconds). comparing: a comparison of keys that is not saved yet.
    mark: taken for its first pass, before anything was read. fitting: rows of a page that finds room."""

    relation: Relation
    settings: TableSettings
    position: TablePosition
    due: float = 0.0
    rounds: int = 0
    comparing: int | None = None
    mark: Mark | None = None
    fitting: int = FIRST_PAGE
    odd: dict[str, int] = field(default_factory=dict)


class QuerySource:
    """See `Source`. database: makes the connection of one session; `stop` ends what it reads. approve: called with what is
    going to be read before anything is. progress: hears of passes."""

    def __init__(
        self,
        settings: QuerySettings,
        database: Callable[[threading.Event], Database],
        *,
        progress: PassProgress,
        approve: Callable[[Database, Sequence[Shape]], None],
        tick: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._make = database
        self._progress = progress
        self._approve = approve
        self._tick, self._jitter = tick, jitter
        self._session: _Session | None = None
        self._pages: dict[str, int] = {}
        self.reading_tables = False
        """Is a table being read for the first time?"""

    @property
    def database(self) -> Database:
        """The open session's database."""
        if self._session is None:
            raise SourceError("the source is not open", code="source.closed")
        return self._session.database

    def open(self, resume: State) -> None:
        """See `Source.open`."""
        self.close()
        session = _Session(self, self._make, self._settings)
        try:
            session.open(resume)
        except BaseException:
            session.close()
            raise
        self._session = session
        session.start()

    def poll(self, limit: int, timeout: float) -> Batch:
        """See `Source.poll`."""
        if self._session is None:
            raise SourceError("the source is not open", code="source.closed")
        return self._session.poll(timeout)

    def ack(self, state: State) -> None:
        """See `Source.ack`: what is saved need not be told again."""
        if self._session is not None:
            self._session.acknowledged.append(state)

    def close(self) -> None:
        """See `Source.close`."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def queued(self) -> int:
        """Bytes, about, that were read and not taken."""
        return 0 if self._session is None else self._session.queued()


class _Session:
    """One connection and its thread."""

    def __init__(
        self, source: QuerySource, make: Callable[[threading.Event], Database], settings: QuerySettings
    ) -> None:
        self._source = source
        self._settings = settings
        self._stop = threading.Event()
        self.database = make(self._stop)
        self.acknowledged: deque[State] = deque()
        self._queue: queue.Queue[Batch | LiberatorError] = queue.Queue(
            maxsize=max(2, settings.queue_bytes // _BATCH_BYTES)
        )
        self._held = 0
        self._holding = threading.Lock()
        self._roomy, self._taken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="query", daemon=True)
        self._tables: dict[str, _Table] = {}
        self._look_due = 0.0
        self._identity = ""
        self._clock = Clock(
            tick=source._tick,
            pause=self._stop.wait,
            room=self._has_room,
            page_bytes=settings.queue_bytes // 2,
        )
        self._keys: KeySet | None = None

    # -- in the loop's thread

    def open(self, resume: State) -> None:
        """Connect, and find out what would go wrong later."""
        self.database.open()
        if self._settings.alone:
            self.database.claim(self._settings.name)
        self._identity = self.database.identity()
        saved = positions_of(resume)
        relations = self._relations()
        self._require_exact(relations)
        if not relations:
            raise PreconditionError(
                "there is no table to read: nothing in this database is meant by the configuration",
                code="source.no_tables",
                where="source.tables",
                fix="check source.tables and source.exclude",
            )
        self.database.require_readable(relations)
        self._add(relations, saved)
        if gone := sorted(saved.keys() - self._tables.keys()):
            log.warning("%s: no longer there, or no longer meant", ", ".join(gone))

    def start(self) -> None:
        """Start reading."""
        self._look_due = self._source._tick() + self._settings.look_around
        self._thread.start()

    def poll(self, timeout: float) -> Batch:
        """The next batch. Raises what the thread ran into."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            return Batch([])
        self._count(-_size(item))
        self._taken.set()
        if self._is_half_empty():
            self._roomy.set()
        if isinstance(item, LiberatorError):
            raise item
        return item

    def queued(self) -> int:
        """About."""
        return self._held

    def close(self) -> None:
        """End the thread, also one that waits for the server."""
        self._stop.set()
        self._roomy.set()
        end = time.monotonic() + _WAY_OUT
        while self._thread.is_alive() and time.monotonic() < end:
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                self.database.cancel()
        self.database.close()
        if self._keys is not None and not self._thread.is_alive():
            self._keys.close()

    # -- which tables

    def _relations(self) -> list[Relation]:
        return meant(self._settings, self.database.relations())

    def _require_exact(self, relations: Sequence[Relation]) -> None:
        there = {(relation.schema, relation.name) for relation in relations}
        for note in self._settings.selection.notes(there):
            log.warning("%s", note)
        require_named(there, self._settings.exact)

    def _add(self, relations: Sequence[Relation], saved: dict[str, TablePosition]) -> None:
        shapes = []
        for relation in relations:
            settings = self._settings.table(relation.schema, relation.name)
            settings = self.database.completed(settings)
            shape = self.database.shape(relation, settings)
            if shape is None:
                continue
            position = saved.get(relation.qualified)
            here = TablePosition(self._identity, str(settings.strategy), settings.cursor, oid=relation.oid)
            if position is not None and position.oid not in (0, relation.oid):
                log.warning("%s was made anew: it is read from its beginning", relation.qualified)
                position = None
            if settings.deletes == "reconcile":
                self._know_keys(shape, position)
            if position is None:
                position = here if self._keys is None else self._numbered(here, relation.qualified)
            else:
                _refuse_other(relation.qualified, position, here)
                self.database.require_past(position.seen)
                position = replace(position, oid=relation.oid)
            self._tables[relation.qualified] = _Table(relation, settings, position)
            shapes.append(shape)
            if not shape.indexed:
                log.warning(
                    "%s has no index that begins with %s: every poll reads the whole table",
                    relation.qualified,
                    shape.cursor,
                )
        self._source._approve(self.database, shapes)

    def _numbered(self, position: TablePosition, name: str) -> TablePosition:
        """A first position of a table that may have had others: its comparisons go on counting."""
        assert self._keys is not None
        return replace(position, reconciled=self._keys.compared(name))

    def _know_keys(self, shape: Shape, position: TablePosition | None) -> None:
        """Deletes are told by the file that was there when the rows were published, and by no other."""
        name = shape.relation.qualified
        if not shape.key:
            raise PreconditionError(
                f"{name} has no key that could be compared",
                code="source.query_key",
                where=f"source.query.tables.{name}",
                fix="give it a primary key, or deletes: ignore; rows of a query are named by publish.key",
            )
        if self._keys is None:
            self._keys = KeySet(self._settings.keys)
        if position is None:
            return
        if position.keys not in (None, self._keys.id):
            raise CheckpointError(
                f"the file of published keys is not the one that {name} was read with: deletes since then would be missed",
                code="checkpoint.keys",
                where=str(self._settings.keys),
                fix=f"put the file back, or read the table anew: `liberate checkpoint reset --read {name}`",
            )
        self._keys.forget(name, position.reconciled)

    # -- in its own thread

    def _work(self) -> None:
        try:
            self._mark_first()
            while not self._stop.is_set():
                self._look_around()
                table = min(self._tables.values(), key=lambda table: table.due)
                if self._settings.once and all(table.rounds for table in self._tables.values()):
                    self._put(Batch([], None, final=True))
                    return
                wait = table.due - self._source._tick()
                if wait > 0:
                    self._stop.wait(min(wait, 1.0))
                elif self._has_room(1.0):
                    self._read(table)
        except LiberatorError as error:
            self._put(error)
        except Exception as error:  # the thread's last stand: whatever it is must reach the loop
            log.debug("the reader failed", exc_info=True)
            self._put(SourceError(f"reading failed: {error!r}", code="source.query"))

    def _mark_first(self) -> None:
        """One moment for all first passes, so that whoever runs now, or the delay, is waited for once and not for each."""
        for table in self._tables.values():
            if self._stop.is_set():
                return
            if table.position.passes == 0 and table.position.under_way is None and table.settings.cursor:
                shape = self.database.shape(table.relation, table.settings)
                table.mark = None if shape is None else self.database.mark(shape)

    def _look_around(self) -> None:
        """New tables are read from now on; of those that are gone nothing more comes."""
        if self._settings.once or self._source._tick() < self._look_due:
            return
        self._look_due = self._source._tick() + self._settings.look_around
        relations = self._relations()
        there = {relation.qualified: relation for relation in relations}
        for gone in self._tables.keys() - there.keys():
            if len(self._tables) > 1:
                log.warning("%s is gone", gone)
                del self._tables[gone]
        made_anew: dict[str, TablePosition] = {}
        for name in self._tables.keys() & there.keys():
            if self._tables[name].relation.oid != there[name].oid:
                made_anew[name] = self._tables.pop(name).position
        if new := [relation for name, relation in there.items() if name not in self._tables]:
            log.info("new: %s", ", ".join(relation.qualified for relation in new))
            self.database.require_readable(new)
            self._add(new, made_anew)

    def _read(self, table: _Table) -> None:
        """One pass."""
        name = table.relation.qualified
        pages = self._source._pages
        settings = table.settings
        if name in pages:
            settings = replace(settings, batch_rows=pages[name])
        shape = self.database.shape(table.relation, settings)
        table.rounds += 1
        table.due = self._source._tick() + settings.poll_interval * (0.9 + 0.2 * self._source._jitter())
        if shape is None:
            return
        progress = self._source._progress
        progress.pass_started(name)
        keys = self._keys if settings.deletes == "reconcile" else None
        one = TablePass(
            self.database,
            shape,
            settings,
            table.position,
            self._clock,
            table.odd,
            keys,
            table.mark,
            table.fitting,
        )
        table.mark = None
        first = one.first
        if first:
            self._source.reading_tables = True
            progress.snapshot_started(name, table.relation.rows)
        try:
            for batch in self._measured(one.batches()):
                rows = len(batch.frames) or len(batch.rows)
                progress.pass_rows(name, rows)
                if first:
                    progress.snapshot_rows(name, rows)
                if not self._put(batch):
                    return
        except SourceError as error:
            if error.code in _TIMED_OUT and shape.paged and settings.batch_rows > _LEAST_ROWS:
                pages[name] = max(_LEAST_ROWS, settings.batch_rows // 4)
                log.warning("%s: a page took too long; from now on it has %d rows", name, pages[name])
                table.position, table.due, table.rounds = one.position, 0.0, table.rounds - 1
                return
            if error.code in _TIMED_OUT:
                error.fix = _TOO_SLOW
            if not error.retryable and self.database.shape(table.relation, settings) != shape:
                raise SourceError(
                    f"{name} was changed while it was read", code="source.changed", retryable=True
                ) from error
            raise
        table.position, table.fitting = one.position, one.fitting
        if self._is_to_compare(table):
            self._compare(table, shape)
        progress.pass_done(name)
        if first:
            progress.snapshot_done(name)
            self._source.reading_tables = any(t.position.passes == 0 for t in self._tables.values())

    def _is_to_compare(self, table: _Table) -> bool:
        """Not while the last comparison is not saved: its deletes would go out again, under new ids."""
        while self.acknowledged:
            self._acknowledge(self.acknowledged.popleft())
        if table.settings.deletes != "reconcile" or table.comparing is not None:
            return False
        compared = table.position.compared
        due = compared is None or self._clock.now() >= compared + table.settings.reconcile_interval
        return due or self._settings.once

    def _compare(self, table: _Table, shape: Shape) -> None:
        assert self._keys is not None
        one = Comparison(self.database, shape, table.settings, table.position, self._keys, self._clock)
        for batch in one.batches():
            if batch.state is not None:
                table.comparing = one.position.reconciled
            if (batch.frames or batch.rows or batch.state) and not self._put(batch):
                return
            if self._stop.is_set():
                return
        table.position = one.position

    def _acknowledge(self, state: State) -> None:
        """Deletes that are saved need not be told again."""
        for name, position in positions_of(state).items():
            table = self._tables.get(name)
            if table is not None and self._keys is not None and table.comparing is not None:
                if position.reconciled < table.comparing:
                    continue
                self._keys.forget(name, table.comparing)
                table.comparing = None

    def _measured(self, batches: Iterator[RowBatch]) -> Iterator[RowBatch]:
        """At most so many rows a second."""
        limit = self._settings.rows_per_second
        for batch in batches:
            yield batch
            if limit is not None and (rows := len(batch.frames) or len(batch.rows)):
                self._stop.wait(rows / limit)

    def _has_room(self, timeout: float) -> bool:
        """Is half of the queue free, or will be in time?"""
        self._roomy.clear()
        return self._is_half_empty() or self._roomy.wait(timeout)

    def _is_half_empty(self) -> bool:
        return (
            self._queue.qsize() <= self._queue.maxsize // 2 and self._held <= self._settings.queue_bytes // 2
        )

    def _put(self, item: Batch | LiberatorError) -> bool:
        """Wait for room: for one more batch, and for its bytes unless nothing else is there."""
        size = _size(item)
        while not self._stop.is_set():
            self._taken.clear()
            if not self._queue.full() and (not self._held or self._held + size <= self._settings.queue_bytes):
                self._count(size)
                self._queue.put(item)
                return True
            self._taken.wait(0.2)
        return False

    def _count(self, size: int) -> None:
        with self._holding:
            self._held += size


def _size(item: Batch | LiberatorError) -> int:
    return item.size if isinstance(item, Batch) else 0


def _refuse_other(qualified: str, saved: TablePosition, here: TablePosition) -> None:
    """Raises `CheckpointError` for a position of another database, or one that was reached in another way."""
    if saved.database != here.database:
        raise CheckpointError(
            f"the checkpoint is of another database: it says {saved.database}, here it is {here.database}",
            code="checkpoint.database",
            where=f"table {qualified}",
            fix="connect to the database that it belongs to, or use another connector name; `liberate checkpoint reset`"
            " reads all tables anew",
        )
    if (saved.strategy, saved.cursor) != (here.strategy, here.cursor):
        raise CheckpointError(
            f"{qualified} was read by {saved.strategy} {', '.join(saved.cursor)} so far, now it is to be read by"
            f" {here.strategy} {', '.join(here.cursor)}",
            code="checkpoint.strategy",
            where=f"source.query.tables.{qualified}",
            fix=f"put the strategy back, or read the table anew: `liberate checkpoint reset --read {qualified}`",
        )


def meant(settings: QuerySettings, there: Sequence[Relation]) -> list[Relation]:
    """Of what is there the relations that are to be read, and queries under their names. Views and whatever else is no table
    must be named literally."""
    exact = set(settings.exact.values())
    found = [
        relation
        for relation in there
        if settings.selection.wants(relation.schema, relation.name)
        and (not relation.view or (relation.schema, relation.name) in exact)
    ]
    known = {(relation.schema, relation.name) for relation in found}
    named = dict.fromkeys((*exact, *settings.queried))
    return found + [
        Relation(schema, name)
        for schema, name in named
        if settings.table(schema, name).sql is not None and (schema, name) not in known
    ]
