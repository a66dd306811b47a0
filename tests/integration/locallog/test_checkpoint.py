"""Positions in the local log: the suite of all checkpoints, kill -9 included."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liberator.checkpoint.local import LocalCheckpoint
from liberator.errors import CheckpointError
from liberator.publish.local import LocalPublisher
from liberator.testing.conformance.checkpoint import DurableConformance, DurableStore
from liberator.testing.conformance.publisher import batch_of


class Folder(DurableStore):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[LocalCheckpoint] = []

    def open(self, name: str = "shop") -> LocalCheckpoint:
        self._open.append(LocalCheckpoint(self.path, name))
        return self._open[-1]

    def damage(self, name: str, partition: str) -> None:
        self.execute(
            "UPDATE positions SET value = x'00' || value WHERE (connector, partition) = (?, ?)",
            name,
            partition,
        )

    def come_from_the_future(self, name: str, partition: str) -> None:
        self.execute("PRAGMA user_version = 99")

    def program(self, name: str) -> str:
        return (
            "from liberator.checkpoint.local import LocalCheckpoint\n"
            f"checkpoint = LocalCheckpoint({str(self.path)!r}, {name!r})"
        )

    def execute(self, statement: str, *parameters: str) -> None:
        with closing(sqlite3.connect(self.path / "log.db")) as connection, connection:
            connection.execute(statement, parameters)

    def close(self) -> None:
        for checkpoint in self._open:
            checkpoint.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "log")
    yield folder
    folder.close()


class TestLocalCheckpoint(DurableConformance):
    @pytest.fixture
    def store(self, folder: Folder) -> Folder:
        return folder


def test_looking_makes_no_log(tmp_path: Path) -> None:
    checkpoint = LocalCheckpoint(tmp_path / "log", "shop")
    assert checkpoint.load() == {}
    checkpoint.close()
    assert not (tmp_path / "log").exists()


def test_finds_what_was_written_with_the_events(folder: Folder) -> None:
    checkpoint = folder.open()
    checkpoint.save({"slot": b"1", "table a": b"reading"}, checkpoint.acquire())
    publisher = LocalPublisher(folder.path, exactly_once="shop")
    publisher.take_over()
    publisher.publish(batch_of("orders", range(3)), {"slot": b"2", "table a": b""})
    publisher.close()
    assert checkpoint.load() == {"slot": b"2"}


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    checkpoint = LocalCheckpoint(tmp_path, "shop")
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load()
    assert refused.value.code == "checkpoint.foreign"
    assert refused.value.where == f"local:{tmp_path}"
