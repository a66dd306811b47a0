"""Requests to a schema registry: authenticated, over TLS, again when it is worth it.

Enters: a method, a path and JSON. Leaves: JSON, or a `ContractError` that says whether to try again. Called by the client
only. It follows no redirect, so that credentials go nowhere but to the address that was given; no message holds them.
"""

from __future__ import annotations

import base64
import json
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3

from liberator.errors import ConfigError, ContractError
from liberator.policy import Backoff

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_MOST_BYTES = 16 * 1024 * 1024
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """url: http:// or https://, with user and password for basic authentication; token: for bearer authentication.

    ca: PEM file of the authorities to trust instead of the system's. certificate, key: PEM files to show (mutual TLS).
    timeout: seconds an answer may take. attempts: at most so many requests for one answer.
    """

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout: float = 10.0
    attempts: int = 4


class Transport:
    """Sends requests. sleep: waits so many seconds between two attempts.

    address: the registry's without user and password. Raises `ConfigError` for a URL or TLS files that can't be used.
    """

    def __init__(self, settings: RegistrySettings, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(settings.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _unusable("the registry's address is no http:// or https:// URL", "write https://HOST:PORT")
        host = parts.netloc.rpartition("@")[2]
        self.address = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._settings = settings
        self._sleep = sleep
        self._headers = {"Accept": f"{CONTENT_TYPE}, application/json", "Content-Type": CONTENT_TYPE}
        if settings.token:
            self._headers["Authorization"] = f"Bearer {settings.token}"
        elif parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        self._pool = urllib3.PoolManager(
            ssl_context=_context(settings), retries=False, timeout=urllib3.Timeout(total=settings.timeout)
        )

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None for 404. Raises `ContractError`, `retryable` when the registry may answer later."""
        backoff = Backoff(initial=0.1, max=2.0, random=random.random, tick=time.monotonic)
        for attempt in range(1, self._settings.attempts + 1):
            try:
                return self._once(method, path, body)
            except ContractError as error:
                if not error.retryable or attempt == self._settings.attempts:
                    raise
            self._sleep(backoff.next())
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        try:
            answer = self._pool.request(
                method,
                self.address + path,
                body=data,
                headers=self._headers,
                redirect=False,
                preload_content=False,
            )
            try:
                text = answer.read(_MOST_BYTES + 1)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unanswered(error, self.address) from None
        if answer.status == 404:
            return None
        if not 200 <= answer.status < 300:
            raise _refusal(answer.status, text, self.address)
        return _json(text, self.address)


def _context(settings: RegistrySettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.certificate:
            context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(
            f"the TLS files of the registry can't be used: {_reason(error)}",
            "check the paths and that they are PEM",
        ) from None
    return context


def _unanswered(error: Exception, address: str) -> ContractError:
    """Why there is no answer. Who can't prove who they are won't be able to a moment later."""
    cause = next((each for each in error.args if isinstance(each, ssl.SSLCertVerificationError)), None)
    if cause is not None:
        return ContractError(
            f"the schema registry can't be trusted: {cause.verify_message}",
            code="registry.untrusted",
            where=address,
            fix="check its certificate and the authorities that are trusted",
        )
    return ContractError(
        f"the schema registry can't be reached: {_reason(error)}",
        code="registry.unreachable",
        where=address,
        fix="check that it runs and can be reached from here",
        retryable=True,
    )


def _json(text: bytes, address: str) -> Any:
    if len(text) <= _MOST_BYTES:
        try:
            return json.loads(text)
        except ValueError:
            pass
    raise ContractError(
        "the schema registry's answer is no JSON, or too long",
        code="registry.failed",
        where=address,
        fix="check that the address is that of a Confluent-compatible interface (Apicurio: /apis/ccompat/v7)",
    )


def _refusal(status: int, text: bytes, address: str) -> ContractError:
    """What the registry's answer means."""
    if status in (401, 403):
        what, code, fix = (
            "does not let us in",
            "unauthorized",
            "check user, password or token, and their rights",
        )
    elif status == 409:
        what, code, fix = (
            "refuses the schema as incompatible",
            "incompatible",
            "see docs/reference/compatibility.md",
        )
    elif status == 422:
        what, code, fix = "refuses the request as invalid", "invalid", "see what it says"
    elif 300 <= status < 400:
        what, code, fix = "redirects elsewhere", "redirected", "give the address that it redirects to"
    else:
        what, code, fix = f"answers {status}", "failed", "look at the registry's log"
    return ContractError(
        f"the schema registry {what}{_said(text)}",
        code=f"registry.{code}",
        where=address,
        fix=fix,
        retryable=status in _RETRIED,
    )


def _said(text: bytes) -> str:
    """The registry's own words, which are about schemas only."""
    try:
        return f": {json.loads(text)['message']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _unusable(what: str, fix: str) -> ConfigError:
    return ConfigError(what, code="config.registry", fix=fix)
