"""Tables that are read later, while the stream runs: what the application does meanwhile holds up neither for long."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg
import pytest

from liberator.change import Batch
from liberator.source.log import LogSource
from liberator.source.position import TablePosition
from liberator.source.snapshot import SnapshotBatch
from tests.integration.source.keeping import Keeping, execute

PATIENCE = 25.0


def polled(source: LogSource, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """What comes until it is `enough`."""
    batches: list[Batch] = []
    end = time.monotonic() + PATIENCE
    while not enough(batches):
        assert time.monotonic() < end, batches
        batches.append(source.poll(1_000_000, 0.1))
    return batches


def rows(batches: list[Batch]) -> list[bytes]:
    """The rows that a snapshot brought."""
    return [line for batch in batches if isinstance(batch, SnapshotBatch) for line in batch.frames]


def says(batches: list[Batch], text: bytes) -> bool:
    """Did the stream bring a frame with this text?"""
    return any(
        text in frame for batch in batches if not isinstance(batch, SnapshotBatch) for frame in batch.frames
    )


def test_the_stream_flows_while_a_table_to_be_read_is_locked(
    each_database: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL 18 waits for the lock to say what is published, older ones for its holder to make a slot."""
    execute(
        each_database, "create table t (id int primary key, v text)", "create table u (v text primary key)"
    )
    execute(each_database, "insert into t values (1, 'row of t')")
    it = Keeping(each_database, unique, snapshot="never")
    with it.opened():
        pass
    it.state["table:public.t"] = TablePosition(None).encode()
    with psycopg.connect(each_database) as holder, it.opened() as source:
        holder.execute("lock table t in access exclusive mode")
        started = time.monotonic()
        polled(source, lambda batches: "reading public.t waits for" in caplog.text)
        assert time.monotonic() - started < 10
        assert str(holder.info.backend_pid) in caplog.text
        execute(each_database, "insert into u values ('it flows')")
        batches = polled(source, lambda batches: says(batches, b"it flows"))
        assert not rows(batches)
        holder.rollback()
        batches = polled(source, lambda batches: bool(rows(batches)))
        assert rows(batches) == [b"1\trow of t\n"]
