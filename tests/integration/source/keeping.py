"""Log sources for the tests of this folder: what they ask to be kept is kept in a dict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from liberator.ledger import merge
from liberator.observe.telemetry import Telemetry
from liberator.postgres.selection import Selection
from liberator.source.log import LogSettings, LogSource
from liberator.source.opening import Approve


class Keeping:
    """A connector's checkpoint in memory. name: of slot and publication. A new source each time, as after a restart.

    approve: looks at the tables before anything is made for them.
    """

    def __init__(
        self, dsn: str, name: str, *, approve: Approve = lambda system, tables: None, **settings: Any
    ) -> None:
        self.state: dict[str, bytes] = {}
        self._approve = approve
        self._settings = {"publications": (name,), "selection": Selection(), **settings}
        self._dsn = dsn
        self._name = name

    @contextmanager
    def opened(self, **settings: Any) -> Iterator[LogSource]:
        """An open source with other `settings` than at the start, closed afterwards."""
        told = LogSettings(self._dsn, self._name, self._name, **{**self._settings, **settings})
        it = LogSource(
            told,
            remember=lambda delta: merge(self.state, delta),
            progress=Telemetry(self._name),
            approve=self._approve,
        )
        try:
            it.open(self.state)
            yield it
        finally:
            it.close()


def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run each statement in a transaction of its own; the rows of the last one."""
    rows: list[tuple[Any, ...]] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


@contextmanager
def role(dsn: str, name: str, rights: str) -> Iterator[str]:
    """The same database as a role of its own sees it."""
    execute(dsn, f"create role {name} login {rights}")
    yield dsn.replace("//postgres@", f"//{name}@")
    execute(dsn, f"drop owned by {name}", f"drop role {name}")
