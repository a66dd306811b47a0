"""The source of a polled outbox: round after round.

Enters: a table, and what is acknowledged. Leaves: `EntryBatch`es; a round's last one carries its number as the state. Called
by the capture loop, from one thread. The rows of a round are deleted or marked only when its number is acknowledged, that is
when its events are durable (Invariant 1); the next round begins then.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from liberator.change import Batch, State
from liberator.errors import SourceError
from liberator.postgres.model import Table
from liberator.source.outbox.table import EntryBatch, PolledSettings, PolledTable, Row

PARTITION = "outbox"
"""Of the checkpoint: which round was the last. It decides nothing; what is to be published stands in the table."""

_FIRST_ROWS, _MOST_ROWS = 100, 5000
"""Of a round: it grows while rounds are small, since nobody knows beforehand how large rows are."""

_CHUNK = 500
_SETTLING = 0.02
"""Seconds to wait for the acknowledgement of a round before looking again."""


@dataclass(frozen=True, slots=True)
class PollingSettings:
    """interval: seconds between two looks at an empty table. memory: bytes, about, of one round. once: end when nothing is
    left."""

    polled: PolledSettings
    interval: float = 1.0
    memory: int = 16 * 1024 * 1024
    once: bool = False


class OutboxPollSource:
    """See `Source`. table: makes the connection of one session. approve: looks at the table before anything is read."""

    def __init__(
        self,
        settings: PollingSettings,
        table: Callable[[], PolledTable],
        *,
        approve: Callable[[PolledTable, Table], None],
        tick: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._settings = settings
        self._make = table
        self._approve = approve
        self._tick, self._sleep, self._now_us = tick, sleep, now_us
        self._table: PolledTable | None = None
        self._shape: Table | None = None
        self._round = 0
        self._taken: Sequence[Row] = ()
        self._ready: deque[EntryBatch] = deque()
        self._due = 0.0
        self._rows = _FIRST_ROWS

    def open(self, resume: State) -> None:
        """See `Source.open`."""
        self.close()
        table = self._make()
        try:
            shape = table.open()
            self._approve(table, shape)
        except BaseException:
            table.close()
            raise
        self._table, self._shape = table, shape
        self._round, self._due = rounds_of(resume), 0.0

    @property
    def table(self) -> PolledTable:
        """The open session's table."""
        if self._table is None:
            raise SourceError("the source is not open", code="source.closed")
        return self._table

    def poll(self, limit: int, timeout: float) -> Batch:
        """See `Source.poll`. Empty while a round is not acknowledged."""
        if self._ready:
            return self._ready.popleft()
        if self._taken:
            self._sleep(min(timeout, _SETTLING))
            return Batch([])
        wait = self._due - self._tick()
        if wait > 0:
            self._sleep(min(timeout, wait))
            return Batch([])
        rows = self._begin()
        if rows:
            return self._ready.popleft()
        self._due = self._tick() + self._settings.interval
        return Batch([], final=self._settings.once)

    def ack(self, state: State) -> None:
        """See `Source.ack`. The round that is acknowledged is settled, and the next may begin."""
        if self._taken and not self._ready and rounds_of(state) == self._round:
            rows, self._taken = self._taken, ()
            self.table.settle(rows)

    def close(self) -> None:
        """See `Source.close`. Rows that are not settled are free again, and come again."""
        table, self._table = self._table, None
        self._taken = ()
        self._ready.clear()
        if table is not None:
            table.close()

    def _begin(self) -> Sequence[Row]:
        """Take rows and make batches of those that may go out now."""
        table, shape = self.table, self._shape
        assert shape is not None
        taken = table.take(self._rows)
        self._measure(taken)
        rows = self._in_order(taken, shape)
        if not rows:
            table.release()
            return ()
        self._round += 1
        state = {PARTITION: json.dumps({"v": 1, "round": self._round}).encode()}
        now = self._now_us()
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            last = start + _CHUNK >= len(rows)
            batch = EntryBatch(
                [], state if last else None, table=shape, rows=chunk, raw=table.raw, taken_us=now
            )
            self._ready.append(batch)
        self._taken = rows
        return rows

    def _measure(self, taken: Sequence[Row]) -> None:
        size = sum(len(value) for row in taken for value in row if isinstance(value, bytes | str))
        if size > self._settings.memory:
            self._rows = max(1, self._rows * self._settings.memory // (2 * size))
        elif len(taken) == self._rows and 2 * size < self._settings.memory:
            self._rows = min(2 * self._rows, _MOST_ROWS)

    def _in_order(self, taken: Sequence[Row], shape: Table) -> Sequence[Row]:
        """Without those in front of which there are others of the same aggregate, in another poller's hands or committed
        just now: they have to wait (Invariant 3)."""
        if not taken:
            return ()
        names = [column.name for column in shape.columns]
        polled = self._settings.polled
        of = [names.index(name) for name in (polled.aggregate_type, polled.aggregate_id, polled.id)]
        ours = {row[of[2]] for row in taken}
        waiting: set[tuple[object, object]] = set()
        behind: set[object] = set()
        for kind, aggregate, id in self.table.pending_up_to(taken[-1]):
            if id not in ours:
                waiting.add((kind, aggregate))
            elif (kind, aggregate) in waiting:
                behind.add(id)
        return [row for row in taken if row[of[2]] not in behind] if behind else taken


def rounds_of(state: State) -> int:
    """How many there were; what can't be read begins anew, since the table says what is to be done."""
    try:
        return int(json.loads(state[PARTITION])["round"])
    except (KeyError, TypeError, ValueError):
        return 0
