"""Requests to a schema registry: authenticated, over TLS, again when it is worth it.

Enters: a method, a path and JSON. Leaves: JSON, or a `ContractError` that says whether to try again. Called by the client
only. It follows no redirect, so that credentials go nowhere but to the address that was given; no message holds them.
"""

from __future__ import annotations

import base64
import json
import math
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import urllib3

from liberator.errors import ConfigError, ContractError
from liberator.policy import Backoff

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_MOST_BYTES = 16 * 1024 * 1024
_AT_ONCE = 64 * 1024
_MOST_WORDS = 2000
_LEAST_SECONDS = 0.1
_CHECK_ADDRESS = (
    "check that the address is that of a Confluent-compatible interface (Apicurio: /apis/ccompat/v7)"
)
_NOT_THERE = range(40400, 40500)
"""Confluent's error codes for subjects, versions and schemas that a registry does not have."""
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """url: http:// or https://, with user and password for basic authentication; token: for bearer authentication.

    ca: PEM file of the authorities to trust instead of the system's. certificate, key: PEM files to show (mutual TLS).
    timeout: seconds an answer may take. attempts: at most so many requests for one answer. within: seconds for all of them.
    """

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout: float = 10.0
    attempts: int = 4
    within: float = math.inf


class Transport:
    """Sends requests. sleep: waits so many seconds between two attempts.

    tick: seconds, for how long an answer takes. address: the registry's without user and password. Raises `ConfigError`
    for a URL, a token or TLS files that can't be used.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        sleep: Callable[[float], None] = time.sleep,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = _parts(settings.url)
        host = parts.netloc.rpartition("@")[2]
        self.address = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self._settings = settings
        self._sleep = sleep
        self._tick = tick
        self._headers = {"Accept": f"{CONTENT_TYPE}, application/json", "Content-Type": CONTENT_TYPE}
        if settings.token:
            if not (settings.token.isascii() and settings.token.isprintable()):
                raise _unusable(
                    "the registry's token has a character that no header can carry",
                    "check where it comes from: a token is one line of letters, digits and punctuation",
                )
            self._headers["Authorization"] = f"Bearer {settings.token}"
        elif parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        self._pool = urllib3.PoolManager(ssl_context=_context(settings), retries=False)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None: the registry has no such thing. Raises `ContractError`, `retryable` when the registry may
        answer later."""
        backoff = Backoff(initial=0.1, max=2.0, random=random.random, tick=self._tick)
        end = self._tick() + self._settings.within
        for attempt in range(1, self._settings.attempts + 1):
            left = max(_LEAST_SECONDS, end - self._tick())
            try:
                return self._once(method, path, body, min(self._settings.timeout, left))
            except ContractError as error:
                pause = backoff.next()
                late = self._tick() + pause >= end
                if not error.retryable or late or attempt == self._settings.attempts:
                    raise
            self._sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, method: str, path: str, body: Any, timeout: float) -> Any:
        data = None if body is None else json.dumps(body).encode()
        until = self._tick() + timeout
        try:
            answer = self._pool.request(
                method,
                self.address + path,
                body=data,
                headers=self._headers,
                redirect=False,
                timeout=urllib3.Timeout(total=timeout),
                preload_content=False,
            )
            try:
                text = self._read(answer, until)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unanswered(error, self.address) from None
        if answer.status == 404 and _error(text).get("error_code") in _NOT_THERE:
            return None
        if not 200 <= answer.status < 300:
            raise _refusal(answer.status, text, self.address)
        return _json(text, self.address)

    def _read(self, answer: urllib3.BaseHTTPResponse, until: float) -> bytes:
        """The answer, or a little more of it than is wanted; a registry may give it byte by byte."""
        parts, size = [], 0
        while size <= _MOST_BYTES and (part := answer.read1(_AT_ONCE)):
            parts.append(part)
            size += len(part)
            if self._tick() > until:
                raise TimeoutError
        return b"".join(parts)


def _parts(url: str) -> SplitResult:
    """Raises `ConfigError` also for a password that ends the host: what is behind it would be taken for the address."""
    try:
        parts = urlsplit(url)
        whole = "@" not in parts.path + parts.query + parts.fragment
        if whole and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass  # a port that is no number, half an IPv6 address
    raise _unusable(
        "the registry's address is no http:// or https:// URL",
        "write https://USER:PASSWORD@HOST:PORT, user and password percent-encoded",
    )


def _context(settings: RegistrySettings) -> ssl.SSLContext:
    if settings.key and not settings.certificate:
        raise _unusable(
            "there is a private key for the registry, and no certificate", "set registry_certificate"
        )
    try:
        context = ssl.create_default_context(cafile=settings.ca)
        if settings.certificate:
            no_password = ""  # else OpenSSL asks for one on the terminal, and waits
            context.load_cert_chain(settings.certificate, settings.key, no_password)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(
            f"the TLS files of the registry can't be used: {_reason(error)}",
            "check the paths, that they are PEM, and that the key has no passphrase",
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
    tls = isinstance(error, urllib3.exceptions.SSLError)
    return ContractError(
        f"the schema registry can't be reached: {_reason(error)}",
        code="registry.unreachable",
        where=address,
        fix="check that it speaks TLS, and whether it asks for a certificate (registry_certificate)"
        if tls
        else "check that it runs and can be reached from here",
        retryable=True,
    )


def _json(text: bytes, address: str) -> Any:
    if len(text) <= _MOST_BYTES:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if found is not None:
            return found
    raise misunderstood("is no JSON, or too long", address)


def misunderstood(what: str, address: str) -> ContractError:
    """An answer that no registry gives. what: is wrong with it."""
    return ContractError(
        f"the schema registry's answer {what}", code="registry.failed", where=address, fix=_CHECK_ADDRESS
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
    elif status == 404:
        what, code, fix = (
            "answers 404, and not as one: there is none at this address",
            "failed",
            _CHECK_ADDRESS,
        )
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
    words = _error(text).get("message")
    return f": {str(words)[:_MOST_WORDS]}" if words else ""


def _error(text: bytes) -> dict[str, Any]:
    """What a registry says when it does not do what it was asked; empty: this is none, or says nothing."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.NewConnectionError):  # the library calls it a time-out, too
        return str(getattr(error.__cause__, "strerror", None) or "no connection")
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.SSLError):
        cause = next((each for each in error.args if isinstance(each, ssl.SSLError)), None)
        return f"TLS failed ({getattr(cause, 'reason', None) or type(error).__name__})"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return "the connection was closed before the answer was whole"
    return str(getattr(error, "strerror", None) or type(error).__name__)


def _unusable(what: str, fix: str) -> ConfigError:
    return ConfigError(what, code="config.registry", fix=fix)
