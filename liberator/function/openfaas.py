"""A function behind an OpenFaaS gateway: an HTTP endpoint whose address, credentials and answers are the gateway's.

Enters: the gateway and a name. Leaves: an `HttpFunction`. A synchronous call waits for the function, and what it answers is
its result: watchdogs name the content type of their input, or none that fits, so what reads as JSON is taken for JSON. An
asynchronous one is queued by the gateway, whose 202 says only that it has it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from liberator.function.http import Format, HttpFunction, HttpSettings


@dataclass(frozen=True, slots=True)
class OpenFaasSettings:
    """gateway: its URL. function: a name, with its namespace if it is not in the default one. asynchronous: have the gateway
    queue the calls. password: for basic authentication as `user`; None: without. The rest: as `HttpSettings`."""

    gateway: str
    function: str
    asynchronous: bool = False
    format: Format = "cloudevents"
    headers: Mapping[str, str] = field(default_factory=dict)
    user: str = "admin"
    password: str | None = None
    answers: bool = True
    source: str = "/liberator"
    connections: int = 8


def openfaas_function(settings: OpenFaasSettings) -> HttpFunction:
    """What calls the function. Raises `ConfigError` for a gateway that can't be."""
    way = "async-function" if settings.asynchronous else "function"
    return HttpFunction(
        HttpSettings(
            url=f"{settings.gateway.rstrip('/')}/{way}/{settings.function}",
            headers={**settings.headers, **_credentials(settings)},
            format=settings.format,
            allow_private=True,  # where gateways are, as a rule
            answers=settings.answers,
            source=settings.source,
            connections=settings.connections,
            any_json=True,
            key="function.openfaas.gateway",
        )
    )


def _credentials(settings: OpenFaasSettings) -> dict[str, str]:
    if settings.password is None:
        return {}
    pair = f"{settings.user}:{settings.password}".encode()  # RFC 7617, as servers of today read it
    return {"authorization": f"Basic {b64encode(pair).decode()}"}
