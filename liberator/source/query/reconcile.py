"""Deleted rows, found by comparing all keys of a table with those that were published.

Two streams, page by page: the table's keys, each marked with this comparison's number, then those that were left without the
mark. What seems to be gone is asked for once more by its key, so that a row that was deleted and came again, or that moved
in an order while it was read, is not called deleted. Then the deletes go out, and when they are saved their keys are
forgotten. A comparison that was cut off is made again under the same number, so its deletes have the same ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from liberator.source.query.batch import RowBatch
from liberator.source.query.database import Database, Scan, Shape
from liberator.source.query.keys import KeySet
from liberator.source.query.passes import Clock, breathe
from liberator.source.query.position import TablePosition, partition_of
from liberator.source.query.settings import TableSettings


@dataclass(slots=True)
class Comparison:
    """One comparison of one table. position: where it stands; after the last batch it is counted."""

    database: Database
    shape: Shape
    settings: TableSettings
    position: TablePosition
    keys: KeySet
    clock: Clock

    def batches(self) -> Iterator[RowBatch]:
        """Nothing while the table is read, then the deletes; the last batch carries the state."""
        began = self.clock.now()
        number = self.position.reconciled + 1
        name = self.shape.relation.qualified
        self.keys.begin(name, number)
        yield from self._mark(number)
        for keys in self.keys.unseen(name, number):
            there = self.database.present(self.shape, keys)
            gone = [key for index, key in enumerate(keys) if index not in there]
            if there:
                self.keys.add(name, [keys[index] for index in sorted(there)], number)
            if gone:
                chunk = self.database.key_rows(self.shape, gone)
                yield RowBatch(
                    frames=chunk.lines,
                    rows=chunk.rows,
                    size=chunk.size,
                    table=self.shape.table,
                    taken_us=int(self.clock.now() * 1_000_000),
                    op=b"d",
                    number=number,
                    gone=True,
                )
        self.position = replace(self.position, reconciled=number, compared=began, keys=self.keys.id)
        yield RowBatch([], {partition_of(name): self.position.encode()})

    def _mark(self, number: int) -> Iterator[RowBatch]:
        """Give every key that the table has this comparison's number."""
        name = self.shape.relation.qualified
        view = self.database.begin(self.shape)
        scan = Scan(self.shape, view, keys=True)
        held = self.clock.tick()
        try:
            while True:
                count = 0
                with closing(self.database.page(scan, self.settings.batch_rows)) as chunks:
                    for chunk in chunks:
                        count += len(chunk)
                        self.keys.add(name, self.database.key_place(self.shape, chunk), number)
                        scan = replace(scan, after=chunk.after)
                        yield RowBatch([])  # a chance to stop
                if not self.shape.paged or count < self.settings.batch_rows:
                    return
                held = breathe(self.database, self.clock, held)
        finally:
            self.database.end()
