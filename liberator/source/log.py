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
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from liberator.change import Batch, State
from liberator.errors import LiberatorError, SourceError
from liberator.postgres import publications
from liberator.postgres.catalogue import TableInfo
from liberator.postgres.pgoutput import XLOG_HEADER, decode_begin
from liberator.postgres.replication import System
from liberator.postgres.session import connect, hang_up, impatient, source_error
from liberator.postgres.slots import find_slot
from liberator.postgres.sql import as_literal
from liberator.protocols import SnapshotProgress
from liberator.source.opening import Approve, Live, Opening, connections
from liberator.source.outstanding import Outstanding
from liberator.source.position import SLOT, SlotPosition, tables_of
from liberator.source.reader import Segment, StreamReader, patience
from liberator.source.settings import LogSettings
from liberator.source.snapshot import Snapshot
from liberator.source.start import flush_lsn

__all__ = ["LogSettings", "LogSource"]

log = logging.getLogger(__name__)

_MEASURE_EVERY = 5.0
"""Seconds at most between two looks at the end of the server's log."""

_LOCKED = 2.0
"""Seconds that the heartbeat query may wait for a lock."""

_STILL = 1.0
"""Seconds without a sign of life from the reader after which we ask whether the slot is still ours."""

_ASK_EVERY = 0.1
"""Seconds between questions for the server's position while a bounded run or a hand-over waits for it."""


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
        approve: Approve = lambda system, tables: None,
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
        self._live: Live | None = None
        self._idle = 0
        self._idle_due = 0.0
        self._ask_due = 0.0
        self._measure_due = 0.0
        self._look_due = 0.0
        self._target: int | None = None
        self._opened = False
        self._is_opening = False
        self._unsaid: dict[str, bytes] = {}
        self._silences = 0
        self._acknowledged = 0
        self.system: System | None = None
        self.server_lsn = 0
        """The newest position of the server that was heard of."""

    # -- Source

    def open(self, resume: State, *, stream: bool = True) -> None:
        """See `Source.open`. A slot that another session uses raises a retryable `PreconditionError`.

        stream: False makes publication and slot of a first start and leaves everything else for the next.
        """
        self.close()
        self._is_opening, self._unsaid = True, {}
        try:
            self._open(resume, stream)
        except psycopg.Error as error:
            self.close()
            raise source_error(error, "starting the log source") from None
        except BaseException:
            self.close()
            raise
        finally:
            self._is_opening = False

    def _open(self, resume: State, stream: bool) -> None:
        settings = self._settings
        system, catalogue, side, replication = connections(settings)
        outstanding = Outstanding(
            settings,
            catalogue,
            save=self._save,
            progress=self._progress,
            cancelled=self._cancelled,
            tick=self._tick,
            now_us=self._now_us,
        )
        self._live = live = Live(system, catalogue, side, replication, outstanding)
        self.system, self._idle = system, 0
        opening = Opening(settings, live, save=self._save, approve=self._approve, first=not self._opened)
        opening.run(resume, stream=stream)
        self.server_lsn = live.server_lsn
        if live.saved is not None:
            self._acknowledged = live.saved
        if live.position is not None:
            self._start_stream(live, live.position.lsn)
        if settings.once and not live.ended and settings.snapshot != "initial_only":
            self._target = self._target or flush_lsn(catalogue)
        self._opened = True

    def poll(self, limit: int, timeout: float) -> Batch:
        """See `Source.poll`. Batches of a snapshot are `SnapshotBatch`es. Segments of the stream are small already, so
        `limit` changes nothing."""
        live = self._require()
        try:
            self._look_after_publications(live)
            batch = live.ready.popleft() if live.ready else self._next(live, timeout)
        except psycopg.Error as error:
            self._require_slot(live)
            raise source_error(error, "reading the log") from None
        except SourceError:
            self._require_slot(live)
            raise
        self._require_slot(live)
        if batch.state is not None and self._unsaid:
            batch.state = {**self._unsaid, **batch.state}
            self._unsaid = {}
        return batch

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
        for snapshot in live.snapshots():
            snapshot.close()
        if live.reader is not None:
            live.reader.close()
        live.replication.close()
        live.side.close()
        if live.made:
            self._take_away(live)
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
        return max(self._live.handed, self._idle) if self._live is not None else 0

    @property
    def reading_tables(self) -> bool:
        """Is a snapshot under way or outstanding?"""
        return self._live is not None and bool(self._live.outstanding.pending)

    @property
    def publishes_selection(self) -> bool:
        """Is the publication made of the configured tables, so that whatever it sends is meant unless it is excluded?"""
        return self._require().publishes_selection

    @property
    def tables(self) -> list[TableInfo]:
        """The tables captured, as of the start."""
        return self._require().outstanding.tables

    # -- the stream

    def _start_stream(self, live: Live, lsn: int) -> None:
        settings = self._settings
        live.replication.start(settings.slot, lsn, live.outstanding.names, messages=settings.messages)
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

    def _require_slot(self, live: Live) -> None:
        """If we stood still, is the slot still ours? Else raises `SourceError`: what was read before may be old."""
        seconds = live.reader.stood_still() if live.reader is not None else 0.0
        if seconds <= _STILL:
            return
        url, name = self._settings.url, self._settings.name
        # Over a connection of its own: the others may have been lost meanwhile, and that alone is no harm.
        with (
            contextlib.suppress(SourceError, psycopg.Error),
            contextlib.closing(connect(url, name)) as connection,
        ):
            slot = find_slot(connection, self._settings.slot)
            if slot is not None and slot.active_pid == live.replication.pid:
                return
        raise SourceError(
            f"this process stood still for {seconds:.0f} s, and lost its slot: another instance may have gone on",
            code="source.frozen",
            fix="what was read before is thrown away, and read again from what is saved",
            retryable=True,
        )

    def _look_after_publications(self, live: Live) -> None:
        """Are they still those that we began with?"""
        if live.reader is None or self._tick() < self._look_due:
            return
        self._look_due = self._tick() + min(self._settings.heartbeat, _MEASURE_EVERY)
        publications.present(live.catalogue, live.outstanding.names, live.publications)

    def _fall_silent(self, live: Live) -> None:
        """Called in the reader's thread, while ours may be waiting for an answer that never comes."""
        self._silences += 1
        hang_up(live.catalogue)
        for snapshot in live.snapshots():
            snapshot.hang_up()

    # -- polling

    def _next(self, live: Live, timeout: float) -> Batch:
        if live.snapshot is not None:
            return self._next_of_snapshot(live, live.snapshot, timeout)
        if live.ended:
            return Batch([], None, final=True)
        rows_first = self._settings.rows_are_events
        if live.reread is not None and (rows_first or live.handed >= live.reread.barrier):
            live.ready.extend(live.outstanding.afresh(live.reread.barrier))
            live.snapshot, live.reread = live.reread.snapshot, None
            return Batch([])
        if live.outstanding.pending and live.reread is None:
            if rows_first or live.handed >= live.catch_up:
                live.reread = live.outstanding.reread()
            if rows_first:
                return self._before_the_stream(live, timeout)
        return self._next_of_stream(live, timeout)

    def _before_the_stream(self, live: Live, timeout: float) -> Batch:
        """Events that were interrupted in their first reading come before those of the stream, some of which are among
        them: those come twice, under the same ids. Who holds up their reading holds up the stream."""
        if live.reread is None and live.outstanding.pending:
            time.sleep(timeout)
        return Batch([])

    def _next_of_snapshot(self, live: Live, snapshot: Snapshot, timeout: float) -> Batch:
        for batch in snapshot.poll(timeout):
            live.outstanding.finished(tables_of(batch.state or {}))
            live.ready.append(batch)
        if snapshot.finished:
            snapshot.close()
            live.snapshot = None
            if self._settings.snapshot == "initial_only":
                live.ended = True
                if live.outstanding.pending:
                    raise SourceError(
                        f"{', '.join(sorted(live.outstanding.pending))} changed while being read",
                        code="source.snapshot_rewritten",
                        fix="start again: the snapshot is taken anew",
                    )
        return live.ready.popleft() if live.ready else Batch([])

    def _next_of_stream(self, live: Live, timeout: float) -> Batch:
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
        return self._batch(live, segment.frames, segment.lsn, segment.size)

    def _segment(self, live: Live, timeout: float) -> Segment | None:
        """While somebody waits for a place of the stream, the server is asked often how far it is."""
        if live.held:
            return live.held.popleft()
        assert live.reader is not None
        if self._is_urgent(live) and self._tick() >= self._ask_due:
            self._ask_due = self._tick() + _ASK_EVERY
            live.reader.ask_position()
        return live.reader.get(min(timeout, _ASK_EVERY) if self._is_urgent(live) else timeout)

    def _batch(self, live: Live, frames: list[bytes], lsn: int, size: int) -> Batch:
        assert live.position is not None
        if lsn <= live.handed:
            return Batch(frames, None, size=size)
        live.handed = lsn
        self._silences = 0
        return Batch(frames, {SLOT: live.position.at(lsn).encode()}, final=self._is_final(live), size=size)

    def _is_final(self, live: Live) -> bool:
        live.ended = self._target is not None and live.handed >= self._target and not live.outstanding.pending
        return live.ended

    def _idle_batch(self, live: Live) -> Batch:
        """An idle position, when it is due or somebody waits for it."""
        now = self._tick()
        due = now >= self._idle_due
        if due:
            self._idle_due = now + self._settings.heartbeat
            if self._settings.heartbeat_query:
                self._beat(live, self._settings.heartbeat_query)
            if live.reader is not None:
                live.reader.ask_position()
        if self._idle > live.handed and (due or self._is_urgent(live)):
            return self._batch(live, [], self._idle, 0)
        return Batch([], None, final=self._is_final(live))

    def _beat(self, live: Live, query: str) -> None:
        try:
            with impatient(live.catalogue, _LOCKED):
                live.catalogue.execute(sql.SQL(as_literal(query)))
        except psycopg.errors.LockNotAvailable:
            log.warning("the heartbeat query waits for a lock; the next heartbeat tries it again")

    def _is_urgent(self, live: Live) -> bool:
        return self._target is not None or bool(live.outstanding.pending)

    # -- small things

    def _take_away(self, live: Live) -> None:
        """Drop the publications of a trial, over a new connection when the old one is gone."""
        made, live.made = live.made, []
        try:
            with contextlib.suppress(psycopg.Error):
                publications.drop_ours(live.catalogue, made, self._settings.name)
                return
            with contextlib.closing(connect(self._settings.url, self._settings.name)) as another:
                publications.drop_ours(another, made, self._settings.name)
        except (LiberatorError, psycopg.Error) as error:
            log.warning("publication %s stays behind, drop it by hand: %s", ", ".join(made), error)

    def _save(self, delta: State) -> None:
        """While it is opened, at once. Later the next batch says it: whoever publishes may own the checkpoint by then."""
        if self._settings.trial:
            return
        if self._is_opening:
            self._remember(delta)
        else:
            self._unsaid.update(delta)

    def _require(self) -> Live:
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
