"""A database as the passes of a query source read it.

Enters: what is to be read. Leaves: rows with the place of the last one. Two implementations: PostgreSQL, which can tell for
each version of a row whether an earlier snapshot showed it, and everything that SQLAlchemy speaks to.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from liberator.postgres.model import Table
from liberator.source.query.advice import TableSeen
from liberator.source.query.settings import TableSettings

Place = list[Any]
"""Values of the columns of an order, as JSON can hold them without loss: where in it a row stands."""


@dataclass(frozen=True, slots=True)
class Relation:
    """Something that can be read: a table or, named literally, a view. rows: an estimate, -1 when nobody knows."""

    schema: str
    name: str
    oid: int = 0
    view: bool = False
    rows: int = -1

    @property
    def qualified(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A relation as it is now, and how it is read.

    key: columns that name a row, empty: none. order: columns by which its pages follow each other, the cursor's first.
    unique: the database keeps them unique together, else rows that are equal in them stay in one page, and only its end is a
    place to go on from. cursor: the leading column of the cursor, None: every pass reads every row. dated: the cursor is a
    point in time. bounded: it has values that no order helps with (infinity, NaN). versions: the database tells which rows
    an earlier snapshot showed. by_place: rows are named by their place. indexed: an index begins with the cursor. sql: what
    is read instead of the relation.
    """

    relation: Relation
    table: Table
    key: tuple[str, ...]
    order: tuple[str, ...]
    paged: bool
    cursor: str | None
    dated: bool = False
    bounded: bool = False
    versions: bool = False
    by_place: bool = False
    indexed: bool = True
    sql: str | None = None
    unique: bool = True

    def places(self, columns: Sequence[str]) -> tuple[int, ...]:
        """Indexes of columns in the table's order."""
        names = [column.name for column in self.table.columns]
        return tuple(names.index(column) for column in columns)


@dataclass(frozen=True, slots=True)
class Mark:
    """The greatest value of the cursor at one moment, and who may still commit a smaller one.

    cursor: None in an empty table. running: transactions that ran then. at: when, seconds since the Unix epoch.
    """

    cursor: Any
    running: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class View:
    """What one pass sees. seen: PostgreSQL's snapshot, else None. ceiling: the greatest value of the cursor in it, None:
    there is none. cap: values above belong to the odd ones, None: no value is too great."""

    seen: str | None
    ceiling: Any = None
    cap: Any = None


@dataclass(frozen=True, slots=True)
class Scan:
    """One part of a pass. low: the cursor is at least this. after: rows behind this place of the order. odd: the rows
    whose cursor has no use in an order (NULL, infinity, far in the future), in the key's order, instead of all others.
    unseen: only what this snapshot did not surely show, and what is not
    of `known` transactions. keys: only the key's columns."""

    shape: Shape
    view: View
    low: Any = None
    after: Place | None = None
    odd: bool = False
    unseen: str | None = None
    known: frozenset[bytes] = frozenset()
    keys: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows in order: COPY lines, or the driver's rows. after: the place of the last one, None where there are no
    places. size: bytes."""

    lines: Sequence[bytes]
    rows: Sequence[Sequence[Any]]
    after: Place | None
    size: int

    def __len__(self) -> int:
        return len(self.lines) or len(self.rows)


class Database(Protocol):
    """One connection. Used by one thread at a time, but for `cancel`. Raises `SourceError`, `PreconditionError`."""

    @property
    def kind(self) -> str:
        """``postgresql``, ``mysql`` and so on."""

    @property
    def name(self) -> str:
        """The database's name."""

    @property
    def version(self) -> str:
        """Product and version, for people."""

    def open(self) -> None:
        """Connect."""

    def identity(self) -> str:
        """Which database this is: positions of another one are refused."""

    def claim(self, name: str) -> None:
        """Become the only session that reads under this name, until it ends; where databases have no such lock: nothing.
        Raises a retryable `PreconditionError` (source.in_use) while another one does."""

    def require_past(self, seen: str | None) -> None:
        """Raises `CheckpointError` when a pass has seen what this database has not had yet."""

    def completed(self, settings: TableSettings) -> TableSettings:
        """With the strategy that the columns ask for, where none is given. Raises `PreconditionError` for one that this
        database can't have."""

    def relations(self) -> list[Relation]:
        """All that can be read, by schema and name."""

    def require_readable(self, relations: Sequence[Relation]) -> None:
        """Raises `PreconditionError` when some could not be read, or not all of their rows be seen."""

    def shape(self, relation: Relation, settings: TableSettings) -> Shape | None:
        """How it is read; None: it is gone. Raises `PreconditionError` for a strategy that it can't have."""

    def seen(self, relation: Relation) -> TableSeen:
        """What advice on how to read it needs."""

    def mark(self, shape: Shape) -> Mark:
        """The greatest cursor value, then who runs. Outside of a view."""

    def running(self) -> frozenset[str]:
        """The transactions that run now; empty where nobody can tell."""

    def begin(self, shape: Shape) -> View:
        """Start reading: what follows sees one moment, where the database can do that."""

    def renew(self) -> None:
        """Go on in a newer moment, so that the server need not keep the old one."""

    def end(self) -> None:
        """Done reading. Idempotent."""

    def page(self, scan: Scan, rows: int) -> Generator[Chunk, None, None]:
        """The next `rows` rows of a scan, with all that stand at the last one's place; all rows where it has no pages. The
        last chunk of a page has its place, and perhaps no rows."""

    def cursor_values(self, shape: Shape, chunk: Chunk) -> list[Any]:
        """The leading cursor value of each row of a chunk, as in a place."""

    def at_least(self, shape: Shape, value: Any, bound: Any) -> bool:
        """Is one value of the cursor at least as great as another? When in doubt: yes."""

    def numbers(self, shape: Shape, column: str, chunk: Chunk) -> list[int | None]:
        """A column's whole numbers; None for what is none."""

    def settled(self, view: View, chunk: Chunk) -> set[bytes]:
        """The transactions of a chunk that was read in this view, of those that its snapshot does not settle by itself: it
        names who runs, but not the subtransactions of these."""

    def unsettled(self, view: View, known: frozenset[bytes]) -> set[bytes]:
        """Those of `known` that a view's snapshot does not settle by itself."""

    def odd(self, shape: Shape, view: View) -> dict[str, int]:
        """How many rows have a cursor of no use in an order, by what it is (`NULL`, `infinite`, `in the future`)."""

    def present(self, shape: Shape, keys: Sequence[Place]) -> set[int]:
        """Indexes of those keys that the relation has now."""

    def key_place(self, shape: Shape, chunk: Chunk) -> list[Place]:
        """The keys of a chunk's rows (all columns, or with `Scan.keys` the key's)."""

    def key_rows(self, shape: Shape, keys: Sequence[Place]) -> Chunk:
        """Keys as rows of the key's columns."""

    def cancel(self) -> None:
        """End what runs, from another thread."""

    def close(self) -> None:
        """Give the connection back. Idempotent."""
