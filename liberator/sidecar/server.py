"""HTTP's side of the sidecar: connections that are kept, bodies with a limit, answers.

Enters: requests. Leaves: answers; posts for the writer. Started by `build`; a thread a connection, which waits until its
event is durable. Serves the pages of `observe` too, so that an application's supervisor needs one address only.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from liberator.errors import LiberatorError
from liberator.inbound.address import bind
from liberator.inbound.body import BodyRefused, has_body, read_body
from liberator.inbound.handler import RETRY_AFTER, Handler
from liberator.inbound.listener import Listener
from liberator.observe.server import Pages
from liberator.plan.outbox import Entry
from liberator.sidecar.answer import Answer, Refused, refused
from liberator.sidecar.judge import Judge
from liberator.sidecar.post import Post
from liberator.sidecar.request import ROOT, HttpHeaders, Reading, read_event
from liberator.sidecar.writer import Writer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """reading: of requests. largest: bytes of a body. timeout: seconds that a request waits until its event is durable."""

    reading: Reading = field(default_factory=Reading)
    largest: int = 1_000_000
    timeout: float = 10.0


class SidecarServer:
    """Listens when constructed, answers between `start` and `close`. pages: by what their paths begin with. Raises
    `PreconditionError` when the address can't be had."""

    def __init__(
        self, listen: str, judge: Judge, writer: Writer, pages: Mapping[str, Pages], settings: ServerSettings
    ) -> None:
        self._server = bind(listen, _Server, "sidecar")
        self._server.judge, self._server.writer = judge, writer
        self._server.pages, self._server.settings = dict(pages), settings
        bound = self._server.server_address
        self.address: tuple[str, int] = (str(bound[0]), int(bound[1]))

    @property
    def url(self) -> str:
        """Where it listens, as a URL without a path."""
        return self._server.url

    def start(self) -> None:
        """Answer from now on. Once only."""
        self._server.start("sidecar")

    def drain(self, timeout: float) -> bool:
        """Take no new connections, and wait until the requests under way are answered; True: they are. What comes through
        connections that are there already is told to come again."""
        self._server.draining = True
        self._server.stop()
        return self._server.busy.wait_for_none(timeout)

    def close(self) -> None:
        """Free the port. Idempotent."""
        self._server.stop()


class _Server(Listener):
    """With what its handlers ask."""

    part = "sidecar"
    judge: Judge
    writer: Writer
    pages: dict[str, Pages]
    settings: ServerSettings


class _Handler(Handler):
    """Reads a request, and writes its answer at once."""

    server: _Server

    def do_GET(self) -> None:
        path, _, _ = self.path.partition("?")
        if path == ROOT or path.startswith(f"{ROOT}/"):
            answer = refused(405, "method", "events are sent with POST", close=has_body(self.headers)).answer
            return self._answer(answer)
        part = next((name for name in self.server.pages if name and path.startswith(f"{name}/")), "")
        page = self.server.pages[part].get(path.removeprefix(part), self.headers.get("Accept", ""))
        status, body, content_type = page
        self.close_connection = self.close_connection or has_body(self.headers)
        return self.write_answer(status, body, content_type)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        with self.server.busy:
            try:
                answer = self._post()
            except Refused as refusal:
                answer = refusal.answer
            except LiberatorError as error:  # a contract that can't be read
                log.error("%s", error)
                answer = Answer(500, {"error": error.what, "code": error.code})
            except OSError:
                raise  # the connection's
            except Exception as error:  # a defect of ours: its text may hold a payload
                log.error("a request failed with %s", type(error).__name__)
                log.debug("where it failed", exc_info=True)
                answer = Answer(
                    500, {"error": "a defect of the sidecar", "code": "sidecar.internal"}, close=True
                )
            self._answer(answer)

    def do_PUT(self) -> None:
        self._answer(refused(405, "method", "events are sent with POST", close=True).answer)

    do_DELETE = do_PATCH = do_OPTIONS = do_PUT

    def _post(self) -> Answer:
        began = time.monotonic()
        if "Origin" in self.headers:
            # A browser on this machine may be steered by a foreign page: it always says Origin.
            raise refused(403, "origin", "requests of web pages are not taken", close=True)
        server = self.server
        try:
            body = read_body(self.headers, self.rfile, server.settings.largest, "limits.event")
        except BodyRefused as error:
            raise refused(error.status, error.code, error.what, close=True) from None
        if server.draining:
            raise refused(503, "stopping", "the sidecar is stopping", retry_after=RETRY_AFTER, close=True)
        entry = read_event(self.path, self._http_headers(), body, server.settings.reading)
        post = server.judge.judge(entry)
        if not server.writer.submit(post):
            what = "the broker does not answer at the moment, or too much waits for it; nothing was done"
            raise refused(503, "unavailable", what, retry_after=RETRY_AFTER)
        post.wait(server.settings.timeout - (time.monotonic() - began))
        return self._answer_to(post, entry)

    def _answer_to(self, post: Post, entry: Entry) -> Answer:
        about: dict[str, Any] = {"id": post.id.decode(), "topic": post.topic}
        if post.verdict == "accepted":
            return Answer(202, about)
        if post.verdict == "repeated":
            return Answer(200, {**about, "repeated": True})
        if post.verdict == "conflict":
            what = "this id was given to another event already"
            return refused(409, "conflict", what, **about).answer
        if post.verdict == "refused":
            return _refused_by_topic(post.error, about)
        self.server.writer.withdraw(post)
        what = "the broker has not confirmed the event yet: send it again with the same id to learn what became of it"
        return refused(503, "unconfirmed", what, retry_after=RETRY_AFTER, **about).answer

    def _http_headers(self) -> HttpHeaders:
        return self.headers

    # -- answers

    def _answer(self, answer: Answer) -> None:
        self.close_connection = self.close_connection or answer.close
        self.write_answer(answer.status, answer.text(), retry_after=answer.retry_after)


def _refused_by_topic(error: LiberatorError | None, about: dict[str, Any]) -> Answer:
    assert error is not None
    status = 413 if error.code == "publish.too_large" else 422
    return Answer(status, {"error": error.what, "code": error.code, **about})


_Server.handler = _Handler
