"""What PostgreSQL's catalogue shows of a table to whoever has to say how it is best read.

Enters: a relation. Leaves: a `TableSeen`. Called once for a table, before there is a connector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.rows import dict_row

from liberator.postgres.sql import statement
from liberator.source.query.advice import ColumnKind, ColumnSeen, TableSeen
from liberator.source.query.database import Relation

_KINDS: dict[str, ColumnKind] = {
    **dict.fromkeys(("timestamptz", "timestamp"), "time"),
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    "bool": "flag",
}


def seen_of(
    connection: psycopg.Connection[Any], relation: Relation, key: tuple[str, ...], leading: Sequence[str]
) -> TableSeen:
    """key, leading: as the catalogue of a query source knows them."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(statement("seen"), {"oid": relation.oid}).fetchone()
    if row is None:
        return TableSeen((), refusal="it is gone")
    return TableSeen(
        columns=tuple(_column(column) for column in row["columns"] if not column["generated"]),
        key=key,
        leading=frozenset(leading),
        rows=relation.rows,
        versions=row["kind"] in "rp",
        inserts_only=0 if row["updated"] or row["deleted"] else row["inserted"] or 0,
        before_update=row["before_update"],
        refusal=_refusal(row),
    )


def _column(column: Mapping[str, Any]) -> ColumnSeen:
    # A sequence that hands out numbers in advance makes them come out of order.
    return ColumnSeen(
        column["name"],
        _KINDS.get(column["type"], "other"),
        nullable=column["nullable"],
        growing=column["cache"] == 1,
    )


def _refusal(row: Mapping[str, Any]) -> str | None:
    if not row["readable"]:
        return "this user has no right to SELECT"
    return "row security would hide rows from this user" if row["hides_rows"] else None
