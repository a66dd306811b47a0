"""The sidecar as an application on the same machine sees it, in front of a local log."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from liberator.build.sidecar import publishers
from liberator.change import EncodedBatch, State
from liberator.config.sidecar import SidecarConfig
from liberator.errors import PreconditionError, PublishError
from liberator.protocols import OwningPublisher, Publisher
from liberator.testing.publisher import MemoryPublisher
from tests.integration.sidecar.conftest import PATIENCE, Client, Running
from tests.integration.sidecar.events import local_events

PLACED = "/events/order/OrderPlaced"
TOPIC = "outbox.event.order"

Start = Callable[..., Running]


@pytest.fixture
def client(start: Start) -> Client:
    return start().until_ready()


def contract(folder: Path, **schema: Any) -> None:
    path = folder / "schemas" / TOPIC / "OrderPlaced" / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"type": "object", **schema}))


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_an_event_is_in_the_topic_when_it_is_answered(start: Start, tmp_path: Path, delivery: str) -> None:
    client = start(publish={"url": "local:events", "delivery": delivery}).until_ready()
    reply = client.post(PLACED, b'{"total": 9.90}', Event_Id="7-1", Aggregate_Id="7", Event_Header_Tenant="b")
    assert reply.status == 202
    assert reply.body == {"id": "7-1", "topic": TOPIC}
    (event,) = local_events(tmp_path / "events", TOPIC)
    assert (event.raw_key, event.raw_value) == (b"7", b'{"total": 9.90}')
    assert event.headers == {"id": "7-1", "type": "OrderPlaced", "tenant": "b"}


@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_an_event_sent_again_is_not_published_again_across_a_restart(
    start: Start, tmp_path: Path, delivery: str
) -> None:
    publish = {"url": "local:events", "delivery": delivery}
    first = start(publish=publish)
    client = first.until_ready()
    assert client.post(PLACED, b'{"n": 1}', Event_Id="7-1").status == 202
    again = client.post(PLACED, b'{"n": 1}', Event_Id="7-1", traceparent="another")
    assert (again.status, again.body["repeated"]) == (200, True)
    first.stop()
    client = start(publish=publish).until_ready()
    assert client.post(PLACED, b'{"n": 1}', Event_Id="7-1").status == 200
    assert client.post(PLACED, b'{"n": 2}', Event_Id="7-1").status == 409
    assert client.post("/events/order/OrderPaid", b'{"n": 1}', Event_Id="7-1").status == 409
    assert len(local_events(tmp_path / "events", TOPIC)) == 1


def test_a_structured_cloudevent_is_taken(client: Client, tmp_path: Path) -> None:
    event = {
        "specversion": "1.0",
        "id": "c-1",
        "source": "/shop",
        "type": "OrderPlaced",
        "subject": "7",
        "time": "2026-11-22T08:00:00Z",
        "data": {"total": "9.90"},
    }
    reply = client.post("/events/order", json.dumps(event), Content_Type="application/cloudevents+json")
    assert reply.status == 202
    (found,) = local_events(tmp_path / "events", TOPIC)
    assert (found.raw_key, found.raw_value) == (b"7", b'{"total": "9.90"}')
    assert found.headers == {"id": "c-1", "type": "OrderPlaced"}
    assert found.timestamp == 1_795_334_400_000


def test_a_payload_that_breaks_its_contract_is_refused_and_nowhere_in_the_log(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    contract(tmp_path, properties={"total": {"type": "string"}}, required=["total"])
    client = start().until_ready()
    reply = client.post(PLACED, b'{"total": 4711}', Event_Id="7-1")
    assert reply.status == 422
    assert (reply.body["path"], reply.body["rule"]) == ("/total", "type")
    assert reply.body["code"] == "sidecar.invalid"
    assert client.post(PLACED, b'{"total": "4711"}', Event_Id="7-1").status == 202
    assert len(local_events(tmp_path / "events", TOPIC)) == 1
    assert "4711" not in caplog.text


def test_what_is_no_json_is_refused(client: Client) -> None:
    reply = client.post(PLACED, b"{")
    assert (reply.status, reply.body["rule"]) == (422, "json")


def test_an_aggregate_that_fits_into_no_topic_is_refused(client: Client) -> None:
    reply = client.post("/events/or%20der/OrderPlaced")
    assert (reply.status, reply.body["rule"]) == (422, "topic")


def test_a_contract_that_can_not_be_read_is_our_fault(start: Start, tmp_path: Path) -> None:
    contract(tmp_path, pattern="(")
    assert start().until_ready().post(PLACED).status == 500


def test_a_payload_that_is_nested_too_deeply_is_refused(client: Client) -> None:
    assert client.post(PLACED, b"[" * 50_000 + b"]" * 50_000).status == 422


def test_a_body_that_is_too_large_is_refused(start: Start) -> None:
    client = start(limits={"event": 1000}).until_ready()
    reply = client.post(PLACED, b'"' + b"x" * 200_000 + b'"')
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert client.post(PLACED, b"1" * 1000).status == 202  # on a new connection


def test_a_body_that_is_too_large_is_refused_in_chunks_too(start: Start) -> None:
    client = start(limits={"event": 1000}).until_ready()
    assert client.post(PLACED, iter([b'"', b"x" * 998, b'"', b" "])).status == 413


def test_bodies_may_come_in_chunks(client: Client, tmp_path: Path) -> None:
    assert client.post(PLACED, iter([b'{"a":', b" 1", b"}"])).status == 202
    (event,) = local_events(tmp_path / "events", TOPIC)
    assert event.raw_value == b'{"a": 1}'


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: -2\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
    ],
)
def test_a_body_of_unclear_length_ends_the_connection(start: Start, head: bytes) -> None:
    running = start()
    running.until_ready()
    answer = running.raw(b"POST /events/a/b HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n{}")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "chunk", [b"-2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"\r\n", b"fffffffff\r\n"]
)
def test_chunks_that_are_none_end_the_connection(start: Start, chunk: bytes) -> None:
    running = start()
    running.until_ready()
    head = b"POST /events/a/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert running.raw(head + chunk).startswith(b"HTTP/1.1 400 ")


def test_compressed_bodies_are_refused(client: Client) -> None:
    assert client.post(PLACED, b"{}", Content_Encoding="gzip").status == 415


def test_web_pages_may_not_publish(client: Client) -> None:
    assert client.post(PLACED, b"{}", Origin="http://evil.example").status == 403


def test_events_are_posted_and_pages_are_read(client: Client) -> None:
    assert client.request("GET", PLACED).status == 405
    reply = client.request("DELETE", PLACED)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


def test_a_connection_is_kept(client: Client) -> None:
    client.post(PLACED)
    before = client.connection.sock
    client.post(PLACED)
    assert client.connection.sock is before


def test_it_tells_what_it_does(client: Client) -> None:
    client.post(PLACED)
    assert client.request("GET", "/health/live").status == 200
    assert client.request("GET", "/status").body["events"]["durable"] == 1
    assert b"liberator_events" in client.request("GET", "/metrics").raw


def test_several_hundred_at_once_are_each_answered_once(start: Start, tmp_path: Path) -> None:
    running = start()
    running.until_ready()

    def send(sender: int) -> list[int]:
        client = running.client()
        return [client.post(PLACED, b"{}", Event_Id=f"{sender}-{n % 4}").status for n in range(5)]

    with ThreadPoolExecutor(200) as threads:
        answers = [status for each in threads.map(send, range(200)) for status in each]
    assert answers.count(202) == 800
    assert answers.count(200) == 200
    ids = [event.id for event in local_events(tmp_path / "events", TOPIC)]
    assert (len(ids), len(set(ids))) == (800, 800)


class Unreachable:
    """A broker that comes later."""

    def __init__(self) -> None:
        self.there = False
        self.publisher = MemoryPublisher()

    def __call__(self) -> MemoryPublisher:
        if not self.there:
            raise PublishError("no broker answers", code="publish.unreachable", retryable=True)
        return self.publisher


def test_without_a_broker_it_says_so_and_nothing_is_done(start: Start) -> None:
    broker = Unreachable()
    running = start(broker)
    client = running.client()
    reply = client.post(PLACED, b"{}", Event_Id="1")
    assert (reply.status, reply.body["code"]) == (503, "sidecar.unavailable")
    assert int(reply.headers["retry-after"]) >= 1
    assert client.request("GET", "/health/live").status == 200
    assert client.request("GET", "/health/ready").status == 503
    broker.there = True
    assert running.until_ready().post(PLACED, b"{}", Event_Id="1").status == 202
    assert [event.id for event in broker.publisher.events] == [b"1"]


def test_an_event_that_is_not_confirmed_in_time_is_not_published_twice(start: Start) -> None:
    broker = Unreachable()
    broker.there = True
    client = start(broker, events={"timeout": "100ms"}).until_ready()
    broker.publisher.stall()
    reply = client.post(PLACED, b"{}", Event_Id="1")
    assert (reply.status, reply.body["code"]) == (503, "sidecar.unconfirmed")
    assert "retry-after" in reply.headers
    broker.publisher.go_on()
    statuses = {503}
    while 503 in statuses:  # until the writer has seen it
        statuses = {client.post(PLACED, b"{}", Event_Id="1").status}
    assert statuses == {200}
    assert len(broker.publisher.events) == 1


def test_it_answers_what_is_under_way_before_it_ends(start: Start) -> None:
    broker = Unreachable()
    broker.there = True
    running = start(broker)
    client, idle = running.until_ready(), running.until_ready()
    broker.publisher.stall()
    with ThreadPoolExecutor(2) as threads:
        answer = threads.submit(client.post, PLACED, b"{}", Event_Id="1")
        while broker.publisher.flush(0):
            time.sleep(0.005)
        running.sidecar.stop()
        while _listens(running.port):
            time.sleep(0.005)
        late = idle.post(PLACED, b"{}", Event_Id="2")
        assert late.body["code"] == "sidecar.stopping"
        broker.publisher.go_on()
        assert answer.result(PATIENCE).status == 202
    assert late.headers["connection"] == "close"
    running.stop()
    assert running.failure is None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_that_is_taken_is_told(start: Start) -> None:
    port = start().port
    with pytest.raises(PreconditionError) as caught:
        start(listen=f"127.0.0.1:{port}", name="other")
    assert caught.value.code == "sidecar.port_in_use"


def test_a_second_one_of_the_same_name_ends(start: Start) -> None:
    start().until_ready().post(PLACED)
    second = start()
    second.wait()
    assert isinstance(second.failure, PreconditionError)
    assert second.failure.code == "sidecar.ids_in_use"


class Torn:
    """A publisher that is lost while it commits. committed: the transaction is there nevertheless."""

    def __init__(self, publisher: Publisher, committed: bool) -> None:
        self._publisher = cast(OwningPublisher, publisher)
        self._committed = committed
        self.owns_state = True

    def publish(self, batch: EncodedBatch, state: State | None, inside: State | None = None) -> None:
        if self._committed:
            self._publisher.publish(batch, state, inside)
        raise PublishError("the broker went away", code="publish.unreachable", retryable=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)


@pytest.mark.parametrize("committed", [True, False])
def test_an_event_whose_commit_was_in_doubt_is_there_once(
    start: Start, tmp_path: Path, committed: bool
) -> None:
    document = {"connector": "sidecar", "name": "shop", "publish": {"url": "local:events"}}
    config = SidecarConfig.model_validate(document, context={"folder": tmp_path})
    make = publishers(config)
    sessions = iter(range(100))
    client = start(lambda: Torn(make(), committed) if next(sessions) == 0 else make()).until_ready()
    assert client.post(PLACED, b"{}", Event_Id="1").status == 202
    assert client.post(PLACED, b"{}", Event_Id="1").status == 200
    assert [event.id for event in local_events(tmp_path / "events", TOPIC)] == ["1"]


def test_the_events_of_another_one_of_its_name_say_nothing_of_its_own(start: Start, tmp_path: Path) -> None:
    """Each has a file of its own; the first one is lost in the middle of publishing, and the second one goes on."""
    document = {"connector": "sidecar", "name": "shop", "publish": {"url": "local:events"}}
    config = SidecarConfig.model_validate(document, context={"folder": tmp_path})
    make = publishers(config)
    first = start(lambda: Torn(make(), committed=False), events={"timeout": "200ms"})
    assert first.until_ready().post(PLACED, b"{}", Event_Id="1").status == 503
    first.stop()
    second = start(idempotency={"file": "other.db"})
    client = second.until_ready()
    assert [client.post(PLACED, b"{}", Event_Id=f"other-{n}").status for n in range(5)] == [202] * 5
    second.stop()
    assert start().until_ready().post(PLACED, b"{}", Event_Id="1").status == 202
