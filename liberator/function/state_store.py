"""The store of `context.state`: table ``liberator_state`` in SQLite or PostgreSQL, and the offsets beside it.

Enters: keys, changes with the offsets of their events. Leaves: values; what was saved, whole or not at all. Read where the
function runs, written by the connector.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from liberator.change import TopicPartition
from liberator.errors import FunctionError
from liberator.function.state import Bounds, StateSettings
from liberator.function.table import database
from liberator.function.table.changes import Writes
from liberator.function.table.offsets import Done, OffsetTable
from liberator.function.table.statements import Statements
from liberator.protocols import StateChanges

NAME = "liberator_state"
_WHERE = "state"
_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""In the order of code points, as SQLite has it anyway: what `scan` reads is in the index."""

_COLUMNS = ("connector", "key", "value", "version")


class StateStore:
    """The store, open. Raises `FunctionError` (function.state_unreachable, state_refused, state_conflict)."""

    def __init__(self, settings: StateSettings) -> None:
        self._connector = settings.connector
        path = settings.url.removeprefix("sqlite:") if settings.url.startswith("sqlite:") else None
        url = settings.url if path is None else f"sqlite:///{path}"
        self._folder = None if path is None else Path(path).parent
        self._engine = database.connect(url, settings.timeout)
        self._offsets = OffsetTable(settings.connector, None)
        self._table = sa.Table(
            NAME,
            sa.MetaData(),
            sa.Column("connector", sa.Text, primary_key=True),
            sa.Column("key", _KEY, primary_key=True),
            sa.Column("value", sa.Text, nullable=False),
            sa.Column("version", sa.BigInteger, nullable=False),
        )
        plain = sa.table(NAME, *map(sa.column, _COLUMNS))
        self._statements = Statements(self._engine.dialect.name, plain, _COLUMNS[:2], alone=True)

    def make(self) -> None:
        """Make the tables that are missing."""
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._offsets.make(self._engine)
            database.make(self._engine, self._table)
        except exc.SQLAlchemyError as error:
            raise _failure(error) from error
        except OSError as error:
            raise FunctionError(
                f"the folder {self._folder} can't be made: {error.strerror or error}",
                code="function.state_unreachable",
                where=_WHERE,
                fix="correct state.url, or what this user may do there",
                retryable=True,
            ) from error

    def read(self, key: str) -> tuple[str, int] | None:
        """A value and its number; None: there is none."""
        c = self._table.c
        query = sa.select(c.value, c.version).where(c.connector == self._connector, c.key == key)
        try:
            with self._engine.begin() as connection:
                row = connection.execute(query).first()
        except exc.SQLAlchemyError as error:
            raise _failure(error) from error
        return None if row is None else (row[0], row[1])

    def scan(self, bounds: Bounds, limit: int) -> Sequence[tuple[str, str, int]]:
        """See `Reader`."""
        c = self._table.c
        key = _in_order(c.key, self._engine.dialect.name)
        query = sa.select(c.key, c.value, c.version).where(c.connector == self._connector)
        if bounds.after is not None and bounds.after >= bounds.prefix:
            query = query.where(key > bounds.after)
        else:
            query = query.where(key >= bounds.prefix)
        if bounds.end is not None:
            query = query.where(key < bounds.end)
        try:
            with self._engine.begin() as connection:
                rows = connection.execute(query.order_by(key).limit(limit)).all()
        except exc.SQLAlchemyError as error:
            raise _failure(error) from error
        return [(row[0], row[1], row[2]) for row in rows]

    def places(
        self, committed: Mapping[TopicPartition, int], partitions: Mapping[str, int]
    ) -> dict[TopicPartition, int | None]:
        """See `liberator.consume.placed.Places`."""
        try:
            with self._engine.begin() as connection:
                found = self._offsets.load(connection, committed)
        except exc.SQLAlchemyError as error:
            raise _failure(error) from error
        return {place: found[place].next if place in found else None for place in committed}

    def save(self, changes: StateChanges, done: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """In one transaction. done: of each partition the first and the last offset of the invocation."""
        try:
            with self._engine.begin() as connection:
                known = self._offsets.load(connection, done, lock=True)
                for place, (first, _) in done.items():
                    if place in known and known[place].next > first:
                        raise _conflict(f"{place.topic}/{place.partition} is done by another member")
                self._require_unchanged(connection, changes.read)
                self._write(connection, changes.written)
                self._offsets.save(
                    connection, {place: Done(last + 1) for place, (_, last) in done.items()}, known
                )
        except exc.IntegrityError as error:
            raise _conflict("another member writes the same for the first time") from error
        except exc.SQLAlchemyError as error:
            raise _failure(error) from error

    def clear(self) -> None:
        """Forget everything of this connector."""
        try:
            with self._engine.begin() as connection:
                for table in (self._table, self._offsets.table):
                    connection.execute(sa.delete(table).where(table.c.connector == self._connector))
        except exc.SQLAlchemyError as error:
            raise _failure(error) from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _require_unchanged(self, connection: sa.Connection, read: Mapping[str, int | None]) -> None:
        c = self._table.c
        for keys in _chunks(sorted(read)):
            query = (
                sa.select(c.key, c.version)
                .where(c.connector == self._connector, c.key.in_(keys))
                .order_by(c.key)
            )
            now = {row[0]: row[1] for row in connection.execute(query.with_for_update())}
            if any(now.get(key) != read[key] for key in keys):
                raise _conflict("another member has changed what the function has read")

    def _write(self, connection: sa.Connection, written: Mapping[str, str | None]) -> None:
        rows: list[Mapping[str, Any]] = [
            {"connector": self._connector, "key": key, "value": value, "version": secrets.randbits(62)}
            for key, value in sorted(written.items())
            if value is not None
        ]
        gone = [(self._connector, key) for key, value in sorted(written.items()) if value is None]
        self._statements.write(connection, Writes(deletes=gone, upserts=rows))


def _in_order(key: sa.ColumnElement[str], dialect: str) -> sa.ColumnElement[str]:
    """A table that was made with another order gives the same, if not as fast."""
    return sa.collate(key, "C") if dialect == "postgresql" else key


def _chunks(keys: Collection[str]) -> list[list[str]]:
    every = list(keys)
    return [every[start : start + 500] for start in range(0, len(every), 500)]


def _failure(error: exc.SQLAlchemyError) -> FunctionError:
    """Always a `FunctionError`: it passes through the function, and is told from its own by its code."""
    found = database.failure(error, _WHERE, code="function.state", key="state.url")
    return FunctionError(
        found.what, code=found.code, where=found.where, fix=found.fix, retryable=found.retryable
    )


def _conflict(what: str) -> FunctionError:
    return FunctionError(what, code="function.state_conflict", where=_WHERE, retryable=True)
