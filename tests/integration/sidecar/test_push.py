"""Streams that are pushed to the application: the offset moves when it has answered 2xx."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from liberator.change import EncodedBatch
from liberator.consume.local import LocalConsumer
from liberator.errors import FunctionError
from liberator.publish.local import LocalPublisher
from liberator.testing.conformance.stream import Watcher
from liberator.testing.servers import Kafka
from tests.integration.sidecar.conftest import PATIENCE, Running
from tests.integration.sidecar.events import local_events

Start = Callable[..., Running]
TOPIC = "shipping.parcel"


class Application:
    """An endpoint. statuses: what it answers next; then 204. requests: what it got."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        application = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                application.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(application.statuses.pop(0) if application.statuses else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/inbox"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def values(self) -> list[Any]:
        """What it got, in order."""
        return [json.loads(body) for _, body in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def application() -> Iterator[Application]:
    application = Application()
    yield application
    application.close()


def until(condition: Callable[[], bool], what: Callable[[], object] = lambda: None) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def publish(folder: Path, *values: object, topic: str = TOPIC) -> None:
    batch = EncodedBatch()
    for number, value in enumerate(values):
        batch.add(topic, b'"7"', json.dumps(value).encode(), f"{topic}-{value}-{number}".encode())
    with closing(LocalPublisher(folder / "events")) as publisher:
        publisher.publish(batch, None)


def lag(folder: Path, group: str) -> int:
    """Events that the group has not done, past the code under test."""
    with closing(LocalConsumer(folder / "events", group)) as consumer:
        consumer.subscribe([TOPIC], Watcher())
        return sum(consumer.lag().values())


def pushing(application: Application, **more: Any) -> list[dict[str, Any]]:
    return [{"group": "inbox", "topics": [TOPIC], "url": application.url, **more}]


def test_events_are_pushed_in_order_and_the_offset_moves(
    start: Start, tmp_path: Path, application: Application
) -> None:
    publish(tmp_path, 1, 2, 3)
    running = start(push=pushing(application))
    until(lambda: len(application.requests) == 3)
    assert application.values() == [1, 2, 3]
    headers, _ = application.requests[0]
    assert headers["ce-id"] == f"{TOPIC}-1-0"
    until(lambda: lag(tmp_path, "inbox") == 0)
    running.stop()
    publish(tmp_path, 4)
    start(push=pushing(application))
    until(lambda: len(application.requests) == 4)
    assert application.values()[3] == 4


def test_an_event_is_sent_until_it_is_taken_and_the_next_one_waits(
    start: Start, tmp_path: Path, application: Application
) -> None:
    application.statuses = [503, 500, 429]
    publish(tmp_path, 1, 2)
    running = start(push=pushing(application))
    until(lambda: len(application.requests) == 5)
    assert application.values() == [1, 1, 1, 1, 2]
    status = running.until_ready().request("GET", "/push/inbox/status").body
    assert status["name"] == "inbox"
    assert status["invocations"]["failed"] == 3


def test_what_is_not_answered_is_not_done(start: Start, tmp_path: Path, application: Application) -> None:
    application.statuses = [503] * 1000
    publish(tmp_path, 1)
    running = start(push=pushing(application))
    until(lambda: len(application.requests) >= 2)
    running.stop()
    assert lag(tmp_path, "inbox") == 1
    application.statuses = []
    seen = len(application.requests)
    start(push=pushing(application))
    until(lambda: len(application.requests) == seen + 1)
    until(lambda: lag(tmp_path, "inbox") == 0)


def test_an_event_that_the_application_refuses_is_a_dead_letter(
    start: Start, tmp_path: Path, application: Application
) -> None:
    application.statuses = [422]
    publish(tmp_path, 1, 2)
    start(push=pushing(application, format="raw", headers={"Authorization": "secret-token"}))
    until(lambda: len(application.requests) == 2)
    until(lambda: len(local_events(tmp_path / "events", "inbox.dead-letters")) == 1)
    (dead,) = local_events(tmp_path / "events", "inbox.dead-letters")
    assert dead.raw_value == b"1"
    assert dead.headers["__connect.errors.topic"] == TOPIC
    assert application.requests[0][0]["authorization"] == "secret-token"
    until(lambda: lag(tmp_path, "inbox") == 0)


def test_what_the_policy_stops_for_ends_the_sidecar(
    start: Start, tmp_path: Path, application: Application
) -> None:
    application.statuses = [422]
    publish(tmp_path, 1)
    running = start(push=pushing(application, policy={"on_failure": "stop"}))
    running.wait()
    assert isinstance(running.failure, FunctionError)
    assert running.failure.code == "function.http_422"


def test_what_an_application_posts_another_one_gets(start: Start, application: Application) -> None:
    push = [{"group": "inbox", "topics": ["outbox.event.order"], "url": application.url}]
    client = start(push=push).until_ready()
    assert client.post("/events/order/OrderPlaced", b'{"n": 1}', Event_Id="1").status == 202
    until(lambda: len(application.requests) == 1)
    assert application.values() == [{"n": 1}]
    assert application.requests[0][0]["ce-type"] == "OrderPlaced"


def test_from_kafka(start: Start, application: Application, kafka: Kafka, unique: str) -> None:
    publish = {"url": f"kafka://{kafka.bootstrap}", "topic": f"{unique}.{{aggregatetype}}"}
    push = [{"group": unique, "topics": [f"{unique}.order"], "url": application.url}]
    client = start(name=unique, publish=publish, push=push).until_ready()
    for number in range(3):
        body = json.dumps(number).encode()
        reply = client.post("/events/order/OrderPlaced", body, Event_Id=str(number), Aggregate_Id="7")
        assert reply.status == 202
    until(lambda: len(application.requests) == 3)
    assert application.values() == [0, 1, 2]
