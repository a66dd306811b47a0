"""The table that is written: how it is, and how it is made or widened.

Enters: its name, contracts. Leaves: columns with their converters, statements. Called by ``writer``. What stands
against writing to it is an error with a way out, before anything is written.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateTable

from liberator.errors import PreconditionError
from liberator.function.table import database, ddl
from liberator.function.table.statements import Statements
from liberator.function.table.values import Converter, converter

log = logging.getLogger(__name__)

_OWN_TYPES = sa.text(
    "SELECT attname, typname FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid"
    " WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped"
)

Contract = Mapping[str, Any]
NewColumns = Literal["stop", "add", "ignore"]


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """schema: None: the database's default. key: names of columns; empty: the table's primary key, or the contract's.
    contract: of its rows, None: nobody has written one. create: make the table if it is missing."""

    table: str
    schema: str | None = None
    key: tuple[str, ...] = ()
    create: bool = False
    new_columns: NewColumns = "stop"
    contract: Callable[[], Contract | None] = lambda: None

    @property
    def named(self) -> str:
        """For messages."""
        return f"{self.schema}.{self.table}" if self.schema else self.table


class Target:
    """key: names of the columns that tell rows apart. columns: what can be written, with what makes values of
    JSON."""

    def __init__(self, engine: sa.Engine, settings: TargetSettings) -> None:
        """Raises `PreconditionError`, and SQLAlchemy's errors."""
        self._engine = engine
        self._settings = settings
        self._ignored: set[str] = set()
        self.key: tuple[str, ...] = ()
        self.columns: dict[str, Converter] = {}
        self._look(may_make=True)

    def make_room(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See to columns that rows have and the table does not, as `new_columns` says. Raises `PreconditionError`."""
        values = {
            name: value
            for row in rows
            for name, value in row.items()
            if value is not None and name not in self.columns and name not in self._ignored
        }
        if not values:
            return
        policy = self._settings.new_columns
        columns = self._new(values)
        if policy == "ignore":
            self._ignored |= values.keys()
            log.warning("%s has no column %s: left out", self._settings.named, ", ".join(values))
        elif policy == "add":
            log.info("adding to %s: %s", self._settings.named, ", ".join(values))
            with self._engine.begin() as connection:
                for statement in columns:
                    connection.exec_driver_sql(self._for_driver(statement))
            self._look(may_make=False)
            self._require_columns(values)
        else:
            raise PreconditionError(
                f"events have columns that {self._settings.named} does not have: {', '.join(values)}",
                code="function.table_columns",
                where="function.table",
                fix=f"add them: {'; '.join(columns)} - or write new_columns: add (or ignore)",
            )

    def _require_columns(self, names: Iterable[str]) -> None:
        if odd := [name for name in names if name not in self.columns]:
            raise PreconditionError(
                f"{self._settings.named} has got columns whose names are not {', '.join(odd)}, as the database wrote them",
                code="function.table_columns",
                where="function.table",
                fix="give these columns names in the stream that the database takes (a transform renames them), or write"
                " new_columns: ignore",
            )

    def _for_people(self) -> sa.Dialect:
        """The dialect of statements as somebody would write them: drivers want each % of a name twice."""
        return type(self._engine.dialect)(paramstyle="named")  # type: ignore[call-arg]  # the base of all takes it

    def _for_driver(self, statement: str) -> str:
        doubles = self._engine.dialect.paramstyle in ("format", "pyformat")
        return statement.replace("%", "%%") if doubles else statement

    def _new(self, values: Mapping[str, Any]) -> list[str]:
        """Statements that add columns for these values."""
        known = (self._settings.contract() or {}).get("properties", {})
        dialect = self._for_people()
        table = dialect.identifier_preparer.format_table(self._table([]))
        word = "ADD" if dialect.name in ("oracle", "mssql") else "ADD COLUMN"
        made = [
            ddl.column_of(name, known.get(name) or ddl.schema_of(value), dialect.name)
            for name, value in values.items()
        ]
        return [f"ALTER TABLE {table} {word} {CreateColumn(one).compile(dialect=dialect)}" for one in made]

    def _look(self, *, may_make: bool) -> None:
        settings = self._settings
        with self._engine.begin() as connection, warnings.catch_warnings():
            # Of types and indexes that it does not know: the database reads their text.
            warnings.simplefilter("ignore", sa.exc.SAWarning)
            inspector = sa.inspect(connection)
            there = inspector.has_table(settings.table, settings.schema)
            if there:
                self._read(inspector, self._own_types(connection))
        if not there and may_make:
            self._make()
            self._look(may_make=False)

    def _own_types(self, connection: sa.Connection) -> Mapping[str, str]:
        """Of PostgreSQL the names of its types by column, as SQLAlchemy does not know all of them."""
        dialect = self._engine.dialect
        if dialect.name != "postgresql":
            return {}
        table = dialect.identifier_preparer.format_table(self._table([]))
        return {row.attname: row.typname for row in connection.execute(_OWN_TYPES, {"table": table})}

    def _read(self, inspector: sa.Inspector, own_types: Mapping[str, str]) -> None:
        settings, dialect = self._settings, self._engine.dialect.name
        found = inspector.get_columns(settings.table, settings.schema)
        self.columns = {
            column["name"]: converter(dialect, column["type"], own_types.get(column["name"], ""))
            for column in found
            if not column.get("computed")
        }
        primary = tuple(inspector.get_pk_constraint(settings.table, settings.schema)["constrained_columns"])
        unique = [frozenset(primary)] if primary else []
        for index in inspector.get_indexes(settings.table, settings.schema):
            if index["unique"] and not index.get("dialect_options", {}).get(f"{dialect}_where"):
                unique.append(frozenset(filter(None, index["column_names"])))
        for constraint in inspector.get_unique_constraints(settings.table, settings.schema):
            unique.append(frozenset(constraint["column_names"]))
        self.key = settings.key or primary
        self._require_key(unique)
        if dialect in ("mysql", "mariadb"):
            self._require_transactions(inspector)
        table = sa.table(settings.table, *map(sa.column, self.columns), schema=settings.schema)
        alone = set(unique) == {frozenset(self.key)}
        self.statements = Statements(dialect, table, self.key, alone=alone)

    def _require_key(self, unique: Sequence[frozenset[str]]) -> None:
        name, key = self._settings.named, ", ".join(self.key)
        if not self.key:
            raise _refused(
                f"{name} has no primary key, so nothing tells its rows apart",
                "add a primary key, or name columns of a unique index in function.table.key",
            )
        if frozenset(self.key) not in unique:
            raise _refused(
                f"{name} has no unique index on {key}, so its rows can't be found by them",
                f"make one: CREATE UNIQUE INDEX ON {name} ({key})",
            )

    def _require_transactions(self, inspector: sa.Inspector) -> None:
        settings = self._settings
        options = inspector.get_table_options(settings.table, settings.schema)
        engine = str(options.get("mysql_engine") or options.get("mariadb_engine") or "InnoDB")
        if engine.lower() != "innodb":
            raise _refused(
                f"{settings.named} is kept by {engine}, which has no transactions",
                f"ALTER TABLE {settings.named} ENGINE = InnoDB",
            )

    def _make(self) -> None:
        settings = self._settings
        contract = settings.contract()
        if contract is None:
            raise _refused(
                f"there is no table {settings.named}, and no contract that says how it should be",
                "make the table, or write the contract of the topic (liberate schema derive) into schema.dir",
                code="function.table_missing",
            )
        key = settings.key or tuple(contract.get("x-key", ()))
        if not key:
            raise _refused(
                f"there is no table {settings.named}, and its contract names no key",
                "name its columns in function.table.key",
                code="function.table_missing",
            )
        dialect = self._engine.dialect
        table = self._table(ddl.columns_of(contract, key, dialect.name))
        if not settings.create:
            statement = " ".join(str(CreateTable(table).compile(dialect=self._for_people())).split())
            raise _refused(
                f"there is no table {settings.named}",
                f"write create: true, or make it: {statement}",
                code="function.table_missing",
            )
        log.info("making the table %s", settings.named)
        database.make(self._engine, table)

    def _table(self, columns: Sequence[sa.Column[Any]]) -> sa.Table:
        return sa.Table(self._settings.table, sa.MetaData(), *columns, schema=self._settings.schema)


def _refused(what: str, fix: str, code: str = "function.table_key") -> PreconditionError:
    return PreconditionError(what, code=code, where="function.table", fix=fix)
