"""Types, columns and tables as data. No I/O: `catalogue` and `types` fill these from a server or a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TypeKind = Literal["base", "enum", "domain", "composite", "range", "multirange", "array"]


@dataclass(frozen=True, slots=True)
class PgType:
    """A data type as pg_type tells.

    element: array: its element; range: its subtype; multirange: its range type; domain: its base (maybe a domain).
    typmod: a domain's own typmod for its base, else -1. delimiter: between elements of an array of this type.
    attributes: composite: (name, type, typmod) in order, dropped ones left out.
    A type that no longer exists is a base type called ``unknown`` whose values are their text.
    """

    oid: int
    schema: str
    name: str
    kind: TypeKind = "base"
    element: PgType | None = None
    typmod: int = -1
    delimiter: str = ","
    labels: tuple[str, ...] = ()
    attributes: tuple[tuple[str, PgType, int], ...] = ()

    @property
    def base(self) -> PgType:
        """Of a domain what it is made of, in the end; any other type itself."""
        return self.element.base if self.kind == "domain" and self.element is not None else self


@dataclass(frozen=True, slots=True)
class Column:
    """A column. not_null: the table refuses NULL now (a backlog may be older). can_be_toasted: its values may be stored
    out of line, so an update may leave it out."""

    name: str
    type: PgType
    typmod: int = -1
    not_null: bool = False
    can_be_toasted: bool = True


Identity = Literal["default", "nothing", "full", "index"]


@dataclass(frozen=True, slots=True)
class Table:
    """One version of a table: its columns in the order in which the server sends them.

    key: names of the columns of the identity (primary key in its own column order; with FULL the primary key, else
    the replica identity index), empty when there is none.
    identity: REPLICA IDENTITY as set.
    """

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    identity: Identity = "default"

    @property
    def qualified(self) -> str:
        """``schema.table``, as configuration and logs write it."""
        return f"{self.schema}.{self.name}"
