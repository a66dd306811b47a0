"""A function behind an OpenFaaS gateway: an HTTP endpoint whose address, credentials and answers are the gateway's.

Enters: the gateway and a name. Leaves: an `HttpFunction`. A synchronous call waits for the function, and what it answers is
its result: watchdogs name the content type of their input, or none that fits, so what reads as JSON is taken for JSON. An
asynchronous one is queued by the gateway, whose 202 says only that it has it; the result is called back, if anybody listens.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from liberator.errors import FunctionError
from liberator.function.callbacks import Callbacks
from liberator.function.context import Context
from liberator.function.http import TIMEOUT, Format, HttpFunction, HttpSettings
from liberator.lanes import Order


@dataclass(frozen=True, slots=True)
class OpenFaasSettings:
    """gateway: its URL. function: a name, with its namespace if it is not in the default one. asynchronous: have the gateway
    queue the calls. callback: HOST:PORT to listen at for their results, and what that is called by the queue
    worker; None: nobody hears of them. password: for basic authentication as `user`; None: without. The rest: as
    `HttpSettings`."""

    gateway: str
    function: str
    asynchronous: bool = False
    callback: tuple[str, str | None] | None = None
    format: Format = "cloudevents"
    headers: Mapping[str, str] = field(default_factory=dict)
    user: str = "admin"
    password: str | None = None
    answers: bool = True
    source: str = "/liberator"
    connections: int = 8
    order: Order = "key"


def openfaas_function(settings: OpenFaasSettings) -> HttpFunction:
    """What calls the function. Raises `ConfigError` for a gateway that can't be."""
    way = "async-function" if settings.asynchronous else "function"
    http = HttpSettings(
        url=f"{settings.gateway.rstrip('/')}/{way}/{settings.function}",
        headers={**settings.headers, **_credentials(settings)},
        format=settings.format,
        allow_private=True,  # where gateways are, as a rule
        answers=settings.answers,
        source=settings.source,
        connections=settings.connections,
        any_json=True,
        key="function.openfaas.gateway",
        order=settings.order,
    )
    if settings.callback is None:
        return HttpFunction(http)
    return CalledBackFunction(http, Callbacks(*settings.callback))


class CalledBackFunction(HttpFunction):
    """A queued call ends when its result is called back. What comes later than the call waits is left out: the event comes
    again."""

    def __init__(self, settings: HttpSettings, callbacks: Callbacks) -> None:
        try:
            super().__init__(settings)
        except BaseException:
            callbacks.close()
            raise
        self._callbacks = callbacks

    def close(self) -> None:
        """Close the connections, and listen no more."""
        super().close()
        self._callbacks.close()

    def _send(
        self, id: str, headers: dict[str, str], body: bytes, context: Context
    ) -> bytes | FunctionError | None:
        with self._callbacks.expected() as waiting:
            queued = super()._send(id, {**headers, "x-callback-url": waiting.url}, body, context)
            if isinstance(queued, FunctionError):
                return queued
            left = context.remaining
            result = waiting.wait(TIMEOUT if left is None else max(0.0, left))
        if result is None:
            what = "the call was queued, and its result has not come in time"
            return FunctionError(what, code="function.timeout", where=self.name, retryable=True)
        status = result.headers.get("x-function-status", "")
        if not (status.isascii() and status.isdigit()):
            what = "the result does not say how the function ended (X-Function-Status)"
            return FunctionError(what, code="function.result", where=self.name, retryable=True)
        return self._judged(int(status), result.headers, result.body)


def _credentials(settings: OpenFaasSettings) -> dict[str, str]:
    if settings.password is None:
        return {}
    pair = f"{settings.user}:{settings.password}".encode()  # RFC 7617, as servers of today read it
    return {"authorization": f"Basic {b64encode(pair).decode()}"}
