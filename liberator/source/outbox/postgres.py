"""A polled outbox in PostgreSQL. Values come as the server's text, so they are read as those of the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from liberator.errors import PreconditionError
from liberator.postgres.catalogue import load_table
from liberator.postgres.model import Column, Table
from liberator.postgres.session import connect, source_error
from liberator.postgres.sql import as_literal
from liberator.source.outbox.table import PolledSettings, Row, mark_kind, missing, named_by, nullable_id

_Answer = TypeVar("_Answer")


class PostgresTable:
    """See `PolledTable`."""

    raw = True

    def __init__(self, settings: PolledSettings) -> None:
        self._settings = settings
        self._connection: psycopg.Connection[Any] | None = None
        self._table: Table | None = None
        self._order = ""

    def open(self) -> Table:
        """See `PolledTable.open`."""
        settings = self._settings
        self._connection = connect(settings.url, settings.name, autocommit=False)
        table = self._guarded(self._load)
        names = [] if table is None else [column.name for column in table.columns]
        if (refusal := missing(settings, names)) is not None or table is None:
            assert refusal is not None
            raise refusal
        self._table = table
        if not self._column(settings.id).not_null:
            raise nullable_id(settings)
        if settings.mark is not None:
            mark_kind(settings, self._column(settings.mark).type.name)
        self._order = settings.order or self._guarded(self._growing) or (table.key or (settings.id,))[0]
        return table

    @property
    def server(self) -> str:
        """See `PolledTable.server`."""
        version = self._live.info.server_version
        return f"PostgreSQL {version // 10000}.{version % 10000}"

    @property
    def database(self) -> str:
        """See `PolledTable.database`."""
        return self._live.info.dbname

    def take(self, limit: int) -> Sequence[Row]:
        """See `PolledTable.take`."""
        assert self._table is not None
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in self._table.columns)
        query = sql.SQL("SELECT {} FROM {}{} ORDER BY {} LIMIT {} FOR UPDATE SKIP LOCKED").format(
            columns, self._name, self._pending, sql.Identifier(self._order), sql.Literal(limit)
        )
        return self._guarded(lambda: self._rows(query))

    def pending_up_to(self, last: Row) -> Sequence[tuple[Any, Any, Any]]:
        """See `PolledTable.pending_up_to`."""
        settings, column = self._settings, self._column(self._order)
        highest = last[self._place(self._order)].decode()
        condition = sql.SQL("{} <= {}::{}").format(
            sql.Identifier(self._order), sql.Literal(highest), _type(column)
        )
        query = sql.SQL("SELECT {}, {}, {} FROM {}{} ORDER BY {}").format(
            sql.Identifier(settings.aggregate_type),
            sql.Identifier(settings.aggregate_id),
            sql.Identifier(settings.id),
            self._name,
            sql.SQL(" AND ").join(
                [self._pending, condition] if settings.mark else [sql.SQL(" WHERE ") + condition]
            ),
            sql.Identifier(self._order),
        )
        return [(row[0], row[1], row[2]) for row in self._guarded(lambda: self._rows(query))]

    def settle(self, rows: Sequence[Row]) -> None:
        """See `PolledTable.settle`."""
        settings = self._settings
        assert self._table is not None
        name = named_by(settings, self._table.key)
        id = self._place(name)
        of = sql.SQL("{} = ANY (%s::text[]::{}[])").format(sql.Identifier(name), _type(self._column(name)))
        if settings.mark is None:
            statement = sql.SQL("DELETE FROM {} WHERE {}").format(self._name, of)
        else:
            column = self._column(settings.mark)
            now = "now()" if mark_kind(settings, column.type.name) == "time" else "1"
            now = "true" if column.type.name == "bool" else now
            statement = sql.SQL("UPDATE {} SET {} = {} WHERE {}").format(
                self._name, sql.Identifier(settings.mark), sql.SQL(as_literal(now)), of
            )
        ids = [row[id].decode() for row in rows]

        def run() -> None:
            self._live.execute(statement, (ids,))
            self._live.commit()

        self._guarded(run)

    def release(self) -> None:
        """See `PolledTable.release`."""
        self._guarded(self._live.rollback)

    def close(self) -> None:
        """See `PolledTable.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- inside

    def _load(self) -> Table | None:
        row = self._live.execute(
            "SELECT pg_catalog.to_regclass(%s)::oid", (self._name.as_string(None),)
        ).fetchone()
        table = load_table(self._live, row[0]) if row is not None and row[0] is not None else None
        self._live.rollback()
        return table

    def _growing(self) -> str | None:
        """The serial or identity column."""
        row = self._live.execute(
            "SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass(%s)"
            " AND a.attnum > 0 AND NOT a.attisdropped AND (a.attidentity <> ''"
            " OR pg_catalog.pg_get_serial_sequence(%s, a.attname) IS NOT NULL) ORDER BY a.attnum LIMIT 1",
            (self._name.as_string(None),) * 2,
        ).fetchone()
        self._live.rollback()
        return None if row is None else str(row[0])

    def _rows(self, query: sql.Composed) -> list[list[Any]]:
        with self._live.cursor() as cursor:
            result = cursor.execute(query).pgresult
            assert result is not None
            width = range(result.nfields)
            return [[result.get_value(row, column) for column in width] for row in range(result.ntuples)]

    @property
    def _name(self) -> sql.Identifier:
        return sql.Identifier(self._settings.schema, self._settings.table)

    @property
    def _pending(self) -> sql.Composable:
        mark = self._settings.mark
        if mark is None:
            return sql.SQL("")
        column = self._column(mark)
        if mark_kind(self._settings, column.type.name) == "time":
            return sql.SQL(" WHERE {} IS NULL").format(sql.Identifier(mark))
        empty = "false" if column.type.name == "bool" else "0"
        return sql.SQL(" WHERE coalesce({}, {}) = {}").format(
            sql.Identifier(mark), sql.SQL(as_literal(empty)), sql.SQL(as_literal(empty))
        )

    def _place(self, name: str) -> int:
        assert self._table is not None
        return next(index for index, column in enumerate(self._table.columns) if column.name == name)

    def _column(self, name: str) -> Column:
        assert self._table is not None
        return self._table.columns[self._place(name)]

    @property
    def _live(self) -> psycopg.Connection[Any]:
        assert self._connection is not None
        return self._connection

    def _guarded(self, ask: Callable[[], _Answer]) -> _Answer:
        try:
            return ask()
        except psycopg.errors.InsufficientPrivilege as error:
            right = "UPDATE" if self._settings.mark else "UPDATE, DELETE"
            raise PreconditionError(
                f"this user may not poll the outbox: {error.diag.message_primary}",
                code="postgres.42501",
                where="source.outbox.table",
                fix=f"GRANT SELECT, {right} ON {self._settings.label} TO {self._live.info.user}",
            ) from None
        except psycopg.Error as error:
            raise source_error(error, f"polling {self._settings.label}") from None


def _type(column: Column) -> sql.Identifier:
    return sql.Identifier(column.type.schema, column.type.name)
