"""A webhook that answers before the function has run: requests are put into the sink's stream, and answered when they are
durable there.

Enters: a checked `SinkConfig`. Leaves: a listener and a writer that run beside the sessions of the dispatch loop, so that
requests are taken while these begin anew. The writer is the sidecar's: what is posted twice is in the stream once.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from liberator.build.dispatching import publisher_to, webhook_settings
from liberator.build.running import RequestWatch
from liberator.change import EncodedBatch
from liberator.errors import LiberatorError
from liberator.observe.telemetry import Telemetry
from liberator.policy import Backoff
from liberator.sidecar.post import Post
from liberator.sidecar.window import Window
from liberator.sidecar.writer import Writer, WriterSettings
from liberator.webhook.desk import Posted, Unavailable, Verdict
from liberator.webhook.server import WebhookServer

if TYPE_CHECKING:
    from types import TracebackType

    from liberator.config import SinkConfig

log = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds that a request waits until its event is durable."""

_KNOWN_FOR = 86_400.0
"""Seconds for which an event that is posted again is known by its id, across restarts."""

_PAUSE_MOST = 5.0
_LAST = 1.0
"""Seconds for requests under way when the connector ends, and again for the writer."""


class Intake:
    """Listens from when it is entered until it is left. ended: called when it can't go on. Raises `PreconditionError`."""

    def __init__(self, config: SinkConfig, ended: Callable[[], None]) -> None:
        self._config, self._ended = config, ended
        self._failure: BaseException | None = None
        self._topic = config.intake_topic
        stream, trigger = config.stream, config.intake
        assert stream is not None
        assert trigger is not None
        self._writer = Writer(
            lambda: publisher_to(config, stream.url, config.limits.memory, dead_letter_topic=None),
            lambda: Window(config.folder / ".liberator" / f"{config.name}.ids.db", _KNOWN_FOR),
            RequestWatch(Telemetry(config.name), dict),  # what is read again is counted then
            WriterSettings(patience=_PATIENCE, memory=config.limits.memory, drain=_LAST),
            backoff=lambda: Backoff(max=_PAUSE_MOST, random=random.random, tick=time.monotonic),
        )
        self._thread = threading.Thread(target=self._write, name="intake", daemon=True)
        self._server = WebhookServer(
            trigger.listen, self, webhook_settings(config, trigger, patience=_PATIENCE)
        )

    def ask(self, posted: Posted, patience: float) -> Verdict | None:
        """Have it put into the stream. None: nobody knows yet. Raises `Unavailable`."""
        event = EncodedBatch()
        id = next(value for name, value in posted.headers if name == "id") or b""
        headers = tuple((name, value or b"") for name, value in posted.headers if name != "id")
        event.add(self._topic, None, posted.body, id, headers or None)
        post = Post(event, hashlib.sha256(posted.body).digest()[:16])
        if not self._writer.submit(post):
            raise Unavailable
        told = post.wait(patience)
        if told is None:
            self._writer.withdraw(post)
            return None
        if told == "conflict":
            what = "this id was given to another event already"
            return Verdict(LiberatorError(what, code="webhook.conflict"))
        return Verdict(post.error if told == "refused" else None)

    def __enter__(self) -> Intake:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(_LAST)
        self._writer.stop()
        self._thread.join(2 * _LAST)
        if self._failure is not None and error is None:
            raise self._failure

    def _write(self) -> None:
        try:
            self._writer.run()
        except BaseException as error:
            self._failure = error
            self._ended()
