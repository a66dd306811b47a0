"""Results that come later: calls that were queued elsewhere, each with an address of its own to be called back at.

Enters: results, posted by whoever has run the function. Leaves: one for each call that waits. An address is a secret that
nobody can guess, and good for one result; a call that nobody waits for any more, as after a restart, is answered 404.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from liberator.inbound.address import bind
from liberator.inbound.body import BodyRefused, has_body, read_body
from liberator.inbound.handler import Handler
from liberator.inbound.listener import Listener

log = logging.getLogger(__name__)

_LARGEST = 16 << 20
"""Bytes of a result."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call, as HTTP says it. headers: names in lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Waiting:
    """A call that waits. url: where its result is to be posted."""

    url: str
    _result: Result | None = None
    _come: threading.Event = field(default_factory=threading.Event)

    def wait(self, timeout: float) -> Result | None:
        """Seconds at most. None: nothing has come."""
        self._come.wait(timeout)
        return self._result

    def come(self, result: Result) -> None:
        """It is there."""
        self._result = result
        self._come.set()


class Callbacks:
    """Listens from when it is made until it is closed. listen: HOST:PORT. url: what that is called by others. Raises
    `PreconditionError`."""

    def __init__(self, listen: str, url: str | None = None) -> None:
        self._server = bind(listen, _Server, "callback")
        self._server.waiting = {}
        self._server.start("callbacks")
        self._url = (url or self._server.url).rstrip("/")
        log.info("listening for results", extra={"url": self._server.url})

    @contextmanager
    def expected(self) -> Iterator[Waiting]:
        """A call whose result is waited for inside."""
        token = secrets.token_urlsafe(32)
        waiting = self._server.waiting[token] = Waiting(f"{self._url}/{token}")
        try:
            yield waiting
        finally:
            self._server.waiting.pop(token, None)

    def close(self) -> None:
        """Give up the address. Idempotent."""
        self._server.stop()


class _Server(Listener):
    """With those that wait, by the last part of their address."""

    part = "callback"
    waiting: dict[str, Waiting]


class _Handler(Handler):
    """Takes a result."""

    server: _Server

    def do_POST(self) -> None:
        token = self.path.partition("?")[0].rpartition("/")[2]
        waiting = self.server.waiting.get(token)
        if waiting is None or "Origin" in self.headers:
            self.close_connection = True
            return self.write_answer(404, b'{"error": "nobody waits for this"}\n')
        try:
            body = read_body(self.headers, self.rfile, _LARGEST, "the largest result")
        except BodyRefused as error:
            # What can't be read is a result, too: it would not be another one the next time.
            self.close_connection = True
            waiting.come(Result({"x-function-status": str(error.status)}, b""))
            return self.write_answer(error.status, b'{"error": "this result can not be read"}\n')
        if self.server.waiting.pop(token, None) is not None:
            waiting.come(Result({name.lower(): text for name, text in self.headers.items()}, body))
        return self.write_answer(200, b"{}\n")

    def do_GET(self) -> None:
        self.close_connection = self.close_connection or has_body(self.headers)
        self.write_answer(405, b'{"error": "results are posted"}\n')

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address is a secret while somebody waits."""


_Server.handler = _Handler
