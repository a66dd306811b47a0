"""The pinned session: every connection to Postgres is made here, with settings that fix the text of values.

Enters: the user's URL. Leaves: a psycopg connection, or the parameters for a replication connection. Called by the
sources, the catalogue and the commands. Without the pinned settings ``ALTER ROLE ... SET datestyle`` and its like would
change the stream, and ``row_security`` or a time-out would silently shorten a snapshot (see docs/reference/types.md).
Nothing is compiled: a server with JIT takes seconds over a question about the types of a wide table, which it overrates.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import conninfo

from liberator.errors import ConfigError, LiberatorError, PreconditionError, SourceError

_SETTINGS = {
    "datestyle": "ISO",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "3",
    "timezone": "UTC",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "row_security": "off",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "search_path": "",
    "jit": "off",
}

PINNED = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
"""The ``options`` connection parameter that pins a session; works for ordinary and replication connections."""

_NETWORK: dict[str, str] = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}

_PERMANENT_CLASSES = ("28", "42", "3D", "3F", "0A", "22", "54")
_PERMANENT_CODES = frozenset({"25006", "55000", "42501", "58P01"})
_FIXES = {
    "25006": "this server or user only reads: let somebody else make the publication and name it in"
    " source.log.publication, or take default_transaction_read_only from the user, or connect to the primary",
    "28P01": "check user and password of source.url",
    "28000": "allow this user in pg_hba.conf (for mode log also with database 'replication' or all), or check source.url:"
    " its user, and its sslmode if the server admits nobody without encryption",
    "3D000": "check the database name of source.url",
    "42710": "another instance that was started at the same moment made it; this one looks again",
    "42501": "grant what the message names; for the log: ALTER ROLE ... REPLICATION",
    "53300": "raise max_connections or max_wal_senders, or end a connection that is no longer used",
    "55P03": "another session has a table locked, for DDL or VACUUM FULL; this one waits (SELECT * FROM pg_locks)",
    "53400": "raise max_replication_slots, or drop a slot that is no longer used (SELECT * FROM pg_replication_slots)",
}


_UNREACHED = "check host and port of source.url, and that the server runs"


def parameters(url: str, application: str, **extra: str) -> dict[str, Any]:
    """Connection parameters for `url` with the pinned session. Raises `ConfigError` for a URL that libpq can't read."""
    try:
        given = conninfo.conninfo_to_dict(plain_url(url))
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            f"the source URL is not a connection string that libpq understands: {_first_line(error)}",
            code="config.url",
            where="source.url",
            fix="write it as postgresql://user:password@host:5432/database",
        ) from None
    given.pop("replication", None)  # which kind of connection this is, is not the URL's to say
    options = " ".join(part for part in (str(given.pop("options", "")), PINNED) if part)
    return {
        **_NETWORK,
        "application_name": application,
        **given,
        "client_encoding": "UTF8",
        "options": options,
        **extra,
    }


def plain_url(url: str) -> str:
    """The URL as libpq reads it: SQLAlchemy's driver part (``postgresql+psycopg://``) taken out."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}" if separator else url


def connect(url: str, application: str = "liberator", *, autocommit: bool = True) -> psycopg.Connection[Any]:
    """An ordinary connection with the pinned session. Raises `SourceError` or `PreconditionError`."""
    try:
        connection = psycopg.connect(**parameters(url, application), autocommit=autocommit)
        if connection.info.server_version >= 170000:
            connection.execute("SET transaction_timeout = 0")
    except psycopg.Error as error:
        raise source_error(error, "connecting to the source database") from None
    connection.prepare_threshold = None
    return connection


@contextlib.contextmanager
def as_stored(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Take text as the database stores it, where it does not say how: the server can't convert what is in SQL_ASCII, and
    would refuse a value that is not UTF-8, and with it everything behind it. Which value is, the converters find out."""
    if connection.pgconn.parameter_status(b"server_encoding") != b"SQL_ASCII":
        yield
        return
    connection.execute("SET client_encoding = 'SQL_ASCII'")
    yield
    connection.execute("RESET client_encoding")


@contextlib.contextmanager
def impatient(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Wait for no lock longer than this: who waits in the server does not hear that it shall stop."""
    connection.execute(f"SET lock_timeout = {round(seconds * 1000)}".encode())
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SET lock_timeout = 0")


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """End a connection that another thread may be waiting for: that one gets an error, as of a connection lost."""
    with (
        contextlib.suppress(OSError, psycopg.Error),
        # A duplicate: the descriptor itself stays its owner's, who closes it.
        socket.socket(fileno=os.dup(connection.fileno())) as duplicate,
    ):
        duplicate.shutdown(socket.SHUT_RDWR)


def source_error(error: psycopg.Error, doing: str) -> LiberatorError:
    """What a driver error means to the operator: retryable or not, with the remedy where one is known."""
    state = error.sqlstate
    text = _first_line(error)
    if state is None:
        state = _state_of_refusal(text)
    what = f"{doing}: {text}" if doing else text
    if state in {"42710", "53300", "53400", "55006", "55P03"}:
        return PreconditionError(
            what,
            code=f"postgres.{state}",
            fix=_FIXES.get(state, "wait for the other session to end"),
            retryable=True,
        )
    if state and (state.startswith(_PERMANENT_CLASSES) or state in _PERMANENT_CODES):
        return PreconditionError(what, code=f"postgres.{state}", fix=_FIXES.get(state))
    if _NO_SUCH_VALUE in text:
        return ConfigError(
            what, code="config.url", where="source.url", fix="correct this parameter of the URL"
        )
    if _is_tls(text):
        return PreconditionError(
            what, code="postgres.tls", fix="check sslmode, sslrootcert and the host name of source.url"
        )
    fix = _UNREACHED if state is None and doing.startswith("connecting") else None
    return SourceError(what, code=f"postgres.{state or 'connection'}", fix=fix, retryable=True)


_NO_SUCH_VALUE = "connection is bad: invalid "
"""How a parameter's value that libpq does not know is told: before anything was connected to."""

_TLS_REFUSALS = (
    "certificate",  # not verified, expired, for another host, a file that is missing, or ours refused by the server
    "server does not support ssl",
    "alert",
    "wrong version number",
    "unsupported protocol",
    "no protocols available",
    "handshake failure",
)


def _is_tls(text: str) -> bool:
    """Do the two sides not agree on TLS? That OpenSSL calls a connection lost an SSL error does not make it one."""
    lowered = text.lower()
    return any(words in lowered for words in _TLS_REFUSALS)


def _state_of_refusal(text: str) -> str | None:
    """A refused connection has no SQLSTATE in libpq; the server's sentence is all there is (server messages are
    English here or not recognised, in which case the attempt is retried and then reported)."""
    sentences = (
        ("password authentication failed", "28P01"),
        ("no password supplied", "28P01"),
        ("no pg_hba.conf entry", "28000"),
        ("SCRAM", "28P01"),
        ("must be superuser or replication role", "42501"),
        ("permission denied", "42501"),
        ("is not permitted to log in", "28000"),
        ("is not currently accepting connections", "55000"),
        ("too many clients", "53300"),
        ("remaining connection slots", "53300"),
        ("max_wal_senders", "53300"),
        ("too many connections", "53300"),
    )
    for sentence, state in sentences:
        if sentence in text:
            return state
    if "does not exist" in text and ("database" in text or "role" in text):
        return "3D000" if "database" in text else "28000"
    return None


def _first_line(error: BaseException) -> str:
    """The server's own words on one line; libpq's prefix of host and port is kept, it says where."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return " ".join(lines[:3]) if lines else type(error).__name__
