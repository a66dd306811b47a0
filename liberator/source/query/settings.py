"""What a query source is told, once for its whole life. Made from the configuration by build."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from liberator.postgres.selection import Selection

Strategy = Literal["bulk", "incrementing", "timestamp", "timestamp+incrementing", "xmin", "custom"]
Deletes = Literal["ignore", "soft", "reconcile"]


@dataclass(frozen=True, slots=True)
class TableSettings:
    """How one table is read. Durations in seconds.

    strategy: None: what the columns say; without any xmin on PostgreSQL, else bulk. key: configured key columns, for what
    has no primary key. sql: what is read instead of the table.
    """

    strategy: Strategy | None = None
    timestamp_column: str | None = None
    incrementing_column: str | None = None
    poll_interval: float = 5.0
    delay: float = 0.0
    batch_rows: int = 10_000
    deletes: Deletes = "ignore"
    soft_column: str | None = None
    reconcile_interval: float = 3600.0
    sql: str | None = None
    key: tuple[str, ...] | None = None

    @property
    def cursor(self) -> tuple[str, ...]:
        """The columns that tell what is new, the leading one first."""
        wanted = {
            "incrementing": (self.incrementing_column,),
            "timestamp": (self.timestamp_column,),
            "timestamp+incrementing": (self.timestamp_column, self.incrementing_column),
            "custom": (self.timestamp_column, self.incrementing_column),
        }.get(self.strategy or "", ())
        return tuple(column for column in wanted if column is not None)

    def completed(self, otherwise: Strategy) -> TableSettings:
        """With the strategy that the columns ask for, where none is given. otherwise: without columns."""
        if self.strategy is not None:
            return self
        if self.sql is not None:
            return replace(self, strategy="custom")
        given = (self.timestamp_column is not None, self.incrementing_column is not None)
        strategies: dict[tuple[bool, bool], Strategy] = {
            (True, True): "timestamp+incrementing",
            (True, False): "timestamp",
            (False, True): "incrementing",
        }
        return replace(self, strategy=strategies.get(given, otherwise))


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """What a query source is told.

    exact: tables that the configuration names literally, as written -> (schema, table). queried: (schema, table) of what is
    no table, but read by a query of its own.
    table: (schema, table) -> how it is read. once: end after one pass over all tables. queue_bytes: budget for what is
    read and not yet taken. statement_timeout: seconds. rows_per_second: at most so many, None: no limit. keys: the file
    that remembers published keys, None: one that does not stay. look_around: seconds between two looks for new tables.
    alone: nobody else reads under this name meanwhile, where the database can keep them apart.
    """

    url: str
    name: str
    selection: Selection
    table: Callable[[str, str], TableSettings]
    keys: Path | None
    exact: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    queried: Sequence[tuple[str, str]] = ()
    once: bool = False
    alone: bool = False
    queue_bytes: int = 32 * 1024 * 1024
    statement_timeout: float = 600.0
    rows_per_second: float | None = None
    look_around: float = 10.0
