"""Which server a test gets: one given by URL, then a container, then local programs; never nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from liberator.testing.servers import (
    GivenKafka,
    GivenPostgres,
    KafkaServer,
    PostgresServer,
    ServerError,
    find_kafka,
    find_postgres,
    postgres_bin,
)
from liberator.testing.servers.containers import DockerKafka, DockerPostgres, docker_answers


def docker(_: Mapping[str, str]) -> bool:
    return True


def no_docker(_: Mapping[str, str]) -> bool:
    return False


def test_a_given_postgres_wins_over_docker() -> None:
    found = find_postgres(15, {"LIBERATOR_TEST_POSTGRES15": "postgresql://u@db.test/x"}, docker)
    assert isinstance(found, GivenPostgres)
    assert found.dsn == "postgresql://u@db.test/x"


def test_a_postgres_given_for_another_version_is_not_taken() -> None:
    assert not isinstance(
        find_postgres(15, {"LIBERATOR_TEST_POSTGRES18": "postgresql://u@db.test/x"}, docker), GivenPostgres
    )


def test_docker_wins_over_local_postgres_programs() -> None:
    found = find_postgres(18, {}, docker)
    assert isinstance(found, DockerPostgres)
    assert found.dsn.startswith("postgresql://postgres@127.0.0.1:")


def test_local_postgres_programs_are_the_last_resort() -> None:
    found = find_postgres(18, {}, no_docker)
    assert isinstance(found, PostgresServer)
    found.close()


def test_a_given_kafka_wins_over_docker() -> None:
    found = find_kafka({"LIBERATOR_TEST_KAFKA": "kafka://broker.test:9092"}, docker)
    assert isinstance(found, GivenKafka)
    assert found.bootstrap == "broker.test:9092"


def test_docker_wins_over_a_local_kafka() -> None:
    assert isinstance(find_kafka({}, docker), DockerKafka)


def test_a_local_kafka_is_the_last_resort() -> None:
    found = find_kafka({}, no_docker)
    assert isinstance(found, KafkaServer)
    found.close()


def test_docker_is_not_waited_for_when_its_address_leads_nowhere() -> None:
    assert not docker_answers({"DOCKER_HOST": "unix:///nowhere/docker.sock"})


@pytest.mark.parametrize(("line", "taken"), [(b"HTTP/1.0 200 OK", True), (b"HTTP/1.0 503 Busy", False)])
def test_docker_is_taken_when_its_daemon_answers_well(line: bytes, taken: bool, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "docker.sock"))
        daemon.listen()

        def answer() -> None:
            with daemon.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(line + b"\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert docker_answers({"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}) is taken
        thread.join()


def test_a_docker_elsewhere_is_believed() -> None:
    assert docker_answers({"DOCKER_HOST": "tcp://docker.test:2376"})


def test_a_missing_postgres_says_what_to_install() -> None:
    with pytest.raises(ServerError, match="PostgreSQL 9 is not installed") as missing:
        postgres_bin(9, {})
    assert missing.value.code == "server.missing"
    assert "postgresql-9" in str(missing.value.fix)
    assert "LIBERATOR_TEST_POSTGRES9" in str(missing.value.fix)


def test_a_variable_that_names_a_wrong_folder_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="LIBERATOR_PG18_BIN"):
        postgres_bin(18, {"LIBERATOR_PG18_BIN": str(tmp_path)})


def test_a_variable_wins_over_the_installed_programs(tmp_path: Path) -> None:
    (tmp_path / "postgres").touch()
    assert postgres_bin(18, {"LIBERATOR_PG18_BIN": str(tmp_path)}) == tmp_path


def test_a_given_server_is_left_running() -> None:
    given = find_postgres(18, {"LIBERATOR_TEST_POSTGRES18": "postgresql://u@db.test/x"}, no_docker)
    with pytest.raises(ServerError, match="not started or stopped from here"):
        given.restart()
    broker = find_kafka({"LIBERATOR_TEST_KAFKA": "broker.test:9092"}, no_docker)
    with pytest.raises(ServerError, match="not started or stopped from here"):
        broker.kill()
