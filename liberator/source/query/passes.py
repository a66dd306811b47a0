"""One pass over one table: which rows are new, in what order they are handed on, and where the next pass begins.

Theory of operation. A cursor (a number that grows, a time that moves) says which rows *may* be new, and so bounds what is
looked at. It does not say which rows *are*: a transaction takes its number or time when it writes and shows its rows when it
commits, perhaps long after others with greater values. So the bound, `low`, only moves up to a `Mark`: the greatest value at
a moment, once everybody who ran at that moment has ended, or `delay` has gone by. From `low` on every pass looks again, and
leaves out what was handed on already:

- PostgreSQL: what the snapshot of the pass before showed. Exact, and finds late and changed rows alike. A snapshot does not
  name subtransactions that run, so of the transactions between its oldest running one and its end those that a pass has met
  are remembered; there are none while nobody runs.
- elsewhere: rows whose digest (all their values) is known.

Rows whose cursor no order helps with (NULL, infinity, far in the future: 9999-12-31) never move the bound. They are read
separately: on PostgreSQL in every pass, elsewhere in the first one, and their number is warned of.

A pass may be cut off anywhere; its position says behind which row it goes on, and what its beginning saw, so the next pass
leaves out nothing that came meanwhile. A row may then come a second time, with the same id.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from liberator.source.query.batch import RowBatch
from liberator.source.query.database import Chunk, Database, Mark, Scan, Shape, View
from liberator.source.query.keys import KeySet
from liberator.source.query.position import TablePosition, UnderWay, partition_of
from liberator.source.query.settings import TableSettings

log = logging.getLogger(__name__)

HOLD = 60.0
"""Seconds that one snapshot is held at most: the server can't clean up behind it."""
_MOMENT = 1.0
"""Seconds that one is held for the reader of the last page."""
PATIENCE = 10.0
"""Seconds that a first pass waits for the transactions that run when it begins."""
FIRST_PAGE = 100
"""Rows: nobody knows beforehand how large they are."""
_MOST_KNOWN = 500_000
"""Digests in memory. Beyond, rows may come again."""


@dataclass(slots=True)
class Clock:
    """now: seconds since the Unix epoch; tick: monotonic seconds; pause: waits so many seconds, True: time to stop.
    room: is there room for one more page, after so many seconds at most? Nothing is held open in the database for long while
    there is none. page_bytes: about what a page may have, so that all of it finds room.
    patience: seconds that are left for waiting for the transactions that run when a first pass begins."""

    now: Callable[[], float] = time.time
    tick: Callable[[], float] = time.monotonic
    pause: Callable[[float], bool] = threading.Event().wait
    room: Callable[[float], bool] = lambda timeout: True
    patience: float = PATIENCE
    page_bytes: int = 4 * 1024 * 1024


@dataclass(slots=True)
class TablePass:
    """One way through a table. position: where it stands, and after the last batch where the next pass begins. told: how
    many rows with a useless cursor were warned of. keys: remembers what is handed on, to tell deletes by. mark: one that was
    taken for this pass already. fitting: how many rows a page may have, as far as that is known, and after a page is."""

    database: Database
    shape: Shape
    settings: TableSettings
    position: TablePosition
    clock: Clock
    told: dict[str, int] = field(default_factory=dict)
    keys: KeySet | None = None
    mark: Mark | None = None
    fitting: int = FIRST_PAGE
    _known: set[bytes] = field(default_factory=set)
    _still_known: set[bytes] = field(default_factory=set)
    _overflown: bool = False
    _one_view: bool = True

    def batches(self) -> Iterator[RowBatch]:
        """What is new, in order. The last batch, perhaps without rows, ends the pass."""
        database = self.database
        under_way = self._begin()
        self._known = set(self.position.known)
        try:
            begun = self.clock.tick()
            if self.shape.cursor is not None:
                self._warn_of_odd(under_way.view)
            for odd in (False, True) if self._reads_odd() else (False,):
                if under_way.odd and not odd:
                    continue
                after = under_way.after if under_way.odd == odd else None
                yield from self._scan(under_way.view, odd, after, begun)
        finally:
            database.end()
        yield self._end(under_way)

    @property
    def first(self) -> bool:
        """Has no pass over this table ended yet?"""
        return self.position.passes == 0

    def _begin(self) -> UnderWay:
        """Take up a pass that was cut off, or begin one."""
        old = self.position.under_way
        mark = None
        if old is None and self.shape.cursor is not None:
            mark = self.mark or self.database.mark(self.shape)
            if self.position.low is None and self.position.pending is None:
                self._wait_for(mark)
        if old is not None:
            self.database.begin(self.shape)
            self._one_view = False
            self._carry_over(old.view)
            if old.after is not None and old.order not in (None, self._order(old.odd)):
                return replace(
                    old, odd=False, after=None
                )  # another key since then: that place means nothing now
            return old
        low, pending = self._advance(mark)
        view = self.database.begin(self.shape)
        self._carry_over(view)
        under_way = UnderWay(view, pending, low)
        self.position = replace(self.position, under_way=under_way)
        return under_way

    def _carry_over(self, view: View) -> None:
        if self._compares_snapshots():
            self._still_known = self.database.unsettled(view, self.position.known)

    def _wait_for(self, mark: Mark) -> None:
        """At the very first, so that the second pass need not look at everything again. A transaction that does not end is
        waited for once, not for each table."""
        young = max(0.0, mark.at + self.settings.delay - self.clock.now())
        end = self.clock.tick() + young + self.clock.patience
        while not self._is_over(mark):
            if self.clock.tick() >= end:
                self.clock.patience = 0.0
                return
            if self.clock.pause(0.2):
                return

    def _is_over(self, mark: Mark) -> bool:
        """Can nobody undercut `mark` any more, and has nobody since this pass's view will be taken?"""
        late = self.clock.now() < mark.at + self.settings.delay
        return not late and not self.database.running().intersection(mark.running)

    def _advance(self, mark: Mark | None) -> tuple[Any, Mark | None]:
        """(low, pending) for the next pass: the newest mark that is over, and one that is not."""
        position = self.position
        if mark is None or mark.cursor is None:
            return position.low, position.pending
        if self._is_over(mark):
            return mark.cursor, None
        if position.pending is None:
            return position.low, mark
        if self._is_over(position.pending):
            return position.pending.cursor, mark
        return position.low, position.pending

    def _reads_odd(self) -> bool:
        return self.shape.cursor is not None and (self.shape.versions or self.first)

    def _warn_of_odd(self, view: View) -> None:
        """Once for each number of them."""
        odd = self.database.odd(self.shape, view)
        if odd == self.told:
            return
        self.told.clear()
        self.told.update(odd)
        if not odd:
            return
        follows = "they are compared one by one" if self.shape.versions else "only the first pass reads them"
        log.warning(
            "%s: %d rows have a %s that says nothing about when they were written (%s); %s",
            self.shape.relation.qualified,
            sum(odd.values()),
            self.shape.cursor,
            ", ".join(f"{name}: {count}" for name, count in odd.items()),
            follows,
        )

    def _scan(self, view: View, odd: bool, after: Any, begun: float) -> Iterator[RowBatch]:
        """Page after page. Between two pages the view is renewed when it was held too long."""
        scan = Scan(
            self.shape,
            view,
            low=None if odd else self.position.low,
            after=after,
            odd=odd,
            unseen=self.position.seen if self._compares_snapshots() else None,
            known=self.position.known if self._compares_snapshots() else frozenset(),
        )
        renewed = begun
        while True:
            rows = min(self.settings.batch_rows, self.fitting)
            count = size = 0
            with closing(self.database.page(scan, rows)) as chunks:
                for chunk in chunks:
                    count += len(chunk)
                    size += chunk.size
                    after = chunk.after
                    yield self._batch(chunk, odd)
            if count:
                self.fitting = max(1, self.clock.page_bytes * count // max(1, size))
            if not self._paged(odd) or count < rows:
                return
            scan = replace(scan, after=after)
            held, renewed = renewed, breathe(self.database, self.clock, renewed)
            self._one_view = self._one_view and held == renewed

    def _order(self, odd: bool) -> tuple[str, ...]:
        return self.shape.key if odd else self.shape.order

    def _paged(self, odd: bool) -> bool:
        return self.shape.paged and (not odd or bool(self.shape.key))

    def _compares_snapshots(self) -> bool:
        return self.shape.versions and self.settings.strategy not in ("bulk", "custom")

    def _batch(self, chunk: Chunk, odd: bool) -> RowBatch:
        if self.keys is not None:
            found = self.database.key_place(self.shape, chunk)
            self.keys.add(self.shape.relation.qualified, found, self.position.reconciled)
        if not self.shape.versions:
            chunk = self._unknown(chunk)
        elif self._compares_snapshots() and self._one_view:
            assert self.position.under_way is not None
            for transaction in self.database.settled(self.position.under_way.view, chunk):
                self._remember(transaction)
        ops = self._ops(chunk)
        state = None
        if chunk.after is not None and self._paged(odd):
            self.position = self.position.at(odd, chunk.after, self._order(odd))
            state = {partition_of(self.shape.relation.qualified): self.position.encode()}
        return RowBatch(
            frames=chunk.lines,
            rows=chunk.rows,
            state=state,
            size=chunk.size,
            table=self.shape.table,
            versions=self.shape.versions,
            by_place=self.shape.by_place,
            taken_us=int(self.clock.now() * 1_000_000),
            op=self._op(),
            ops=ops,
            number=self.position.passes if self._reads_all() else None,
            soft=self._soft(),
        )

    def _end(self, under_way: UnderWay) -> RowBatch:
        position = self.position
        still_known = frozenset() if self._overflown else frozenset(self._still_known)
        self.position = replace(
            position,
            keys=None if self.keys is None else self.keys.id,
            passes=position.passes + 1,
            low=under_way.low,
            seen=under_way.view.seen,
            pending=under_way.mark,
            known=still_known,
            under_way=None,
        )
        return RowBatch([], {partition_of(self.shape.relation.qualified): self.position.encode()})

    # -- what kind of event a row is

    def _reads_all(self) -> bool:
        return self.shape.cursor is None and self.settings.strategy != "xmin"

    def _op(self) -> bytes:
        """A row that is not surely new counts as changed."""
        if self.first or self._reads_all():
            return b"r"
        return b"c" if self.settings.strategy == "incrementing" else b"u"

    def _ops(self, chunk: Chunk) -> list[bytes] | None:
        """With an incrementing column beside the time, rows beyond the greatest so far are new."""
        column = self.settings.incrementing_column
        if len(self.settings.cursor) != 2 or column is None:
            return None
        values = self.database.numbers(self.shape, column, chunk)
        newest = self.position.newest
        greatest = max((value for value in values if value is not None), default=None)
        if greatest is not None and (newest is None or greatest > newest):
            self.position = replace(self.position, newest=greatest)
        if self.first:
            return None
        return [
            b"c" if value is not None and newest is not None and value > newest else b"u" for value in values
        ]

    def _soft(self) -> int | None:
        column = self.settings.soft_column
        return None if column is None else self.shape.places((column,))[0]

    # -- what was handed on already, where the database does not tell

    def _unknown(self, chunk: Chunk) -> Chunk:
        """Only rows that were not handed on; all are remembered from the next pass's bound on."""
        if self.shape.cursor is None or self.position.under_way is None:
            return chunk
        low = self.position.under_way.low
        values = self.database.cursor_values(self.shape, chunk)
        rows = chunk.lines or chunk.rows
        keep = []
        for index, (row, value) in enumerate(zip(rows, values, strict=True)):
            digest = hashlib.blake2b(row if isinstance(row, bytes) else repr(row).encode(), digest_size=8)
            if digest.digest() not in self._known:
                keep.append(index)
            if value is not None and (low is None or self.database.at_least(self.shape, value, low)):
                self._remember(digest.digest())
        if len(keep) == len(rows):
            return chunk
        lines = [chunk.lines[i] for i in keep] if chunk.lines else ()
        kept = [chunk.rows[i] for i in keep] if chunk.rows else ()
        return Chunk(lines, kept, chunk.after, chunk.size)

    def _remember(self, digest: bytes) -> None:
        if len(self._still_known) < _MOST_KNOWN:
            self._still_known.add(digest)
        elif not self._overflown:
            self._overflown = True
            log.warning(
                "%s: more rows than can be remembered are newer than its bound; they will come again, with the same ids",
                self.shape.relation.qualified,
            )


def breathe(database: Database, clock: Clock, since: float) -> float:
    """Between two pages: let go of a view that was held too long, or that nobody has room to read on with. since: when it
    was taken (monotonic); the answer is when the one that is held now was."""
    waited = False
    if not clock.room(_MOMENT):
        database.end()
        waited = True
        while not clock.room(0.1) and not clock.pause(0.0):
            continue
    if not waited and clock.tick() - since < HOLD:
        return since
    database.renew()
    return clock.tick()
