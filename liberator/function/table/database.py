"""The database that a table is in: how it is connected to, and what its errors mean.

Enters: a URL. Leaves: a SQLAlchemy engine whose sessions are alike everywhere (UTC, strict, whole transactions), and
errors in liberator's words. What a row is to blame for is told apart from what is the database's: the one is given
up, the other is waited for. No message of a driver goes on that could show a value.
"""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event as listening
from sqlalchemy import exc

from liberator.errors import ConfigError, FunctionError, LiberatorError, PreconditionError

_WHERE = "function.table"
_CONNECT_WITHIN = 10

_MYSQL_ROWS = frozenset({1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1416, 1452, 1644, 3140, 3819, 4025})
"""Errors of MariaDB and MySQL that are about values, whatever class and SQLSTATE they are put into."""
_MYSQL_PASSING = frozenset({1040, 1053, 1203, 1205, 1226, 1317})
"""Too many connections, a shutdown, a lock that somebody holds: their SQLSTATEs do not tell."""
_MYSQL_CLOSED = frozenset({1044, 1045, 1049})
"""Who we are, or the database's name, is wrong."""
_MYSQL_TOLD = _MYSQL_CLOSED | {1054, 1142, 1143, 1146, 1205, 1213, 2003, 2006, 2013}
"""Errors whose words are names of tables, columns, users and hosts, and never values."""
_ROWS = ("22", "23", "44000", "45000", "P0001")
"""SQLSTATEs that begin so: data, constraints, check options of views, and what triggers raise."""


def connect(url: str, patience: float) -> sa.Engine:
    """An engine; connects to nothing yet. patience: seconds that a statement may take.

    Raises `ConfigError` (config.url), `PreconditionError` (function.table_driver).
    """
    try:
        if url.partition(":")[0] in ("postgresql", "postgres"):
            return _postgres(url, patience)
        name = sa.make_url(url).get_backend_name()
        if name == "sqlite":
            return _sqlite(url, patience)
        if name in ("mysql", "mariadb"):
            return _mysql(url, patience)
        return sa.create_engine(url, pool_size=1)
    except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise PreconditionError(
            f"the driver for this database is not installed: {error}",
            code="function.table_driver",
            where=f"{_WHERE}.url",
            fix="install it (MariaDB and MySQL: pip install 'liberator[mysql]', with mysql+pymysql:// in the URL)",
        ) from None
    except exc.ArgumentError:
        raise ConfigError(
            "this URL is none that SQLAlchemy understands", code="config.url", where=f"{_WHERE}.url"
        ) from None


def _postgres(url: str, patience: float) -> sa.Engine:
    """By libpq's own reading of the URL, with all hosts and parameters that it knows."""
    engine = sa.create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(
            url, connect_timeout=_CONNECT_WITHIN, tcp_user_timeout=round(patience * 1000)
        ),
        pool_size=1,
    )

    @listening.listens_for(engine, "connect")
    def pin(connection: Any, record: Any) -> None:
        connection.execute("SET datestyle = 'ISO'")
        connection.execute("SET timezone = 'UTC'")
        connection.execute(f"SET statement_timeout = {round(patience * 1000)}")
        connection.commit()

    return engine


def _sqlite(url: str, patience: float) -> sa.Engine:
    engine = sa.create_engine(url, pool_size=1, connect_args={"timeout": patience})

    @listening.listens_for(engine, "connect")
    def whole(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver would begin late, and commit before it changes a table

    @listening.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _mysql(url: str, patience: float) -> sa.Engine:
    limits = {"connect_timeout": _CONNECT_WITHIN}
    if sa.make_url(url).get_driver_name() == "pymysql":
        limits |= {"read_timeout": round(patience) + 1, "write_timeout": round(patience) + 1}
    engine = sa.create_engine(url, pool_size=1, isolation_level="READ COMMITTED", connect_args=limits)

    @listening.listens_for(engine, "connect")
    def pin(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION time_zone = '+00:00'")
            # Without it values are cut until they fit.
            cursor.execute("SET SESSION sql_mode = CONCAT_WS(',', @@sql_mode, 'STRICT_ALL_TABLES')")

    return engine


def make(engine: sa.Engine, table: sa.Table) -> None:
    """Make a table if it is missing, by whoever comes first. Raises SQLAlchemy's errors."""

    def is_there() -> bool:
        with engine.begin() as connection:
            return sa.inspect(connection).has_table(table.name, table.schema)

    if is_there():
        return
    try:
        table.create(engine)
    except exc.DBAPIError:
        if not is_there():
            raise


def blames_row(error: BaseException) -> bool:
    """Is it the row that was to be written, and not the database or its table?"""
    if isinstance(error, OverflowError):  # how SQLite's driver refuses a number
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if _number(error.orig) in _MYSQL_ROWS:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_ROWS)
    return isinstance(error, exc.DataError | exc.IntegrityError)


def refusal(error: BaseException, where: str) -> FunctionError:
    """The database refuses a row: for good, as another attempt would end in the same way."""
    return FunctionError(
        f"the database refuses the row: {_words(error)}",
        code="function.table_row",
        where=where,
        fix="correct the row or the table's constraints and types, then redrive the dead letter",
    )


def failure(
    error: exc.SQLAlchemyError, where: str, *, code: str = "function.table", key: str = _WHERE
) -> LiberatorError:
    """The database, or its table, can't be written to now (retryable), or until somebody has seen to it. code: how the
    error's begins. key: of the configuration."""
    what = f"the database does not do it: {_words(error)}"
    if _may_pass(error):
        return FunctionError(what, code=f"{code}_unreachable", where=where, retryable=True)
    return PreconditionError(
        what,
        code=f"{code}_refused",
        where=where,
        fix=f"look at the table, at what the user may do (SELECT, INSERT, UPDATE, DELETE), and at {key}",
    )


def _may_pass(error: exc.SQLAlchemyError) -> bool:
    if isinstance(error, exc.TimeoutError):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated or _number(error.orig) in _MYSQL_PASSING:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] in ("08", "40", "53", "55", "57", "58")
    if not isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError):
        return False
    words = str(error.orig)
    if _number(error.orig) in _MYSQL_CLOSED:
        return False
    return "no such" not in words and "readonly" not in words  # SQLite has one class for everything


def _number(original: BaseException | None) -> int | None:
    """Of an error of MariaDB or MySQL."""
    number = original.args[0] if original is not None and original.args else None
    return number if isinstance(number, int) else None


def _words(error: BaseException) -> str:
    """What happened, without a value of a row: names of constraints and columns, codes, classes."""
    original = getattr(error, "orig", None) or error
    name = type(original).__name__
    if isinstance(original, psycopg.Error):
        told = original.diag
        named = {"constraint": told.constraint_name, "column": told.column_name, "table": told.table_name}
        places = ", ".join(f"{kind} {value}" for kind, value in named.items() if value)
        if original.sqlstate is None:  # the client's own words, about the connection
            return f"{name}: {str(original).splitlines()[0]}" if str(original) else name
        words = f"{original.sqlstate} {name}"
        return f"{words} ({places})" if places else words
    if (number := _number(original)) is not None:
        shown = number in _MYSQL_TOLD and len(original.args) > 1
        return f"{name} {number}: {original.args[1]}" if shown else f"{name} {number}"
    if type(original).__module__ == "sqlite3":  # says names of tables and columns, never values
        return f"{name}: {original}"
    return name
