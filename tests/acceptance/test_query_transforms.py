"""Transforms where tables are queried, through the command."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROWS = [
    (1, "ann@x", "new", 2.5, None),
    (2, "bob@x", "draft", 3.5, None),
    (3, "eve@x", "new", 1.5, "2024-01-01"),
]
HEADER = (
    "create table users (id integer primary key, email text, status text, amount real, gone text, seen text)"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "legacy.db") as database:
        database.execute(HEADER)
        database.executemany(
            "insert into users (id, email, status, amount, gone) values (?, ?, ?, ?, ?)", ROWS
        )
    return tmp_path


def liberate(folder: Path, *steps: dict[str, Any], **query: Any) -> subprocess.CompletedProcess[str]:
    source = {"url": "sqlite:///legacy.db", "mode": "query", "query": {"strategy": "bulk", **query}}
    document = {"name": "legacy", "source": source, "transform": steps}
    (folder / "legacy.yaml").write_text(json.dumps(document))
    command = [sys.executable, "-m", "liberator", "run", "legacy.yaml", "--once"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [event for event in found if event["topic"] == "legacy.main.users"]


def hidden(value: str) -> str:
    return hashlib.sha256(f"pepper{value}".encode()).hexdigest()


MASK = {"mask": {"table": "users", "column": "email", "with": "sha256", "salt": "pepper"}}
DROP = {"drop_columns": {"table": "users", "columns": "seen, gone"}}
RENAME = {"rename": {"table": "users", "columns": {"id": "number"}}}


def test_columns_are_transformed_whole_batches_at_a_time(folder: Path) -> None:
    found = events(liberate(folder, MASK, DROP, RENAME))
    assert [event["key"] for event in found] == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert found[0]["value"]["after"] == {
        "number": 1,
        "email": hidden("ann@x"),
        "status": "new",
        "amount": 2.5,
    }


def test_rows_are_filtered_by_numbers_and_texts(folder: Path) -> None:
    step = {"filter": {"table": "users", "where": "after.amount > 2.0 && after.status != 'draft'"}}
    assert [event["key"]["id"] for event in events(liberate(folder, step, MASK))] == [1]


def test_a_column_that_marks_deleted_rows_may_be_left_out(folder: Path) -> None:
    found = events(liberate(folder, DROP, MASK, deletes="soft:gone"))
    ops = [(event["key"]["id"], event["value"] and event["value"]["op"]) for event in found]
    assert ops == [(1, "r"), (2, "r"), (3, "d"), (3, None)]
    assert found[2]["value"]["before"]["email"] == hidden("eve@x")


def test_a_column_whose_values_the_position_keeps_is_not_hidden(folder: Path) -> None:
    mask = {"mask": {"table": "users", "column": "id", "with": "sha256", "salt": "pepper"}}
    done = liberate(folder, mask)
    assert done.returncode == 3
    assert "plan.transform_position" in done.stderr


def test_a_column_that_is_not_there_is_refused(folder: Path) -> None:
    done = liberate(folder, {"drop_columns": {"table": "main.users", "columns": "emial"}})
    assert done.returncode == 3
    assert "plan.transform_column" in done.stderr
