"""What a query source hands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from liberator.change import Batch
from liberator.postgres.model import Table


@dataclass(slots=True)
class RowBatch(Batch):
    """Rows of one table, in the order in which they were read.

    frames: COPY text lines (PostgreSQL); rows: the driver's values (elsewhere). One of the two is empty.
    versions: each line begins with the id of the transaction that wrote the row. by_place: then, because the table has no
    key, the row's place in it. taken_us: when it was read, microseconds since the Unix epoch. op: of all rows, unless
    `ops` has one for each. number: of the pass, where each one reads all rows again. soft: index of the column that says
    that a row is deleted. gone: rows that are no longer there; only their key's columns are sent, in the key's order.
    """

    table: Table | None = None
    rows: Sequence[Sequence[Any]] = ()
    versions: bool = False
    by_place: bool = False
    taken_us: int = 0
    op: bytes = b"r"
    ops: Sequence[bytes] | None = None
    number: int | None = None
    soft: int | None = None
    gone: bool = False
