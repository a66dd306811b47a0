"""A polled outbox in any database that SQLAlchemy speaks to. Values come as the driver makes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from liberator.postgres.model import Column, PgType, Table
from liberator.source.outbox.table import PolledSettings, Row, mark_kind, missing, named_by, nullable_id
from liberator.source.query.engine import make_engine
from liberator.source.query.sql_alchemy import failure
from liberator.source.query.sql_alchemy_shape import KINDS, kind_of

_PASSES_BY = ("mysql", "mariadb", "oracle")
"""Databases that can pass locked rows by."""

_AT_ONCE = 500
"""Ids in one statement."""

_Answer = TypeVar("_Answer")


class SqlAlchemyTable:
    """See `PolledTable`. schema: as the database names it; None: its default."""

    raw = False

    def __init__(self, settings: PolledSettings, schema: str | None) -> None:
        self._settings = settings
        self._schema = schema
        self._engine: sa.Engine | None = None
        self._connection: sa.Connection | None = None
        self._columns: tuple[Column, ...] = ()
        self._key: tuple[str, ...] = ()
        self._order = ""

    def open(self) -> Table:
        """See `PolledTable.open`."""
        self._engine = make_engine(self._settings.url)
        self._connection = self._guarded(self._engine.connect)
        if self._locks:
            self._connection = self._connection.execution_options(isolation_level="READ COMMITTED")
        return self._guarded(self._look)

    @property
    def server(self) -> str:
        """See `PolledTable.server`."""
        dialect = self._live.dialect
        return f"{dialect.name} {'.'.join(map(str, dialect.server_version_info or ()))}".strip()

    @property
    def database(self) -> str:
        """See `PolledTable.database`."""
        database = sa.make_url(self._settings.url).database or ""
        return Path(database).stem if self._live.dialect.name == "sqlite" else database

    def take(self, limit: int) -> Sequence[Row]:
        """See `PolledTable.take`."""
        names: list[sa.ColumnClause[Any]] = [sa.column(column.name) for column in self._columns]
        query = self._pending(sa.select(*names).select_from(self._table)).order_by(sa.column(self._order))
        query = query.limit(limit)
        if self._locks:
            query = query.with_for_update(skip_locked=True)

        def run() -> list[list[Any]]:
            rows = [list(row) for row in self._live.execute(query)]
            if not self._locks:
                self._live.commit()
            return rows

        return self._guarded(run)

    def pending_up_to(self, last: Row) -> Sequence[tuple[Any, Any, Any]]:
        """See `PolledTable.pending_up_to`."""
        if not self._locks:
            return ()
        settings = self._settings
        names: list[sa.ColumnClause[Any]] = [
            sa.column(name) for name in (settings.aggregate_type, settings.aggregate_id, settings.id)
        ]
        order: sa.ColumnClause[Any] = sa.column(self._order)
        query = self._pending(sa.select(*names).select_from(self._table))
        query = query.where(order <= last[self._place(self._order)]).order_by(order)
        return self._guarded(lambda: [(row[0], row[1], row[2]) for row in self._live.execute(query)])

    def settle(self, rows: Sequence[Row]) -> None:
        """See `PolledTable.settle`."""
        settings, name = self._settings, named_by(self._settings, self._key)
        place = self._place(name)
        id: sa.ColumnClause[Any] = sa.column(name)
        ids = [row[place] for row in rows]

        def run() -> None:
            for start in range(0, len(ids), _AT_ONCE):
                these = id.in_(ids[start : start + _AT_ONCE])
                if settings.mark is None:
                    self._live.execute(sa.delete(self._table).where(these))
                else:
                    now = sa.func.current_timestamp() if self._mark == "time" else sa.literal(1)
                    self._live.execute(sa.update(self._table).values({settings.mark: now}).where(these))
            self._live.commit()

        self._guarded(run)

    def release(self) -> None:
        """See `PolledTable.release`."""
        self._guarded(self._live.rollback)

    def close(self) -> None:
        """See `PolledTable.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(exc.SQLAlchemyError):
                connection.close()
        if self._engine is not None:
            self._engine.dispose()

    # -- inside

    def _look(self) -> Table:
        """The table as it is, and what speaks against it."""
        settings = self._settings
        inspector = sa.inspect(self._live)
        found = []
        with contextlib.suppress(exc.NoSuchTableError):
            found = inspector.get_columns(settings.table, self._schema)
        if (refusal := missing(settings, [column["name"] for column in found])) is not None:
            raise refusal
        key = inspector.get_pk_constraint(settings.table, self._schema)["constrained_columns"]
        [id] = (column for column in found if column["name"] == settings.id)
        if id["nullable"] and key != [settings.id]:
            raise nullable_id(settings)
        self._key = tuple(key)
        self._columns = tuple(Column(c["name"], PgType(0, KINDS, kind_of(c["type"]))) for c in found)
        growing = [c["name"] for c in found if c.get("autoincrement") is True or c.get("identity")]
        self._order = settings.order or (growing or key or [settings.id])[0]
        if settings.mark is not None:
            mark_kind(settings, self._columns[self._place(settings.mark)].type.name)
        self._live.commit()
        return Table(0, settings.schema, settings.table, self._columns, self._key, "full")

    def _pending(self, query: sa.Select[Any]) -> sa.Select[Any]:
        if self._settings.mark is None:
            return query
        mark: sa.ColumnClause[Any] = sa.column(self._settings.mark)
        return query.where(mark.is_(None) if self._mark == "time" else sa.func.coalesce(mark, 0) == 0)

    @property
    def _mark(self) -> str:
        name = self._columns[self._place(self._settings.mark or "")].type.name
        return mark_kind(self._settings, name)

    @property
    def _table(self) -> sa.TableClause:
        return sa.table(
            self._settings.table, *(sa.column(column.name) for column in self._columns), schema=self._schema
        )

    def _place(self, name: str) -> int:
        return next(index for index, column in enumerate(self._columns) if column.name == name)

    @property
    def _locks(self) -> bool:
        assert self._engine is not None
        return self._engine.dialect.name in _PASSES_BY

    @property
    def _live(self) -> sa.Connection:
        assert self._connection is not None
        return self._connection

    def _guarded(self, ask: Callable[[], _Answer]) -> _Answer:
        try:
            return ask()
        except exc.SQLAlchemyError as error:
            raise failure(error, f"polling {self._settings.label}") from None
