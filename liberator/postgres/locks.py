"""Who is in the way: sessions that hold what we wait for.

Enters: an ordinary connection. Leaves: a text for the log. Called when a wait has taken too long; never terminates anybody.
"""

from __future__ import annotations

from typing import Any

import psycopg


def lockers(connection: psycopg.Connection[Any], *, any_ddl: bool = False) -> str:
    """Who has a user table locked so that nobody else can read it: which, and whose pid. any_ddl: or so that its
    publication can't be altered, as VACUUM and CREATE INDEX CONCURRENTLY do."""
    modes = ["AccessExclusiveLock"]
    if any_ddl:
        modes += ["ExclusiveLock", "ShareRowExclusiveLock", "ShareLock", "ShareUpdateExclusiveLock"]
    rows = connection.execute(
        "SELECT DISTINCT c.oid::pg_catalog.regclass::text, l.pid FROM pg_catalog.pg_locks l"
        " JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p') AND c.oid >= 16384"
        " JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()"
        " WHERE l.granted AND l.mode = ANY (%s) AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()"
        " ORDER BY 1, 2",
        (modes,),
    ).fetchall()
    return ", ".join(f"{table} (pid {pid})" for table, pid in rows) or "unknown"


def blockers(connection: psycopg.Connection[Any]) -> str:
    """Who holds up the making of a slot: sessions with a running transaction that has an id, oldest first."""
    rows = connection.execute(
        "SELECT pid FROM pg_catalog.pg_stat_activity"
        " WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() ORDER BY xact_start"
    ).fetchall()
    prepared = connection.execute("SELECT gid FROM pg_catalog.pg_prepared_xacts").fetchall()
    names = [str(row[0]) for row in rows] + [f"prepared transaction {row[0]!r}" for row in prepared]
    return ", ".join(names) or "unknown"
