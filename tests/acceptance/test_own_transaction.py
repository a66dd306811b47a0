"""A function that remembers what is done in its own transaction: each event once in effect, whatever dies when (D83)."""

from __future__ import annotations

import sqlite3

from tests.acceptance.sink import Sink, numbered

BOOK = """
import signal, sqlite3
from liberator import idempotent

HERE = Path(__file__).parent

@idempotent(lambda: sqlite3.connect(HERE / "bookings.db"))
def write(events, context, connection):
    note(events, context)
    connection.execute("CREATE TABLE IF NOT EXISTS booked (n)")
    connection.executemany("INSERT INTO booked VALUES (?)", [(event.value["n"],) for event in events])

def book(events, context):
    write(events, context)
    if not (HERE / "killed").exists():
        (HERE / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)  # it is committed, and its offset is not
"""


def booked(sink: Sink) -> list[int]:
    connection = sqlite3.connect(sink.folder / "bookings.db")
    rows = [row[0] for row in connection.execute("SELECT n FROM booked ORDER BY n")]
    connection.close()
    return rows


def test_a_connector_that_is_killed_after_the_commit_does_nothing_twice_and_a_replay_neither(
    local: Sink, unique: str
) -> None:
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        trigger: {{batch_size: 4}}
        function: {{python: "functions:book", in_process: true}}
        """,
        BOOK,
    )
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(10)))
    local.run("--once", code=-9)
    assert local.broker.committed(local.name, unique) == 0
    assert booked(local) == [0, 1, 2, 3]
    local.run()
    local.call("replay", "--from", "earliest", "--yes")
    assert booked(local) == list(range(10))
    assert local.broker.committed(local.name, unique) == 10
    assert sorted(value["n"] for value in local.given()) == list(range(10)), "it was not even called"
