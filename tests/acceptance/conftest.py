"""Connectors for the acceptance tests: one that streams a whole database for all tests, and others on demand."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from liberator.testing.servers import Kafka, Postgres
from tests.acceptance.connector import Connector
from tests.acceptance.sink import Broker, KafkaBroker, LocalBroker, Sink
from tests.acceptance.stream import Stream


class SharedConnectors:
    """Streaming connectors on one database of a server, started when the first test asks, and anew when one has died."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._running: dict[bool, Connector] = {}
        self._used: list[Connector] = []
        self._dsn = server.database()
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute("create table first (id int primary key)")
            connection.execute("create extension hstore")

    def streaming(self, *, via_root: bool = True) -> Connector:
        """The one that streams all tables. via_root: partitions under the name of their root."""
        connector = self._running.get(via_root)
        if connector is None or not connector.running:
            name = f"shared_{uuid.uuid4().hex[:8]}"
            options = ["source.log.publication_autocreate=all_tables"]
            options += [f"source.log.publish_via_partition_root={str(via_root).lower()}"]
            given = [word for option in options for word in ("--set", option)]
            connector = Connector(self._dsn, self._folder / name, name, *given, calm=True)
            self._used.append(connector)
            self._running[via_root] = connector.start()
        return connector

    def close(self) -> None:
        """End them; those that still run must end well."""
        with ExitStack() as stack:
            stack.callback(self._server.drop, self._dsn)
            for connector in self._used:
                stack.callback(connector.close)
                if connector.running:
                    stack.callback(connector.stop)


@pytest.fixture(scope="session")
def shared18(postgres18: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedConnectors]:
    """The streaming connectors of the session on PostgreSQL 18."""
    with closing(SharedConnectors(postgres18, tmp_path_factory.mktemp("acceptance"))) as connectors:
        yield connectors


@pytest.fixture(scope="session")
def shared15(postgres15: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedConnectors]:
    """The same on PostgreSQL 15."""
    with closing(SharedConnectors(postgres15, tmp_path_factory.mktemp("acceptance"))) as connectors:
        yield connectors


@pytest.fixture(params=[18, 15], ids=["pg18", "pg15"])
def shared(request: pytest.FixtureRequest) -> SharedConnectors:
    """Those on each server version in turn."""
    connectors: SharedConnectors = request.getfixturevalue(f"shared{request.param}")
    return connectors


@pytest.fixture
def stream(shared: SharedConnectors, unique: str) -> Iterator[Stream]:
    """A connector that streams all tables of a database, on each server version in turn, and a schema of it."""
    with Stream(shared.streaming(), unique) as stream:
        yield stream


@pytest.fixture
def leafwise(shared: SharedConnectors, stream: Stream) -> Iterator[Stream]:
    """The same schema of the same database, as a connector shows it that names partitions by themselves."""
    with stream.leafwise(shared.streaming(via_root=False)) as leafwise:
        yield leafwise


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


@pytest.fixture
def make_sink(tmp_path: Path, unique: str) -> Iterator[Callable[..., Sink]]:
    """Makes a sink on a broker: `make_sink(broker, kafka_python=True)`; several, if each is `called` otherwise. It is not
    started."""
    with ExitStack() as stack:

        def made(broker: Broker, *, kafka_python: bool = False, called: str = "sink") -> Sink:
            sink = Sink(tmp_path / called, f"{unique}.{called}", broker, kafka_python=kafka_python)
            stack.callback(sink.close)
            return sink

        yield made


@pytest.fixture
def local(make_sink: Callable[..., Sink], tmp_path: Path) -> Sink:
    """A sink on a local log."""
    return make_sink(LocalBroker(tmp_path / "events"))


@pytest.fixture(params=["local", "confluent-kafka", "kafka-python"])
def sink(request: pytest.FixtureRequest, make_sink: Callable[..., Sink], tmp_path: Path) -> Sink:
    """A sink on each broker, with each client."""
    if request.param == "local":
        return make_sink(LocalBroker(tmp_path / "events"))
    kafka: Kafka = request.getfixturevalue("kafka")
    return make_sink(KafkaBroker(kafka.bootstrap), kafka_python=request.param == "kafka-python")
