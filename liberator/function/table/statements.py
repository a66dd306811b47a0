"""Many rows in one statement, in each database's own words.

Enters: a table with its key, rows of values for the driver. Leaves: executed statements. Called by ``writer``, inside
of a transaction. PostgreSQL and SQLite: INSERT .. ON CONFLICT; MariaDB and MySQL: INSERT .. ON DUPLICATE KEY UPDATE;
all others, and tables where that could mean another row: those that are there are updated, the others inserted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from liberator.function.table.changes import Key, Writes

_AT_ONCE = 500
"""Keys in one statement."""

Row = Mapping[str, Any]


class Statements:
    """Of one table. table: with its columns, whose types say nothing: values are the driver's already. key: names of
    columns that are unique together. alone: no other columns are."""

    def __init__(self, dialect: str, table: sa.TableClause, key: Sequence[str], *, alone: bool) -> None:
        self._table = table
        self._key = tuple(key)
        # SQLAlchemy writes a % in a name four times behind ON DUPLICATE KEY UPDATE, where the driver makes one of two.
        told = alone and not any("%" in column.name for column in table.c)
        self._dialect = dialect if told or dialect not in ("mysql", "mariadb") else ""
        self._upserts: dict[tuple[str, ...], Insert | None] = {}

    def write(self, connection: sa.Connection, writes: Writes) -> None:
        """All of it, in the order that `Writes` says."""
        if writes.emptied:
            connection.execute(sa.delete(self._table))
        for old, new in writes.moves:
            self._move(connection, old, new)
        for keys in _chunks(writes.deletes):
            self._delete(connection, keys)
        for columns, rows in groupby(writes.upserts, key=_columns):
            self._upsert(connection, columns, list(rows))

    def _move(self, connection: sa.Connection, old: Key, new: Key) -> None:
        """Give a row another key; where that row is there already, this one is the old one."""
        mine = [self._table.c[name] for name in self._key]
        there = {tuple(row) for row in connection.execute(sa.select(*mine).where(self._in([new])))}
        if there:
            self._delete(connection, [old])
            return
        was = {f"k{n}": value for n, value in enumerate(old)}
        now = {f"p{n}": value for n, value in enumerate(new)}
        statement = sa.update(self._table).where(*self._is_key()).values(_places(self._key))
        connection.execute(statement, was | now)

    def _is_key(self) -> list[sa.ColumnElement[bool]]:
        return [self._table.c[name] == sa.bindparam(f"k{n}") for n, name in enumerate(self._key)]

    def _delete(self, connection: sa.Connection, keys: Sequence[Key]) -> None:
        if len(self._key) == 1:
            connection.execute(sa.delete(self._table).where(self._in(keys)))
            return
        statement = sa.delete(self._table).where(*self._is_key())
        connection.execute(statement, [{f"k{n}": value for n, value in enumerate(key)} for key in keys])

    def _in(self, keys: Sequence[Key]) -> sa.ColumnElement[bool]:
        if len(self._key) == 1:
            # Without a type: PostgreSQL finds it by the column.
            values = sa.bindparam("keys", [key[0] for key in keys], sa.types.NullType(), expanding=True)
            return self._table.c[self._key[0]].in_(values)
        columns = [self._table.c[name] for name in self._key]
        return sa.or_(
            *(
                sa.and_(*(one == _untyped(part) for one, part in zip(columns, key, strict=True)))
                for key in keys
            )
        )

    def _upsert(self, connection: sa.Connection, columns: tuple[str, ...], rows: list[Row]) -> None:
        if columns not in self._upserts:
            self._upserts[columns] = self.upsert(columns)
        statement = self._upserts[columns]
        if statement is not None:
            connection.execute(statement, [_numbered(columns, row) for row in rows])
            return
        known: set[Key] = set()
        mine = [self._table.c[name] for name in self._key]
        for keys in _chunks([self._key_of(row) for row in rows]):
            known.update(tuple(found) for found in connection.execute(sa.select(*mine).where(self._in(keys))))
        there = [row for row in rows if self._key_of(row) in known]
        others = [name for name in columns if name not in self._key]
        if there and others:
            connection.execute(self.update(columns), [_numbered(columns, row) for row in there])
        if new := [row for row in rows if self._key_of(row) not in known]:
            connection.execute(self.insert(columns), [_numbered(columns, row) for row in new])

    def upsert(self, columns: tuple[str, ...]) -> Insert | None:
        """Of rows with these columns; None: this database has no statement for it."""
        others = [name for name in columns if name not in self._key]
        values = _places(columns)
        if self._dialect in ("mysql", "mariadb"):
            into = mysql.insert(self._table).values(values)
            return into.on_duplicate_key_update({name: into.inserted[name] for name in others or self._key})
        if self._dialect not in ("postgresql", "sqlite"):
            return None
        insert = (postgresql.insert if self._dialect == "postgresql" else sqlite.insert)(self._table).values(
            values
        )
        if not others:
            return insert.on_conflict_do_nothing(index_elements=list(self._key))
        set_ = {name: insert.excluded[name] for name in others}
        return insert.on_conflict_do_update(index_elements=list(self._key), set_=set_)

    def update(self, columns: tuple[str, ...]) -> sa.Update:
        """Of one row, by its key."""
        places = _places(columns)
        return (
            sa.update(self._table)
            .where(*(self._table.c[name] == places[name] for name in self._key))
            .values({name: place for name, place in places.items() if name not in self._key})
        )

    def insert(self, columns: tuple[str, ...]) -> sa.Insert:
        """Of one row."""
        return sa.insert(self._table).values(_places(columns))

    def _key_of(self, row: Row) -> Key:
        return tuple(row[name] for name in self._key)


def _untyped(value: Any) -> sa.BindParameter[Any]:
    """PostgreSQL finds the type by the column."""
    return sa.bindparam(None, value, sa.types.NullType(), unique=True)


def _columns(row: Row) -> tuple[str, ...]:
    return tuple(row)


def _places(columns: tuple[str, ...]) -> dict[str, sa.BindParameter[Any]]:
    return {name: sa.bindparam(f"p{n}") for n, name in enumerate(columns)}


def _numbered(columns: tuple[str, ...], row: Row) -> dict[str, Any]:
    """Parameters by number: a column may be called anything."""
    return {f"p{n}": row[name] for n, name in enumerate(columns)}


def _chunks(keys: Sequence[Key]) -> Iterator[Sequence[Key]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield keys[start : start + _AT_ONCE]
