"""The log source: snapshot, hand-over and stream of one Postgres slot.

Enters: settings and the resumed state. Leaves: batches of COPY lines and of XLogData frames with states that are safe
to resume from. Called by the capture loop, from one thread. Never decodes rows, never acknowledges what it was not told
to, never drops or makes anything but the slot and publication of its own name.

Theory of operation. A table is read at a consistent LSN, and its rows are handed on at exactly that place of the stream:
after everything that committed before, in front of everything that commits after. On a first start that place is the new
slot's consistent point, before anything is streamed. Tables that are still to be read when a connector starts again (an
interrupted snapshot, snapshot mode `always`, a table marked by ``checkpoint reset --read``) are read under a newer
snapshot, that of a temporary slot; the stream runs up to its consistent point first, so rows never go backwards and what
was deleted between two reads is deleted in the stream as well (docs/adr/0010). A table without a key is emptied in the
stream (a truncate) before its rows come again.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from liberator.change import Batch, State
from liberator.errors import LiberatorError, PreconditionError, SourceError
from liberator.postgres import publications
from liberator.postgres.catalogue import Published, TableInfo, list_tables, load_table, with_sizes
from liberator.postgres.lsn import format_lsn
from liberator.postgres.pgoutput import XLOG_HEADER, decode_begin
from liberator.postgres.replication import NewSlot, ReplicationConnection, System
from liberator.postgres.selection import Selection
from liberator.postgres.session import connect, hang_up, impatient, source_error
from liberator.postgres.slots import drop_slot, find_slot
from liberator.postgres.sql import as_literal
from liberator.protocols import SnapshotProgress
from liberator.source.position import SLOT, SlotPosition, TablePosition, table_partition, tables_of
from liberator.source.reader import Segment, StreamReader, patience
from liberator.source.snapshot import Snapshot, SnapshotBatch
from liberator.source.start import (
    RENEWABLE,
    blockers,
    check_readable,
    check_wal_level,
    flush_lsn,
    judge,
    require_inactive,
)
from liberator.source.tables import (
    captured,
    choose,
    refuse_hidden_exclusions,
    require_published,
    shape_notes,
)

log = logging.getLogger(__name__)

_MEASURE_EVERY = 5.0
"""Seconds at most between two looks at the end of the server's log."""

_LOCKED = 5.0
"""Seconds to wait for a table that the application has locked, before the start is tried again."""

_ASK_EVERY = 0.1
"""Seconds between questions for the server's position while a bounded run or a hand-over waits for it."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a log source is told.

    selection: which tables; exact: those that the configuration names literally, as written -> (schema, table).
    trial: temporary slot and publication, nothing stays behind. once: end at what was committed before the start.
    heartbeat: seconds between acknowledgements of idle WAL. heartbeat_query: SQL to run as often, or None.
    queue_bytes: budget for what is read and not yet taken.
    """

    url: str
    name: str
    slot: str
    publications: tuple[str, ...]
    selection: Selection
    exact: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    autocreate: str = "filtered"
    via_root: bool = True
    snapshot: str = "initial"
    workers: int = 2
    heartbeat: float = 10.0
    heartbeat_query: str | None = None
    messages: bool = False
    failover: bool = False
    trial: bool = False
    once: bool = False
    queue_bytes: int = 32 * 1024 * 1024


@dataclass(slots=True)
class _Reread:
    """A snapshot that waits for the stream to reach its place, `barrier`."""

    barrier: int
    snapshot: Snapshot


@dataclass(slots=True)
class _Live:
    """What exists while the source is open. snapshot: being read now. reread: to be read when its place is reached.
    held: what the stream brought beyond that place."""

    catalogue: psycopg.Connection[Any]
    side: psycopg.Connection[Any]
    replication: ReplicationConnection
    reader: StreamReader | None = None
    snapshot: Snapshot | None = None
    reread: _Reread | None = None
    held: deque[Segment] = field(default_factory=deque)
    ready: deque[Batch] = field(default_factory=deque)


class LogSource:
    """A `Source`.

    remember: saves a delta of the state at once (the intent to create a slot, the tables to be read).
    approve: looks at the chosen tables before anything is made for them; raises what speaks against them.
    cancelled: asked while the server makes a slot, which can take as long as its longest transaction.
    """

    def __init__(
        self,
        settings: LogSettings,
        *,
        remember: Callable[[State], None],
        progress: SnapshotProgress,
        approve: Callable[[System, Sequence[TableInfo]], None] = lambda system, tables: None,
        cancelled: Callable[[], bool] = lambda: False,
        tick: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._settings = settings
        self._now_us = now_us
        self._remember = remember
        self._progress = progress
        self._approve = approve
        self._cancelled = cancelled
        self._tick = tick
        self._live: _Live | None = None
        self._position: SlotPosition | None = None
        self._names: tuple[str, ...] = ()
        self._shown: dict[int, Published] = {}
        self._pending: set[str] = set()
        self._handed = 0
        self._idle = 0
        self._idle_due = 0.0
        self._ask_due = 0.0
        self._measure_due = 0.0
        self._target: int | None = None
        self._catch_up = 0
        self._ended = False
        self._opened = False
        self._silences = 0
        self._acknowledged = 0
        self._made: list[str] = []
        self.tables: list[TableInfo] = []
        """The tables captured, as of the start."""
        self.publishes_selection = False
        """Is the publication made of the configured tables, so that whatever it sends is meant unless it is excluded?"""
        self.system: System | None = None
        self.server_lsn = 0
        """The newest position of the server that was heard of."""

    # -- Source

    def open(self, resume: State, *, stream: bool = True) -> None:
        """See `Source.open`. A slot that another session uses raises a retryable `PreconditionError`.

        stream: False makes publication and slot of a first start and leaves everything else for the next.
        """
        self.close()
        settings = self._settings
        try:
            catalogue = connect(settings.url, settings.name)
            side = connect(settings.url, settings.name)
            replication = ReplicationConnection(settings.url, settings.name)
            self._live = _Live(catalogue, side, replication)
            self.system = replication.identify()
            self._start(self._live, self.system, resume, stream)
            self._opened = True
        except psycopg.Error as error:
            self.close()
            raise source_error(error, "starting the log source") from None
        except BaseException:
            self.close()
            raise

    def poll(self, limit: int, timeout: float) -> Batch:
        """See `Source.poll`. Batches of a snapshot are `SnapshotBatch`es. Segments of the stream are small already, so
        `limit` changes nothing."""
        live = self._require()
        try:
            return live.ready.popleft() if live.ready else self._next(live, timeout)
        except psycopg.Error as error:
            raise source_error(error, "reading the log") from None

    def ack(self, state: State) -> None:
        """See `Source.ack`."""
        if SLOT not in state:
            return
        self._acknowledged = max(self._acknowledged, SlotPosition.decode(state[SLOT]).lsn)
        if self._live is not None and self._live.reader is not None:
            self._live.reader.acknowledge(self._acknowledged)

    def close(self) -> None:
        """See `Source.close`. A trial takes its publication away again."""
        live, self._live = self._live, None
        if live is None:
            return
        for snapshot in (live.snapshot, live.reread.snapshot if live.reread else None):
            if snapshot is not None:
                snapshot.close()
        if live.reader is not None:
            live.reader.close()
        live.replication.close()
        live.side.close()
        if self._made:
            self._take_away(live.catalogue)
        live.catalogue.close()

    def queued(self) -> int:
        """Bytes read and not yet polled."""
        live = self._live
        return live.reader.queued if live is not None and live.reader is not None else 0

    def measure(self) -> None:
        """Look how far the server's log reaches by now, if that was not done lately: data names only its own place. For
        the thread that polls; a connection lost is left for the next poll to find."""
        now = self._tick()
        if self._live is not None and now >= self._measure_due:
            self._measure_due = now + min(self._settings.heartbeat, _MEASURE_EVERY)
            with contextlib.suppress(psycopg.Error):
                self.server_lsn = max(self.server_lsn, flush_lsn(self._live.catalogue))

    def connection(self) -> psycopg.Connection[Any]:
        """The connection for catalogue questions; only for the thread that polls."""
        return self._require().catalogue

    @property
    def reached(self) -> int:
        """Everything that commits before this LSN was handed on, though perhaps not said so in a state yet."""
        return max(self._handed, self._idle)

    @property
    def reading_tables(self) -> bool:
        """Is a snapshot under way or outstanding?"""
        return bool(self._pending)

    # -- starting

    def _start(self, live: _Live, system: System, resume: State, stream: bool) -> None:
        settings, catalogue = self._settings, live.catalogue
        self._handed = self._idle = self._catch_up = 0
        self._ended = False
        check_wal_level(catalogue)
        position = SlotPosition.decode(resume[SLOT]) if SLOT in resume else None
        if settings.snapshot == "initial_only" and not settings.trial:
            known = tables_of(resume)
            self._ended = bool(known) and all(table.done is not None for table in known.values())
            position = None
        slot = (
            None
            if settings.trial or settings.snapshot == "initial_only"
            else find_slot(catalogue, settings.slot)
        )
        self.server_lsn = flush_lsn(catalogue)
        refusal = judge(
            system,
            self.server_lsn,
            position,
            slot,
            slot_name=settings.slot,
            publications=settings.publications,
        )
        if refusal is not None:
            if settings.snapshot != "when_needed" or refusal.code not in RENEWABLE:
                raise refusal
            log.warning("%s; starting anew with a snapshot (snapshot: when_needed)", refusal.what)
            position = None
        if slot is not None:
            require_inactive(slot)
        if self._ended:
            log.info("the snapshot is complete already (snapshot: initial_only)")
            return
        fresh = position is None or not position.created
        with impatient(catalogue, _LOCKED):
            self._choose_tables(catalogue, first=fresh)
        self._approve(system, self.tables)
        if fresh or position is None:
            if slot is not None:
                drop_slot(catalogue, slot.name)
            self._start_fresh(live, system, resume, stream)
        elif stream:
            self._start_again(live, position, resume)
        if settings.once and settings.snapshot != "initial_only":
            self._target = self._target or flush_lsn(catalogue)

    def _choose_tables(self, catalogue: psycopg.Connection[Any], *, first: bool) -> None:
        settings = self._settings
        tables = list_tables(catalogue)
        before = publications.find(catalogue, settings.publications, settings.name)
        if settings.trial:
            wished = [name for name in settings.publications if name not in before]
            self._made = wished
        names = publications.ensure(
            catalogue,
            settings.publications,
            choose(tables, settings.selection, via_root=settings.via_root),
            connector=settings.name,
            autocreate=settings.autocreate,
            via_root=settings.via_root,
            companion=not settings.trial,
        )
        self._names = tuple(names)
        self.publishes_selection = settings.autocreate == "filtered" and not any(
            found.all_tables or not found.ours for found in before.values()
        )
        self._shown = publications.shown(catalogue, names)
        self.tables = captured(tables, self._shown, settings.selection)
        try:
            refuse_hidden_exclusions(tables, self.tables, settings.selection)
            require_published(tables, self._shown, names, settings.exact)
            if not self.tables:
                raise PreconditionError(
                    "there is no table to capture: no table of this database is both configured and published",
                    code="source.no_tables",
                    where="source.tables",
                    fix="check source.tables and source.exclude, and what the publication lists",
                )
        except PreconditionError as error:
            if first:
                raise
            log.warning("%s; what is left of its changes still comes", error.what)
        for note in shape_notes(self.tables):
            log.warning("%s", note)

    def _start_fresh(self, live: _Live, system: System, resume: State, stream: bool) -> None:
        """Intent, slot, position, snapshot, stream: a kill between any two of them is understood at the next start."""
        settings = self._settings
        todo = [] if settings.snapshot == "never" else self.tables
        check_readable(todo, live.catalogue.info.user)
        here = SlotPosition(
            system.identifier,
            system.timeline,
            system.database,
            settings.slot,
            settings.publications,
            0,
            created=False,
        )
        only = settings.snapshot == "initial_only"
        intent = {} if only else {SLOT: here.encode()}
        self._save({**dict.fromkeys(resume, b""), **intent})
        slot = f"liberator_only_{_unique()}" if only else settings.slot
        new = self._create_slot(
            live, live.replication, slot, temporary=settings.trial or only, export=bool(todo)
        )
        self._position = SlotPosition(
            system.identifier,
            system.timeline,
            system.database,
            settings.slot,
            settings.publications,
            new.consistent_lsn,
        )
        self._pending = {table.qualified for table in todo}
        pending = {table_partition(name): TablePosition(None).encode() for name in sorted(self._pending)}
        self._save(pending if only else {SLOT: self._position.encode(), **pending})
        self._handed = self._acknowledged = new.consistent_lsn
        if not stream:
            return
        if todo:
            live.snapshot = self._import_snapshot(todo, new)
        if not only:
            self._start_stream(live, new.consistent_lsn)

    def _start_again(self, live: _Live, position: SlotPosition, resume: State) -> None:
        self._position = position
        self._handed = position.lsn
        if not self._opened:
            # What a process resumes from is saved. A stream that is opened again stands where it was handed on to, and
            # that need not be durable yet (Invariant 1).
            self._acknowledged = position.lsn
        names = {table.qualified for table in self.tables}
        known = tables_of(resume)
        if self._settings.snapshot == "always" and not self._opened:
            self._pending = set(names)
            self._save({table_partition(name): TablePosition(None).encode() for name in sorted(names)})
        else:
            self._pending = {name for name, table in known.items() if table.done is None}
        if gone := self._pending - names:
            self._forget(gone)
        if self._pending:
            todo = [table for table in self.tables if table.qualified in self._pending]
            check_readable(todo, live.catalogue.info.user)
            log.info("%d tables are still to be read, after the stream has caught up", len(self._pending))
        self._catch_up = flush_lsn(live.catalogue)
        self._start_stream(live, position.lsn)

    def _create_slot(
        self, live: _Live, connection: ReplicationConnection, name: str, *, temporary: bool, export: bool
    ) -> NewSlot:
        warned = False

        def waiting(seconds: float) -> None:
            nonlocal warned
            if seconds >= 3 and not warned:
                warned = True
                pids = blockers(live.catalogue)
                log.warning(
                    "the server makes the slot when the transactions that run now have ended: pids %s", pids
                )

        return connection.create_slot(
            name,
            temporary=temporary,
            export=export,
            failover=self._settings.failover and not temporary,
            waiting=waiting,
            cancelled=self._cancelled,
        )

    def _start_stream(self, live: _Live, lsn: int) -> None:
        settings = self._settings
        live.replication.start(settings.slot, lsn, self._names, messages=settings.messages)
        row = live.catalogue.execute(
            "SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'"
        ).fetchone()
        timeout = (row[0] if row else 0) / 1000 or 60.0
        interval = max(0.1, min(settings.heartbeat, timeout / 3))
        live.reader = StreamReader(
            live.replication,
            live.side,
            lsn,
            flushed=self._acknowledged,
            queue_bytes=settings.queue_bytes,
            status_interval=interval,
            silence=patience(interval, timeout, self._silences),
            silent=lambda: self._fall_silent(live),
        )
        live.reader.start()

    def _fall_silent(self, live: _Live) -> None:
        """Called in the reader's thread, while ours may be waiting for an answer that never comes."""
        self._silences += 1
        hang_up(live.catalogue)
        for snapshot in (live.snapshot, live.reread.snapshot if live.reread else None):
            if snapshot is not None:
                snapshot.hang_up()

    def _import_snapshot(self, tables: Sequence[TableInfo], new: NewSlot) -> Snapshot:
        if new.snapshot is None:
            raise SourceError("the server exported no snapshot", code="source.snapshot_export")
        snapshot = Snapshot(
            self._settings.url,
            self._settings.name,
            with_sizes(self._require().catalogue, tables),
            self._shown,
            lsn=new.consistent_lsn,
            snapshot=new.snapshot,
            workers=self._settings.workers,
            queue_bytes=self._settings.queue_bytes,
            progress=self._progress,
        )
        snapshot.begin()
        log.info("reading %d tables as of %s", len(tables), format_lsn(new.consistent_lsn))
        return snapshot

    # -- polling

    def _next(self, live: _Live, timeout: float) -> Batch:
        if live.snapshot is not None:
            return self._next_of_snapshot(live, live.snapshot, timeout)
        if self._ended:
            return Batch([], None, final=True)
        if live.reread is not None and self._handed >= live.reread.barrier:
            live.ready.extend(self._afresh(live.catalogue, live.reread.barrier))
            live.snapshot, live.reread = live.reread.snapshot, None
            return Batch([])
        if self._pending and live.reread is None and self._handed >= self._catch_up:
            live.reread = self._prepare_reread(live)
        return self._next_of_stream(live, timeout)

    def _next_of_snapshot(self, live: _Live, snapshot: Snapshot, timeout: float) -> Batch:
        for batch in snapshot.poll(timeout):
            self._pending -= set(tables_of(batch.state or {}))
            live.ready.append(batch)
        if snapshot.finished:
            snapshot.close()
            live.snapshot = None
            if self._settings.snapshot == "initial_only":
                self._ended = True
                if self._pending:
                    raise SourceError(
                        f"{', '.join(sorted(self._pending))} changed while being read",
                        code="source.snapshot_rewritten",
                        fix="start again: the snapshot is taken anew",
                    )
        return live.ready.popleft() if live.ready else Batch([])

    def _next_of_stream(self, live: _Live, timeout: float) -> Batch:
        segment = self._segment(live, timeout)
        if segment is None:
            return self._idle_batch(live)
        if segment.frames and live.reread is not None:
            segment = _split(segment, live.reread.barrier, live.held)
        self.server_lsn = max(self.server_lsn, segment.server_lsn)
        if not segment.frames:
            self._idle = max(self._idle, segment.lsn)
            return self._idle_batch(live)
        self._idle = 0
        return self._batch(segment.frames, segment.lsn, segment.size)

    def _segment(self, live: _Live, timeout: float) -> Segment | None:
        """While somebody waits for a place of the stream, the server is asked often how far it is."""
        if live.held:
            return live.held.popleft()
        assert live.reader is not None
        if self._urgent and self._tick() >= self._ask_due:
            self._ask_due = self._tick() + _ASK_EVERY
            live.reader.ask_position()
        return live.reader.get(min(timeout, _ASK_EVERY) if self._urgent else timeout)

    def _batch(self, frames: list[bytes], lsn: int, size: int) -> Batch:
        assert self._position is not None
        if lsn <= self._handed:
            return Batch(frames, None, size=size)
        self._handed = lsn
        self._silences = 0
        return Batch(frames, {SLOT: self._position.at(lsn).encode()}, final=self._is_final(), size=size)

    def _is_final(self) -> bool:
        self._ended = self._target is not None and self._handed >= self._target and not self._pending
        return self._ended

    def _idle_batch(self, live: _Live) -> Batch:
        """An idle position, when it is due or somebody waits for it."""
        now = self._tick()
        due = now >= self._idle_due
        if due:
            self._idle_due = now + self._settings.heartbeat
            if self._settings.heartbeat_query:
                live.catalogue.execute(sql.SQL(as_literal(self._settings.heartbeat_query)))
            if live.reader is not None:
                live.reader.ask_position()
        if self._idle > self._handed and (due or self._urgent):
            return self._batch([], self._idle, 0)
        return Batch([], None, final=self._is_final())

    @property
    def _urgent(self) -> bool:
        return self._target is not None or bool(self._pending)

    def _prepare_reread(self, live: _Live) -> _Reread | None:
        """Take a newer snapshot with a temporary slot; the stream goes on up to its consistent point."""
        self._shown = publications.shown(live.catalogue, self._names)
        todo = [
            table for table in self.tables if table.qualified in self._pending and table.oid in self._shown
        ]
        if gone := self._pending - {table.qualified for table in todo}:
            self._forget(gone)
        if not todo:
            return None
        connection = ReplicationConnection(self._settings.url, self._settings.name)
        try:
            name = f"liberator_read_{_unique()}"
            new = self._create_slot(live, connection, name, temporary=True, export=True)
            self._shown = publications.shown(live.catalogue, self._names)
            todo = [
                table
                for table in self.tables
                if table.qualified in self._pending and table.oid in self._shown
            ]
            return _Reread(new.consistent_lsn, self._import_snapshot(todo, new))
        finally:
            connection.close()

    def _afresh(self, catalogue: psycopg.Connection[Any], barrier: int) -> Iterator[SnapshotBatch]:
        """Rows of a table without a key that come again could not be told from new ones: first it is emptied."""
        for info in self.tables:
            if info.qualified in self._pending and not info.key:
                table = load_table(catalogue, info.oid, self._shown[info.oid].columns)
                if table is not None:
                    yield SnapshotBatch([], table=table, lsn=barrier, taken_us=self._now_us(), afresh=True)

    # -- small things

    def _take_away(self, catalogue: psycopg.Connection[Any]) -> None:
        """Drop the publications of a trial, over a new connection when the old one is gone."""
        made, self._made = self._made, []
        try:
            with contextlib.suppress(psycopg.Error):
                publications.drop_ours(catalogue, made, self._settings.name)
                return
            with contextlib.closing(connect(self._settings.url, self._settings.name)) as another:
                publications.drop_ours(another, made, self._settings.name)
        except (LiberatorError, psycopg.Error) as error:
            log.warning("publication %s stays behind, drop it by hand: %s", ", ".join(made), error)

    def _forget(self, tables: set[str]) -> None:
        log.warning("no snapshot of %s: no longer captured", ", ".join(sorted(tables)))
        self._pending -= tables
        self._save({table_partition(name): b"" for name in tables})

    def _save(self, delta: State) -> None:
        if not self._settings.trial:
            self._remember(delta)

    def _require(self) -> _Live:
        if self._live is None:
            raise SourceError("the source is not open", code="source.closed")
        return self._live


def _split(segment: Segment, barrier: int, held: deque[Segment]) -> Segment:
    """What commits before `barrier`; the rest goes to `held`."""
    for index, frame in enumerate(segment.frames):
        if (
            frame[XLOG_HEADER : XLOG_HEADER + 1] == b"B"
            and decode_begin(frame, XLOG_HEADER).final_lsn >= barrier
        ):
            head, rest = segment.frames[:index], segment.frames[index:]
            held.appendleft(Segment(rest, segment.lsn, sum(map(len, rest)), segment.server_lsn))
            return Segment(head, barrier, sum(map(len, head)), segment.server_lsn)
    return segment


def _unique() -> str:
    return secrets.token_hex(4)
