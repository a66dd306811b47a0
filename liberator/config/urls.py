"""URLs as configuration writes them: split as libpq splits them, shown without their password.

Enters: text. Leaves: `UrlParts`, or a text that masks its password wherever it is shown. No I/O, no defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\[\]:@\s]*)(?::(?P<port>[^:]*))?")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

_ENCODE = "percent-encode it: @ as %40, : as %3A, / as %2F, % as %25"


@dataclass(frozen=True, slots=True)
class UrlParts:
    """A URL, as written (nothing is decoded). hosts: (host, port) in order; port None where none is given."""

    scheme: str
    user: str | None
    password: str | None
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    query: str

    def parameters(self) -> Iterator[tuple[str, str]]:
        """The query, decoded."""
        yield from parse_qsl(self.query, keep_blank_values=True)

    def visible(self) -> set[str]:
        """What may be shown of it, as written and decoded."""
        shown = {self.scheme, self.user or "", self.path}
        shown.update(host for host, _ in self.hosts)
        shown.update(str(port) for _, port in self.hosts if port is not None)
        shown.update(f"{host}:{port}" for host, port in self.hosts if port is not None)
        return {form for part in shown for form in (part, unquote(part))}


def split_url(text: str) -> UrlParts:
    """``scheme://[user[:password]@][host[:port][,...]][/path][?query]``, as libpq reads it: user and password end at
    the first ``@``. Raises `ValueError` whose text says what is wrong and never quotes the URL."""
    found = _SCHEME.match(text)
    if not found:
        raise ValueError("it has no scheme://")
    if re.search(r"[\s\x00-\x1f]", text):
        raise ValueError("it contains white space; percent-encode a blank as %20")
    rest = text[found.end() :]
    user, password, rest = _split_user(rest)
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    if "@" in authority:
        raise ValueError(f"its password contains a bare @; {_ENCODE}")
    tail = rest[len(authority) :]
    path, _, query = tail.partition("?")
    hosts = tuple(_split_host(part, tail) for part in authority.split(","))
    return UrlParts(found["scheme"].lower(), user, password, hosts, path.removeprefix("/"), query)


def _split_user(rest: str) -> tuple[str | None, str | None, str]:
    at, slash = rest.find("@"), rest.find("/")
    if at < 0 or 0 <= slash < at:
        return None, None, rest
    user, colon, password = rest[:at].partition(":")
    if _BAD_PERCENT.search(rest[:at]):
        raise ValueError(f"its user or password contains a bare %; {_ENCODE}")
    return user, password if colon else None, rest[at + 1 :]


def _split_host(text: str, tail: str) -> tuple[str, int | None]:
    found = _HOST.fullmatch(text)
    port = found["port"] if found else None
    if found and not port:
        return found["host"], None
    if found and port and port.isascii() and port.isdigit() and int(port) <= 65535:
        return found["host"], int(port)
    if "@" in tail:
        raise ValueError(f"its password contains a bare /; {_ENCODE}")
    raise ValueError("its host or port can't be read; write host:port, an IPv6 address in square brackets")


class Url(str):
    """A URL that is its full text to whoever connects with it, and masks its password where it is shown."""

    __slots__ = ()

    @property
    def safe(self) -> str:
        """For messages: the password and everything in the query masked."""
        try:
            parts = split_url(self)
        except ValueError:
            return str(self) if "://" not in self else self.partition("://")[0] + "://***"
        shown = str(self).partition("?")[0]
        if parts.password is not None:
            before, _, after = shown.partition("@")
            shown = f"{before[: len(parts.scheme) + 3]}{parts.user}:***@{after}"
        return shown + ("?***" if parts.query else "")

    def __repr__(self) -> str:
        return repr(self.safe)
