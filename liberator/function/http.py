"""An HTTP endpoint as a function: events as CloudEvents, signed if asked, over connections that are kept.

Enters: events. Leaves: an `Outcome`; a JSON answer is what the function publishes. Called in threads. Answers mean: 2xx
done; 408, 425, 429 and 5xx may pass (when ``Retry-After`` says so, if it is there); 410 that it wants
no more; everything else never will. Redirects
are not followed: they would carry events, and a signature, to where nobody has looked. Never retries by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import urllib3

from liberator.change import Event
from liberator.errors import ConfigError, FunctionError
from liberator.function import cloudevent
from liberator.function.context import Context, untried
from liberator.function.network import Network, Private, guard
from liberator.lanes import Order, held_by
from liberator.lineage import origin
from liberator.protocols import Outcome, Output
from liberator.signature import secret_of, signed

Format = Literal["cloudevents", "cloudevents-structured", "cloudevents-batch", "raw"]

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONNECT_WITHIN = 5.0
TIMEOUT = 30.0
"""Seconds of a call that is given none."""

_MOST_ANSWER = 16 << 20
"""Bytes of an answer that are read."""

_AT_ONCE = 64 << 10


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """url: where. headers: sent with every request. format: one request for each event (binary or structured, or its bytes
    as they are), or one for all. sign: a secret for Standard Webhooks, with or without ``whsec_``; None: unsigned.
    allow_private: may it be a host of a private network: of any, or of these? answers: are they wanted, or only whether it
    is done? source: the CloudEvents source of events that bring none.
    connections: kept at most. any_json: take what reads as JSON for an answer, whatever its content type says. key: of the
    configuration, where the URL stands. order: that is kept among the events of an invocation."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    format: Format = "cloudevents"
    sign: str | None = None
    allow_private: bool | Sequence[Network] = False
    answers: bool = True
    source: str = "/liberator"
    connections: int = 8
    any_json: bool = False
    key: str = "function.http.url"
    order: Order = "key"


class HttpFunction:
    """See `liberator.function.threads.Callee`. Raises `ConfigError` for a URL or secret that can't be."""

    def __init__(self, settings: HttpSettings, now: Callable[[], float] = time.time) -> None:
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "this is no URL of an HTTP endpoint",
                code="function.http",
                where=settings.key,
                fix="write https://HOST/PATH",
            )
        self.name = parts.hostname
        self._settings = settings
        self._now = now
        self._secret = None if settings.sign is None else _secret(settings.sign)
        self._pool = urllib3.PoolManager(
            maxsize=settings.connections,
            block=True,
            retries=False,
            timeout=urllib3.Timeout(connect=_CONNECT_WITHIN),
        )
        if settings.allow_private is not True:
            guard(self._pool, settings.allow_private or ())

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Send them. Several requests are sent one after the other; what follows a failed one in its lane waits with it."""
        source = self._settings.source
        if self._settings.format == "cloudevents-batch":
            headers = {"content-type": cloudevent.BATCH}
            answer = self._send(origin(events), headers, cloudevent.batch(events, source), context)
            if isinstance(answer, FunctionError):
                return Outcome(dict.fromkeys(range(len(events)), answer))
            return Outcome(
                outputs=[Output(None, events[0].key_payload, answer)] if answer is not None else ()
            )
        failures: dict[int, FunctionError] = {}
        outputs: list[Output] = []
        for index, event in enumerate(events):
            if before := held_by(event, events, failures, self._settings.order):
                failures[index] = before
                continue
            headers, body = self._request(event)
            answer = self._send(event.id, headers, body, context)
            if isinstance(answer, FunctionError):
                failures[index] = answer
            elif answer is not None:
                outputs.append(Output(None, event.key_payload, answer, event=index))
        return Outcome(failures, tuple(outputs))

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def _request(self, event: Event) -> tuple[dict[str, str], bytes]:
        if self._settings.format == "cloudevents":
            return cloudevent.binary(event, self._settings.source)
        if self._settings.format == "raw":
            return {"content-type": "application/json"}, event.payload or b""
        body = cloudevent.structured(event, self._settings.source)
        return {"content-type": cloudevent.STRUCTURED}, body

    def _send(
        self, id: str, headers: dict[str, str], body: bytes, context: Context
    ) -> bytes | FunctionError | None:
        """The JSON that the endpoint answers, None: nothing; or why it was not done."""
        left = context.remaining
        if left is not None and left <= 0:
            return untried(self.name)
        signature = {} if self._secret is None else signed(self._secret, id, int(self._now()), body)
        limit = urllib3.Timeout(connect=_CONNECT_WITHIN, total=TIMEOUT if left is None else left)
        try:
            response = self._pool.request(
                "POST",
                self._settings.url,
                body=body,
                headers={**headers, **self._settings.headers, **signature},
                redirect=False,
                timeout=limit,
                preload_content=False,
            )
            try:
                answer = self._read(response, context)
            finally:
                # One that was read to its end has been given back already; what is left of another is not waited for.
                response.close()
        except Private as error:
            fix = "name its network in function.http.allow_private if the endpoint is meant to be in your own"
            return FunctionError(str(error), code="function.private", where=self.name, fix=fix)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return self._unanswered(error)
        if not isinstance(answer, bytes):
            return answer
        return self._judged(response.status, response.headers, answer)

    def _read(self, response: urllib3.BaseHTTPResponse, context: Context) -> bytes | FunctionError:
        """The answer, as long as it is neither too large nor too late: an endpoint may give it byte by byte."""
        wanted = self._settings.answers and response.status == 200
        most = (
            _MOST_ANSWER if wanted else _AT_ONCE
        )  # enough of what nobody wants to keep the connection, as a rule
        parts, size = [], 0
        while part := response.read1(_AT_ONCE):
            parts.append(part)
            size += len(part)
            left = context.remaining
            late = left is not None and left <= 0
            if not wanted and (late or size > most):
                return b""
            if size > most:
                what = f"the answer has more than {_MOST_ANSWER} bytes"
                return FunctionError(what, code="function.answer_too_large", where=self.name)
            if late:
                return FunctionError(
                    "no whole answer in time", code="function.timeout", where=self.name, retryable=True
                )
        return b"".join(parts)

    def _unanswered(self, error: Exception) -> FunctionError:
        # The library calls a refused connection a time-out, too.
        late = isinstance(error, urllib3.exceptions.TimeoutError)
        if late and not isinstance(error, urllib3.exceptions.NewConnectionError):
            return FunctionError(
                "no answer in time", code="function.timeout", where=self.name, retryable=True
            )
        what = f"no answer: {type(error).__name__}"
        return FunctionError(what, code="function.unreachable", where=self.name, retryable=True)

    def _judged(self, status: int, headers: Mapping[str, str], answer: bytes) -> bytes | FunctionError | None:
        """What an answer means."""
        if 200 <= status < 300:
            kind = headers.get("content-type", "").partition(";")[0].strip()
            is_json = self._settings.any_json or kind == "application/json" or kind.endswith("+json")
            return answer if is_json and status == 200 and cloudevent.is_json(answer) else None
        if status == 410:
            fix = (
                f"the endpoint wants no more events: take the connector away, or correct {self._settings.key}"
            )
            return FunctionError(
                "the endpoint is gone for good", code="function.gone", where=self.name, fix=fix
            )
        return FunctionError(
            f"the endpoint answers {status}",
            code=f"function.http_{status}",
            where=self.name,
            fix=f"the endpoint moved: correct {self._settings.key}" if 300 <= status < 400 else None,
            retryable=status in _PASSING or status > 504,
            retry_after=_retry_after(headers.get("retry-after"), self._now()),
        )


def _secret(text: str) -> bytes:
    try:
        return secret_of(text)
    except ValueError:
        raise ConfigError(
            "what follows whsec_ is no base64",
            code="function.sign",
            where="function.http.sign",
            fix="copy the secret again, or leave whsec_ out if it is no secret of Standard Webhooks",
        ) from None


def _retry_after(text: str | None, now: float) -> float:
    """Seconds; 0: it does not say."""
    if not text:
        return 0.0
    if text.strip().isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.fromtimestamp(now, timezone.utc)).total_seconds())
