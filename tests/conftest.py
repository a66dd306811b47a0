"""The servers and names that tests share.

A server starts when the first test asks for it and lives as long as the session. A missing one fails the
tests that want it: nothing is skipped.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from liberator.testing.servers import (
    Kafka,
    KafkaServer,
    MariaDb,
    Postgres,
    PostgresServer,
    find_kafka,
    find_mariadb,
    find_postgres,
    postgres_bin,
)

# Real servers answer when they can: no deadline an example. ci: the same examples in every run, so that a red
# build is a change's fault; dev: new ones each time; soak: many.
settings.register_profile("dev", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True)
settings.register_profile("soak", settings.get_profile("dev"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def postgres18() -> Iterator[Postgres]:
    """PostgreSQL 18, the newest that is supported."""
    with find_postgres(18) as server:
        yield server


@pytest.fixture(scope="session")
def postgres15() -> Iterator[Postgres]:
    """PostgreSQL 15, an older one."""
    with find_postgres(15) as server:
        yield server


@pytest.fixture(params=[18, 15], ids=["pg18", "pg15"])
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """Each server version in turn: the test runs on both."""
    server: Postgres = request.getfixturevalue(f"postgres{request.param}")
    return server


@pytest.fixture
def database(postgres18: Postgres) -> Iterator[str]:
    """The dsn of an empty database on PostgreSQL 18, dropped afterwards with its slots."""
    dsn = postgres18.database()
    yield dsn
    postgres18.drop(dsn)


@pytest.fixture
def each_database(postgres: Postgres) -> Iterator[str]:
    """The dsn of an empty database on each server version in turn, dropped afterwards with its slots."""
    dsn = postgres.database()
    yield dsn
    postgres.drop(dsn)


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A Kafka for all tests: use names from `unique`, and leave it running."""
    with find_kafka() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDb]:
    """MariaDB: use databases of its own, and leave it running."""
    with find_mariadb() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Callable[..., PostgresServer]]:
    """Starts servers for one test, to be killed or configured: `own_postgres(15, wal_level="replica")`."""
    with ExitStack() as servers:

        def start(major: int = 18, **conf: object) -> PostgresServer:
            return servers.enter_context(PostgresServer(postgres_bin(major), conf=conf))

        yield start


@pytest.fixture
def own_kafka() -> Iterator[Callable[..., KafkaServer]]:
    """Starts brokers for one test, to be killed, frozen or configured: `own_kafka({"num.partitions": 3})`."""
    with ExitStack() as servers:

        def start(properties: dict[str, object] | None = None) -> KafkaServer:
            return servers.enter_context(KafkaServer(properties=properties))

        yield start


@pytest.fixture
def unique() -> str:
    """A name of [a-z0-9_] that nobody else uses, for topics, slots, groups and connectors."""
    return f"t_{uuid.uuid4().hex[:12]}"
