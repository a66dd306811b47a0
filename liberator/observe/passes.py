"""How far the looks of a query source are: a pass over a table after the other.

Enters: what the reader says. Leaves: the JSON of ``passes`` in ``/status``. Called by `Telemetry` under its lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Table:
    """began: of the pass under way; complete: of the newest one that was read to its end (monotonic seconds)."""

    began: float | None = None
    rows: int = 0
    count: int = 0
    complete: float | None = None


class Passes:
    """The passes over all tables since the start."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}

    def started(self, table: str, tick: float) -> None:
        """A pass begins; one that was under way has failed."""
        one = self._tables.setdefault(table, _Table())
        one.began, one.rows = tick, 0

    def rows(self, table: str, rows: int) -> None:
        """So many more rows were read by it."""
        self._tables[table].rows += rows

    def done(self, table: str) -> None:
        """It has been read to its end."""
        one = self._tables[table]
        one.complete, one.began, one.count = one.began, None, one.count + 1

    def report(self, tick: float, started: float) -> Mapping[str, Any] | None:
        """None: there was none. started: of the connector; a table without a complete pass is at least that far behind."""
        if not self._tables:
            return None
        return {
            name: {
                "count": one.count,
                "behind_seconds": round(tick - (started if one.complete is None else one.complete), 3),
                "rows": None if one.began is None else one.rows,
            }
            for name, one in self._tables.items()
        }
