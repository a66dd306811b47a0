"""What a request says, and what it may not say."""

from __future__ import annotations

import json
from email.message import Message
from typing import Any

import pytest

from liberator.plan.outbox import Entry
from liberator.sidecar.answer import Refused
from liberator.sidecar.request import Reading, read_event

PLACED = "/events/order/OrderPlaced"
STRUCTURED = "application/cloudevents+json"
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/shop",
    "type": "OrderPlaced",
    "subject": "7",
    "time": "2026-11-22T08:00:00Z",
}


def entry_of(target: str, body: bytes = b"{}", reading: Reading | None = None, **headers: str) -> Entry:
    return read_event(target, _message(headers), body, reading or Reading())


def refusal_of(target: str, body: bytes = b"{}", reading: Reading | None = None, **headers: str) -> int:
    with pytest.raises(Refused) as caught:
        entry_of(target, body, reading, **headers)
    assert str(caught.value.answer.body["code"]).startswith("sidecar.")
    return caught.value.answer.status


def _message(headers: dict[str, str]) -> Message:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return message


def structured(**more: Any) -> bytes:
    return json.dumps({**EVENT, "data": {"total": "9.90"}, **more}).encode()


def test_path_and_headers_say_everything_but_the_payload() -> None:
    entry = entry_of(PLACED, b'{"total": 9.90}', Event_Id="e-1", Aggregate_Id="7")
    assert (entry.aggregate_type, entry.type) == (b"order", b"OrderPlaced")
    assert (entry.id, entry.aggregate_id) == (b"e-1", b"7")
    assert entry.payload == b'{"total": 9.90}'
    assert entry.timestamp is None


def test_the_query_may_say_it_too_and_wins() -> None:
    entry = entry_of(f"{PLACED}?id=e-2&aggregate_id=8&header.Tenant=a%20b", Event_Id="e-1")
    assert (entry.id, entry.aggregate_id) == (b"e-2", b"8")
    assert entry.headers == (("Tenant", b"a b"),)


def test_names_in_the_path_are_percent_encoded() -> None:
    assert entry_of("/events/order/order%2Fplaced").type == b"order/placed"


def test_an_event_without_an_id_gets_one_of_its_own() -> None:
    first, second = entry_of(PLACED).id, entry_of(PLACED).id
    assert first
    assert first != second


def test_without_an_aggregate_id_there_is_no_key() -> None:
    assert entry_of(PLACED).aggregate_id is None


def test_headers_become_headers_when_they_are_configured_or_called_so() -> None:
    reading = Reading(headers=("traceparent", "absent"))
    entry = entry_of(PLACED, reading=reading, Traceparent="00-1", Event_Header_Tenant="b", X_Other="c")
    assert entry.headers == (("traceparent", b"00-1"), ("tenant", b"b"))


@pytest.mark.parametrize("name", ["id", "type", "__connect.errors.topic", ""])
def test_headers_that_mean_something_else_are_refused(name: str) -> None:
    assert refusal_of(f"{PLACED}?header.{name}=x") == 400


def test_text_in_headers_is_utf_8() -> None:
    sent = "Zoë".encode().decode("latin-1")  # as Python's server hands it on
    assert entry_of(PLACED, Aggregate_Id=sent).aggregate_id == "Zoë".encode()


def test_the_time_of_the_event_may_be_said() -> None:
    assert entry_of(PLACED, Event_Time="1970-01-01T00:00:01Z").timestamp == 1000
    assert refusal_of(PLACED, Event_Time="yesterday") == 400


def test_a_structured_cloudevent_says_everything() -> None:
    entry = entry_of("/events/order", structured(), Content_Type=STRUCTURED)
    assert (entry.id, entry.type, entry.aggregate_id) == (b"e-1", b"OrderPlaced", b"7")
    assert entry.payload == b'{"total": "9.90"}'
    assert entry.timestamp == 1_795_334_400_000


def test_the_data_of_a_cloudevent_stays_as_it_was_written() -> None:
    data = b'{"n": 1.10, "big": 123456789012345678901234567890, "n":2 }'
    body = json.dumps(EVENT).encode()[:-1] + b', "data" : ' + data + b"}"
    assert entry_of("/events/order", body, Content_Type=STRUCTURED).payload == data


def test_a_cloudevent_may_name_its_aggregate_itself() -> None:
    body = structured(aggregatetype="order", aggregateid="9", partitionkey="8")
    entry = entry_of("/events", body, Content_Type=f"{STRUCTURED}; charset=UTF-8")
    assert (entry.aggregate_type, entry.aggregate_id) == (b"order", b"9")


def test_the_partition_key_of_a_cloudevent_is_the_key() -> None:
    body = structured(partitionkey="8")
    assert entry_of("/events/order", body, Content_Type=STRUCTURED).aggregate_id == b"8"


def test_attributes_of_a_cloudevent_become_headers_when_they_are_configured() -> None:
    body = structured(tenant="b", traceparent="00-2")
    entry = entry_of("/events/order", body, Reading(headers=("tenant",)), Content_Type=STRUCTURED)
    assert entry.headers == (("tenant", b"b"),)


def test_a_binary_cloudevent_is_understood() -> None:
    entry = entry_of(
        "/events/order",
        b'{"total": 1}',
        ce_specversion="1.0",
        ce_id="e-1",
        ce_source="/shop",
        ce_type="OrderPlaced",
        ce_subject="Z%C3%BCrich",
    )
    assert (entry.id, entry.aggregate_id) == (b"e-1", "Zürich".encode())
    assert entry.payload == b'{"total": 1}'


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        b"[]",
        b"{}",
        json.dumps({**EVENT, "id": ""}).encode(),
        json.dumps({**EVENT, "specversion": "0.3"}).encode(),
        json.dumps(EVENT).encode(),  # without data
    ],
)
def test_what_is_no_cloudevent_is_refused(body: bytes) -> None:
    assert refusal_of("/events/order", body, Content_Type=STRUCTURED) == 400


def test_path_and_cloudevent_may_not_contradict_each_other() -> None:
    assert refusal_of("/events/order/OrderPaid", structured(), Content_Type=STRUCTURED) == 400


@pytest.mark.parametrize("path", ["/events/", "/events/order/", "/events/a/b/c", "/event/order/x", "/"])
def test_other_paths_lead_nowhere(path: str) -> None:
    assert refusal_of(path) == 404


@pytest.mark.parametrize("path", ["/events", "/events/order"])
def test_without_a_cloudevent_the_path_must_name_all(path: str) -> None:
    assert refusal_of(path) == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/cloudevents-batch+json"])
def test_other_content_types_are_refused(kind: str) -> None:
    assert refusal_of(PLACED, Content_Type=kind) == 415


def test_an_empty_body_is_refused_unless_it_means_a_tombstone() -> None:
    assert refusal_of(PLACED, b"") == 400
    assert entry_of(PLACED, b"", Reading(empty=True)).payload is None


def test_unknown_parameters_are_refused() -> None:
    assert refusal_of(f"{PLACED}?aggregateId=7") == 400


@pytest.mark.parametrize("name", ["id", "aggregate_id"])
def test_ids_do_not_break_lines(name: str) -> None:
    assert refusal_of(f"{PLACED}?{name}=a%0Ab") == 400


def test_a_cloudevent_that_is_nested_too_deeply_is_refused() -> None:
    body = json.dumps(EVENT).encode()[:-1] + b', "data": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    assert refusal_of("/events/order", body, Content_Type=STRUCTURED) == 400


def test_endless_ids_are_refused() -> None:
    assert refusal_of(PLACED, Event_Id="x" * 1025) == 400
