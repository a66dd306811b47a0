"""The wire format of an outbox's events: real PostgreSQL, Kafka and registry, read as any other client reads it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from liberator.testing.proxy import Proxy
from liberator.testing.servers import Kafka, Registry
from tests.integration.contract.wire_format import Reader, Shop

CAPTURES = ["log", "poll", "message"]
TOPIC = "publish.topic='{name}.{aggregatetype}'"
PAID: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "string"}},
    "required": ["amount"],
}


class Outbox(Shop):
    """A connector from an outbox to Kafka, with a registry. capture: how it is read."""

    def __init__(self, capture: str, dsn: str, folder: Path, name: str, kafka: Kafka, registry: str) -> None:
        super().__init__(dsn, folder, name, kafka, registry)
        self.topic = f"{name}.order"
        self._capture = capture
        self.execute(
            "create table outbox (id uuid primary key default gen_random_uuid(), aggregatetype text, aggregateid text,"
            " type text, payload jsonb, position bigint generated always as identity)"
        )
        self.run()

    def publish(self, *options: str, mode: str = "outbox") -> list[str]:
        where = (f"source.outbox.capture={self._capture}", TOPIC)
        return super().publish(*where, "source.outbox.tombstones=true", *options, mode="outbox")

    def write(self, *events: tuple[str, Any]) -> None:
        """Of order 7: type and payload; None: NULL."""
        for type, payload in events:
            text = "null" if payload is None else f"'{json.dumps(payload)}'"
            if self._capture == "message":
                event = {"aggregatetype": "order", "aggregateid": "7", "type": type, "payload": payload}
                self.execute(f"select pg_logical_emit_message(true, 'outbox', '{json.dumps(event)}')")
            else:
                self.execute(f"insert into outbox values (default, 'order', '7', '{type}', {text}, default)")

    def keep(self, type: str, version: int, contract: dict[str, Any]) -> None:
        file = self.folder / "schemas" / self.topic / type / f"{version}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(contract))

    def values(self, reader: Reader) -> list[Any]:
        return [reader.value(event.value) for event in self.events()]


@pytest.fixture
def outbox(
    request: pytest.FixtureRequest,
    database: str,
    tmp_path: Path,
    unique: str,
    kafka: Kafka,
    registry: Registry,
) -> Outbox:
    return Outbox(request.param, database, tmp_path, unique, kafka, registry.url)


def captures(names: Sequence[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("outbox", names, indirect=True)


@captures(CAPTURES)
def test_every_event_carries_the_id_of_the_schema_of_its_type(outbox: Outbox, reader: Reader) -> None:
    """Keys stay text, a tombstone stays null, and a dead letter is what would have been published."""
    outbox.keep("Paid", 1, PAID)
    outbox.write(("Paid", {"amount": "9.90"}), ("Sent", [1]), ("Paid", {"amount": 9}), ("Paid", None))
    outbox.run()
    events = outbox.events()
    assert [event.key for event in events] == [b"7"] * 3
    assert [event.headers["type"] for event in events] == [b"Paid", b"Sent", b"Paid"]
    assert outbox.values(reader) == [{"amount": "9.90"}, [1], None]
    read = outbox.confluent_reads(len(events), text_keys=True)
    assert sorted(read, key=str) == [("7", None), ("7", [1]), ("7", {"amount": "9.90"})]
    paid, sent = (reader.id(event.value) for event in events[:2])
    assert reader.schema(paid)["required"] == ["amount"]
    assert "properties" not in reader.schema(sent), "without a contract anything is taken"
    assert reader.versions(f"{outbox.topic}-Paid") == reader.versions(f"{outbox.topic}-Sent") == [1]
    [bad] = outbox.events(f"{outbox.name}.dead-letters")
    assert reader.decoded(bad.value or b"", valid=False) == (paid, {"amount": 9})


@captures(["log"])
def test_the_next_version_of_a_contract_is_one_of_its_subject(outbox: Outbox, reader: Reader) -> None:
    outbox.keep("Paid", 1, PAID)
    outbox.write(("Paid", {"amount": "9.90"}))
    outbox.run()
    outbox.keep("Paid", 2, {**PAID, "properties": {**PAID["properties"], "currency": {"type": "string"}}})
    outbox.write(("Paid", {"amount": "9.90", "currency": "EUR"}))
    outbox.run()
    first, second = (reader.id(event.value) for event in outbox.events())
    assert first != second
    assert reader.versions(f"{outbox.topic}-Paid") == [1, 2]


@captures(["poll"])
def test_schemas_that_may_not_be_registered_are_put_there_by_the_command(
    outbox: Outbox, reader: Reader
) -> None:
    outbox.keep("Paid", 1, PAID)
    outbox.write(("Paid", {"amount": "9.90"}))
    assert "registry.not_registered" in outbox.run("schema.registry_register=false", code=1)
    assert outbox.events() == []
    register = outbox.command("schema", "register", "--mode", "outbox", "--registry", outbox.registry)
    outbox.done([*register, "--set", TOPIC])
    outbox.run("schema.registry_register=false")
    assert outbox.values(reader) == [{"amount": "9.90"}]


@captures(CAPTURES)
def test_what_was_registered_once_is_published_without_the_registry_and_a_new_type_waits_for_it(
    outbox: Outbox, reader: Reader, weather: Proxy
) -> None:
    """Nothing overtakes an event that waits for its schema, and nothing is lost when the process is killed meanwhile."""
    outbox.registry = weather.url(outbox.registry)
    outbox.write(("Paid", 1))
    outbox.run()
    weather.down()
    outbox.write(("Paid", 2))
    assert "is taken from the cache" in outbox.run()
    outbox.write(("Sent", 3), ("Paid", 4))

    def start() -> subprocess.Popen[bytes]:
        with (outbox.folder / "log").open("ab") as log:
            command, folder = outbox.publish(), outbox.folder
            return subprocess.Popen(
                command, cwd=folder, env=outbox.environment(), stdin=subprocess.DEVNULL, stderr=log
            )

    process = start()
    outbox.wait_for(lambda: "can't be reached" in outbox.log and "trying again" in outbox.log)
    process.kill()
    process.wait()
    assert outbox.values(reader) == [1, 2]
    process = start()
    try:
        outbox.wait_for(lambda: outbox.log.count("trying again") > 1)
        weather.up()
        outbox.wait_for(lambda: len(outbox.events()) >= 4)
    finally:
        process.kill()
        process.wait()
    assert outbox.values(reader)[:4] == [1, 2, 3, 4]
