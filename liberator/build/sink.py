"""A sink connector, wired: sessions of the dispatch loop, with all that people see of them.

Enters: a checked `SinkConfig`. Leaves: a connector to run. A broker that is lost ends a session, and the next one starts
from what is committed; what somebody has to act on ends the connector. Whoever wants to be done once is told of a function
that can't be made ready, after as many attempts as its events would have.
"""

from __future__ import annotations

import gc
import logging
import random
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from liberator.build.dispatching import Until, make_circuit, make_dispatch
from liberator.build.functions import make_invocations
from liberator.build.running import Signals
from liberator.dispatch.loop import Dispatch
from liberator.errors import FunctionError, LiberatorError
from liberator.function.circuit import CircuitReport
from liberator.observe.sink_telemetry import SinkTelemetry
from liberator.policy import Action, Backoff, decide
from liberator.protocols import Invocations
from liberator.publish.kafka import Lessons

if TYPE_CHECKING:
    from liberator.config import SinkConfig

log = logging.getLogger(__name__)

_COLLECT_AFTER = 20_000
"""Objects that are new before the garbage collector looks for cycles among them: more than some batches have."""

_ONCE_WITHIN = 60.0
"""Seconds that whoever wants to be done once waits for a database that the function needs."""


def run_sink(config: SinkConfig, *, once: bool, max_events: int | None) -> int:
    """Run one sink connector until it is done or stopped. Returns the exit code; raises `LiberatorError`. The process is its
    own: events come and go by the thousand, and the garbage collector would look at all that wait again and again."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
    SinkConnector(config, Until(once=once, max_events=max_events)).run()
    return 0


class SinkConnector:
    """One sink. `run` returns when it is done or stopped; `stop` may be called from a signal handler."""

    def __init__(self, config: SinkConfig, until: Until) -> None:
        from liberator.config.guarantee import guarantee

        self.config = config
        self.telemetry = SinkTelemetry(
            config.name,
            batch_size=max(trigger.batch_size for trigger in config.trigger),
            patience=config.policy.timeout,
            guarantee=guarantee(config).report(),
            has_stream=config.keeps_events,
        )
        self._until = until
        self._ends = until.once or until.replay is not None
        self._circuit = make_circuit(config, until, self._switched)
        self._lessons = Lessons()
        self._stopping = threading.Event()
        self._dispatch: Dispatch | None = None

    @property
    def stopped(self) -> bool:
        """Was it asked to end?"""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End soon: what is under way ends, and is committed."""
        self._stopping.set()
        if self._dispatch is not None:
            self._dispatch.stop()

    def run(self) -> None:
        """Until it is done or stopped by a signal. Raises the `LiberatorError` that ends it."""
        from liberator.observe.progress import Progress

        with ExitStack() as stack:
            if self.config.observe is not None:
                from liberator.observe.server import ObserveServer

                stack.enter_context(ObserveServer(self.config.observe.listen, self.telemetry))
            stack.enter_context(Progress(self.telemetry))
            stack.enter_context(Signals(self.stop))
            self.serve()

    def serve(self) -> None:
        """As `run`, in any thread, shown to nobody."""
        if self.config.intake is None or self._until.once:
            self._sessions()
            return
        from liberator.build.intake import Intake

        with Intake(self.config, self.stop):
            self._sessions()

    def _sessions(self) -> None:
        backoff = Backoff(random=random.random, tick=time.monotonic)
        failed = 0
        while not self._stopping.is_set():
            before = self.telemetry.finished
            try:
                self._session()
                break
            except LiberatorError as error:
                self.telemetry.error(error.code)
                if self.telemetry.finished > before:
                    backoff.reset()
                    failed = 0
                failed += 1
                patient = self._is_patient(error, failed, backoff.elapsed())
                if decide(error).action is not Action.RETRY or self._stopping.is_set() or not patient:
                    self.telemetry.state("failed")
                    raise
                self.telemetry.reconnect()
                self.telemetry.state("reconnecting")
                delay = backoff.next()
                log.warning("%s; again in %.1f s%s", error, delay, f" ({error.fix})" if error.fix else "")
                self._stopping.wait(delay)
        self.telemetry.state("stopped")

    def _is_patient(self, error: LiberatorError, failed: int, seconds: float) -> bool:
        """Is it worth another session? failed: sessions in a row that came to nothing, for so many seconds."""
        if not self._ends or not isinstance(error, FunctionError):
            return True
        if error.code == "function.init":
            return failed < self.config.policy.retry.attempts
        return seconds < _ONCE_WITHIN

    def _session(self) -> None:
        """Everything is made anew: nothing that is broken is left in it."""
        done = self.telemetry.finished
        left = None if self._until.max_events is None else self._until.max_events - done
        if left is not None and left <= 0:
            return
        until = replace(self._until, max_events=left)
        self._dispatch = make_dispatch(
            self.config,
            self._invocations,
            self.telemetry,
            until,
            circuit=self._circuit,
            lessons=self._lessons,
        )
        if self._stopping.is_set():
            self._dispatch.stop()
        self._dispatch.run()

    def _switched(self, report: CircuitReport) -> None:
        code = None if report.error is None else report.error.code
        self.telemetry.circuit(report.state, code, report.pause)

    def _invocations(self) -> Invocations:
        return make_invocations(self.config, self.telemetry, ends=self._ends)
