"""The envelopes: what a change is in each of them, read by those who know the format and not liberator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import EncodedBatch
from liberator.codec.cloudevents import CloudEvents
from liberator.codec.debezium import Debezium
from liberator.codec.envelope import Envelope
from liberator.codec.flat import Flat
from liberator.postgres.pgoutput import UNCHANGED
from liberator.source.snapshot import SnapshotBatch
from tests.unit.plan.test_python_executor import NOW_US, OID, a_table, executor, run, transaction, values
from tests.unit.postgres.wire import delete, insert, message, truncate, update

COMMITTED_US = 946_684_801_000_000
ENVELOPES: dict[str, Callable[[], Envelope]] = {
    "debezium": lambda: Debezium("shop", "db"),
    "binary": lambda: CloudEvents("shop"),
    "structured": lambda: CloudEvents("shop", "structured"),
    "flat": Flat,
}
TYPE = "shop.public.t"


def in_envelope(name: str, *changes: bytes, full: bool = False, **settings: Any) -> EncodedBatch:
    """One transaction with these changes."""
    it = executor(a_table("full" if full else "default"), envelope=ENVELOPES[name](), **settings)
    return run(it, *transaction(*changes, identity="f" if full else "d"))


def headers(events: EncodedBatch, index: int = 0) -> dict[str, str]:
    found = events.headers[index] or ()
    assert len(dict(found)) == len(found), f"a header comes twice: {found}"
    return {name: text.decode() for name, text in found}


def cloud(events: EncodedBatch) -> list[BaseCloudEvent]:
    """As the SDK of the CloudEvents project reads them from Kafka; `id` is added as publishers do."""
    return [
        from_kafka_event(KafkaMessage({**dict(own or ()), "id": id}, key, value))  # type: ignore[arg-type]  # null values
        for own, id, key, value in zip(events.headers, events.ids, events.keys, events.values, strict=True)
    ]


def attributes(event: BaseCloudEvent) -> dict[str, Any]:
    return {**event.get_attributes(), "data": event.get_data()}


# -- CloudEvents


def test_a_binary_cloudevent_has_its_attributes_in_headers_and_both_rows_as_data() -> None:
    events = in_envelope("binary", insert(OID, b"1", b"a", None))
    assert events.values == [b'{"before":null,"after":{"id":1,"name":"a","big":null}}']
    assert headers(events) == {
        "ce_specversion": "1.0",
        "ce_id": "7001/slot/0/100/0",
        "ce_source": "/liberator/shop",
        "ce_type": "shop.public.t.created",
        "ce_time": "2000-01-01T00:00:01.000000Z",
        "ce_subject": '{"id":1}',
        "ce_lsn": "50",
        "ce_txid": "7",
        "content-type": "application/json",
    }


def test_a_structured_cloudevent_is_the_whole_value() -> None:
    events = in_envelope("structured", insert(OID, b"1", b"a", None))
    assert headers(events) == {"content-type": "application/cloudevents+json; charset=UTF-8"}
    assert values(events) == [
        {
            "specversion": "1.0",
            "id": "7001/slot/0/100/0",
            "source": "/liberator/shop",
            "type": "shop.public.t.created",
            "time": "2000-01-01T00:00:01.000000Z",
            "subject": '{"id":1}',
            "lsn": "50",
            "txid": "7",
            "datacontenttype": "application/json",
            "data": {"before": None, "after": {"id": 1, "name": "a", "big": None}},
        }
    ]


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_the_sdk_reads_every_kind_of_change_in_both_modes(mode: str) -> None:
    events = in_envelope(
        mode,
        insert(OID, b"1", b"a", b"b"),
        update(OID, [b"1", b"c", b"b"]),
        delete(OID, b"1", None, None),
        truncate(OID, flags=3),
        message("p", b"\0"),
        messages=("p",),
    )
    first, *_ = read = cloud(events)
    assert [event.get_type() for event in read] == [
        f"{TYPE}.created",
        f"{TYPE}.updated",
        f"{TYPE}.deleted",
        f"{TYPE}.deleted",
        f"{TYPE}.truncated",
        "shop.message",
    ]
    row = {"id": 1, "name": "a", "big": "b"}
    assert [event.get_data() for event in read if event.get_type() != f"{TYPE}.deleted"] == [
        {"before": None, "after": row},
        {"before": None, "after": {**row, "name": "c"}},
        {"before": None, "after": None},
        {"prefix": "p", "content": "AA=="},
    ]
    assert read[2].get_data() == {"before": {"id": 1}, "after": None}
    assert [event.get_id() for event in read] == [id.decode() for id in events.ids]
    assert {event.get_source() for event in read} == {"/liberator/shop"}
    assert first.get_time() == datetime(2000, 1, 1, 0, 0, 1, tzinfo=timezone.utc)
    assert [event.get_subject() for event in read] == [key and key.decode() for key in events.keys]
    assert read[4].get_extension("truncate") == "cascade,restart_identity"


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_tombstone_is_a_cloudevent_without_data(mode: str) -> None:
    events = in_envelope(mode, delete(OID, b"1", None, None))
    assert events.values[1] is None
    assert "content-type" not in headers(events, 1)
    assert not cloud(events)[1].get_data()
    assert cloud(events)[1].get_id() == "7001/slot/0/100/0/t"


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_both_modes_say_the_same(mode: str) -> None:
    changes = (insert(OID, b"1", b"a", b"b"), delete(OID, b"1", None, None), truncate(OID))
    binary, other = (cloud(in_envelope(name, *changes)) for name in ("binary", mode))
    assert list(map(attributes, binary)) == list(map(attributes, other))


def test_a_cloudevent_of_a_snapshot_says_so() -> None:
    it = executor(envelope=CloudEvents("shop"))
    lines = [b"1\ta\tb\n", b"2\ta\tb\n"]
    events = it.encode(
        SnapshotBatch(lines, table=a_table(), lsn=77, taken_us=COMMITTED_US, marks={1: "last"}, afresh=True)
    )
    assert [headers(events, n)["ce_type"] for n in range(3)] == [f"{TYPE}.truncated", *[f"{TYPE}.read"] * 2]
    assert [headers(events, n)["ce_snapshot"] for n in range(3)] == ["true", "true", "last"]
    assert headers(events, 1)["ce_id"] == '7001/shop/snapshot/0/4D/public.t/{"id":1}'
    assert "ce_txid" not in headers(events, 1)


def test_a_cloudevent_names_the_stored_contract_and_its_version() -> None:
    derived = {"type": "object", "$id": "urn:liberator:contract:shop.public.t"}
    for contract, told in (
        (derived, "urn:liberator:contract:shop.public.t:1"),
        ({"type": "object", "$id": "https://schemas.example/t/3"}, "https://schemas.example/t/3"),
        ({"type": "object", "$id": "t.json"}, None),
        (None, None),
    ):
        events = in_envelope("binary", insert(OID, b"1", b"a", b"b"), contract=contract)
        assert headers(events).get("ce_dataschema") == told


def test_text_that_is_no_plain_ascii_stays_itself_in_a_structured_event() -> None:
    [event] = cloud(in_envelope("structured", insert(OID, b"1", 'ü"\n\\%b'.encode(), b"b")))
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["after"]["name"] == 'ü"\n\\%b'


# -- flat


def test_a_flat_event_is_the_row_with_the_rest_in_headers() -> None:
    events = in_envelope("flat", insert(OID, b"1", b"a", None))
    assert events.values == [b'{"id":1,"name":"a","big":null}']
    assert headers(events) == {
        "__op": "c",
        "__schema": "public",
        "__table": "t",
        "__lsn": "50",
        "__ts_ms": str(NOW_US // 1000),
        "__source_ts_ms": str(COMMITTED_US // 1000),
        "__deleted": "false",
    }


def test_a_flat_delete_is_one_tombstone() -> None:
    events = in_envelope("flat", delete(OID, b"1", None, None))
    assert (events.values, events.keys) == ([None], [b'{"id":1}'])
    assert events.ids == [b"7001/slot/0/100/0"]
    assert (headers(events)["__op"], headers(events)["__deleted"]) == ("d", "true")


def test_a_flat_delete_without_a_key_tells_which_row_it_was() -> None:
    it = executor(a_table("full", key=()), envelope=Flat())
    events = run(it, *transaction(delete(OID, b"1", b"a", b"b", kind="O"), identity="f"))
    assert events.keys == [None]
    assert values(events) == [{"id": 1, "name": "a", "big": "b"}]
    assert headers(events)["__deleted"] == "true"


def test_a_flat_update_without_a_key_tells_which_row_it_replaces() -> None:
    it = executor(a_table("full", key=()), envelope=Flat())
    change = update(OID, [b"1", b"c", b"b"], [b"1", b"a", b"b"], "O")
    events = run(it, *transaction(change, identity="f"))
    assert json.loads(headers(events)["__before"]) == {"id": 1, "name": "a", "big": "b"}
    keyed = in_envelope("flat", change, full=True)
    assert "__before" not in headers(keyed)


def test_a_flat_truncate_is_a_null_without_a_key() -> None:
    events = in_envelope("flat", truncate(OID, flags=1))
    assert (events.values, events.keys) == ([None], [None])
    assert (headers(events)["__op"], headers(events)["__truncate"]) == ("t", "cascade")
    assert headers(events)["__deleted"] == "false"


def test_a_flat_message_is_its_prefix_and_content() -> None:
    events = in_envelope("flat", message("p", b"\0\xff"), messages=("p",))
    assert values(events) == [{"prefix": "p", "content": "AP8="}]
    assert headers(events)["__op"] == "m"
    assert "__table" not in headers(events)


# -- all of them


@pytest.mark.parametrize("name", ["binary", "structured", "flat"])
def test_an_unchanged_toasted_column_is_named_in_a_header(name: str) -> None:
    """D06"""
    events = in_envelope(name, update(OID, [b"1", b"x", UNCHANGED]))
    assert headers(events)["__unchanged"] == '["big"]'
    assert b"big" not in (events.values[0] or b"")


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_changed_key_leads_from_the_old_one_to_the_new_one(name: str) -> None:
    events = in_envelope(name, update(OID, [b"2", b"x", b"y"], [b"1", None, None]))
    assert events.keys == [b'{"id":1}', *([b'{"id":1}'] if name != "flat" else []), b'{"id":2}']
    assert headers(events, 0)["__debezium.newkey"] == '{"id":2}'
    assert headers(events, len(events) - 1)["__debezium.oldkey"] == '{"id":1}'
    assert events.ids[-1] == b"7001/slot/0/100/0/c"


@pytest.mark.parametrize("name", ENVELOPES)
def test_the_place_in_the_transaction_is_told_when_there_is_a_topic_for_transactions(name: str) -> None:
    events = in_envelope(name, insert(OID, b"1", b"a", b"b"), transaction_topic="shop.transaction")
    place = {"id": "7:256", "total_order": 1, "data_collection_order": 1}
    told = {
        "debezium": lambda: values(events)[0]["transaction"],
        "binary": lambda: json.loads(headers(events)["ce_transaction"]),
        "structured": lambda: json.loads(values(events)[0]["transaction"]),
        "flat": lambda: json.loads(headers(events)["__transaction"]),
    }
    assert told[name]() == place
    assert len(events.control) == 2


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_row_that_breaks_its_contract_keeps_the_headers_of_its_envelope(name: str) -> None:
    contract = {"type": "object", "properties": {"name": {"enum": ["good"]}}}
    change = insert(OID, b"1", b"bad", b"b")
    events, published = in_envelope(name, change, contract=contract), in_envelope(name, change)
    assert events.topics == ["shop.dead-letters"]
    assert events.values == published.values
    assert headers(events).items() >= headers(published).items()
    assert headers(events)["__connect.errors.topic"] == "shop.public.t"


@pytest.mark.parametrize("name", ENVELOPES)
def test_what_is_kept_for_a_table_does_not_outlive_its_transaction(name: str) -> None:
    it = executor(envelope=ENVELOPES[name](), messages=("p",))
    first = run(it, *transaction(insert(OID, b"1", b"a", b"b"), message("p", b"x")))
    again = run(it, *transaction(insert(OID, b"1", b"a", b"b"), message("p", b"x")))
    assert first.ids == again.ids
    if name == "debezium":
        assert [value["source"]["sequence"] for value in values(again)] == ['["256","50"]', '["256","99"]']
    else:
        assert first.headers == again.headers


@given(
    st.lists(st.one_of(st.none(), st.text(st.characters(exclude_characters="\0"))), min_size=2, max_size=2)
)
def test_a_row_is_the_same_bytes_in_all_envelopes(texts: list[str | None]) -> None:
    name, big = (None if text is None else text.encode(errors="replace") for text in texts)
    change = insert(OID, b"1", name, big)
    [row] = in_envelope("flat", change).values
    assert row is not None
    [debezium], [binary], [structured] = (
        in_envelope(name, change).values for name in ("debezium", "binary", "structured")
    )
    assert (debezium or b"").startswith(b'{"before":null,"after":%b,"source":' % row)
    assert binary == b'{"before":null,"after":%b}' % row
    assert (structured or b"").endswith(b',"data":{"before":null,"after":%b}}' % row)


# -- Debezium's, as its documentation has it

_TIMES = {"ts_ms": int, "ts_us": int, "ts_ns": int}
_SOURCE: Mapping[str, type | tuple[type, ...]] = {
    "version": str,
    "connector": str,
    "name": str,
    **_TIMES,
    "snapshot": str,
    "db": str,
    "sequence": str,
    "schema": str,
    "table": str,
    "txId": (int, type(None)),
    "lsn": int,
    "xmin": (int, type(None)),
}
_NULL = type(None)
_ROWS: Mapping[str, tuple[type, type]] = {
    "c": (_NULL, dict),
    "r": (_NULL, dict),
    "u": (dict, dict),
    "d": (dict, _NULL),
    "t": (_NULL, _NULL),
}


def read_debezium(value: Mapping[str, Any]) -> tuple[str, Any, Any]:
    """An event as a consumer takes it that was written after Debezium's documentation: an envelope without a schema, whose
    fields are all there, of the types that a connector for PostgreSQL gives them. Additions are passed over."""
    assert set(value) == {"before", "after", "source", "op", "transaction", *_TIMES}
    op = value["op"]
    before, after = _ROWS[op]
    assert isinstance(value["before"], before)
    assert isinstance(value["after"], after)
    for name, kind in _TIMES.items():
        assert type(value[name]) is kind
    for name, known in _SOURCE.items():
        assert type(value["source"][name]) in (known if isinstance(known, tuple) else (known,)), name
    assert value["ts_ns"] // 1_000_000 == value["ts_us"] // 1_000 == value["ts_ms"]
    source = value["source"]
    assert source["snapshot"] in (
        *("true", "first", "first_in_data_collection", "last_in_data_collection", "last"),
        *("false", "incremental"),
    )
    committed, lsn = json.loads(source["sequence"])
    assert committed is None or int(committed) >= 0
    assert int(lsn) == source["lsn"]
    if value["transaction"] is not None:
        kinds = {name: type(part) for name, part in value["transaction"].items()}
        assert kinds == {"id": str, "total_order": int, "data_collection_order": int}
    return op, value["before"], value["after"]


@pytest.mark.parametrize("topic", [None, "shop.transaction"])
def test_a_consumer_of_debeziums_json_reads_every_event(topic: str | None) -> None:
    """D02"""
    one, two = {"id": 1, "name": "a", "big": "b"}, {"id": 1, "name": "c", "big": "b"}
    it = executor(a_table("full"), transaction_topic=topic)
    snapshot = it.encode(
        SnapshotBatch([b"1\ta\tb\n"], table=a_table("full"), lsn=77, taken_us=5, marks={0: "last"})
    )
    stream = run(
        it,
        *transaction(
            insert(OID, b"1", b"a", b"b"),
            update(OID, [b"1", b"c", b"b"], [b"1", b"a", b"b"], "O"),
            delete(OID, b"1", b"c", b"b", kind="O"),
            truncate(OID),
            identity="f",
        ),
    )
    read = [read_debezium(value) for value in values(snapshot) + values(stream) if value is not None]
    assert read == [
        ("r", None, one),
        ("c", None, one),
        ("u", one, two),
        ("d", two, None),
        ("t", None, None),
    ]
    assert stream.keys[3] == b'{"id":1}'
    assert stream.values[3] is None, "a tombstone follows the delete"
    assert set(snapshot.headers + stream.headers) == {None}
