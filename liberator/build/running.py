"""What every wired source connector has, whatever its mode: it is observed, closed, and run until done or stopped."""

from __future__ import annotations

import random
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from liberator.build.parts import make_checkpoint, publishers
from liberator.capture import Capture, CaptureSettings
from liberator.change import Batch, State
from liberator.ledger import Ledger
from liberator.observe.telemetry import Telemetry
from liberator.orphan import stop_signals
from liberator.policy import Backoff
from liberator.protocols import Encoder, LoopState, Publisher, Source, Watch

if TYPE_CHECKING:
    from liberator.config import SourceConfig


@dataclass(frozen=True, slots=True)
class How:
    """How a connector is run, beyond its configuration: see `CaptureSettings`. publisher: makes the publisher of a session;
    None: as configured."""

    publisher: Callable[[], Publisher] | None = None
    once: bool = False
    max_events: int | None = None
    trial: bool = False


class Running(ABC):
    """A source connector, wired. `capture.run` runs it, as does `run` with all that people see of it. A mode's own begins
    with this, then makes its source and says `_wire`."""

    source: Source
    capture: Capture

    def __init__(self, config: SourceConfig, how: How) -> None:
        self.config = config
        self.telemetry = Telemetry(config.name)
        self._how = how
        self._checkpoint = None if how.trial else make_checkpoint(config)
        self._ledger = Ledger(self._checkpoint, background=config.checkpoint.url.startswith("kafka"))

    def _wire(self, watch: Watch, *, busy_patience: float | None = None) -> None:
        how = self._how
        self.capture = Capture(
            self.source,
            how.publisher or publishers(self.config, self._checkpoint),
            self._ledger,
            self._opened,
            watch,
            CaptureSettings(
                once=how.once, max_events=how.max_events, trial=how.trial, busy_patience=busy_patience
            ),
            backoff=lambda: Backoff(random=random.random, tick=time.monotonic),
        )

    @abstractmethod
    def _opened(self, state: State) -> Encoder:
        """The source is open, and resumed from `state`: what encodes its batches."""

    def run(self) -> None:
        """Until it is done or stopped by a signal. Raises the `LiberatorError` that ends it."""
        with ExitStack() as stack:
            stack.callback(self.close)
            self.observe(stack)
            stack.enter_context(Signals(self.capture.stop))
            self.capture.run()

    def observe(self, stack: ExitStack) -> None:
        """Start what shows the connector to people: the endpoint, if configured, and progress."""
        from liberator.observe.progress import Progress

        if self.config.observe is not None:
            from liberator.observe.server import ObserveServer

            stack.enter_context(ObserveServer(self.config.observe.listen, self.telemetry))
        shares_the_screen = self.config.publish.kind == "stdout" and sys.stdout.isatty()
        stack.enter_context(Progress(self.telemetry, plain=shares_the_screen))

    def close(self) -> None:
        """Give everything back."""
        self.source.close()
        self._ledger.close()


class Watching(ABC):
    """Translates what the loop says into telemetry: topics become tables. What was received is told by each mode."""

    def __init__(self, telemetry: Telemetry, topics: Callable[[], Mapping[str, str]]) -> None:
        self._telemetry = telemetry
        self._topics = topics

    def beat(self) -> None:
        """See `Watch.beat`."""
        self._telemetry.beat()

    def state(self, name: LoopState) -> None:
        """See `Watch.state`."""
        self._telemetry.state(name)

    @abstractmethod
    def received(self, batch: Batch, committed_us: int) -> None:
        """See `Watch.received`."""

    def published(self, topics: Mapping[str, int], size: int) -> None:
        """See `Watch.published`."""
        tables = self._topics()
        counts: dict[str, int] = {}
        for topic, count in topics.items():
            label = tables.get(topic, topic)
            counts[label] = counts.get(label, 0) + count
        self._telemetry.published(counts, size)

    def durable(self, count: int) -> None:
        """See `Watch.durable`."""
        self._telemetry.durable(count)

    def checkpoint_saved(self) -> None:
        """See `Watch.checkpoint_saved`."""
        self._telemetry.checkpoint_saved(time.time())

    def error(self, code: str) -> None:
        """See `Watch.error`."""
        self._telemetry.error(code)

    def reconnect(self) -> None:
        """See `Watch.reconnect`."""
        self._telemetry.reconnect()


class Signals:
    """SIGTERM, SIGINT and SIGHUP ask to stop; a second one ends at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}
        self._asked = False

    def __enter__(self) -> None:
        for number in stop_signals():
            self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGHUP:
            return  # a terminal that closes sends it twice
        if self._asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._asked = True
        self._stop()


class RequestWatch(Watching):
    """What requests brought. There is no source to be behind of."""

    def received(self, batch: Batch, committed_us: int) -> None:
        """See `Watch.received`."""
