"""A SQLAlchemy engine for the source's URL, or what speaks against it, in words. Connects to nothing yet."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import event, exc

from liberator.errors import ConfigError, PreconditionError

_KNOWN = (
    "Did not recognize type|Could not instantiate type|Incomplete reflection of column|Unknown schema content"
    "|Converting unknown KEY type|Skipped unsupported reflection|Failed to look up filter predicate"
)
"""What SQLAlchemy warns of where we know what to do: values of such types are read as the driver gives them, such indexes
are not used. That it leaves out a column is none of these."""


def make_engine(text: str, isolation: Callable[[str], str] | None = None) -> sa.Engine:
    """An engine that keeps no connections. isolation: backend -> isolation level; None: the driver's own.

    Raises `PreconditionError` (source.driver_missing, source.missing), `ConfigError` (config.url).
    """
    try:
        url = sa.make_url(text)
        warnings.filterwarnings("ignore", _KNOWN, exc.SAWarning)
        level = {} if isolation is None else {"isolation_level": isolation(url.get_backend_name())}
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, **level)
    except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise PreconditionError(
            f"the driver for this database is not installed: {error}",
            code="source.driver_missing",
            where="source.url",
            fix="install it (MariaDB and MySQL: pip install 'liberator[mysql]', with mysql+pymysql:// in the URL)",
        ) from None
    except exc.ArgumentError:
        raise ConfigError(
            "the source URL is none that SQLAlchemy understands", code="config.url", where="source.url"
        ) from None
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise PreconditionError(
            "there is no such file", code="source.missing", where=url.database, fix="correct source.url"
        )
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", lambda connection, _: setattr(connection, "text_factory", _as_stored))
    return engine


class Undecoded(bytes):
    """Text of SQLite that is not UTF-8. As a parameter it would be a blob, which stands behind all texts."""


def _as_stored(text: bytes) -> str | bytes:
    """SQLite keeps whatever it is given as text; one value that is not UTF-8 would end the reading of its table."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return Undecoded(text)
