"""The SQLite file: whose it is, who writes it, and what may go wrong."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from liberator.locallog import LocalLogFailure
from liberator.locallog.file import LogFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "log"


def refusal(folder: Path) -> LocalLogFailure:
    with pytest.raises(LocalLogFailure) as refused:
        LogFile(folder)
    return refused.value


def _fail_after(connection: sqlite3.Connection, statement: str) -> None:
    connection.execute(statement)
    raise ZeroDivisionError


def test_every_commit_is_synced_and_readers_wait_for_nobody(folder: Path) -> None:
    file = LogFile(folder)
    with file.read() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    other = LogFile(folder)
    with file.write() as connection:
        connection.execute("INSERT INTO topics (name, settings) VALUES ('t', '{}')")
        with other.read() as reading:
            assert reading.execute("SELECT count(*) FROM topics").fetchone() == (0,)
    file.close()
    other.close()


def test_a_transaction_that_raises_leaves_nothing(folder: Path) -> None:
    file = LogFile(folder)
    with pytest.raises(ZeroDivisionError), file.write() as connection:
        _fail_after(connection, "INSERT INTO topics (name, settings) VALUES ('t', '{}')")
    with file.read() as connection:
        assert connection.execute("SELECT count(*) FROM topics").fetchone() == (0,)
    file.close()


def test_a_commit_of_others_changes_the_version(folder: Path) -> None:
    file, other = LogFile(folder), LogFile(folder)
    before = file.version()
    assert file.version() == before
    with other.write() as connection:
        connection.execute("INSERT INTO topics (name, settings) VALUES ('t', '{}')")
    assert file.version() != before
    file.close()
    other.close()


def test_many_may_make_the_log_at_once(folder: Path) -> None:
    program = (
        "import sys\n"
        "from liberator.locallog import LocalLog\n"
        "sys.stdin.readline()\n"
        f"log = LocalLog({str(folder)!r})\n"
        "log.create_topic('t', 3)\n"
        "print(len(log.topics()['t'].partitions))\n"
    )
    others = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for other in others:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
    assert [other.communicate()[0] for other in others] == ["3\n"] * 4


def test_a_database_of_somebody_else_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "log.db")) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    assert refusal(folder).word == "foreign"


def test_a_later_format_is_refused(folder: Path) -> None:
    LogFile(folder).close()
    with closing(sqlite3.connect(folder / "log.db")) as connection:
        connection.execute("PRAGMA user_version = 2")
    refused = refusal(folder)
    assert refused.word == "version"
    assert "newer" in str(refused.fix)


def test_a_file_that_is_no_database_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "log.db").write_bytes(b"no database " * 1_000)
    assert refusal(folder).word == "corrupt"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file" / "log").word == "unavailable"


def test_whoever_writes_for_too_long_is_told_about(folder: Path) -> None:
    file, other = LogFile(folder), LogFile(folder, patience=0.1)
    with file.write(), pytest.raises(LocalLogFailure) as refused, other.write():
        pass
    assert (refused.value.word, refused.value.retryable) == ("busy", True)
    with other.write():
        pass
    file.close()
    other.close()


def test_a_program_that_knows_nothing_of_turns_is_waited_for_too(folder: Path) -> None:
    file = LogFile(folder, patience=0.1)
    with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(LocalLogFailure) as refused, file.write():
            pass
        shell.execute("ROLLBACK")
    assert refused.value.word == "busy"
    file.close()


def test_who_writes_all_the_time_starves_nobody(folder: Path) -> None:
    file = LogFile(folder)
    program = (
        "import time\n"
        "from liberator.locallog.file import LogFile\n"
        f"file = LogFile({str(folder)!r})\n"
        "print('open', flush=True)\n"
        "while True:\n"
        "    with file.write() as connection:\n"
        "        connection.execute('UPDATE cleaning SET due = due + 1')\n"
        "        time.sleep(0.003)\n"
    )
    turns = []
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as greedy:
        assert greedy.stdout is not None
        greedy.stdout.readline()
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            with file.write() as connection:
                turns.append(connection.execute("SELECT due FROM cleaning").fetchone()[0])
                time.sleep(0.003)
        greedy.kill()
    file.close()
    between = [after - before for before, after in pairwise(turns)]
    assert median(between) <= 10, "we waited for too many turns of the other"
    assert sum(between) >= len(turns) / 4, "the other waited for too many turns of ours"


def test_a_killed_writer_leaves_no_lock_and_no_half(folder: Path) -> None:
    program = (
        "import os, signal\n"
        "from liberator.locallog.file import LogFile\n"
        f"with LogFile({str(folder)!r}).write() as connection:\n"
        "    connection.execute('UPDATE cleaning SET due = 7')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    file = LogFile(folder, patience=0.5)
    with file.write() as connection:
        assert connection.execute("SELECT due FROM cleaning").fetchone() == (0,)
    file.close()


def test_a_full_disk_passes_and_leaves_nothing(folder: Path) -> None:
    file = LogFile(folder)
    with file.read() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(LocalLogFailure) as full, file.write() as connection:
        connection.execute("INSERT INTO records VALUES (1, 0, NULL, zeroblob(1000000), NULL)")
    assert (full.value.word, full.value.retryable) == ("full", True)
    with file.read() as connection:
        connection.execute(f"PRAGMA max_page_count = {pages + 1_000}")
    with file.write() as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (0,)
        connection.execute("INSERT INTO records VALUES (1, 0, NULL, zeroblob(1000000), NULL)")
    file.close()


def test_a_disk_that_fails_is_no_reason_to_wait(folder: Path) -> None:
    file = LogFile(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(LocalLogFailure) as failed, file.write() as connection:
            connection.execute("INSERT INTO records VALUES (1, 0, NULL, zeroblob(1000000), NULL)")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (failed.value.word, failed.value.retryable) == ("unavailable", False)
    with file.write() as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (0,)
    file.close()


def test_an_event_above_a_gigabyte_is_too_large(folder: Path) -> None:
    file = LogFile(folder)
    with pytest.raises(LocalLogFailure) as refused, file.write() as connection:
        connection.execute("INSERT INTO records VALUES (1, 0, NULL, zeroblob(1000000001), NULL)")
    assert refused.value.word == "too_large"
    file.close()
