"""Connectors for the acceptance tests: one that streams a whole database for all tests, and others on demand."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from liberator.testing.servers import Postgres
from tests.acceptance.connector import Connector
from tests.acceptance.stream import Stream


class SharedConnectors:
    """One streaming connector per server, started when the first test asks for it, and anew when one has died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[Postgres, Connector] = {}
        self._used: list[tuple[Postgres, Connector]] = []

    def on(self, server: Postgres) -> Connector:
        """The one that streams all tables of a database of `server`."""
        connector = self._running.get(server)
        if connector is None or not connector.running:
            dsn = server.database()
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("create table first (id int primary key)")
                connection.execute("create extension hstore")
            name = f"shared_{uuid.uuid4().hex[:8]}"
            autocreate = "source.log.publication_autocreate=all_tables"
            connector = Connector(dsn, self._folder / name, name, "--set", autocreate, calm=True)
            self._used.append((server, connector))
            self._running[server] = connector.start()
        return connector

    def close(self) -> None:
        """End them; those that still run must end well."""
        with ExitStack() as stack:
            for server, connector in self._used:
                stack.callback(server.drop, connector.dsn)
                stack.callback(connector.close)
                if connector.running:
                    stack.callback(connector.stop)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedConnectors]:
    """The streaming connectors of the session."""
    connectors = SharedConnectors(tmp_path_factory.mktemp("acceptance"))
    yield connectors
    connectors.close()


@pytest.fixture
def stream(postgres: Postgres, shared: SharedConnectors, unique: str) -> Iterator[Stream]:
    """A connector that streams all tables of a database, on each server version in turn, and a schema of it."""
    with Stream(shared.on(postgres), unique) as stream:
        yield stream


@pytest.fixture
def connector(tmp_path: Path, unique: str) -> Iterator[Callable[..., Connector]]:
    """Makes a connector for a database: `connector(dsn, "--table", "public.t")`. It is not started."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def make(dsn: str, *options: str, messages: tuple[str, ...] = ()) -> Connector:
            name = f"{unique}_{next(numbers)}"
            made = Connector(dsn, tmp_path / name, name, *options, messages=messages, calm=True)
            stack.callback(made.close)
            return made

        yield make
