"""What a log source leaves on the server when it can't be opened, and what it makes there when it can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from liberator.errors import LiberatorError
from liberator.observe.telemetry import Telemetry
from liberator.postgres.selection import Selection
from liberator.source.log import LogSettings, LogSource


def source(dsn: str, name: str, **more: Any) -> LogSource:
    """A log source of its own slot and publication, whose positions nobody keeps."""
    settings = LogSettings(dsn, name, name, (name,), Selection(), **more)
    return LogSource(settings, remember=lambda delta: None, progress=Telemetry(name))


@contextmanager
def role(dsn: str, name: str, rights: str) -> Iterator[str]:
    """The same database as a role of its own sees it."""
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(f"create role {name} login {rights}".encode())
        yield dsn.replace("//postgres@", f"//{name}@")
        owner.execute(f"drop role {name}".encode())


def test_a_source_that_is_refused_replication_leaves_no_connection(database: str, unique: str) -> None:
    """The two that were made before the third one was refused are closed at once, not when memory is tidied up."""
    with role(database, unique, "") as dsn:
        it = source(dsn, unique)
        with pytest.raises(LiberatorError) as refused:
            it.open({})
        with psycopg.connect(database) as owner:
            left = "select pid from pg_stat_activity where usename = %s"
            assert owner.execute(left, (unique,)).fetchall() == [], refused
