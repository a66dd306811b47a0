"""A connector that reads the log, wired: the loop with its source, plan, publisher, checkpoint and telemetry.

Enters: a checked `SourceConfig` of mode log. Leaves: a connector to run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from liberator.build.outbox import log_outbox
from liberator.build.parts import log_settings, make_envelope, make_executor, make_planner
from liberator.build.running import How, Running, Watching
from liberator.build.transforms import transforms
from liberator.change import Batch, State
from liberator.observe.telemetry import Telemetry
from liberator.plan.outbox_log import OutboxExecutor
from liberator.plan.planner import Planner
from liberator.plan.python import PythonExecutor
from liberator.postgres.catalogue import TableInfo, load_table
from liberator.postgres.replication import System
from liberator.protocols import Encoder, LoopState
from liberator.source.log import LogSource

if TYPE_CHECKING:
    from liberator.config import SourceConfig

_BUSY_PATIENCE_ONCE = 30.0


class Connector(Running):
    """A source connector of mode log, wired."""

    source: LogSource

    def __init__(self, config: SourceConfig, how: How) -> None:
        super().__init__(config, how)
        transforms(config)  # a function that is not there is told before anything is connected to
        self._planner: Planner | None = None
        self._executor: PythonExecutor | OutboxExecutor | None = None
        self.source = LogSource(
            log_settings(config, once=how.once, trial=how.trial),
            remember=self._ledger.save,
            progress=self.telemetry,
            approve=self._approve,
            cancelled=lambda: self.capture.stopping,
        )
        self._wire(
            Watcher(self.telemetry, self.source, self._topics, config.limits.under_way),
            busy_patience=_BUSY_PATIENCE_ONCE if how.once else None,
        )

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
        envelope = make_envelope(self.config, system.database)
        planner = make_planner(self.config, system.database, envelope, self.source)
        return planner, make_executor(self.config, system, planner, envelope, self.telemetry)

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


class Watcher(Watching):
    """Translates what the loop says into telemetry: topics become tables, batches positions."""

    def __init__(
        self, telemetry: Telemetry, source: LogSource, topics: Callable[[], Mapping[str, str]], memory: int
    ) -> None:
        super().__init__(telemetry, topics)
        self._source = source
        self._memory = memory
        self._due = 0.0

    def state(self, name: LoopState) -> None:
        """See `Watch.state`. While it waits nothing is received, and only this tells how far behind it falls."""
        super().state(name)
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
