"""HTTP's side of webhooks: who may post, what is taken, what is answered.

Enters: requests. Leaves: events for the desk, answers. A thread a connection, which waits until its event is done. An answer
never holds anything of a body, nor what a function says about its failure: those who post need not know what it is about.

    what is wrong                                       answer
    another path                                        404
    another method than POST                            405
    a page of the web posts it (it says Origin)         403
    the body: compressed, too large, or of no length    415, 413, 400
    not signed with one of the secrets, or not now      401
    the connector is stopping or busy                   503, with Retry-After
    the function fails, and may not the next time       503, with Retry-After
    it does not end in time                             504
    it will never work                                  422
    respond: accepted, and it is not durable in time    503, with Retry-After
    ... its body is no JSON, for a stream of JSON       422
    ... another event had this id                       409
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from liberator.change import ReadHeaders
from liberator.errors import FunctionError, LiberatorError
from liberator.function.cloudevent import is_json
from liberator.inbound.address import bind
from liberator.inbound.body import BodyRefused, has_body, read_body
from liberator.inbound.handler import RETRY_AFTER, Handler
from liberator.inbound.listener import Listener
from liberator.protocols import Output
from liberator.signature import why_not_genuine
from liberator.webhook.desk import Office, Posted, Unavailable, Verdict

log = logging.getLogger(__name__)

_KEPT_BACK = frozenset(
    ("authorization", "connection", "content-length", "cookie", "expect", "host", "id", "keep-alive", "te")
) | {"proxy-authorization", "trailer", "transfer-encoding", "upgrade", "webhook-signature"}
"""Headers that say who posts, or are about the connection: a function does not see them."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """path: that is posted to. secrets: of which one has signed a request; none: nobody is asked. largest: bytes of a body.
    connections: at a time, each of which may hold a body. patience: seconds that a request waits for its answer. accepted:
    the answer is 202, for the function runs later. json: nothing else is taken."""

    path: str
    secrets: Sequence[bytes]
    largest: int
    connections: int
    patience: float
    accepted: bool = False
    json: bool = False


class WebhookServer:
    """Listens when constructed, answers until `stop`. Raises `PreconditionError` when the address can't be had."""

    def __init__(
        self, listen: str, office: Office, settings: WebhookSettings, now: Callable[[], float] = time.time
    ) -> None:
        self._server = bind(
            listen, lambda address, family: _Server(address, family, settings.connections), "webhook"
        )
        self._server.office, self._server.settings, self._server.now = office, settings, now
        self._server.start("webhook")
        log.info("listening", extra={"url": f"{self._server.url}{settings.path}"})

    def stop(self, timeout: float) -> None:
        """Take no new connections, and let answers out that are known. Idempotent. timeout: seconds."""
        self._server.draining = True
        self._server.stop()
        self._server.busy.wait_for_none(timeout)


class _Server(Listener):
    """With what its handlers ask."""

    part = "webhook"
    office: Office
    settings: WebhookSettings
    now: Callable[[], float]


class _Refused(Exception):
    """This request gets an answer and nothing else."""

    def __init__(self, status: int, code: str, what: str, *, close: bool = False) -> None:
        super().__init__(what)
        self.status, self.code, self.what, self.close = status, code, what, close


class _Handler(Handler):
    """Reads a request, and writes its answer at once."""

    server: _Server

    def do_POST(self) -> None:
        with self.server.busy:
            try:
                self._answer(*self._post())
            except _Refused as error:
                if error.close:
                    self.close_connection = True
                self._answer(error.status, {"error": error.what, "code": f"webhook.{error.code}"})
            except OSError:
                raise  # the connection's
            except Exception as error:  # a defect of ours: its text may hold a payload
                log.error("a request failed with %s", type(error).__name__)
                log.debug("where it failed", exc_info=True)
                self.close_connection = True
                self._answer(500, {"error": "a defect of the webhook", "code": "webhook.internal"})

    def do_GET(self) -> None:
        known = self.path.partition("?")[0] == self.server.settings.path
        status, what = (405, "events are sent with POST") if known else (404, "there is nothing here")
        self.close_connection = self.close_connection or has_body(self.headers)
        self._answer(status, {"error": what, "code": "webhook.method" if known else "webhook.path"})

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def _post(self) -> tuple[int, dict[str, Any], int | None]:
        settings = self.server.settings
        if self.path.partition("?")[0] != settings.path:
            raise _Refused(404, "path", "there is nothing here", close=True)
        if "Origin" in self.headers:
            # A browser on this machine may be steered by a foreign page: it always says Origin.
            raise _Refused(403, "origin", "requests of web pages are not taken", close=True)
        try:
            body = read_body(self.headers, self.rfile, settings.largest, "trigger.largest")
        except BodyRefused as error:
            raise _Refused(error.status, error.code, error.what, close=True) from None
        self._require_genuine(body)
        id = self.headers.get("webhook-id") or str(uuid.uuid4())
        posted = Posted(body, self._headers_of(id), int(self.server.now() * 1000))
        if settings.json and not is_json(body):
            raise _Refused(422, "json", "the body is no JSON")
        try:
            if self.server.draining:
                raise Unavailable
            verdict = self.server.office.ask(posted, settings.patience)
        except Unavailable:
            what = "the connector is stopping, or has too much to do: send it again"
            return 503, {"error": what, "code": "webhook.unavailable", "id": id}, RETRY_AFTER
        return _accepted(verdict, id) if settings.accepted else _answer_of(verdict, id)

    def _require_genuine(self, body: bytes) -> None:
        secrets, headers = self.server.settings.secrets, self.headers
        if not secrets:
            return
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        if any(len(headers.get_all(name, [])) > 1 for name in names):
            raise _Refused(401, "signature", "a header of the signature comes twice")
        id, timestamp, signature = (headers.get(name) for name in names)
        why = why_not_genuine(secrets, id, timestamp, signature, body, self.server.now())
        if why is not None:
            log.warning("a request is turned away: %s", why, extra={"client": self.client_address[0]})
            raise _Refused(401, "signature", why)

    def _headers_of(self, id: str) -> ReadHeaders:
        given = [(name.lower(), value.encode("latin-1", "replace")) for name, value in self.headers.items()]
        return (
            ("id", id.encode("latin-1", "replace")),
            *(pair for pair in given if pair[0] not in _KEPT_BACK),
        )

    def _answer(self, status: int, report: dict[str, Any], retry_after: int | None = None) -> None:
        self.write_answer(
            status, json.dumps(report, ensure_ascii=False).encode() + b"\n", retry_after=retry_after
        )


_Server.handler = _Handler


def _answer_of(verdict: Verdict | None, id: str) -> tuple[int, dict[str, Any], int | None]:
    """Status, body, and when it makes sense to come again."""
    if verdict is None:
        what = "the function has not ended in time"
        return 504, {"error": what, "code": "function.timeout", "id": id}, None
    if verdict.error is None:
        return 200, {"id": id, "outputs": [_shown(output) for output in verdict.outputs]}, None
    status, what, retry_after = _failure(verdict.error)
    return status, {"error": what, "code": verdict.error.code, "id": id}, retry_after


def _accepted(verdict: Verdict | None, id: str) -> tuple[int, dict[str, Any], int | None]:
    """The same, of an event that is kept for the function."""
    if verdict is None:
        what = "the event is not known to be durable yet: send it again with the same id"
        return 503, {"error": what, "code": "webhook.unconfirmed", "id": id}, RETRY_AFTER
    if verdict.error is None:
        return 202, {"id": id}, None
    code = verdict.error.code
    status = {"webhook.conflict": 409, "publish.too_large": 413}.get(code, 422)
    return status, {"error": verdict.error.what, "code": code, "id": id}, None


def _failure(error: LiberatorError) -> tuple[int, str, int | None]:
    if error.code == "function.timeout":
        return 504, "the function has not ended in time", None
    if not error.retryable:
        return 422, "the function does not take this event", None
    asked = error.retry_after if isinstance(error, FunctionError) else 0.0
    return 503, "the event was not done: send it again", max(RETRY_AFTER, ceil(asked))


def _shown(output: Output) -> Any:
    """A value as JSON; text that is no JSON as it is."""
    if output.value is None:
        return None
    try:
        return json.loads(output.value)
    except ValueError:
        return output.value.decode("utf-8", "replace")
