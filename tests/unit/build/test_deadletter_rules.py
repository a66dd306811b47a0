"""Which dead letters may be published after all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from liberator.build.deadletter import advice
from liberator.build.deadletter_rules import judge_of
from liberator.change import ReadHeaders
from liberator.config import from_options
from liberator.contract.store import ContractStore
from liberator.deadletter.letter import Letter, LetterId
from liberator.letters import CLASS, MESSAGE, STAGE, TOPIC

TOPIC_NAME = "shop.public.orders"
CONTRACT = {
    "type": "object",
    "properties": {"status": {"enum": ["new"]}, "note": {"type": "string"}},
    "required": ["note"],
}
ENVELOPES = ["debezium", "cloudevents", "structured", "flat"]


def settings(folder: Path, *more: str, mode: str = "log") -> Any:
    return from_options(
        {
            "source": "postgresql://localhost/x",
            "name": "shop",
            "mode": mode,
            "set": [f"schema.dir={folder}", *more],
        }
    )


def letter(value: object, headers: ReadHeaders = (), message: str = "", topic: str = TOPIC_NAME) -> Letter:
    said = {TOPIC: topic, MESSAGE: message}
    data = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Letter(LetterId(0, 0), 0, b"k", data, headers, said)


def event(envelope: str, row: dict[str, Any], unchanged: tuple[str, ...] = ()) -> Letter:
    """A row in an envelope, as it is in a dead letter."""
    headers: ReadHeaders = (("__unchanged", json.dumps(unchanged).encode()),) if unchanged else ()
    if envelope == "flat":
        return letter(row, (("__op", b"c"), *headers))
    if envelope == "debezium":
        return letter({"before": None, "after": row, "source": {"unchanged": list(unchanged)}})
    data = {"before": None, "after": row}
    return letter(data if envelope == "cloudevents" else {"specversion": "1.0", "data": data}, headers)


def judge(envelope: str, folder: Path, it: Letter, *, validate: bool = True) -> str | None:
    name = "cloudevents" if envelope == "structured" else envelope
    return judge_of(settings(folder, f"format.envelope={name}"), validate=validate)(it)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    ContractStore(tmp_path).write(TOPIC_NAME, CONTRACT)
    return tmp_path


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_a_row_is_judged_in_every_envelope(envelope: str, store: Path) -> None:
    assert judge(envelope, store, event(envelope, {"status": "new", "note": ""})) is None
    reason = judge(envelope, store, event(envelope, {"status": "secret", "note": ""}))
    assert reason is not None
    assert "/status" in reason
    assert "secret" not in reason
    assert judge(envelope, store, event(envelope, {"status": "secret"}), validate=False) is None


@pytest.mark.parametrize("now", ENVELOPES)
@pytest.mark.parametrize("envelope", ENVELOPES)
def test_a_row_is_judged_though_the_configuration_has_another_envelope_by_now(
    envelope: str, now: str, store: Path
) -> None:
    assert judge(now, store, event(envelope, {"status": "new"}, ("note",))) is None
    assert judge(now, store, event(envelope, {"status": "secret", "note": ""})) is not None


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_a_column_that_was_not_sent_is_not_missed(envelope: str, store: Path) -> None:
    assert judge(envelope, store, event(envelope, {"status": "new"})) is not None
    assert judge(envelope, store, event(envelope, {"status": "new"}, ("note",))) is None


@pytest.mark.parametrize(
    ("envelope", "it"),
    [
        ("debezium", letter({"before": {"status": "x"}, "after": None, "source": {}})),
        ("cloudevents", letter({"before": {"status": "x"}, "after": None})),
        ("flat", letter({"status": "x"}, (("__op", b"d"),))),
        ("debezium", letter(None)),
    ],
)
def test_what_holds_no_row_breaks_nothing(envelope: str, it: Letter, store: Path) -> None:
    assert judge(envelope, store, it) is None


def test_what_a_transform_failed_on_is_not_published_half_done(tmp_path: Path) -> None:
    whole = event("debezium", {"status": "new"})
    half = replace(whole, said={**whole.said, STAGE: "TRANSFORMATION"})
    assert "may show what that hides" in (judge("debezium", tmp_path, half) or "")
    assert judge("debezium", tmp_path, replace(half, value=None)) is not None
    assert judge("debezium", tmp_path, half, validate=False) is None


def test_the_newest_version_decides(store: Path) -> None:
    ContractStore(store).write(TOPIC_NAME, {"type": "object"})
    assert judge("debezium", store, event("debezium", {"status": "secret"})) is None


def test_text_in_place_of_a_value_needs_a_contract_that_allows_it(tmp_path: Path) -> None:
    row = {"before": None, "after": {"day": "no date"}, "source": {}}
    it = letter(row, message="/day: is no date (conversion, at the root)")
    assert "did not fit its type" in (judge("debezium", tmp_path, it) or "")
    ContractStore(tmp_path).write(TOPIC_NAME, {"type": "object", "properties": {"day": {"type": "string"}}})
    assert judge("debezium", tmp_path, it) is None


def test_an_event_of_an_outbox_is_judged_by_the_contract_of_its_type(tmp_path: Path) -> None:
    folder = tmp_path / "outbox.event.order" / "placed"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps({"type": "object", "required": ["id"]}))
    decide = judge_of(settings(tmp_path, mode="outbox"), validate=True)
    of_type: ReadHeaders = (("type", b"placed"),)
    topic = "outbox.event.order"
    assert decide(letter({"id": 1}, of_type, topic=topic)) is None
    assert "lacks id" in (decide(letter({}, of_type, topic=topic)) or "")
    assert decide(letter({}, (("type", b"other"),), topic=topic)) is None
    no_json = "/payload: is no JSON (json, at the root)"
    assert "no JSON" in (decide(letter(b"{", message=no_json, topic=topic)) or "")


@pytest.mark.parametrize("mode", ["log", "outbox"])
def test_what_carries_the_id_of_a_schema_that_it_breaks_is_published_only_when_that_is_asked_for(
    tmp_path: Path, mode: str
) -> None:
    with_registry = settings(
        tmp_path, "schema.registry=http://r:8081", "publish.url=kafka://b:9092", mode=mode
    )
    it = letter(b'\x00\x00\x00\x00\x07{"after":{}}')
    assert "the id of the schema" in (judge_of(with_registry, validate=True)(it) or "")
    assert judge_of(with_registry, validate=False)(it) is None


def test_nobody_is_told_to_redrive_what_is_then_refused_for_the_id_of_its_schema() -> None:
    said = {TOPIC: TOPIC_NAME, CLASS: "liberator.ContractError"}
    plain = replace(letter({"after": {}}), said=said)
    assert "then redrive it" in advice(plain)
    with_id = replace(plain, value=b"\x00\x00\x00\x00\x07" + (plain.value or b""))
    assert "then redrive it" not in advice(with_id)
    assert "--no-validate" in advice(with_id)


def test_an_event_of_an_outbox_that_belongs_nowhere_is_never_published(tmp_path: Path) -> None:
    decide = judge_of(settings(tmp_path, mode="outbox"), validate=False)
    nowhere = "/aggregatetype: can't be part of the name of a topic (topic, at the root)"
    assert decide(letter({}, message=nowhere)) == "nobody knows which topic it belongs to"


def test_an_outbox_with_an_envelope_says_that_the_letter_lacks_it(tmp_path: Path) -> None:
    decide = judge_of(settings(tmp_path, "source.outbox.envelope=[region]", mode="outbox"), validate=False)
    assert "payload alone" in (decide(letter({})) or "")
