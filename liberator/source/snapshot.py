"""The snapshot: what the tables held at one consistent LSN, read with COPY by parallel workers.

Enters: an exported snapshot and the tables to read. Leaves: `SnapshotBatch`es of COPY lines; the batch that ends a
table carries the table's finished position. Every worker imports the snapshot before anything is read, then locks each
table ACCESS SHARE and checks that nothing rewrote it in between (an old snapshot would show a rewritten table empty);
such a table stays pending and is read under a newer snapshot. Never writes to the database.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg import sql

from liberator.change import Batch, State
from liberator.errors import LiberatorError, PreconditionError, SourceError
from liberator.postgres.catalogue import (
    Published,
    TableInfo,
    columns_of,
    has_generated_columns,
    load_table,
    name_of,
)
from liberator.postgres.copying import Lines, copy_chunks
from liberator.postgres.locks import lockers
from liberator.postgres.model import Table
from liberator.postgres.session import as_stored, connect, hang_up, source_error
from liberator.postgres.sql import as_literal
from liberator.protocols import SnapshotProgress
from liberator.source.position import TablePosition, table_partition
from liberator.source.start import grants

log = logging.getLogger(__name__)

_CHUNK_LINES = 2000
_CHUNK_BYTES = 512 * 1024
_UNIT_PAGES = 16384
"""Pages of one unit of work: 128 MiB of a table. Larger tables are read by several workers at once."""


_LOCKED_MS = 5000
"""Milliseconds to wait for a table that the application has locked, before its name is said."""


_IN_ORDER = " ORDER BY pg_catalog.age(xmin) DESC, cmin::text::bigint, ctid"


@dataclass(slots=True)
class SnapshotBatch(Batch):
    """COPY text lines of one table. lsn: the snapshot's consistent LSN. taken_us: when it was taken, microseconds since
    the Unix epoch. by_ctid: each line begins with the row's place (ctid; ``tableoid:ctid`` in a partitioned table),
    because the table has no key. marks: line index -> value of ``source.snapshot`` where it is not ``true``. afresh: what
    was published of the table so far no longer holds: its rows come again, and without a key nobody could tell."""

    table: Table | None = None
    lsn: int = 0
    taken_us: int = 0
    by_ctid: bool = False
    afresh: bool = False
    marks: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Unit:
    """One COPY: a table, or a range of its pages (last exclusive; None: to the end)."""

    info: TableInfo
    first: int | None
    last: int | None


@dataclass(slots=True)
class _Chunk:
    unit: _Unit
    table: Table
    lines: Lines


@dataclass(slots=True)
class _Done:
    info: TableInfo
    rewritten: bool


class Snapshot:
    """One snapshot of some tables. `begin` returns when every worker has imported it; then `poll` until `finished`.

    shown: what the publications show of each table. columns: all that each table had then, so that one that has changed
    since is noticed, and `show` asks again. in_order: rows come in the order of their transactions, tables undivided.
    """

    def __init__(
        self,
        url: str,
        name: str,
        tables: Sequence[TableInfo],
        shown: Mapping[int, Published],
        columns: Mapping[int, tuple[str, ...]],
        *,
        show: Callable[[psycopg.Connection[Any]], Mapping[int, Published]],
        lsn: int,
        snapshot: str,
        workers: int,
        in_order: bool,
        queue_bytes: int,
        progress: SnapshotProgress,
    ) -> None:
        self.lsn = lsn
        self.finished = not tables
        self._url, self._name, self._snapshot = url, name, snapshot
        self._shown, self._columns, self._show = dict(shown), columns, show
        self._progress = progress
        self._in_order = in_order
        self._output: queue.Queue[_Chunk | _Done | LiberatorError] = queue.Queue(
            maxsize=max(2, queue_bytes // _CHUNK_BYTES)
        )
        units = {info.oid: [_Unit(info, None, None)] if in_order else _units(info) for info in tables}
        self._units = deque(unit for each in units.values() for unit in each)
        self._open_units = {oid: len(each) for oid, each in units.items()}
        self._rewritten: set[int] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._imported = threading.Barrier(min(workers, len(self._units)) + 1)
        self._tables: dict[int, Table | None] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._generated: set[int] = set()
        self._marker = Marker()
        self._left = len(tables)
        self._taken_us = 0
        self._estimates = {info.oid: info.rows for info in tables}
        self._catalogue = connect(url, name)
        self._connections: list[psycopg.Connection[Any]] = []
        self._threads = [
            threading.Thread(target=self._work, name=f"snapshot-{n}", daemon=True)
            for n in range(min(workers, len(self._units)))
        ]

    def begin(self) -> None:
        """Start the workers and wait until all of them hold the snapshot: from then on its exporter is free."""
        for thread in self._threads:
            thread.start()
        try:
            self._imported.wait(timeout=60)
        except threading.BrokenBarrierError:
            self.close()
            raise self._failure() from None

    def poll(self, timeout: float) -> list[SnapshotBatch]:
        """The next batches; none after `timeout` seconds. Raises what a worker ran into."""
        if self.finished:
            return []
        try:
            item = self._output.get(timeout=timeout)
        except queue.Empty:
            return []
        if isinstance(item, LiberatorError):
            raise item
        if isinstance(item, _Chunk):
            self._progress.snapshot_rows(item.unit.info.qualified, len(item.lines))
            return self._marker.rows(item.unit.info.oid, self._batch(item))
        self._left -= 1
        self.finished = self._left == 0
        if item.rewritten:
            log.warning(
                "%s was rewritten by DDL during the snapshot; it will be read again", item.info.qualified
            )
            return self._marker.table_ends(item.info.oid, None, last=self.finished)
        self._progress.snapshot_done(item.info.qualified)
        state = {table_partition(item.info.qualified): TablePosition(self.lsn, item.info.oid).encode()}
        return self._marker.table_ends(item.info.oid, state, last=self.finished)

    def hang_up(self) -> None:
        """The server is silent: make the workers notice it. Called from another thread."""
        for connection in (self._catalogue, *self._connections):
            hang_up(connection)

    def close(self) -> None:
        """End all workers and their transactions, also one that waits for a lock. Idempotent."""
        self._stop.set()
        self._imported.abort()
        while any(thread.is_alive() for thread in self._threads):
            try:
                self._output.get(timeout=0.05)
            except queue.Empty:
                self._cancel()
        self._catalogue.close()

    def _batch(self, chunk: _Chunk) -> SnapshotBatch:
        return SnapshotBatch(
            frames=chunk.lines,
            size=len(chunk.lines.data),
            table=chunk.table,
            lsn=self.lsn,
            taken_us=self._taken_us,
            by_ctid=not chunk.table.key,
        )

    def _failure(self) -> LiberatorError:
        while True:
            try:
                item = self._output.get_nowait()
            except queue.Empty:
                return SourceError(
                    "the snapshot's workers could not import the exported snapshot",
                    code="source.snapshot_import",
                    retryable=True,
                )
            if isinstance(item, LiberatorError):
                return item

    def _cancel(self) -> None:
        for connection in (self._catalogue, *self._connections):
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=1)

    # -- in the workers' threads

    def _work(self) -> None:
        connection: psycopg.Connection[Any] | None = None
        try:
            connection = connect(self._url, self._name, autocommit=False)
            self._connections.append(connection)
            self._import(connection)
            while not self._stop.is_set():
                try:
                    unit = self._units.popleft()
                except IndexError:
                    break
                self._read(connection, unit)
        except LiberatorError as error:
            self._give_up(error)
        except psycopg.Error as error:
            self._give_up(source_error(error, "reading the snapshot"))
        except threading.BrokenBarrierError:
            pass
        except Exception as error:  # the thread's last stand: whatever it is must reach the loop
            log.debug("a snapshot worker failed", exc_info=True)
            self._give_up(SourceError(f"reading the snapshot failed: {error!r}", code="source.snapshot"))
        finally:
            if connection is not None:
                connection.close()

    def _give_up(self, error: LiberatorError) -> None:
        self._put(error)
        self._imported.abort()

    def _import(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self._snapshot)))
        row = connection.execute(
            "SELECT (pg_catalog.date_part('epoch', pg_catalog.transaction_timestamp()) * 1000000)::bigint"
        ).fetchone()
        self._taken_us = self._taken_us or (row[0] if row else 0)
        self._imported.wait(timeout=60)

    def _read(self, connection: psycopg.Connection[Any], unit: _Unit) -> None:
        """Read one unit. A table that is one unit is then unlocked at once: the application's DDL waits for the reading of
        its own table, not for the snapshot's end. One that several workers read keeps its locks, and so its shape."""
        info = unit.info
        try:
            with connection.transaction(force_rollback=unit.first is None):
                table = self._prepare(connection, info)
                if table is not None and not self._is_rewritten(connection, info.leaves):
                    self._copy(connection, unit, table)
                else:
                    self._rewritten.add(info.oid)
        except psycopg.errors.InsufficientPrivilege as error:
            raise PreconditionError(
                f"this user may not read {info.qualified}: {error.diag.message_primary}",
                code="source.select_denied",
                where=f"table {info.qualified}",
                fix=grants([info], connection.info.user),
            ) from None
        with self._lock:
            self._open_units[info.oid] -= 1
            done = self._open_units[info.oid] == 0
        if done:
            self._put(_Done(info, info.oid in self._rewritten))

    def _prepare(self, connection: psycopg.Connection[Any], info: TableInfo) -> Table | None:
        """Lock the table (its partitions too), then its shape as it is now: nothing can change it any more. Its rows come
        under the name that it had at their place of the stream."""
        if info.oid not in self._tables:
            self._progress.snapshot_started(info.qualified, self._estimates[info.oid])
        name = self._lock_table(connection, info)
        if name is None:
            self._tables[info.oid] = None
            return None
        then = name_of(connection, info.oid) or name
        with self._lock:
            if info.oid not in self._tables:
                table = self._load(info.oid)
                self._tables[info.oid] = table and replace(table, schema=then[0], name=then[1])
                self._names[info.oid] = name
                if has_generated_columns(self._catalogue, info.oid):
                    self._generated.add(info.oid)
            return self._tables[info.oid]

    def _lock_table(self, connection: psycopg.Connection[Any], info: TableInfo) -> tuple[str, str] | None:
        """Lock a table under its name of now, which may be another than at the start; None: it is gone. The lock is taken by
        a query that reads nothing, since LOCK TABLE wants more rights than reading some columns does."""
        said = False
        while not self._stop.is_set():
            with self._lock:
                name = name_of(self._catalogue, info.oid)
            if name is None:
                log.warning("%s is gone; it has no snapshot", info.qualified)
                return None
            try:
                if _is_locked(connection, name, info.oid):
                    return name
            except psycopg.errors.LockNotAvailable:
                if not said:
                    with self._lock:
                        log.warning(
                            "the snapshot waits for %s: locked are %s",
                            info.qualified,
                            lockers(self._catalogue),
                        )
                said = True
        return None

    def _load(self, oid: int) -> Table | None:
        """A locked table, with the columns that the publications show of it now."""
        if columns_of(self._catalogue, [oid]).get(oid) != self._columns.get(oid):
            self._shown.update(self._show(self._catalogue))
        return load_table(self._catalogue, oid, self._shown[oid].columns)

    def _is_rewritten(self, connection: psycopg.Connection[Any], leaves: Sequence[int]) -> bool:
        """pg_class is read by the old snapshot, pg_relation_filenode by the current one."""
        row = connection.execute(
            "SELECT pg_catalog.bool_or(c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid))"
            " FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s)",
            (list(leaves),),
        ).fetchone()
        return row is not None and bool(row[0])

    def _copy(self, connection: psycopg.Connection[Any], unit: _Unit, table: Table) -> None:
        row_filter = self._shown[unit.info.oid].row_filter
        name, generated = self._names[unit.info.oid], unit.info.oid in self._generated
        command = _copy_command(unit, name, table, row_filter, generated=generated, in_order=self._in_order)
        text = command.as_bytes(connection)
        with as_stored(connection):
            for lines in copy_chunks(connection, text, self._stop, lines=_CHUNK_LINES, size=_CHUNK_BYTES):
                self._put(_Chunk(unit, table, lines))

    def _put(self, item: _Chunk | _Done | LiberatorError) -> None:
        while not self._stop.is_set():
            try:
                self._output.put(item, timeout=0.2)
                return
            except queue.Full:
                continue


class Marker:
    """Marks first and last rows, which only what comes before and after tells: one batch per table is held back, and
    the last one of a finished table until something else comes."""

    def __init__(self) -> None:
        self._held: dict[int, SnapshotBatch] = {}
        self._begun: set[int] = set()
        self._finals: list[tuple[int, SnapshotBatch]] = []
        self._any = False

    def rows(self, oid: int, batch: SnapshotBatch) -> list[SnapshotBatch]:
        """What may go out now that `batch` came."""
        out = self._release(last=False)
        if oid in self._held:
            out.append(self._begin(oid, self._held[oid]))
        self._held[oid] = batch
        return out

    def table_ends(self, oid: int, state: State | None, *, last: bool) -> list[SnapshotBatch]:
        """What may go out now that table `oid` is read. last: it was the last one."""
        batch = self._held.pop(oid, None)
        out = []
        if batch is None:
            batch = SnapshotBatch(frames=[])
        if batch.frames:
            out = self._release(last=False)
        batch.state = state
        self._finals.append((oid, batch))
        return [*out, *self._release(last=True)] if last else out

    def _release(self, *, last: bool) -> list[SnapshotBatch]:
        """The finished tables' last batches; of the snapshot's last one with rows the last row is marked so."""
        out = []
        with_rows = [index for index, (_, batch) in enumerate(self._finals) if batch.frames]
        for index, (oid, batch) in enumerate(self._finals):
            if batch.frames:
                self._begin(oid, batch)
                ends_all = last and index == with_rows[-1]
                mark = "last" if ends_all else "last_in_data_collection"
                batch.marks = {**batch.marks, len(batch.frames) - 1: mark}
            out.append(batch)
        self._finals = []
        return out

    def _begin(self, oid: int, batch: SnapshotBatch) -> SnapshotBatch:
        if oid not in self._begun:
            self._begun.add(oid)
            batch.marks = {0: "first_in_data_collection" if self._any else "first"}
            self._any = True
        return batch


def _units(info: TableInfo) -> list[_Unit]:
    """A table as units of work: ranges of its pages when it is large."""
    if info.partitioned or info.pages < 2 * _UNIT_PAGES:
        return [_Unit(info, None, None)]
    starts = list(range(0, info.pages, _UNIT_PAGES))
    return [_Unit(info, first, last) for first, last in zip(starts, [*starts[1:], None], strict=True)]


def _is_locked(connection: psycopg.Connection[Any], name: tuple[str, str], oid: int) -> bool:
    """Lock what has this name; False, and nothing is locked: that is another table by now. LockNotAvailable: not yet."""
    table = sql.Identifier(*name)
    with (
        contextlib.suppress(psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName),
        connection.transaction(),
    ):
        connection.execute(f"SET LOCAL lock_timeout = {_LOCKED_MS}")
        connection.execute(sql.SQL("SELECT FROM {} LIMIT 0").format(table))
        connection.execute("SET LOCAL lock_timeout = 0")
        row = connection.execute(
            "SELECT pg_catalog.to_regclass(%s)::oid", (table.as_string(connection),)
        ).fetchone()
        if row == (oid,):
            return True
        raise psycopg.Rollback
    return False


def _copy_command(
    unit: _Unit,
    now: tuple[str, str],
    table: Table,
    row_filter: str | None,
    *,
    generated: bool,
    in_order: bool,
) -> sql.Composed:
    """COPY of the published columns and rows. The table form is the fastest; everything else needs the query form.

    now: its schema and name. generated: the table has generated columns, some of which may be published. in_order: as
    their transactions began to write, and each of them inserted.
    """
    name = sql.Identifier(*now)
    columns: list[sql.Composable] = [sql.Identifier(column.name) for column in table.columns]
    conditions: list[sql.Composable] = []
    if unit.first is not None:
        conditions.append(sql.SQL("ctid >= {}::tid").format(f"({unit.first},0)"))
    if unit.last is not None:
        conditions.append(sql.SQL("ctid < {}::tid").format(f"({unit.last},0)"))
    if row_filter is not None:
        conditions.append(sql.SQL("({})").format(sql.SQL(as_literal(row_filter))))
    if table.key and not (conditions or unit.info.partitioned or generated or in_order):
        return sql.SQL("COPY {} ({}) TO STDOUT").format(name, sql.SQL(", ").join(columns))
    if not table.key:
        place = "tableoid || ':' || ctid" if unit.info.partitioned else "ctid"
        columns.insert(0, sql.SQL(as_literal(place)))
    return sql.SQL("COPY (SELECT {} FROM {}{}{}{}) TO STDOUT").format(
        sql.SQL(", ").join(columns),
        sql.SQL("" if unit.info.partitioned else "ONLY "),
        name,
        sql.SQL(" WHERE {}").format(sql.SQL(" AND ").join(conditions)) if conditions else sql.SQL(""),
        sql.SQL(_IN_ORDER if in_order else ""),
    )
