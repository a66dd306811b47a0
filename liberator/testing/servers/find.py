"""Which server a test or the demo gets: one that is given, one in Docker, or one of our own.

Enters: environment variables. Leaves: a server, not yet started. Never falls back silently: what is missing
is named, with what to install.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from liberator.testing.servers.apicurio import ApicurioServer, GivenRegistry, Registry
from liberator.testing.servers.containers import DockerKafka, DockerPostgres, docker_answers
from liberator.testing.servers.kafka import GivenKafka, Kafka, KafkaServer
from liberator.testing.servers.mariadb import GivenMariaDb, MariaDb, MariaDbServer, mariadb_programs
from liberator.testing.servers.postgres import GivenPostgres, Postgres, PostgresServer, postgres_bin


def find_postgres(
    major: int,
    environ: Mapping[str, str] = os.environ,
    docker: Callable[[Mapping[str, str]], bool] = docker_answers,
) -> Postgres:
    """PostgreSQL `major`: the URL in LIBERATOR_TEST_POSTGRES<major>, else a container, else local programs.

    `docker` tells whether containers can be run.
    """
    if url := environ.get(f"LIBERATOR_TEST_POSTGRES{major}"):
        return GivenPostgres(url)
    if docker(environ):
        return DockerPostgres(major)
    return PostgresServer(postgres_bin(major, environ))


def find_mariadb(environ: Mapping[str, str] = os.environ) -> MariaDb:
    """MariaDB: the URL in LIBERATOR_TEST_MARIADB (``mysql+pymysql://``), else installed programs."""
    if url := environ.get("LIBERATOR_TEST_MARIADB"):
        return GivenMariaDb(url)
    return MariaDbServer(*mariadb_programs(environ))


def find_kafka(
    environ: Mapping[str, str] = os.environ,
    docker: Callable[[Mapping[str, str]], bool] = docker_answers,
) -> Kafka:
    """Kafka: the address in LIBERATOR_TEST_KAFKA, else a container, else a broker run from its jars."""
    if address := environ.get("LIBERATOR_TEST_KAFKA"):
        return GivenKafka(address)
    if docker(environ):
        return DockerKafka()
    return KafkaServer()


def find_registry(environ: Mapping[str, str] = os.environ) -> Registry:
    """A schema registry: the address in LIBERATOR_TEST_REGISTRY, else one run from its jar."""
    if address := environ.get("LIBERATOR_TEST_REGISTRY"):
        return GivenRegistry(address)
    return ApicurioServer()
