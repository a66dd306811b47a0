"""The executor of an outbox: what every message becomes, where a transaction may be cut, and bytes that are not right."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import Batch, EncodedBatch
from liberator.codec.debezium import Debezium
from liberator.errors import DecodeError, LiberatorError
from liberator.plan.invalid import InvalidRows
from liberator.plan.outbox import OutboxNames, OutboxSettings, Router
from liberator.plan.outbox_log import LogOutboxSettings, OutboxExecutor
from liberator.plan.outbox_rows import plain
from liberator.plan.planner import Planner, PlanSettings
from liberator.postgres.catalogue import table_to_json
from liberator.postgres.model import Column, PgType, Table
from liberator.postgres.selection import Selection
from tests.unit.postgres.wire import begin, commit, delete, insert, message, relation, truncate, xlog

TEXT, JSONB = PgType(25, "pg_catalog", "text"), PgType(3802, "pg_catalog", "jsonb")
OID, OTHER = 16384, 16400
NAMES = ("id", "aggregatetype", "aggregateid", "type", "payload")
COLUMNS = [(name, 3802 if name == "payload" else 25, name == "id") for name in NAMES]
TABLE = Table(
    OID, "public", "outbox", tuple(Column(n, JSONB if n == "payload" else TEXT) for n in NAMES), ("id",)
)
COMMIT = 256
NOW_MS = 1_800_000_000_000


class CatalogueAsked(Exception):
    """These tests know all tables beforehand."""


def no_catalogue() -> psycopg.Connection[Any]:
    raise CatalogueAsked


def executor(prefix: str | None = None, timestamp: str | None = None) -> OutboxExecutor:
    settings = OutboxSettings(
        names=OutboxNames(timestamp=timestamp),
        topic=lambda aggregate_type, type: f"event.{aggregate_type}" if aggregate_type else None,
        contract=lambda topic, type: None,
    )
    plans = PlanSettings(
        topic=lambda schema, table: table, selection=Selection(lambda s, t: t == "outbox", lambda s, t: False)
    )
    planner = Planner(plans, Debezium("shop", "db"), None, no_catalogue)
    planner.restore({f"relation:{OID}": table_to_json(TABLE)})
    invalid = InvalidRows("dead_letter", "shop", "dead", now_ms=lambda: 5)
    router = Router(settings, invalid, "public.outbox", now_ms=lambda: NOW_MS)
    log = LogOutboxSettings("slot", "7001", "public.outbox", prefix)
    return OutboxExecutor(log, settings, planner, router)


def run(it: OutboxExecutor, *messages: bytes) -> EncodedBatch:
    return it.encode(Batch([xlog(data) for data in messages]))


def event(id: bytes) -> bytes:
    return insert(OID, id, b"order", b"7", b"Paid", b"{}")


def said(number: int) -> bytes:
    return message("outbox", b'{"aggregatetype":"order","aggregateid":"7","type":"Paid"}', lsn=number)


ANNOUNCED = relation(OID, "outbox", COLUMNS)


def test_inserts_are_events_and_nothing_else_is() -> None:
    it = executor()
    out = run(
        it, begin(COMMIT), ANNOUNCED, event(b"a"), delete(OID, b"a"), truncate(OID), commit(COMMIT, 264)
    )
    assert (out.topics, out.keys, out.values, out.ids) == (["event.order"], [b"7"], [b"{}"], [b"a"])
    assert out.headers == [(("type", b"Paid"),)]
    assert out.string_keys
    assert it.committed_us > 0


def test_the_time_of_an_event_is_that_of_its_commit() -> None:
    it = executor()
    committed = begin(COMMIT, committed_us=60_000_000)  # a minute after the year 2000 began
    out = run(it, committed, ANNOUNCED, event(b"a"), insert(OID, b"b", None, b"7", b"Paid", b"{}"))
    assert (out.topics, out.timestamps) == (["event.order", "dead"], [946_684_860_000] * 2)


def test_a_commit_that_lies_ahead_of_our_clock_is_of_the_present() -> None:
    """Brokers refuse times that lie ahead."""
    ahead = begin(COMMIT, committed_us=(NOW_MS - 946_684_800_000 + 1) * 1000)
    assert run(executor(), ahead, ANNOUNCED, event(b"a")).timestamps is None


def test_messages_in_a_transaction_have_its_time_and_those_outside_none() -> None:
    outside = message("outbox", b'{"aggregatetype":"order"}', transactional=False, lsn=250)
    out = run(executor("outbox"), outside, begin(COMMIT, committed_us=0), said(240), commit(COMMIT, 264))
    assert out.timestamps == [None, 946_684_800_000]


def test_a_member_of_the_message_may_tell_the_time() -> None:
    it = executor("outbox", timestamp="at")
    said_at = [
        message("outbox", b'{"aggregatetype":"order","at":%b}' % at, lsn=240)
        for at in (b'"2023-11-14T22:13:20Z"', b"1700000000001", b"null", b'"no time"')
    ]
    out = run(it, begin(COMMIT, committed_us=0), *said_at, commit(COMMIT, 264))
    commit_ms = 946_684_800_000
    assert out.timestamps == [1_700_000_000_000, 1_700_000_000_001, commit_ms, commit_ms]


def test_a_row_without_an_id_is_a_dead_letter_called_by_its_place() -> None:
    row = insert(OID, None, b"order", b"7", b"Paid", b"{}")
    out = run(executor(), begin(COMMIT), ANNOUNCED, event(b"a"), row, commit(COMMIT, 264))
    assert (out.topics[1], out.ids[1]) == ("dead", b"7001/slot/0/100/1")


@pytest.mark.parametrize("published", [0, 1, 2, 3])
def test_a_transaction_that_was_cut_goes_on_behind_the_cut(published: int) -> None:
    """Exactly once publishes a large transaction in several; whatever of it is saved does not come again."""
    ids = [b"a", b"b", b"c"]
    first = executor()
    assert run(first, begin(COMMIT), ANNOUNCED, *map(event, ids[:published])).ids == ids[:published]
    saved = first.inside()
    assert saved is not None
    again = executor()
    again.restart({"transaction": saved["transaction"]})
    whole = run(again, begin(COMMIT), ANNOUNCED, *map(event, ids), commit(COMMIT, 264))
    assert whole.ids == ids[published:]
    assert again.history()["transaction"] == b""
    assert run(again, begin(512), event(b"d"), commit(512, 520)).ids == [b"d"]


def test_messages_that_were_published_before_a_cut_do_not_come_again() -> None:
    first = executor("outbox")
    run(first, begin(COMMIT), said(240), said(244))
    again = executor("outbox")
    again.restart(first.inside() or {})
    outside = message("outbox", b'{"aggregatetype":"order"}', transactional=False, lsn=250)
    later = message("outbox", b'{"aggregatetype":"order"}', transactional=False, lsn=260)
    out = run(again, outside, begin(COMMIT), said(240), said(244), said(248), commit(COMMIT, 264), later)
    assert out.ids == [b"7001/slot/0/100/m2", b"7001/slot/0/104/m"]


def test_between_transactions_nothing_can_be_cut() -> None:
    it = executor()
    run(it, begin(COMMIT), ANNOUNCED, event(b"a"), commit(COMMIT, 264))
    assert it.inside() is None


FRAMES = [begin(COMMIT), ANNOUNCED, event(b"a"), delete(OID, b"a"), said(1), commit(COMMIT, 264)]


@given(st.integers(0, len(FRAMES) - 1), st.data())
def test_damaged_frames_raise_only_errors_of_ours(which: int, data: st.DataObject) -> None:
    frame = bytearray(FRAMES[which])
    at = data.draw(st.integers(0, len(frame) - 1))
    damaged = bytes(frame[:at]) if data.draw(st.booleans()) else bytes(frame[:at] + b"\xff" + frame[at + 1 :])
    with contextlib.suppress(LiberatorError, CatalogueAsked):
        run(executor(), *FRAMES[:which], damaged)


def test_a_change_of_a_table_that_was_not_announced_is_malformed() -> None:
    with pytest.raises(DecodeError):
        run(executor(), begin(COMMIT), event(b"a"))
    with pytest.raises(DecodeError):
        executor().encode(Batch([struct.pack(">c", b"w")]))


def test_a_header_of_an_embedded_document_with_half_a_character_is_its_json() -> None:
    assert [plain(json) for json in (rb'"\u00e9"', rb'"\ud800"', b"1e400")] == [
        "é".encode(),
        rb'"\ud800"',
        b"1e400",
    ]
