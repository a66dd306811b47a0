"""Configuration -> wired loops: the only place that knows every class.

Enters: a checked `SourceConfig`. Leaves: a running connector, or what a command of one shows. Called by the command line,
the Python API and the demo. Heavy libraries are imported where they are needed.
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

from liberator.capture import Capture, CaptureSettings, Ledger
from liberator.change import Batch, State
from liberator.codec.debezium import DebeziumCodec
from liberator.contract.store import ContractStore
from liberator.observe.telemetry import Telemetry
from liberator.plan.invalid import InvalidRows
from liberator.plan.planner import Planner, PlanSettings
from liberator.plan.python import PythonExecutor, StreamSettings
from liberator.policy import Backoff
from liberator.postgres.catalogue import TableInfo
from liberator.postgres.replication import System
from liberator.postgres.selection import Selection
from liberator.postgres.values import TypeOptions
from liberator.protocols import Checkpoint, Encoder, LoopState, Publisher
from liberator.source.log import LogSettings, LogSource

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
    """A source connector, wired. `capture.run` runs it."""

    def __init__(self, config: SourceConfig, *, once: bool, max_events: int | None, trial: bool) -> None:
        self.config = config
        self.telemetry = Telemetry(config.name)
        self._planner: Planner | None = None
        self._executor: PythonExecutor | None = None
        self._ledger = Ledger(None if trial else make_checkpoint(config))
        self.source = LogSource(
            log_settings(config, once=once, trial=trial),
            remember=self._ledger.save,
            progress=self.telemetry,
            approve=self._approve,
            cancelled=lambda: self.capture.stopping,
        )
        self.capture = Capture(
            self.source,
            lambda: make_publisher(config),
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
        stack.enter_context(Progress(self.telemetry))

    def close(self) -> None:
        """Give everything back."""
        self.source.close()
        self._ledger.close()

    def _approve(self, system: System, tables: Sequence[TableInfo]) -> None:
        """Called before anything is made on the server: topics, keys and contracts must be right by then."""
        if self._planner is None:
            codec = DebeziumCodec(self.config.name, system.database)
            self._planner = make_planner(self.config, system.database, codec, self.source)
            self._executor = make_executor(self.config, system, self._planner, codec, self.telemetry)
        self._planner.prepare(tables)

    def _opened(self, state: State) -> Encoder:
        if self._executor is None or self._planner is None:
            system = self.source.system
            assert system is not None
            self._approve(system, ())
            assert self._executor is not None
            assert self._planner is not None
        self._planner.restore(state)
        self._executor.restart()
        return self._executor

    def _topics(self) -> Mapping[str, str]:
        return {} if self._planner is None else self._planner.topics()


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
        """See `Watch.state`."""
        self._telemetry.state(name)

    def received(self, batch: Batch, committed_us: int) -> None:
        """See `Watch.received`. The position is told about once a second; it costs a lock."""
        self._telemetry.state("snapshot" if self._source.reading_tables else "streaming")
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 1.0
            committed = committed_us / 1_000_000 if committed_us else None
            self._telemetry.position(self._source.handed, self._source.server_lsn, committed)
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


def log_settings(config: SourceConfig, *, once: bool = False, trial: bool = False) -> LogSettings:
    """What the log source is told. A pattern without a schema means the default schema, ``public``."""
    source, options = config.source, config.source.log
    exact = {
        pattern.text: (pattern.schema or "public", pattern.table)
        for pattern in source.tables
        if pattern.exact
    }
    return LogSettings(
        url=source.url,
        name=config.name,
        slot=options.slot,
        publications=tuple(options.publication),
        selection=selection(config),
        exact=exact,
        autocreate=options.publication_autocreate,
        via_root=options.publish_via_partition_root,
        snapshot=options.snapshot,
        workers=options.snapshot_workers,
        heartbeat=options.heartbeat,
        heartbeat_query=options.heartbeat_query,
        messages=bool(options.messages),
        failover=options.failover,
        trial=trial,
        once=once,
        queue_bytes=max(1024 * 1024, config.limits.memory // 8),
    )


def selection(config: SourceConfig) -> Selection:
    """The tables that the configuration means."""
    source = config.source

    def included(schema: str, table: str) -> bool:
        return not source.tables or any(pattern.matches(schema, table) for pattern in source.tables)

    def excluded(schema: str, table: str) -> bool:
        return any(pattern.matches(schema, table) for pattern in source.exclude)

    return Selection(included, excluded)


def make_planner(config: SourceConfig, database: str, codec: DebeziumCodec, source: LogSource) -> Planner:
    """The planner, with the stored contracts."""
    settings = PlanSettings(
        topic=lambda schema, table: config.publish.topic.render(
            name=config.name, db=database, schema=schema, table=table
        ),
        selection=selection(config),
        key=config.publish.key_columns,
        types=type_options(config),
    )
    return Planner(settings, codec, Contracts(config), source.connection)


class Contracts:
    """Stored contracts by topic; the same ones in every stage."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._store = ContractStore(config.schema_.dir)

    def load(self, topic: str) -> tuple[int, dict[str, Any]] | None:
        """See `plan.planner.Contracts`."""
        return self._store.load(self._config.without_stage(topic))


def make_executor(
    config: SourceConfig, system: System, planner: Planner, codec: DebeziumCodec, telemetry: Telemetry
) -> PythonExecutor:
    """The executor of this connector's plans."""
    options, name = config.source.log, config.name
    names = {"name": name, "db": system.database}
    settings = StreamSettings(
        name=name,
        slot=options.slot,
        system=system.identifier,
        tombstones=config.format.tombstones,
        messages=tuple(options.messages),
        message_topic=options.message_topic.render(**names),
        transaction_topic=f"{name}.transaction" if options.transaction_topic else None,
    )
    invalid = InvalidRows(
        config.schema_.on_invalid,
        name,
        config.publish.dead_letter_topic.render(**names),
        now_ms=lambda: time.time_ns() // 1_000_000,
        count=telemetry.dead_letter,
    )
    return PythonExecutor(settings, planner, codec, invalid, now_us=lambda: time.time_ns() // 1000)


def type_options(config: SourceConfig) -> TypeOptions:
    """How types become JSON."""
    types = config.types
    return TypeOptions(int64=types.int64, json=types.json_, array_bounds=types.array_bounds, char=types.char)


def make_publisher(config: SourceConfig) -> Publisher:
    """Where events go. Raises `PublishError`."""
    publish = config.publish
    if publish.kind == "stdout":
        from liberator.publish.stdout import StdoutPublisher

        return StdoutPublisher(sys.stdout.buffer)
    if publish.kind == "file":
        from liberator.publish.file import FilePublisher

        return FilePublisher(publish.path)
    from liberator.publish.kafka import kafka_publisher
    from liberator.publish.kafka.client import TopicSettings

    topics = publish.create_topics
    return kafka_publisher(
        publish.url,
        options=publish.options,
        create_topics=None
        if topics is None
        else TopicSettings(topics.partitions, topics.replication, topics.config),
        memory=config.limits.memory // 2,
        name=config.name,
        dead_letter_topic=publish.dead_letter_topic.render(name=config.name, db=""),
    )


def make_checkpoint(config: SourceConfig) -> Checkpoint:
    """Where positions are kept. Raises `CheckpointError`."""
    from liberator.checkpoint import open_checkpoint

    return open_checkpoint(
        config.checkpoint.url,
        config.name,
        kafka_url=config.publish.url if config.publish.kind == "kafka" else None,
        options=config.publish.options,
    )


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
