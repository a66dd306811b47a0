"""The sidecar in front of a real Kafka, with each of the two clients and both deliveries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any, Literal

import pytest

from liberator.build.sidecar import publishers
from liberator.config.sidecar import SidecarConfig
from liberator.kafka import Client as KafkaClient
from liberator.testing.publisher import Published
from liberator.testing.servers import Kafka, KafkaServer
from tests.integration.publish.topics import create, read
from tests.integration.sidecar.conftest import PATIENCE, Client, Running

Start = Callable[..., Running]
Delivery = Literal["exactly_once", "at_least_once"]

CLIENTS: tuple[KafkaClient, ...] = ("confluent", "kafka-python")
BOTH = list(product(CLIENTS, ("exactly_once", "at_least_once")))


class Publishing:
    """Sidecars of one name, in front of topics that nobody else has."""

    def __init__(
        self, start: Start, bootstrap: str, name: str, client: KafkaClient, delivery: Delivery
    ) -> None:
        self._start, self._client = start, client
        self._bootstrap, self._name, self.topic = bootstrap, name, f"{name}.order"
        self.publish: dict[str, Any] = {
            "url": f"kafka://{bootstrap}",
            "topic": "{name}.{aggregatetype}",
            "delivery": delivery,
            "create_topics": {"partitions": 2, "replication": 1},
        }

    def start(self, **config: Any) -> Running:
        document = {"name": self._name, "publish": self.publish, **config}
        checked = SidecarConfig.model_validate({"connector": "sidecar", **document})
        return self._start(publishers(checked, self._client), **document)

    def events(self) -> list[Published]:
        return read(self._bootstrap, self.topic)


@pytest.fixture(params=BOTH, ids=lambda both: "-".join(both))
def publishing(request: pytest.FixtureRequest, start: Start, kafka: Kafka, unique: str) -> Publishing:
    return Publishing(start, kafka.bootstrap, unique, *request.param)


def placed(client: Client, id: str, body: bytes = b"{}") -> int:
    return client.post("/events/order/OrderPlaced", body, Event_Id=id, Aggregate_Id="7").status


def test_events_are_there_once_however_often_they_are_sent(publishing: Publishing) -> None:
    running = publishing.start()
    client = running.until_ready()
    assert [placed(client, "1"), placed(client, "2"), placed(client, "1")] == [202, 202, 200]
    running.stop()
    client = publishing.start().until_ready()
    assert [placed(client, "2"), placed(client, "3"), placed(client, "3", b"[]")] == [200, 202, 409]
    events = publishing.events()
    assert [event.id for event in events] == [b"1", b"2", b"3"]
    assert {event.key for event in events} == {b"7"}
    assert {event.headers["type"] for event in events} == {b"OrderPlaced"}


def test_many_requests_share_a_flush(publishing: Publishing) -> None:
    running = publishing.start()
    running.until_ready()

    def send(sender: int) -> list[int]:
        client = running.client()
        return [placed(client, f"{sender}-{n}") for n in range(5)]

    with ThreadPoolExecutor(60) as threads:
        answers = [status for each in threads.map(send, range(60)) for status in each]
    assert set(answers) == {202}
    ids = [event.id for event in publishing.events()]
    assert (len(ids), len(set(ids))) == (300, 300)


def test_what_a_topic_does_not_take_is_refused_and_its_neighbours_are_not(
    publishing: Publishing, kafka: Kafka
) -> None:
    create(kafka.bootstrap, publishing.topic, max_message_bytes="2000")
    client = publishing.start().until_ready()
    large = b'"' + bytes(range(97, 122)) * 400 + b'"'

    def until_taken(id: str, body: bytes) -> int:
        end = time.monotonic() + PATIENCE
        while (status := placed(client, id, body)) == 503 and time.monotonic() < end:
            time.sleep(0.05)
        return status

    assert until_taken("1", b"{}") == 202
    assert until_taken("2", large) == 413
    assert until_taken("3", b"{}") == 202
    assert until_taken("2", large) == 413
    assert [event.id for event in publishing.events()] == [b"1", b"3"]


def test_a_topic_that_is_missing_is_told(publishing: Publishing) -> None:
    publishing.publish["create_topics"] = False
    client = publishing.start().until_ready()
    reply = client.post("/events/order/OrderPlaced")
    assert (reply.status, reply.body["code"]) == (422, "publish.unknown_topic")


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    """A broker that may be frozen."""
    with KafkaServer() as server:
        yield server


@pytest.mark.parametrize("both", BOTH, ids="-".join)
def test_while_the_broker_does_not_answer_clients_are_told_to_come_again(
    start: Start, broker: KafkaServer, unique: str, both: tuple[KafkaClient, Delivery]
) -> None:
    """D69: nothing is lost, and nothing comes twice."""
    publishing = Publishing(start, broker.bootstrap, unique, *both)
    running = publishing.start(events={"timeout": "1s"})
    client = running.until_ready()
    while placed(client, "1") == 503:  # a second is not much on a busy machine
        pass
    broker.pause()
    try:
        reply = client.post("/events/order/OrderPlaced", b"{}", Event_Id="2", Aggregate_Id="7")
        assert reply.status == 503
        assert "retry-after" in reply.headers
        end = time.monotonic() + PATIENCE
        while client.request("GET", "/health/ready").status == 200:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert placed(client, "3") == 503
    finally:
        broker.resume()
    end = time.monotonic() + PATIENCE
    for id in ("2", "3"):
        while placed(client, id) == 503:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert [event.id for event in publishing.events()] == [b"1", b"2", b"3"]
