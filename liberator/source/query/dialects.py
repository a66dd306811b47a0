"""What databases behind SQLAlchemy have of their own: sessions that only read and do not wait for ever, who they are, how a
query is ended. Oracle and SQL Server are written down from their manuals and untested.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

_SYSTEM = frozenset(
    {"information_schema", "mysql", "performance_schema", "sys", "pg_catalog", "sysman", "system"}
)

TIMED_OUT = frozenset({1969, 3024})
"""Error numbers: MariaDB's max_statement_time, MySQL's max_execution_time."""
REFUSED = frozenset(
    {1044, 1045, 1049, 1054, 1064, 1142, 1143, 1146, 1227, 1370, 1792}
    | {1052, 1055, 1060, 1222, 1248, 1267, 1305, 1582}
)
"""MySQL: access denied, no such database, column or table, syntax, no right to read or call, a write in a read-only session;
names that are not clear or twice there, and what else is wrong with a query whenever it is asked."""
RETRYABLE = frozenset({1205, 1213, 2006, 2013})
"""MySQL: lock wait, deadlock, gone away, connection lost."""


def isolation(backend: str) -> str:
    """Every query is a transaction of its own, so that nothing is held between two pages."""
    return "READ COMMITTED" if backend == "oracle" else "AUTOCOMMIT"


def session(kind: str, mariadb: bool, timeout: float) -> list[str]:
    """The statements that pin a session. timeout: seconds of one query."""
    if kind in ("mysql", "mariadb"):
        limit = (
            f"max_statement_time = {timeout:.3f}"
            if mariadb
            else f"max_execution_time = {round(timeout * 1000)}"
        )
        return [
            f"SET SESSION time_zone = '+00:00', {limit}",
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET SESSION TRANSACTION READ ONLY",
        ]
    return {
        "sqlite": ["PRAGMA query_only = ON", "PRAGMA busy_timeout = 10000"],
        "mssql": [f"SET LOCK_TIMEOUT {round(timeout * 1000)}"],
        "oracle": ["ALTER SESSION SET TIME_ZONE = 'UTC'"],
    }.get(kind, [])


def identity(kind: str) -> str | None:
    """The question whose answers, in the last column, tell one server from another; None: the database's name must do."""
    return {
        "mysql": "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')",
        "mariadb": "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')",
    }.get(kind)


def session_id(kind: str) -> str | None:
    """The question for the name by which a session's query can be ended."""
    return "SELECT CONNECTION_ID()" if kind in ("mysql", "mariadb") else None


def claim(kind: str, name: str, patience: float) -> tuple[str, str] | None:
    """The question that takes a lock of this name (1: it is ours now) and the one for the session that has it; None where
    sessions have no locks. patience: seconds to wait for it."""
    if kind not in ("mysql", "mariadb"):
        return None
    return f"SELECT GET_LOCK('liberator {name}', {patience:g})", f"SELECT IS_USED_LOCK('liberator {name}')"


def equal(kind: str, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    """Is a column what its driver gave for it? kind: of the column's values."""
    return column.__eq__(value)


def equal_in_mysql(kind: str, column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    """As `equal`: FLOAT is given with fewer digits than it has, BIT as bytes, and PyMySQL can't write a TIME below 0."""
    if kind == "float" and value is not None:
        column = sa.func.concat(column).op("+")(sa.literal_column("0e0"))
    elif kind == "bits" and isinstance(value, bytes):
        value = int.from_bytes(value, "big")
    elif isinstance(value, timedelta):
        seconds, rest = divmod(abs(value), timedelta(seconds=1))
        sign = "-" if value < timedelta(0) else ""
        value = f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest.microseconds:06}"
    return equal(kind, column, value)


def is_system(schema: str) -> bool:
    """Is it the server's own?"""
    return schema.lower() in _SYSTEM


def cancel(kind: str, engine: sa.Engine, connection: sa.Connection, session: str | None) -> None:
    """End the query that runs, from another thread."""
    if kind == "sqlite":
        driver = connection.connection.driver_connection
        if driver is not None:
            driver.interrupt()
    elif session is not None:
        with engine.connect() as another:
            another.exec_driver_sql(f"KILL QUERY {int(session)}")
