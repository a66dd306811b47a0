"""For functions that write to a database: each event once in effect, in the function's own transaction.

    from liberator import idempotent

    @idempotent(lambda: psycopg.connect(DSN))
    def book(events, context, connection):
        for event in events:
            connection.execute("INSERT INTO bookings ...")

Enters: events, a connection to PostgreSQL or SQLite (of psycopg, sqlite3 or SQLAlchemy). Leaves: those events that are
new, and their ids in table ``liberator_done``, in the transaction of what is done for them: both are there, or neither is.
So an event that comes again, after a crash at whatever moment, is left out, and of two workers that have it at the same
time the second waits for the first.
"""

from __future__ import annotations

import functools
import inspect
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from liberator.change import Event
from liberator.errors import ConfigError, PermanentError

__all__ = ["claim", "idempotent"]

Function = Callable[[list[Event], Any], Any]

WEEK = 7 * 86400.0

_FORGET_EVERY = 600.0

_CREATE = """
CREATE TABLE IF NOT EXISTS liberator_done (
    connector text NOT NULL, id text NOT NULL, at double precision NOT NULL, PRIMARY KEY (connector, id))
"""
_CLAIM_ALL = """
INSERT INTO liberator_done (connector, id, at)
SELECT :by, given, :at FROM unnest(CAST(:ids AS text[])) AS given ORDER BY given
ON CONFLICT DO NOTHING RETURNING id
"""
_CLAIM = "INSERT INTO liberator_done (connector, id, at) VALUES (:by, :id, :at) ON CONFLICT DO NOTHING"
_GIVE_BACK = "DELETE FROM liberator_done WHERE connector = :by AND id = :id"
_FORGET = "DELETE FROM liberator_done WHERE connector = :by AND at < :since"


def idempotent(
    connect: Callable[[], AbstractContextManager[Any]], *, by: str | None = None, ttl: float = WEEK
) -> Callable[[Callable[[list[Event], Any, Any], Any]], Function]:
    """A function that is called with those events only that are not done, and with the connection of its transaction.

    connect: gives a context manager that begins a transaction, commits it at the end, and rolls it back after an exception:
    ``lambda: psycopg.connect(DSN)``, a pool's ``connection``, SQLAlchemy's ``engine.begin``, ``sessionmaker(...).begin``.
    by: in whose name events are done; default: the function's own. ttl: seconds for which they are remembered, at least.

    The function returns None, or ``{"failed": [ids]}`` for events that are to be tried again: what it wrote for those it
    takes back itself. It publishes nothing, since what is published after the commit could be lost: with
    `liberator.outbox.add` events are written in the same transaction. Raises `PermanentError` when it does, and the
    transaction is rolled back.
    """

    def decorate(function: Callable[[list[Event], Any, Any], Any]) -> Function:
        name = by or f"{function.__module__}:{function.__qualname__}"
        if inspect.iscoroutinefunction(function):
            raise ConfigError(
                f"{name} is asynchronous, and its transaction is not",
                code="function.python",
                fix="write def, or claim events with liberator.idempotency.claim",
            )

        @functools.wraps(function)
        def once(events: list[Event], context: Any) -> Any:
            with connect() as connection:
                new = claim(connection, events, name, ttl=ttl)
                if not new:
                    return None
                failed = _failed(function(new, context, connection), context, name)
                for id in sorted(failed & {event.id for event in new}):
                    _execute(connection, _GIVE_BACK, {"by": name, "id": id})
            return {"failed": sorted(failed)} if failed else None

        del once.__wrapped__  # it is called with two arguments, whatever the function takes
        return once

    return decorate


def claim(connection: Any, events: Iterable[Event], by: str, *, ttl: float = WEEK) -> list[Event]:
    """Those events that `by` has not done, of several with one id the first; done with the commit of the connection's
    transaction, which is the caller's. Makes the table ``liberator_done`` if it is missing. ttl: seconds for which ids are
    remembered, at least. Raises what the database's library raises."""
    first: dict[str, Event] = {}
    for event in events:
        first.setdefault(event.id, event)
    now = time.time()
    _prepare(connection)
    # In one order everywhere, so that two transactions never wait for each other.
    new = _claimed(connection, sorted(first), by, now)
    if now >= _forget_at.get(by, 0.0):
        _forget_at[by] = now + _FORGET_EVERY
        _execute(connection, _FORGET, {"by": by, "since": now - ttl})
    return [event for id, event in first.items() if id in new]


_forget_at: dict[str, float] = {}


def _claimed(connection: Any, ids: Sequence[str], by: str, now: float) -> Collection[str]:
    kind = _kind(connection)
    if kind == "postgresql":
        rows = _execute(connection, _CLAIM_ALL, {"by": by, "ids": list(ids), "at": now})
        return {row[0] for row in rows.fetchall()}
    return {id for id in ids if _execute(connection, _CLAIM, {"by": by, "id": id, "at": now}).rowcount == 1}


def _prepare(connection: Any) -> None:
    # Asked first: to make what is there needs a right, too.
    asked = "SELECT to_regclass('liberator_done')" if _kind(connection) == "postgresql" else "SELECT NULL"
    if _execute(connection, asked, {}).fetchone()[0] is None:
        _execute(connection, _CREATE, {})


def _kind(connection: Any) -> str:
    """Which database it is."""
    library = type(connection).__module__.partition(".")[0]
    if library in ("psycopg", "sqlite3"):
        return "postgresql" if library == "psycopg" else "sqlite"
    bind = connection.get_bind() if hasattr(connection, "get_bind") else connection
    found = getattr(getattr(bind, "dialect", None), "name", library)
    if found not in ("postgresql", "sqlite"):
        raise ConfigError(
            f"what is done can't be kept with {found}",
            code="function.idempotency",
            fix="connect with psycopg, sqlite3 or SQLAlchemy to PostgreSQL or SQLite; or use policy.idempotency",
        )
    return str(found)


_NAMED = re.compile(r":(\w+)")


def _execute(connection: Any, statement: str, values: Mapping[str, Any]) -> Any:
    library = type(connection).__module__.partition(".")[0]
    if library == "sqlite3":
        return connection.execute(statement, values)
    if library == "psycopg":
        return connection.execute(_NAMED.sub(r"%(\1)s", statement), values)
    import sqlalchemy

    return connection.execute(sqlalchemy.text(statement), values)


def _failed(given: Any, context: Any, name: str) -> set[str]:
    """The ids that the function names as failed. Raises `PermanentError` where it publishes something."""
    failed = given.get("failed", ()) if isinstance(given, Mapping) else ()
    if context.outputs or not (given is None or (isinstance(given, Mapping) and given.keys() <= {"failed"})):
        raise PermanentError(
            f"{name} publishes something, which could be lost after the commit of its transaction",
            code="function.idempotent_output",
            fix="write it to an outbox in the same transaction: liberator.outbox.add(connection, ...)",
        )
    return {str(id) for id in failed}
