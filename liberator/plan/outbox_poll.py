"""The executor of an outbox that is polled: rows -> events. One call per batch.

Enters: `EntryBatch`es, and `RowBatch`es where rows are kept. Leaves: `EncodedBatch`es. Called by the capture loop. No I/O.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from liberator.change import Batch, EncodedBatch, State
from liberator.plan.compile import TablePlan
from liberator.plan.outbox import OutboxSettings, Router
from liberator.plan.outbox_rows import OutboxPlan, compile_outbox, entry_of_row, entry_of_values
from liberator.plan.rows import copy_fields
from liberator.postgres.model import Table
from liberator.source.outbox.table import EntryBatch
from liberator.source.query.batch import RowBatch


class OutboxRowsExecutor:
    """Turns rows into events. plan: the plan of a table's columns."""

    def __init__(self, settings: OutboxSettings, router: Router, plan: Callable[[Table], TablePlan]) -> None:
        self._settings = settings
        self._router = router
        self._compile = plan
        self._plan: OutboxPlan | None = None
        self.committed_us = 0
        """When the newest rows were read, microseconds since the Unix epoch; 0: none yet."""

    def prepare(self, table: Table) -> None:
        """The table as it is now. Raises `PreconditionError`."""
        self._plan = compile_outbox(self._compile(table), self._settings)

    def encode(self, batch: Batch) -> EncodedBatch:
        """The events of one batch, in order. Raises `ContractError`."""
        out = EncodedBatch(string_keys=True)
        if isinstance(batch, RowBatch):
            self._kept(batch, out)
        elif isinstance(batch, EntryBatch) and self._plan is not None:
            entry_of = entry_of_row if batch.raw else entry_of_values
            self.committed_us = max(self.committed_us, batch.taken_us)
            for row in batch.rows:
                # Its id is never NULL: the table is looked at before.
                self._router.add(out, entry_of(self._plan, row), b"")
        return out

    def _kept(self, batch: RowBatch, out: EncodedBatch) -> None:
        """Rows that a query source read: new ones, in the order of its cursor."""
        if batch.table is None:
            return
        if self._plan is None or self._plan.table.table != batch.table:
            self.prepare(batch.table)
        plan = self._plan
        assert plan is not None
        self.committed_us = max(self.committed_us, batch.taken_us)
        in_front = int(batch.versions) + int(batch.by_place)
        for row in batch.frames:
            values = copy_fields(row, plan.table, in_front)[in_front:]
            self._router.add(out, entry_of_row(plan, values), b"%08x" % zlib.crc32(row))
        for seen in batch.rows:
            self._router.add(out, entry_of_values(plan, list(seen)[in_front:]), b"")

    def history(self) -> State:
        """Nothing: tables are read as they are."""
        return {}

    def inside(self) -> State:
        """What has no state yet comes again, with the same ids."""
        return {}
