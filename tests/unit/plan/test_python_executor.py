"""The reference executor: what every message becomes, and what it does with rows and bytes that are not right."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import Batch, EncodedBatch
from liberator.codec.debezium import Debezium
from liberator.codec.envelope import Envelope
from liberator.errors import ContractError, DecodeError
from liberator.plan.evolution import Evolution
from liberator.plan.invalid import InvalidRows, OnInvalid
from liberator.plan.native import executor_class
from liberator.plan.planner import Planner, PlanSettings
from liberator.plan.python import PythonExecutor, StreamSettings
from liberator.plan.shaping import Left, Transforms
from liberator.plan.tables import column_facts, column_schemas
from liberator.postgres.catalogue import table_to_json
from liberator.postgres.copying import Lines
from liberator.postgres.model import Column, Identity, PgType, Table
from liberator.postgres.pgoutput import UNCHANGED, Value
from liberator.postgres.selection import Selection
from liberator.postgres.values import TypeOptions
from liberator.source.snapshot import SnapshotBatch
from tests.unit.postgres.wire import begin, commit, delete, insert, message, relation, truncate, update, xlog

INT8 = PgType(20, "pg_catalog", "int8")
TEXT = PgType(25, "pg_catalog", "text")
INT4_ARRAY = PgType(1007, "pg_catalog", "_int4", "array", PgType(23, "pg_catalog", "int4"))
OID = 16384
COLUMNS = [("id", 20, True), ("name", 25, False), ("big", 25, False)]
NOW_US = 1_700_000_000_000_000


def a_table(identity: Identity = "default", key: tuple[str, ...] = ("id",), oid: int = OID) -> Table:
    columns = (Column("id", INT8, not_null=True), Column("name", TEXT), Column("big", TEXT))
    return Table(oid, "public", "t", columns, key, identity)


class CatalogueAsked(Exception):
    """These tests know all tables beforehand."""


def no_catalogue() -> psycopg.Connection[Any]:
    raise CatalogueAsked


class Contracts:
    def __init__(self, contract: dict[str, Any] | None) -> None:
        self._contract = contract

    def load(self, topic: str) -> tuple[int, dict[str, Any]] | None:
        return None if self._contract is None else (1, self._contract)

    def newest(self, topic: str) -> int | None:
        return None if self._contract is None else 1

    def versions(self, topic: str) -> Mapping[int, dict[str, Any]]:
        return {} if self._contract is None else {1: self._contract}

    def add(self, topic: str, contract: dict[str, Any]) -> int:
        raise AssertionError("no table of these tests changes")


def executor(
    *tables: Table,
    contract: dict[str, Any] | None = None,
    on_invalid: OnInvalid = "dead_letter",
    selection: Selection | None = None,
    types: TypeOptions | None = None,
    envelope: Envelope | None = None,
    transforms: Transforms | None = None,
    implementation: str | None = None,
    **settings: Any,
) -> PythonExecutor:
    codec = envelope or Debezium("shop", "db")
    plans = PlanSettings(
        topic=lambda schema, table: f"shop.{schema}.{table}",
        selection=selection or Selection(),
        types=types or TypeOptions(),
        transforms=transforms or Transforms(),
    )
    left = Left(
        plans.transforms,
        lambda table: column_schemas(table, plans.types),
        lambda table: column_facts(table, plans.types),
        plans.key,
    )
    evolution = Evolution(Contracts(contract), left.columns, left.certain, naming=left.naming)
    planner = Planner(plans, codec, evolution, no_catalogue)
    planner.restore({f"relation:{table.oid}": table_to_json(table) for table in tables or [a_table()]})
    stream = StreamSettings("shop", "slot", "7001", **{"message_topic": "shop.messages", **settings})
    invalid = InvalidRows(on_invalid, "shop", "shop.dead-letters", now_ms=lambda: 5)
    make = executor_class(implementation or os.environ.get("LIBERATOR_IMPL", "auto"))
    return make(stream, planner, codec, invalid, now_us=lambda: NOW_US)


def run(it: PythonExecutor, *messages: bytes) -> EncodedBatch:
    return it.encode(Batch([xlog(data) for data in messages]))


def transaction(
    *changes: bytes, identity: str = "d", columns: Sequence[tuple[str, int, bool]] = COLUMNS
) -> list[bytes]:
    return [begin(256), relation(OID, "t", columns, identity), *changes, commit(256, 264)]


def values(events: EncodedBatch) -> list[Any]:
    return [None if value is None else json.loads(value) for value in events.values]


def test_an_insert_is_a_create_with_the_fields_of_the_format() -> None:
    events = run(executor(), *transaction(insert(OID, b"1", b'a "q"', None)))
    assert events.topics == ["shop.public.t"]
    assert events.keys == [b'{"id":1}']
    assert events.ids == [b"7001/slot/0/100/0"]
    [value] = values(events)
    assert value["before"] is None
    assert value["after"] == {"id": 1, "name": 'a "q"', "big": None}
    assert (value["op"], value["ts_ms"], value["ts_us"], value["ts_ns"]) == (
        "c",
        NOW_US // 1000,
        NOW_US,
        NOW_US * 1000,
    )
    assert value["transaction"] is None
    committed = 946_684_801_000_000
    assert value["source"] == {
        "version": value["source"]["version"],
        "connector": "postgresql",
        "name": "shop",
        "ts_ms": committed // 1000,
        "ts_us": committed,
        "ts_ns": committed * 1000,
        "snapshot": "false",
        "db": "db",
        "sequence": '[null,"50"]',
        "schema": "public",
        "table": "t",
        "txId": 7,
        "lsn": 50,
        "xmin": None,
    }


def test_the_sequence_names_the_commit_before() -> None:
    it = executor()
    run(it, *transaction(insert(OID, b"1", b"a", b"b")))
    [value] = values(run(it, begin(512), insert(OID, b"2", b"a", b"b"), commit(512, 520)))
    assert value["source"]["sequence"] == '["256","50"]'


def test_an_update_without_an_old_row_has_no_before() -> None:
    """D01"""
    [value] = values(run(executor(), *transaction(update(OID, [b"1", b"x", b"y"]))))
    assert (value["op"], value["before"], value["after"]["name"]) == ("u", None, "x")


def test_an_unchanged_toast_value_is_left_out_and_named() -> None:
    """D06"""
    [value] = values(run(executor(), *transaction(update(OID, [b"1", b"x", UNCHANGED]))))
    assert value["after"] == {"id": 1, "name": "x"}
    assert value["source"]["unchanged"] == ["big"]


def test_with_full_identity_an_unchanged_value_is_taken_from_the_old_row() -> None:
    """D07"""
    it = executor(a_table("full"))
    full = [(name, oid, True) for name, oid, _ in COLUMNS]
    change = update(OID, [b"1", b"x", UNCHANGED], [b"1", b"w", b"long"], "O")
    [value] = values(run(it, *transaction(change, identity="f", columns=full)))
    assert value["after"] == {"id": 1, "name": "x", "big": "long"}
    assert value["before"] == {"id": 1, "name": "w", "big": "long"}
    assert "unchanged" not in value["source"]


def test_a_key_change_is_a_delete_a_tombstone_and_a_create() -> None:
    """D04"""
    change = update(OID, [b"2", b"x", UNCHANGED], [b"1", None, None])
    events = run(executor(), *transaction(change))
    gone, tombstone, created = values(events)
    assert (gone["op"], gone["before"], gone["after"]) == ("d", {"id": 1}, None)
    assert tombstone is None
    assert (created["op"], created["after"], created["source"]["unchanged"]) == (
        "c",
        {"id": 2, "name": "x"},
        ["big"],
    )
    assert events.keys == [b'{"id":1}', b'{"id":1}', b'{"id":2}']
    assert events.ids == [b"7001/slot/0/100/0", b"7001/slot/0/100/0/t", b"7001/slot/0/100/0/c"]
    assert events.headers[0] == (("__debezium.newkey", b'{"id":2}'),)
    assert events.headers[2] == (("__debezium.oldkey", b'{"id":1}'),)


def test_an_update_that_sends_an_equal_key_stays_an_update() -> None:
    """D05"""
    [value] = values(run(executor(), *transaction(update(OID, [b"1", b"x", b"y"], [b"1", None, None]))))
    assert value["op"] == "u"


def test_a_delete_shows_only_what_the_server_sent_and_a_tombstone_follows() -> None:
    """D01: the wire pads other columns with nulls; they mean nothing."""
    events = run(executor(), *transaction(delete(OID, b"1", None, None)))
    assert values(events)[0]["before"] == {"id": 1}
    assert events.values[1] is None
    assert events.ids[1] == b"7001/slot/0/100/0/t"


def test_tombstones_can_be_switched_off() -> None:
    assert len(run(executor(tombstones=False), *transaction(delete(OID, b"1", None, None)))) == 1


def test_a_truncate_is_an_event_for_each_captured_table() -> None:
    """D08"""
    it = executor(a_table(), a_table(oid=2))
    second = relation(2, "t", COLUMNS)
    events = run(
        it, begin(256), relation(OID, "t", COLUMNS), second, truncate(OID, 2, flags=3), commit(256, 264)
    )
    assert [value["op"] for value in values(events)] == ["t", "t"]
    assert values(events)[0]["source"]["truncate"] == ["cascade", "restart_identity"]
    assert events.keys == [None, None]
    assert events.ids == [b"7001/slot/0/100/0", b"7001/slot/0/100/1"]


def test_the_numbers_of_changes_do_not_depend_on_what_is_captured() -> None:
    it = executor(selection=Selection(excluded=lambda schema, table: table == "other"))
    other = relation(2, "other", COLUMNS)
    events = run(it, *transaction(other, insert(2, b"1", b"a", b"b"), insert(OID, b"1", b"a", b"b")))
    assert events.ids == [b"7001/slot/0/100/1"]


def test_logical_messages_are_published_by_prefix_with_numbers_of_their_own() -> None:
    """D43"""
    it = executor(messages=("p",))
    events = run(
        it,
        message("p", b"early", lsn=40, transactional=False),
        *transaction(message("q", b"no"), message("p", b"\0\xff"), insert(OID, b"1", b"a", b"b")),
    )
    assert events.topics == ["shop.messages", "shop.messages", "shop.public.t"]
    assert events.ids == [b"7001/slot/0/28/m", b"7001/slot/0/100/m1", b"7001/slot/0/100/0"]
    assert values(events)[1]["message"] == {"prefix": "p", "content": "AP8="}
    assert events.keys[1] == b'{"prefix":"p"}'


def test_transaction_metadata_counts_events_and_goes_to_its_topic() -> None:
    it = executor(transaction_topic="shop.transaction")
    events = run(it, *transaction(insert(OID, b"1", b"a", b"b"), insert(OID, b"2", b"a", b"b")))
    assert [value["transaction"] for value in values(events)] == [
        {"id": "7:256", "total_order": 1, "data_collection_order": 1},
        {"id": "7:256", "total_order": 2, "data_collection_order": 2},
    ]
    opening, end = (json.loads(record.value or b"") for record in events.control)
    assert (opening["status"], end["status"], end["event_count"]) == ("BEGIN", "END", 2)
    assert end["data_collections"] == [{"data_collection": "public.t", "event_count": 2}]


CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["id", "big"],
    "properties": {"name": {"enum": ["good", None]}},
}


def test_a_row_that_breaks_its_contract_goes_to_the_dead_letters_whole_and_explained(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = run(
        executor(contract=CONTRACT),
        *transaction(insert(OID, b"1", b"good", b"b"), insert(OID, b"2", b"secret", b"b")),
    )
    assert events.topics == ["shop.public.t", "shop.dead-letters"]
    assert values(events)[1]["after"]["name"] == "secret"
    headers = dict(events.headers[1] or ())
    assert headers["__connect.errors.topic"] == b"shop.public.t"
    assert b"/name" in headers["__connect.errors.exception.message"]
    assert b"enum" in headers["__connect.errors.exception.message"]
    assert "/name" in caplog.text
    assert '{"id":2}' in caplog.text
    assert "secret" not in caplog.text


def test_a_row_that_breaks_its_contract_can_stop_the_connector() -> None:
    with pytest.raises(ContractError) as caught:
        run(executor(contract=CONTRACT, on_invalid="stop"), *transaction(insert(OID, b"2", b"secret", b"b")))
    assert "secret" not in caught.value.block()
    assert '{"id":2}' in caught.value.block()


def test_a_row_that_breaks_its_contract_can_be_published_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = run(
        executor(contract=CONTRACT, on_invalid="warn"), *transaction(insert(OID, b"2", b"secret", b"b"))
    )
    assert events.topics == ["shop.public.t"]
    assert "breaks its contract" in caplog.text


def test_an_unchanged_value_satisfies_a_contract_that_requires_it() -> None:
    """D06: the gate treats a column named in source.unchanged as satisfied."""
    events = run(executor(contract=CONTRACT), *transaction(update(OID, [b"1", b"good", UNCHANGED])))
    assert events.topics == ["shop.public.t"]


def copy(*lines: bytes, table: Table | None = None, marks: dict[int, str] | None = None) -> SnapshotBatch:
    table = table or a_table()
    return SnapshotBatch(
        frames=Lines(b"".join(lines), len(lines)),
        table=table,
        lsn=77,
        taken_us=1_000_000,
        by_ctid=not table.key,
        marks=marks or {},
    )


def test_a_line_of_the_snapshot_is_a_read_with_an_id_of_its_own() -> None:
    events = executor().encode(
        copy(b"1\ta\\tb\\\\c\\n\t\\N\n", b"2\t\\\\N\t\n", marks={0: "first", 1: "last"})
    )
    first, last = values(events)
    assert (first["op"], first["after"]) == ("r", {"id": 1, "name": "a\tb\\c\n", "big": None})
    assert last["after"] == {"id": 2, "name": "\\N", "big": ""}
    assert (first["source"]["snapshot"], last["source"]["snapshot"]) == ("first", "last")
    assert (first["source"]["lsn"], first["source"]["txId"]) == (77, None)
    assert events.ids == [
        b'7001/shop/snapshot/0/4D/public.t/{"id":1}',
        b'7001/shop/snapshot/0/4D/public.t/{"id":2}',
    ]


def test_a_row_without_a_key_is_named_by_its_place() -> None:
    events = executor().encode(copy(b"(0,1)\t1\ta\tb\n", table=a_table("full", ())))
    assert events.keys == [None]
    assert events.ids == [b"7001/shop/snapshot/0/4D/public.t/(0,1)"]


def test_a_table_without_a_key_is_emptied_before_its_rows_come_again() -> None:
    table = a_table("full", ())
    batch = SnapshotBatch([], table=table, lsn=77, taken_us=1_000_000, by_ctid=True, afresh=True)
    events = executor().encode(batch)
    [value] = values(events)
    assert (value["op"], value["after"], value["source"]["snapshot"]) == ("t", None, "true")
    assert (events.keys, events.ids) == ([None], [b"7001/shop/snapshot/0/4D/public.t/t"])


def test_the_snapshot_is_validated_too() -> None:
    events = executor(contract=CONTRACT).encode(copy(b"1\tbad\tx\n", b"2\tgood\tx\n"))
    assert events.topics == ["shop.dead-letters", "shop.public.t"]


def test_a_line_with_too_few_fields_is_malformed() -> None:
    with pytest.raises(DecodeError):
        executor().encode(copy(b"1\ta\n"))


def test_a_snapshot_and_the_stream_give_the_same_row() -> None:
    """Invariant 9."""
    row: list[Value] = [b"1", b"a\tb\\", None]
    [streamed] = values(run(executor(), *transaction(insert(OID, *row))))
    [read] = values(executor().encode(copy(b"1\ta\\tb\\\\\t\\N\n")))
    assert streamed["after"] == read["after"]


def test_an_array_with_other_bounds_can_be_refused_by_policy() -> None:
    table = Table(OID, "public", "t", (Column("id", INT8), Column("a", INT4_ARRAY)), ("id",))
    it = executor(table, types=TypeOptions(array_bounds="fail"))
    events = it.encode(copy(b"1\t[0:1]={7,8}\n", b"2\t{7,8}\n", table=table))
    assert events.topics == ["shop.dead-letters", "shop.public.t"]
    assert b"conversion" in dict(events.headers[0] or ())["__connect.errors.exception.message"]


STREAM = transaction(
    insert(OID, b"1", b"a", None),
    update(OID, [b"2", b"x", UNCHANGED], [b"1", None, None]),
    delete(OID, b"2", None, None),
    truncate(OID),
    message("p", b"x"),
)


@given(st.integers(0, len(STREAM) - 1), st.data())
def test_damaged_frames_raise_only_decode_errors(which: int, data: st.DataObject) -> None:
    broken = bytearray(STREAM[which])
    size = data.draw(st.integers(0, len(broken)))
    for place in data.draw(st.lists(st.integers(0, max(0, len(broken) - 1)), max_size=3)):
        broken[place] = data.draw(st.integers(0, 255))
    frames = [*STREAM[:which], bytes(broken[:size]), *STREAM[which + 1 :]]
    it = executor(on_invalid="warn")
    with contextlib.suppress(DecodeError, CatalogueAsked):  # a changed relation is looked up in the catalogue
        run(it, *frames)


def test_a_change_of_a_table_that_was_not_announced_is_malformed() -> None:
    with pytest.raises(DecodeError, match="did not announce"):
        run(executor(), begin(256), insert(OID, b"1", b"a", b"b"))


def test_a_frame_too_short_for_its_header_is_malformed() -> None:
    with pytest.raises(DecodeError):
        executor().encode(Batch([b"w" + struct.pack(">Q", 1)]))
