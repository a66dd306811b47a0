"""A source connector, wired: the loop with its source, plan, publisher, checkpoint and telemetry.

Enters: a checked `SourceConfig`. Leaves: an exit code. Called by the command line, the Python API and the demo.
"""

from __future__ import annotations

import logging
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING, Any

from liberator.build.outbox import log_outbox
from liberator.build.parts import log_settings, make_checkpoint, make_executor, make_planner, publishers
from liberator.capture import Capture, CaptureSettings, Ledger
from liberator.change import Batch, State
from liberator.codec.debezium import DebeziumCodec
from liberator.observe.telemetry import Telemetry
from liberator.plan.outbox_log import OutboxExecutor
from liberator.plan.planner import Planner
from liberator.plan.python import PythonExecutor
from liberator.policy import Backoff
from liberator.postgres.catalogue import TableInfo, load_table
from liberator.postgres.replication import System
from liberator.protocols import Encoder, LoopState, Publisher
from liberator.source.log import LogSource

if TYPE_CHECKING:
    from liberator.config import SourceConfig

log = logging.getLogger(__name__)

_BUSY_PATIENCE_ONCE = 30.0


def run_source(config: SourceConfig, *, once: bool, max_events: int | None, trial: bool) -> int:
    """Run one source connector until it is done or stopped. Returns the exit code; raises `LiberatorError`."""
    if trial:
        log.warning(
            "trial: temporary slot and publication, no checkpoint, nothing stays behind; with --name it can be resumed"
        )
    connector = Connector(config, once=once, max_events=max_events, trial=trial)
    with ExitStack() as stack:
        stack.callback(connector.close)
        connector.observe(stack)
        stack.enter_context(_signals(connector.capture.stop))
        connector.capture.run()
    return 0


class Connector:
    """A source connector, wired. `capture.run` runs it. publisher: makes the publisher of a session; default: as
    configured."""

    def __init__(
        self,
        config: SourceConfig,
        publisher: Callable[[], Publisher] | None = None,
        *,
        once: bool = False,
        max_events: int | None = None,
        trial: bool = False,
    ) -> None:
        self.config = config
        self.telemetry = Telemetry(config.name)
        self._planner: Planner | None = None
        self._executor: PythonExecutor | OutboxExecutor | None = None
        checkpoint = None if trial else make_checkpoint(config)
        self._ledger = Ledger(checkpoint)
        self.source = LogSource(
            log_settings(config, once=once, trial=trial),
            remember=self._ledger.save,
            progress=self.telemetry,
            approve=self._approve,
            cancelled=lambda: self.capture.stopping,
        )
        self.capture = Capture(
            self.source,
            publisher or publishers(config, checkpoint),
            self._ledger,
            self._opened,
            Watcher(self.telemetry, self.source, self._topics, config.limits.memory),
            CaptureSettings(
                once=once,
                max_events=max_events,
                trial=trial,
                busy_patience=_BUSY_PATIENCE_ONCE if once else None,
            ),
            backoff=lambda: Backoff(random=random.random, tick=time.monotonic),
        )

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

    def _approve(self, system: System, tables: Sequence[TableInfo]) -> None:
        """Called before anything is made on the server: topics, keys and contracts must be right by then."""
        if self._planner is None:
            self._planner, self._executor = self._make(system)
        self._planner.prepare(tables)
        if isinstance(self._executor, OutboxExecutor):
            connection = self.source.connection()
            shapes = [load_table(connection, info.oid) for info in tables]
            self._executor.prepare(shape for shape in shapes if shape is not None)

    def _make(self, system: System) -> tuple[Planner, PythonExecutor | OutboxExecutor]:
        if self.config.source.mode == "outbox":
            return log_outbox(self.config, system, self.source, self.telemetry)
        codec = DebeziumCodec(self.config.name, system.database)
        planner = make_planner(self.config, system.database, codec, self.source)
        return planner, make_executor(self.config, system, planner, codec, self.telemetry)

    def _opened(self, state: State) -> Encoder:
        if self._executor is None or self._planner is None:
            system = self.source.system
            assert system is not None
            self._approve(system, ())
            assert self._executor is not None
            assert self._planner is not None
        if (server := self.source.system) is not None:
            self.telemetry.version("server", f"PostgreSQL {server.version // 10000}.{server.version % 10000}")
        self._planner.restore(state)
        self._executor.restart(state)
        return self._executor

    def _topics(self) -> Mapping[str, str]:
        is_outbox = self.config.source.mode == "outbox"
        return {} if self._planner is None or is_outbox else self._planner.topics()


class Watcher:
    """Translates what the loop says into telemetry: topics become tables, batches positions."""

    def __init__(
        self, telemetry: Telemetry, source: LogSource, topics: Callable[[], Mapping[str, str]], memory: int
    ) -> None:
        self._telemetry = telemetry
        self._source = source
        self._topics = topics
        self._memory = memory
        self._due = 0.0

    def beat(self) -> None:
        """See `Watch.beat`."""
        self._telemetry.beat()

    def state(self, name: LoopState) -> None:
        """See `Watch.state`. While it waits nothing is received, and only this tells how far behind it falls."""
        self._telemetry.state(name)
        if name == "waiting":
            self._position(0)

    def received(self, batch: Batch, committed_us: int) -> None:
        """See `Watch.received`."""
        self._telemetry.state("snapshot" if self._source.reading_tables else "streaming")
        self._position(committed_us)

    def _position(self, committed_us: int) -> None:
        """Told about once a second; it costs a lock."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 1.0
            self._source.measure()
            committed = committed_us / 1_000_000 if committed_us else None
            self._telemetry.position(self._source.reached, self._source.server_lsn, committed)
            self._telemetry.queue(self._source.queued(), self._memory)

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


class _signals:
    """SIGTERM and SIGINT ask to stop; a second one ends at once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}
        self._asked = False

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._asked = True
        self._stop()
