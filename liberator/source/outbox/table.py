"""What a polled outbox asks of its table, whatever the database.

Theory of operation. A round is a transaction: rows are taken in order and locked, so that other pollers pass them by
(`FOR UPDATE SKIP LOCKED`); when they are published they are deleted or marked, and the transaction commits. A kill gives
them back. There is no cursor: whatever has been committed by now and is not done is there, however late it was committed.
Where the database can't pass locked rows by, nothing is held between taking and settling, and one poller is all that it may
have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from liberator.change import Batch
from liberator.errors import PreconditionError
from liberator.postgres.model import Table

Row = Sequence[Any]


@dataclass(slots=True)
class EntryBatch(Batch):
    """Rows of an outbox. raw: they are PostgreSQL's text, not a driver's values."""

    table: Table | None = None
    rows: Sequence[Row] = field(default_factory=list)
    raw: bool = False
    taken_us: int = 0


@dataclass(frozen=True, slots=True)
class PolledSettings:
    """url: of the database. id, aggregate_type, aggregate_id: columns. order: column; None: the table's own. mark: the
    column that says that a row is published; None: it is deleted."""

    url: str
    name: str
    schema: str
    table: str
    id: str
    aggregate_type: str
    aggregate_id: str
    order: str | None = None
    mark: str | None = None

    @property
    def label(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.table}"


class PolledTable(Protocol):
    """One connection to the table. All methods raise `SourceError`, retryable or not."""

    raw: bool
    """Are rows PostgreSQL's text?"""

    def open(self) -> Table:
        """Connect; the table as it is. Raises `PreconditionError` for what can't be polled."""

    @property
    def server(self) -> str:
        """Product and version."""

    @property
    def database(self) -> str:
        """Its name."""

    def take(self, limit: int) -> Sequence[Row]:
        """Begin a round: the first rows that nobody else has, locked, in order."""

    def pending_up_to(self, last: Row) -> Sequence[tuple[Any, Any, Any]]:
        """(aggregate type, aggregate id, id) of all rows that are not done, up to that one, in order; whoever has them.
        Empty where rows are not locked."""

    def settle(self, rows: Sequence[Row]) -> None:
        """These are published: delete or mark them, and end the round."""

    def release(self) -> None:
        """End the round; whatever was taken is free."""

    def close(self) -> None:
        """Give the connection back. Idempotent."""


def mark_kind(settings: PolledSettings, type: str) -> Literal["time", "flag"]:
    """How the column for published rows says so: with the time, or with true. Raises `PreconditionError`."""
    if type in ("timestamp", "timestamptz", "date", "datetime", "instant"):
        return "time"
    if type in ("bool", "boolean", "int2", "int4", "int8", "integer", "bigint"):
        return "flag"
    raise PreconditionError(
        f"column {settings.mark} of {settings.label} is of type {type}, which can't say that a row is published",
        code="outbox.mark_type",
        where="source.outbox.after_publish",
        fix="name a column for a time or a boolean, or delete published rows",
    )


def named_by(settings: PolledSettings, key: Sequence[str]) -> str:
    """The column that rows are deleted or marked by: a primary key of one column, else the id. It must have an index, or
    the database looks at rows of others, and waits for them."""
    return key[0] if len(key) == 1 else settings.id


def missing(settings: PolledSettings, columns: Sequence[str]) -> PreconditionError | None:
    """What speaks against polling a table with these columns."""
    if not columns:
        return PreconditionError(
            f"there is no table {settings.label}", code="source.table_missing", where="source.outbox.table"
        )
    wanted = [name for name in (settings.id, settings.order, settings.mark) if name is not None]
    if lacking := [name for name in wanted if name not in columns]:
        return PreconditionError(
            f"the outbox {settings.label} has no column {', '.join(lacking)}",
            code="outbox.column_missing",
            where="source.outbox",
            fix="add it, or correct source.outbox",
        )
    return None


def nullable_id(settings: PolledSettings) -> PreconditionError:
    """A row without an id could be published and not deleted."""
    return PreconditionError(
        f"column {settings.id} of the outbox {settings.label} may be NULL",
        code="outbox.id_nullable",
        where="source.outbox.columns.id",
        fix="make it the primary key, or NOT NULL",
    )
