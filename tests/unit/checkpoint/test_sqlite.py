"""The SQLite file: what may be wrong with it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from liberator.checkpoint.sqlite import SqliteCheckpoint
from liberator.errors import CheckpointError
from liberator.testing.conformance.checkpoint import DurableConformance, DurableStore


class File(DurableStore):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[SqliteCheckpoint] = []

    def open(self, name: str = "shop") -> SqliteCheckpoint:
        self._open.append(SqliteCheckpoint(self.path, name))
        return self._open[-1]

    def damage(self, name: str, partition: str) -> None:
        self.execute(
            "UPDATE positions SET value = x'00' || value WHERE (connector, partition) = (?, ?)",
            name,
            partition,
        )

    def come_from_the_future(self, name: str, partition: str) -> None:
        self.execute("PRAGMA user_version = 2")

    def program(self, name: str) -> str:
        return (
            "from liberator.checkpoint.sqlite import SqliteCheckpoint\n"
            f"checkpoint = SqliteCheckpoint({str(self.path)!r}, {name!r})"
        )

    def execute(self, statement: str, *parameters: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, parameters)

    def close(self) -> None:
        for checkpoint in self._open:
            checkpoint.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "shop.db"


@pytest.fixture
def file(path: Path) -> Iterator[File]:
    file = File(path)
    yield file
    file.close()


class TestSqliteCheckpoint(DurableConformance):
    kills = 10

    @pytest.fixture
    def store(self, file: File) -> File:
        return file


def test_looking_makes_no_file(path: Path) -> None:
    checkpoint = SqliteCheckpoint(path, "shop")
    assert checkpoint.load() == {}
    assert list(checkpoint.describe()) == []
    checkpoint.close()
    assert not path.parent.exists()


def test_a_file_that_is_no_database_is_refused_and_a_reset_moves_it_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was never a database, but it is long enough to look like one" * 100)
    checkpoint = SqliteCheckpoint(path, "shop")
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load()
    assert refused.value.code == "checkpoint.corrupt"
    with pytest.raises(CheckpointError):
        checkpoint.acquire()
    checkpoint.reset()
    checkpoint.save({"slot": b"1"}, checkpoint.acquire())
    checkpoint.close()
    assert len(list(path.parent.glob("shop.db.damaged-*"))) == 1


def test_a_damaged_page_is_refused(file: File) -> None:
    checkpoint = file.open()
    checkpoint.save({f"table {n}": b"x" * 500 for n in range(100)}, checkpoint.acquire())
    checkpoint.close()
    content = bytearray(file.path.read_bytes())
    content[3 * 4096 : 3 * 4096 + 2000] = b"\xff" * 2000
    file.path.write_bytes(content)
    with pytest.raises(CheckpointError) as refused:
        file.open().load()
    assert refused.value.code == "checkpoint.corrupt"


def test_a_truncated_file_is_refused(file: File) -> None:
    checkpoint = file.open()
    checkpoint.save({f"table {n}": b"x" * 500 for n in range(100)}, checkpoint.acquire())
    checkpoint.close()
    content = file.path.read_bytes()
    file.path.write_bytes(content[: len(content) // 2 // 4096 * 4096])
    with pytest.raises(CheckpointError) as refused:
        file.open().load()
    assert refused.value.code == "checkpoint.corrupt"


def test_a_value_under_another_partition_is_refused(file: File) -> None:
    checkpoint = file.open()
    checkpoint.save({"slot": b"1"}, checkpoint.acquire())
    file.execute("UPDATE positions SET partition = 'table a'")
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load()
    assert refused.value.code == "checkpoint.corrupt"


def test_somebody_elses_database_is_left_alone(file: File) -> None:
    file.path.parent.mkdir()
    file.execute("CREATE TABLE customers (id INTEGER)")
    with pytest.raises(CheckpointError) as refused:
        file.open().load()
    assert refused.value.code == "checkpoint.foreign"
    with pytest.raises(CheckpointError):
        file.open().reset()
    with closing(sqlite3.connect(file.path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError) as refused:
        SqliteCheckpoint(tmp_path / "file" / "shop.db", "shop").acquire()
    assert (refused.value.code, refused.value.retryable) == ("checkpoint.unavailable", False)


def test_a_locked_file_is_retryable_and_the_checkpoint_stays_usable(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liberator.checkpoint.sqlite._BUSY", 0.1)
    checkpoint = file.open()
    epoch = checkpoint.acquire()
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CheckpointError) as locked:
            checkpoint.save({"slot": b"1"}, epoch)
        assert (locked.value.code, locked.value.retryable) == ("checkpoint.unavailable", True)
        other.execute("ROLLBACK")
    checkpoint.save({"slot": b"2"}, epoch)
    assert checkpoint.load() == {"slot": b"2"}


def test_many_connectors_write_one_file_at_once(file: File) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            checkpoint = SqliteCheckpoint(file.path, name)
            epoch = checkpoint.acquire()
            for number in range(1, 21):
                checkpoint.save({"slot": b"%d" % number}, epoch)
            checkpoint.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"shop-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [file.open(f"shop-{n}").load() for n in range(4)] == [{"slot": b"20"}] * 4


def test_every_save_is_synced(file: File) -> None:
    checkpoint = file.open()
    checkpoint.acquire()
    connection = checkpoint._connection
    assert connection is not None
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
