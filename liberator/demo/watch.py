"""Waiting with open eyes: every wait of the demo looks at all its parts and shows them.

Enters: the shop, the connector's `/status`, what a consumer has read. Leaves: a `Moment` several times a second, for a view
to draw. Called by the demo's story, which waits nowhere else; so Ctrl-C ends it at a place where all can be cleaned up.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Protocol

import psycopg

from liberator.demo.connector import Connector, Source
from liberator.demo.load import Load
from liberator.demo.shipping import Shipping
from liberator.demo.shop import row_counts
from liberator.demo.stream import Counts, Stream
from liberator.demo.ways import Ways
from liberator.errors import LiberatorError

_STEP = 0.1
_EVERY = 0.25
"""Seconds between two looks."""

_RATE_WINDOW = 3.0


@dataclass(frozen=True)
class Line:
    """Something that happened. at: seconds since the start."""

    at: float
    text: str


@dataclass
class Moment:
    """How things stand. route: from where to where. now: what goes on, in a few words. pid: the connector's, None: dead.

    rows: in the database. snapshot: rows read by the snapshot. lag_bytes: of the log, not acknowledged yet; None: there is
    no slot yet. rate: events a second that a consumer got lately. beside: what came of its orders;
    ways: what the other connectors published.
    """

    at: float = 0.0
    route: str = ""
    now: str = ""
    pid: int | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    rate: float = 0.0
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    beside: Counts = field(default_factory=Counts)
    ways: Counts = field(default_factory=Counts)
    transactions: int = 0
    changes: int = 0
    story: tuple[Line, ...] = ()


class View(Protocol):
    """Where moments are shown."""

    def say(self, line: Line) -> None:
        """Something happened."""

    def show(self, moment: Moment) -> None:
        """How things stand now."""

    def close(self) -> None:
        """Give the terminal back. Idempotent."""


class Interrupts:
    """The first Ctrl-C (SIGTERM, SIGHUP) is noticed by the next `pause`; a second one ends what is going on at once.

    So no server is ever interrupted half way through its start, when nobody would end it. Errors that follow are of the
    signal's making (a terminal sends it to the programs that are just being run, too): they end as `KeyboardInterrupt`.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._notice) for number in self._SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._asked and isinstance(error, LiberatorError):
            raise KeyboardInterrupt from error

    def pause(self, seconds: float) -> None:
        """Wait. Raises `KeyboardInterrupt` when the demo is to end."""
        end = time.monotonic() + seconds
        while True:
            if self._asked:
                raise KeyboardInterrupt
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _STEP))

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True


@dataclass(frozen=True)
class Cast:
    """All who play a part. route: from where to where. shipping: what becomes of its orders,
    ways: the other ways to free data; None: such a broker can't take part in them."""

    dsn: str
    route: str
    load: Load
    connector: Source
    stream: Stream
    shipping: Shipping | None = None
    ways: Ways | None = None

    @property
    def connectors(self) -> list[Connector]:
        """All of them, as far as they are here."""
        shipping = [self.shipping] if self.shipping else []
        return [self.connector, *shipping, *(self.ways.connectors if self.ways else [])]


class Watch:
    """Shows how things stand whenever the story waits; what there is to look at comes with `attending`."""

    def __init__(self, view: View, pause: Callable[[float], None]) -> None:
        self.pause = pause
        self.peak = 0.0
        self._view = view
        self._began = time.monotonic()
        self._moment = Moment()
        self._cast: Cast | None = None
        self._database: psycopg.Connection[Any] | None = None
        self._seen: deque[tuple[float, int]] = deque()

    @property
    def elapsed(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    @contextmanager
    def attending(self, cast: Cast) -> Iterator[None]:
        """Look at all of `cast` from now on."""
        self._moment.route = cast.route
        with psycopg.connect(cast.dsn, autocommit=True) as self._database:
            self._cast = cast
            try:
                yield
            finally:
                self._cast = None

    def begin(self, now: str, line: str | None = None) -> None:
        """From now on this goes on. Raises `KeyboardInterrupt` when the demo is to end instead."""
        self.pause(0)
        self.say(line or now, now)

    def say(self, text: str, now: str | None = None) -> None:
        """Something happened; and this goes on from now on, if it is another thing."""
        self._moment.now = now or self._moment.now
        line = Line(self.elapsed, text)
        self._moment.story = (*self._moment.story, line)
        self._view.say(line)
        self._view.show(self._moment)

    def during(self, seconds: float) -> None:
        """Let it go on."""
        self.until(lambda: False, seconds)

    def until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Let it go on until `done`; False: it was not, within `timeout` seconds."""
        end = time.monotonic() + timeout
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._look()
            self.pause(min(left, _EVERY))
        self._look()
        return True

    def wait_for(self, what: str, done: Callable[[], bool], timeout: float = 60.0) -> None:
        """Let it go on until `done`. Raises `LiberatorError` when that takes longer than `timeout` seconds."""
        if not self.until(done, timeout):
            raise LiberatorError(f"{what} did not happen within {timeout:.0f} s", code="demo.late")

    def log_end(self) -> int:
        """The LSN at which the server's log ends now."""
        return int(self._ask("SELECT pg_current_wal_insert_lsn() - pg_lsn '0/0'")[0])

    def acknowledged(self, slot: str | None = None) -> int:
        """The LSN up to which `slot` was acknowledged, by default that of the connector; 0: there is no such slot yet."""
        assert self._cast is not None
        acknowledged = "SELECT coalesce(max(confirmed_flush_lsn - pg_lsn '0/0'), 0) FROM pg_replication_slots"
        return int(self._ask(f"{acknowledged} WHERE slot_name = %s", slot or self._cast.connector.slot)[0])

    def _ask(self, question: str, *values: str) -> tuple[Any, ...]:
        assert self._database is not None
        answer: tuple[Any, ...] | None = self._database.execute(question.encode(), values).fetchone()
        assert answer is not None
        return answer

    def _look(self) -> None:
        moment = self._moment
        moment.at = self.elapsed
        if self._cast is not None:
            self._look_at(self._cast, moment)
        self._view.show(moment)

    def _look_at(self, cast: Cast, moment: Moment) -> None:
        assert self._database is not None
        moment.rows = row_counts(self._database)
        moment.transactions, moment.changes = cast.load.progress()
        told = moment.counts, moment.beside, moment.ways
        moment.counts = cast.stream.counts()
        if cast.shipping is not None:
            moment.beside = cast.shipping.stream.counts()
        if cast.ways is not None:
            moment.ways = cast.ways.stream.counts()
        for before, now in zip(told, (moment.counts, moment.beside, moment.ways), strict=True):
            for dead in now.dead[len(before.dead) :]:
                self.say(f"dead letter: {dead.table} {dead.key}: {dead.dead}")
        for connector in cast.connectors:
            connector.check()
        moment.rate = self._rate(moment.counts.events)
        self.peak = max(self.peak, moment.rate)
        moment.pid = cast.connector.pid
        status = cast.connector.status()
        moment.lag_seconds = status["lag"]["seconds"] if status else None
        acknowledged = self.acknowledged()
        moment.lag_bytes = self.log_end() - acknowledged if acknowledged else None

    def _rate(self, events: int) -> float:
        now = self.elapsed
        self._seen.append((now, events))
        while self._seen[0][0] < now - _RATE_WINDOW:
            self._seen.popleft()
        since, before = self._seen[0]
        return (events - before) / (now - since) if now > since else 0.0
