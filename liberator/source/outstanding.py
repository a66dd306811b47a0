"""The tables whose rows are still to be read, and the snapshots that read them at their place of the stream.

Enters: what the publications show, and which tables lack their snapshot. Leaves: a `Snapshot` that has begun, and the
place of the stream where its rows belong. Called by the opening, which begins a first snapshot, and by the log source,
which asks for a later one (docs/adr/0010). Never streams, never decides what is captured.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from liberator.change import State
from liberator.errors import SourceError
from liberator.postgres import publications
from liberator.postgres.catalogue import (
    Published,
    TableInfo,
    columns_of,
    list_tables,
    load_table,
    with_sizes,
)
from liberator.postgres.locks import blockers, lockers
from liberator.postgres.lsn import format_lsn
from liberator.postgres.replication import NewSlot, ReplicationConnection
from liberator.postgres.session import impatient
from liberator.protocols import SnapshotProgress
from liberator.source.position import TablePosition, table_partition
from liberator.source.settings import LogSettings
from liberator.source.snapshot import Snapshot, SnapshotBatch
from liberator.source.tables import captured

log = logging.getLogger(__name__)

_SAY_AFTER = 3
"""Seconds that making a slot may take without a word about who is waited for."""

_LOCKED = 2.0
"""Seconds to wait for a table that the application has locked."""

_FIRST_PATIENCE, _LONGEST_PATIENCE = 5.0, 600.0
"""Seconds to wait for the slot of a later snapshot; then the stream goes on for as long, and it is tried again with more."""


_SCARCE = frozenset({"postgres.53300", "postgres.53400"})
"""What the server has too few of at the moment: connections, walsenders, slots."""


@dataclass(slots=True)
class Reread:
    """A snapshot that waits for the stream to reach its place, `barrier`."""

    barrier: int
    snapshot: Snapshot


class Outstanding:
    """The captured tables, and which of them are still to be read.

    save: keeps a delta of the state at once. cancelled: asked while the server makes a slot, which can take as long as
    its longest transaction. tick: a clock in seconds.
    """

    def __init__(
        self,
        settings: LogSettings,
        catalogue: psycopg.Connection[Any],
        *,
        save: Callable[[State], None],
        progress: SnapshotProgress,
        cancelled: Callable[[], bool],
        tick: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._save = save
        self._progress = progress
        self._cancelled = cancelled
        self._tick = tick
        self._now_us = now_us
        self._patience = _FIRST_PATIENCE
        self._due = 0.0
        self._known: set[str] = set()
        self._all: dict[int, TableInfo] = {}
        self._columns: dict[int, tuple[str, ...]] = {}
        self.names: tuple[str, ...] = ()
        """The publications that are streamed from."""
        self.selection = settings.selection
        """Which of the published tables are captured."""
        self.shown: dict[int, Published] = {}
        """What they show of each table."""
        self.tables: list[TableInfo] = []
        """The tables captured."""
        self.pending: dict[str, TablePosition] = {}
        """Those that are still to be read, by their names of now."""

    def look(self, tables: Sequence[TableInfo]) -> None:
        """What of all `tables`, as they are now, is captured."""
        self._all = {table.oid: table for table in tables}
        self.shown = publications.shown(self._catalogue, self.names)
        self.tables = captured(tables, self.shown, self.selection)
        self._columns = columns_of(self._catalogue, [table.oid for table in self.tables])

    def first(self, tables: Sequence[TableInfo], begun: Mapping[str, TablePosition]) -> State:
        """These are to be read; a checkpoint's first words about them, for the caller to save. begun: what was published in
        an earlier life: what was deleted since, nobody tells, so those tables are emptied in the stream."""
        self.pending = {
            table.qualified: TablePosition(None, table.oid, table.qualified in begun) for table in tables
        }
        self._known = set(self.pending)
        return _encoded(self.pending)

    def all_again(self, known: Mapping[str, TablePosition]) -> None:
        """All tables are to be read, whatever is `known` of them."""
        self.pending = {
            table.qualified: TablePosition(None, table.oid, _is_another(table, known.get(table.qualified)))
            for table in self.tables
        }
        self._known = {*known, *self.pending}
        self._save(_encoded(self.pending))

    def resume(self, known: Mapping[str, TablePosition]) -> None:
        """Those are to be read that `known` calls so; and those that are another table by now, whose rows may have come
        before they were published."""
        self._known = set(known)
        self.pending = {name: position for name, position in known.items() if position.done is None}
        anew = {
            table.qualified: TablePosition(None, table.oid, afresh=True)
            for table in self.tables
            if _is_another(table, known.get(table.qualified)) and table.qualified not in self.pending
        }
        if anew and self._settings.snapshot == "never":
            log.warning(
                "%s: another table than before; its rows of before are not read (snapshot: never)",
                ", ".join(anew),
            )
        elif anew:
            log.warning(
                "%s: another table than before, so it is read, and replaces the former", ", ".join(anew)
            )
            self._save(_encoded(anew))
            self.pending.update(anew)
        self._follow()

    def todo(self) -> list[TableInfo]:
        """The captured tables that are still to be read."""
        return [table for table in self.tables if table.qualified in self.pending]

    def finished(self, tables: Iterable[str]) -> None:
        """These have been read."""
        for name in tables:
            self.pending.pop(name, None)

    def create_slot(
        self,
        connection: ReplicationConnection,
        name: str,
        *,
        temporary: bool,
        export: bool,
        patience: float = math.inf,
    ) -> NewSlot:
        """Make a slot; says who is waited for. patience: seconds after which it is given up, as an error 57014."""
        warned = False
        end = self._tick() + patience

        def waiting(seconds: float) -> None:
            nonlocal warned
            if seconds >= _SAY_AFTER and not warned:
                warned = True
                pids = blockers(self._catalogue)
                log.warning(
                    "the server makes the slot when the transactions that run now have ended: pids %s", pids
                )

        return connection.create_slot(
            name,
            temporary=temporary,
            export=export,
            failover=self._settings.failover and not temporary,
            waiting=waiting,
            cancelled=lambda: self._cancelled() or self._tick() >= end,
        )

    def begin(self, tables: Sequence[TableInfo], new: NewSlot) -> Snapshot:
        """Read `tables` under the snapshot that `new` exported, which is free afterwards."""
        if new.snapshot is None:
            raise SourceError("the server exported no snapshot", code="source.snapshot_export")
        snapshot = Snapshot(
            self._settings.url,
            self._settings.name,
            with_sizes(self._catalogue, tables),
            self.shown,
            self._columns,
            show=lambda connection: publications.shown(connection, self.names),
            lsn=new.consistent_lsn,
            snapshot=new.snapshot,
            workers=self._settings.workers,
            in_order=self._settings.rows_are_events,
            queue_bytes=self._settings.queue_bytes,
            progress=self._progress,
        )
        snapshot.begin()
        log.info("reading %d tables as of %s", len(tables), format_lsn(new.consistent_lsn))
        return snapshot

    def reread(self) -> Reread | None:
        """Take a newer snapshot with a temporary slot; the stream goes on up to its consistent point. None: nothing is
        left to be read, or the application is in the way. Then the stream flows, and it is tried again later."""
        if self._tick() < self._due:
            return None
        try:
            return self._reread()
        except psycopg.errors.LockNotAvailable:
            self._put_off("the lock of a table", lockers(self._catalogue))
        except SourceError as error:
            if error.code == "postgres.57014" and not self._cancelled():
                self._put_off("running transactions", blockers(self._catalogue))
            elif error.code in _SCARCE:
                self._put_off("a free slot and connection", f"{error.what} ({error.fix})")
            else:
                raise
        return None

    def _reread(self) -> Reread | None:
        self._look_again()
        if not self.pending:
            return None
        connection = ReplicationConnection(self._settings.url, self._settings.name)
        try:
            name = f"liberator_read_{unique()}"
            new = self.create_slot(connection, name, temporary=True, export=True, patience=self._patience)
            self._look_again()
            todo = self.todo()
            return Reread(new.consistent_lsn, self.begin(todo, new)) if todo else None
        finally:
            connection.close()

    def _put_off(self, what: str, whose: str) -> None:
        """Wait as long as was waited, and the next time longer: the stream gets its share, the snapshot its turn."""
        log.warning(
            "reading %s waits for %s: %s; the stream goes on meanwhile",
            ", ".join(sorted(self.pending)),
            what,
            whose,
        )
        self._due = self._tick() + self._patience
        self._patience = min(2 * self._patience, _LONGEST_PATIENCE)

    def afresh(self, barrier: int) -> Iterator[SnapshotBatch]:
        """Rows of a table without a key that come again could not be told from new ones: first it is emptied. So is one
        under whose name another table was published."""
        for info in self.todo():
            if not info.key or self.pending[info.qualified].afresh:
                table = load_table(self._catalogue, info.oid, self.shown[info.oid].columns)
                if table is not None:
                    table = replace(table, schema=info.schema, name=info.name)
                    yield SnapshotBatch([], table=table, lsn=barrier, taken_us=self._now_us(), afresh=True)

    def _look_again(self) -> None:
        with impatient(self._catalogue, _LOCKED):
            self.look(list_tables(self._catalogue))
        self._follow()

    def _follow(self) -> None:
        """Tables that are still to be read, wherever they are now: renamed, exchanged, made anew, put below a root."""
        by_name = {table.qualified: table for table in self.tables}
        now: dict[str, TablePosition] = {}
        for name, position in self.pending.items():
            found = self._related(position.oid) or [by_name[one] for one in (name,) if one in by_name]
            for table in found:
                other = position.oid not in (None, table.oid)
                afresh = position.afresh or (
                    table.qualified in self._known and (other or table.qualified != name)
                )
                now[table.qualified] = TablePosition(None, table.oid, afresh)
                _say(name, table, other)
            if not found:
                log.warning(
                    "%s is not captured any more, and so its rows are not read: %s",
                    name,
                    self._fate(position),
                )
        if now != self.pending:
            self._save({**{table_partition(name): b"" for name in self.pending}, **_encoded(now)})
            self._known |= now.keys()
            self.pending = now

    def _related(self, oid: int | None) -> list[TableInfo]:
        """The captured tables under whose names the rows of one come: itself, a table above or the tables below it."""
        table = self._all.get(oid or 0)
        if table is None:
            return []
        return [
            one for one in self.tables if one.oid == oid or one.oid in table.ancestors or oid in one.ancestors
        ]

    def _fate(self, position: TablePosition) -> str:
        table = self._all.get(position.oid or 0)
        return "it is gone" if table is None else f"it is {table.qualified} now"


def _say(name: str, table: TableInfo, other: bool) -> None:
    if table.qualified != name:
        log.warning("%s is %s now, and its rows are read under that name", name, table.qualified)
    elif other:
        log.warning("%s was dropped and made anew: the new one is read, and replaces the former", name)


def _is_another(table: TableInfo, known: TablePosition | None) -> bool:
    """Does what was published under its name not hold, because another table had it?"""
    return known is not None and (known.afresh or known.oid not in (None, table.oid))


def _encoded(tables: Mapping[str, TablePosition]) -> State:
    return {table_partition(name): position.encode() for name, position in sorted(tables.items())}


def unique() -> str:
    """An ending that makes the name of a temporary slot ours."""
    return secrets.token_hex(4)
