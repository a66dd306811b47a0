"""A sidecar that publishes in the wire format: real Kafka and registry, read by confluent-kafka's deserializer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from liberator.cli import main
from liberator.testing.proxy import Proxy
from liberator.testing.servers import Kafka, Registry
from tests.integration.contract.wire_format import Reader, confluent_reads
from tests.integration.publish.topics import read
from tests.integration.sidecar.conftest import Client, Running

PAID: dict[str, Any] = {
    "type": "object",
    "properties": {"amount": {"type": "string"}},
    "required": ["amount"],
}


class Sidecars:
    """Sidecars of one name, one after the other."""

    def __init__(self, folder: Path, name: str, kafka: Kafka, registry: str) -> None:
        self._folder, self._name, self._kafka, self.registry = folder, name, kafka, registry
        self.topic = f"{name}.order"
        self.running: Running | None = None
        self.rules: dict[str, Any] = {}

    @property
    def document(self) -> dict[str, Any]:
        """What is in its file."""
        publish = {
            "url": f"kafka://{self._kafka.bootstrap}",
            "topic": "{name}.{aggregatetype}",
            "create_topics": {"partitions": 1, "replication": 1},
        }
        rules = {"registry": self.registry, **self.rules}
        about = {"connector": "sidecar", "name": self._name, "events": {"tombstones": True}}
        return {**about, "publish": publish, "schema": rules}

    def keep(self, version: int, contract: dict[str, Any]) -> None:
        file = self._folder / "schemas" / self.topic / "Paid" / f"{version}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(contract))

    def start(self) -> Client:
        """A new one, and a connection to it."""
        self.stop()
        self.running = Running(self._folder, **self.document)
        return self.running.until_ready()

    def stop(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None


@pytest.fixture
def sidecars(tmp_path: Path, unique: str, kafka: Kafka, registry: Registry) -> Iterator[Sidecars]:
    made = Sidecars(tmp_path, unique, kafka, registry.url)
    yield made
    made.stop()


def send(client: Client, type: str, id: str, payload: str = "") -> int:
    return client.post(f"/events/order/{type}", payload.encode(), Event_Id=id, Aggregate_Id="7").status


def test_events_carry_the_ids_of_their_types_and_come_once_over_versions(
    sidecars: Sidecars, kafka: Kafka, registry: Registry, reader: Reader
) -> None:
    sidecars.keep(1, PAID)
    client = sidecars.start()
    assert send(client, "Paid", "1", '{"amount": "9.90"}') == 202
    assert send(client, "Paid", "2", '{"amount": 9}') == 422
    assert send(client, "Sent", "3", "[1]") == 202
    assert send(client, "Paid", "4") == 202
    sidecars.keep(2, {**PAID, "properties": {**PAID["properties"], "note": {"type": "string"}}})
    client = sidecars.start()
    assert send(client, "Paid", "1", '{"amount": "9.90"}') == 200, "the same event, whatever its schema's id"
    assert send(client, "Paid", "5", '{"amount": "1", "note": ""}') == 202
    found = confluent_reads(kafka.bootstrap, registry.url, sidecars.topic, 4, text_keys=True)
    values: list[Any] = [{"amount": "9.90"}, [1], None, {"amount": "1", "note": ""}]
    assert found == [("7", value) for value in values]
    first, _, _, last = read(kafka.bootstrap, sidecars.topic)
    assert reader.schema(reader.id(first.value))["title"] == "Paid"
    assert reader.id(first.value) != reader.id(last.value)
    assert reader.versions(f"{sidecars.topic}-Paid") == [1, 2]


def test_without_the_registry_only_types_that_are_new_are_told_to_come_again(
    sidecars: Sidecars, weather: Proxy
) -> None:
    """Over a restart, too."""
    sidecars.registry = weather.url(sidecars.registry)
    assert send(sidecars.start(), "Paid", "1", "{}") == 202
    weather.down()
    client = sidecars.start()
    assert send(client, "Paid", "2", "{}") == 202
    refused = client.post("/events/order/Sent", b"{}", Event_Id="3")
    assert (refused.status, refused.body["code"]) == (503, "sidecar.unavailable")
    assert int(refused.headers["retry-after"]) > 0
    weather.up()
    assert send(client, "Sent", "3", "{}") == 202


def test_where_schemas_must_be_there_the_command_puts_them_there(
    sidecars: Sidecars, reader: Reader, tmp_path: Path
) -> None:
    sidecars.keep(1, PAID)
    sidecars.rules["registry_register"] = False
    client = sidecars.start()
    paid = "/events/order/Paid"
    refused = client.post(paid, b'{"amount": "1"}', Event_Id="1")
    assert (refused.status, refused.body["code"]) == (422, "registry.not_registered")
    file = tmp_path / "sidecar.yaml"
    file.write_text(json.dumps(sidecars.document))
    assert main(["schema", "register", str(file), "--registry", sidecars.registry]) == 0
    assert reader.versions(f"{sidecars.topic}-Paid") == [1]
    assert client.post(paid, b'{"amount": "1"}', Event_Id="1").status == 202
