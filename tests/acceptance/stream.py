"""One test's part of a running connector: a schema to itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import psycopg

from liberator.testing.oracle import assert_complete
from tests.acceptance.connector import Connector
from tests.acceptance.events import Events

Session = psycopg.Connection[Any]

_ROOTS = """
    select relname from pg_class
     where relnamespace = %s::regnamespace and relkind in ('r', 'p') and relpersistence = 'p' and not relispartition
"""
_LEAVES = "select relname from pg_class where relnamespace = %s::regnamespace and relkind = 'r' and relpersistence = 'p'"


class Stream:
    """A running connector, seen from a schema that only this test uses: unqualified names mean its tables.

    made: does the schema exist already? leafwise: the connector names partitions by themselves.
    """

    def __init__(
        self, connector: Connector, schema: str, *, made: bool = False, leafwise: bool = False
    ) -> None:
        self.connector = connector
        self.schema = schema
        self._leafwise = leafwise
        self._stack = ExitStack()
        self._connection = self.session()
        if not made:
            self._connection.execute(f"create schema {schema}".encode())
            self._stack.callback(self._connection.execute, f"drop schema {schema} cascade".encode())
        self._log_begins = len(connector.log)

    @contextmanager
    def leafwise(self, connector: Connector) -> Iterator[Stream]:
        """The same schema, as a connector on the same database shows it that names partitions by themselves."""
        with Stream(connector, self.schema, made=True, leafwise=True) as stream:
            yield stream

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run each statement in a transaction of its own; the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = self._connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is run inside is one transaction."""
        with self._connection.transaction():
            yield

    def session(self) -> Session:
        """Another session of the application, in autocommit. Closed when the test ends."""
        session = self._stack.enter_context(psycopg.connect(self.connector.dsn, autocommit=True))
        session.execute(f"set search_path = {self.schema}, public".encode())
        return session

    def events(self, *tables: str, silent: Collection[str] = ()) -> Events:
        """Everything of these tables, or of all of this schema, that was committed up to now.

        All tables of the schema must be what their events add up to, except those that changed without a word (`silent`).
        """
        prefix = f"{self.connector.name}.{self.schema}."
        events = Events(event for event in self.connector.events() if event.topic.startswith(prefix))
        rows = self._connection.execute(_LEAVES if self._leafwise else _ROOTS, (self.schema,)).fetchall()
        assert_complete(
            [asdict(event) for event in events],
            self.connector.dsn,
            [f"{self.schema}.{table}" for (table,) in rows if table not in silent],
        )
        return events.of(*tables) if tables else events

    def topic(self, table: str) -> str:
        """The topic of a table."""
        return f"{self.connector.name}.{self.schema}.{table}"

    def snapshot(self, *tables: str) -> Events:
        """What a connector that starts now reads of these tables, or of all of this schema."""
        name = f"snapshot_{self.schema}"
        patterns = [option for table in tables or ["*"] for option in ("--table", f"{self.schema}.{table}")]
        reader = Connector(self.connector.dsn, self.connector.folder / name, name, *patterns, calm=True)
        try:
            return reader.run_once()
        finally:
            reader.close()

    def contract(self, table: str, schema: dict[str, Any]) -> None:
        """Store a contract for a table, before its first row."""
        folder = self.connector.folder / "schemas" / self.topic(table)
        folder.mkdir(parents=True)
        (folder / "1.json").write_text(json.dumps(schema))

    @property
    def server_version(self) -> int:
        """The server's major version."""
        return self._connection.info.server_version // 10000

    @property
    def log(self) -> str:
        """What the connector said since this test began."""
        return self.connector.log[self._log_begins :]

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
