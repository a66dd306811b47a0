"""What SQLAlchemy's inspector shows of a table to whoever has to say how it is best read.

Enters: a relation. Leaves: a `TableSeen`. Called once for a table, before there is a connector. Counts rows, but not many.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from liberator.source.query.advice import COUNTED, ColumnKind, ColumnSeen, TableSeen
from liberator.source.query.database import Relation
from liberator.source.query.sql_alchemy_shape import kind_of

_KINDS: dict[str, ColumnKind] = {
    "datetime": "time",
    "instant": "time",
    "integer": "integer",
    "bigint": "integer",
    "boolean": "flag",
}

_LONGEST = 63
"""Bytes of a name that a configuration can hold."""


def seen_of(connection: sa.Connection, relation: Relation, schema: str | None) -> TableSeen:
    """schema: None: the database's default."""
    inspector = sa.inspect(connection)
    key = tuple(inspector.get_pk_constraint(relation.name, schema)["constrained_columns"])
    found = [
        column for column in inspector.get_columns(relation.name, schema) if column.get("computed") is None
    ]
    indexes = inspector.get_indexes(relation.name, schema)
    leading = {index["column_names"][0] for index in indexes if index["column_names"]}
    one = connection.dialect.name == "sqlite"
    return TableSeen(
        columns=tuple(_column(dict(column), key, rowid=one) for column in found),
        key=key,
        leading=frozenset(name for name in (*leading, *key[:1]) if name is not None),
        rows=_rows(connection, relation, schema),
        one_writer=one,
    )


def _column(column: dict[str, Any], key: tuple[str, ...], *, rowid: bool) -> ColumnSeen:
    default = str(column.get("default") or "")
    kind = _KINDS.get(kind_of(column["type"]), "other")
    if len(column["name"].encode()) > _LONGEST:
        kind = "other"
    # SQLite numbers the rows of a table whose key is one INTEGER.
    counted = rowid and key == (column["name"],) and str(column["type"]).upper() == "INTEGER"
    return ColumnSeen(
        column["name"],
        kind,
        nullable=bool(column["nullable"]) and column["name"] not in key,
        growing=kind == "integer"
        and (column.get("autoincrement") is True or bool(column.get("identity")) or counted),
        at_update="ON UPDATE" in default.upper(),
    )


def _rows(connection: sa.Connection, relation: Relation, schema: str | None) -> int:
    some = (
        sa.select(sa.literal(1).label("one"))
        .select_from(sa.table(relation.name, schema=schema))
        .limit(COUNTED + 1)
        .subquery()
    )
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
