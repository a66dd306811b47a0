"""What was done to a table between two of its versions, in words and as DDL.

Enters: two versions. Leaves: what differs, and an ALTER TABLE that would do the same. Called by the plan, once per change of
a table. The log tells shapes, not statements: a column that is gone where another of the same type now stands may have been
renamed, or dropped and another one added; and what no shape shows (defaults, constraints) is not known. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from liberator.postgres.model import Column, Table
from liberator.postgres.replication import identifier
from liberator.postgres.types import format_type

Kind = Literal[
    "table_renamed", "column_dropped", "column_renamed", "column_retyped", "column_added", "key_changed"
]


@dataclass(frozen=True, slots=True)
class Alteration:
    """One thing that was done. column: that it was done to, as it is called now (a dropped one: as it was called). was, now:
    name, type or key, before and after; None where there is none."""

    kind: Kind
    column: str | None
    was: str | None
    now: str | None
    ddl: str | None

    def __str__(self) -> str:
        if self.kind == "column_added":
            return f"column {self.column} ({self.now}) added"
        if self.kind == "column_dropped":
            return f"column {self.column} ({self.was}) dropped"
        if self.kind == "column_renamed":
            return f"column {self.was} renamed to {self.now} (or dropped, and the other added)"
        if self.kind == "column_retyped":
            return f"type of column {self.column} changed from {self.was} to {self.now}"
        if self.kind == "table_renamed":
            return f"table renamed from {self.was} to {self.now}"
        return f"key changed from ({self.was}) to ({self.now})"


def same_shape(one: Table, other: Table) -> bool:
    """Would a Relation message say the same of both?"""
    return _shape(one) == _shape(other)


def _shape(table: Table) -> tuple[object, ...]:
    columns = [(c.name, c.type.oid, c.type.schema, c.type.name, c.typmod) for c in table.columns]
    return table.schema, table.name, table.key, columns


def alterations(old: Table, new: Table) -> list[Alteration]:
    """What led from `old` to `new`, as far as their shapes tell; in an order in which it can be done."""
    return list(_alterations(old, new))


def _alterations(old: Table, new: Table) -> Iterator[Alteration]:
    alter = f"ALTER TABLE {identifier(new.schema)}.{identifier(new.name)}"
    if old.qualified != new.qualified:
        yield Alteration("table_renamed", None, old.qualified, new.qualified, _rename_table(old, new))
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    renamed = _renamed(old.columns, new.columns)
    for name, column in before.items():
        if name in renamed:
            to = renamed[name]
            ddl = f"{alter} RENAME COLUMN {identifier(name)} TO {identifier(to)}"
            yield Alteration("column_renamed", to, name, to, ddl)
        elif name not in after:
            ddl = f"{alter} DROP COLUMN {identifier(name)}"
            yield Alteration("column_dropped", name, _type(column), None, ddl)
    for name, column in after.items():
        if name in before and _identity(before[name]) != _identity(column):
            ddl = f"{alter} ALTER COLUMN {identifier(name)} TYPE {_type(column)}"
            yield Alteration("column_retyped", name, _type(before[name]), _type(column), ddl)
        elif name not in before and name not in renamed.values():
            ddl = f"{alter} ADD COLUMN {identifier(name)} {_type(column)}"
            yield Alteration("column_added", name, None, _type(column), ddl)
    if tuple(renamed.get(name, name) for name in old.key) != new.key:
        yield Alteration("key_changed", None, ", ".join(old.key), ", ".join(new.key), None)


def _rename_table(old: Table, new: Table) -> str:
    place = f"{identifier(old.schema)}.{identifier(old.name)}"
    if old.schema == new.schema:
        return f"ALTER TABLE {place} RENAME TO {identifier(new.name)}"
    moved = f"ALTER TABLE {place} SET SCHEMA {identifier(new.schema)}"
    if old.name == new.name:
        return moved
    return f"{moved}; ALTER TABLE {identifier(new.schema)}.{identifier(old.name)} RENAME TO {identifier(new.name)}"


def _renamed(old: Sequence[Column], new: Sequence[Column]) -> dict[str, str]:
    """Old name -> new name, of columns that keep their type and their place between those that are called the same."""
    kept = {column.name for column in old} & {column.name for column in new}
    found = {}
    for gone, come in zip(_gaps(old, kept), _gaps(new, kept), strict=True):
        if len(gone) <= len(come):
            pairs = zip(gone, come, strict=False)
            found.update({a.name: b.name for a, b in pairs if _identity(a) == _identity(b)})
    return found


def _gaps(columns: Sequence[Column], kept: set[str]) -> list[list[Column]]:
    """The columns that are not kept, by the gap between kept ones that they stand in."""
    gaps: list[list[Column]] = [[]]
    for column in columns:
        if column.name in kept:
            gaps.append([])
        else:
            gaps[-1].append(column)
    return gaps


def _identity(column: Column) -> tuple[object, ...]:
    return column.type.oid, column.type.schema, column.type.name, column.typmod


def _type(column: Column) -> str:
    return format_type(column.type, column.typmod)
