"""Which PostgreSQL relations a query source reads, and how: the catalogue's facts and the configuration's wishes.

Asked before each pass, so that a table whose columns change is read in its new shape.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from liberator.errors import PreconditionError
from liberator.postgres.model import Column, Identity, Table
from liberator.postgres.sql import as_literal, statement
from liberator.postgres.types import load_types
from liberator.source.query.advice import TableSeen
from liberator.source.query.database import Relation, Shape
from liberator.source.query.postgres_seen import seen_of
from liberator.source.query.settings import TableSettings

log = logging.getLogger(__name__)

_DATED = frozenset({"timestamp", "timestamptz", "date"})
_BOUNDED = _DATED | {"numeric", "float4", "float8"}
_WRONG_SQL = ("42", "3F")
"""SQLSTATE classes: syntax, names and rights; a schema that is not there."""


@dataclass(frozen=True, slots=True)
class _Facts:
    key: tuple[str, ...]
    kind: str
    readable: bool
    hides_rows: bool
    indexed: tuple[str, ...]


class Catalogue:
    """What the server says of its relations."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._facts: dict[int, _Facts] = {}
        self._asked: set[int] = set()

    def relations(self, wants: Callable[[str, str], bool]) -> list[Relation]:
        """Everything that can be read and is meant. A partition stands for itself only when no table above it is meant."""
        rows = self._rows(None)
        meant = {row["oid"] for row in rows if wants(row["schema"], row["name"])}
        return [
            Relation(row["schema"], row["name"], row["oid"], row["kind"] in "vm", row["rows"])
            for row in rows
            if row["oid"] in meant and not meant.intersection(row["ancestors"])
        ]

    def unreadable(self, relations: Sequence[Relation]) -> tuple[list[Relation], list[Relation]]:
        """Those that this user may not read, and those of which row security hides rows."""
        known = [relation for relation in relations if relation.oid in self._facts]
        denied = [relation for relation in known if not self._facts[relation.oid].readable]
        hidden = [relation for relation in known if self._facts[relation.oid].hides_rows]
        return denied, hidden

    def seen(self, relation: Relation) -> TableSeen:
        """See `Database.seen`."""
        facts = self._facts[relation.oid]
        return seen_of(self._connection, relation, facts.key, facts.indexed)

    def shape(self, relation: Relation, settings: TableSettings) -> Shape | None:
        """See `Database.shape`."""
        if settings.sql is not None:
            return self._of_sql(relation, settings, settings.sql)
        if (relation.schema, relation.name) not in [
            (r["schema"], r["name"]) for r in self._rows(relation.oid)
        ]:
            return None  # dropped, or renamed
        facts = self._facts[relation.oid]
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(statement("columns"), {"oid": relation.oid}).fetchall()
        shown = [row for row in rows if not row["generated"]]
        columns = self._columns([(row["name"], row["type"], row["typmod"], row["not_null"]) for row in shown])
        names = {column.name for column in columns}
        self._warn_of_cache(relation, settings)
        unique = facts.key if set(facts.key) <= names else ()
        real = facts.kind in "rp"
        return _shape(
            relation,
            columns,
            settings.key or unique,
            unique,
            settings,
            versions=real,
            by_place=real and not unique,
            indexed=facts.indexed,
        )

    def _warn_of_cache(self, relation: Relation, settings: TableSettings) -> None:
        """A sequence that hands out numbers in advance to each session makes them grow out of order."""
        column = settings.incrementing_column
        if settings.strategy != "incrementing" or column is None or relation.oid in self._asked:
            return
        self._asked.add(relation.oid)
        rows = self._connection.execute(
            "SELECT s.seqrelid::pg_catalog.regclass::text, s.seqcache FROM pg_catalog.pg_depend d"
            " JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
            " JOIN pg_catalog.pg_sequence s ON s.seqrelid = d.objid"
            " WHERE d.refobjid = %s AND a.attname = %s AND s.seqcache > 1",
            (relation.oid, column),
        ).fetchall()
        for sequence, cache in rows:
            log.warning(
                "%s: sequence %s hands out %d numbers at a time to each session, so a row with a smaller number may come"
                " long after one with a greater, and is missed; ALTER SEQUENCE %s CACHE 1, or use xmin",
                relation.qualified,
                sequence,
                cache,
                sequence,
            )

    def _of_sql(self, relation: Relation, settings: TableSettings, text: str) -> Shape:
        try:
            cursor = self._connection.execute(
                sql.SQL("SELECT * FROM ({}\n) AS t LIMIT 0").format(sql.SQL(as_literal(text)))
            )
        except psycopg.Error as error:
            if not (error.sqlstate or "").startswith(_WRONG_SQL):
                raise
            raise PreconditionError(
                f"the query for {relation.qualified} can't be run: {error.diag.message_primary}",
                code="source.query_sql",
                where="source.query.sql",
                fix="name every table with its schema (the search path is empty), and end without a semicolon",
            ) from None
        _require_distinct(relation, [column.name for column in cursor.description or ()])
        result = cursor.pgresult
        described = cursor.description or ()
        assert result is not None
        columns = self._columns(
            [(column.name, column.type_code, result.fmod(i), False) for i, column in enumerate(described)]
        )
        return _shape(relation, columns, settings.key or (), (), settings, indexed=settings.cursor)

    def _columns(self, described: Sequence[tuple[str, int, int, bool]]) -> tuple[Column, ...]:
        types = load_types(self._connection, {type for _, type, _, _ in described})
        return tuple(
            Column(name, types[type], typmod, not_null) for name, type, typmod, not_null in described
        )

    def _rows(self, oid: int | None) -> list[dict[str, Any]]:
        with self._connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(statement("relations"), {"oid": oid}).fetchall()
        for row in rows:
            self._facts[row["oid"]] = _Facts(
                tuple(row["key"] or ()),
                row["kind"],
                row["readable"],
                row["hides_rows"],
                tuple(row["indexed"]),
            )
        return rows


def _shape(
    relation: Relation,
    columns: tuple[Column, ...],
    key: tuple[str, ...],
    unique: tuple[str, ...],
    settings: TableSettings,
    *,
    versions: bool = False,
    by_place: bool = False,
    indexed: Sequence[str] = (),
) -> Shape:
    """unique: the columns of the primary key, which the configured `key` need not be."""
    require_columns(relation, [column.name for column in columns], (*settings.cursor, *key))
    if settings.soft_column is not None:
        require_columns(relation, [column.name for column in columns], (settings.soft_column,))
    if settings.strategy == "xmin" and not versions:
        raise PreconditionError(
            f"{relation.qualified} is a view or a query: its rows have no transaction id",
            code="source.query_strategy",
            where="source.query.strategy",
            fix="choose bulk, incrementing or timestamp for it in source.query.tables",
        )
    identity: Identity = "default" if settings.deletes == "reconcile" else "full"
    cursor = settings.cursor[0] if settings.cursor else None
    last = unique or key or ((settings.incrementing_column,) if settings.incrementing_column else ())
    order = tuple(dict.fromkeys((*settings.cursor, *last)))
    type = next((column.type.base for column in columns if column.name == cursor), None)
    name = type.name if type is not None and type.schema == "pg_catalog" else ""
    return Shape(
        relation=relation,
        table=Table(relation.oid, relation.schema, relation.name, columns, unique or key, identity),
        key=unique or key,
        order=order,
        paged=bool(last),
        cursor=cursor,
        dated=name in _DATED,
        bounded=name in _BOUNDED,
        versions=versions,
        by_place=by_place,
        indexed=cursor is None or cursor in indexed,
        sql=settings.sql,
        unique=bool(unique),
    )


def require_columns(relation: Relation, there: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises `PreconditionError` for a column that is not there."""
    if missing := [column for column in wanted if column not in there]:
        raise PreconditionError(
            f"{relation.qualified} has no column {', '.join(missing)}",
            code="source.query_column",
            where=f"source.query.tables.{relation.qualified}",
            fix=f"it has {', '.join(there[:20])}; a table of its own kind gets its own settings in source.query.tables",
        )


def _require_distinct(relation: Relation, names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PreconditionError(
            f"the query for {relation.qualified} gives several columns the name {', '.join(twice)}",
            code="source.query_sql",
            where="source.query.sql",
            fix="give each a name of its own: SELECT a.id AS a_id, b.id AS b_id",
        )
