"""Webhooks as users run them: events are posted, a function runs, the answer says what became of them."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from liberator.signature import secret_of, signed
from liberator.testing.servers import Kafka
from liberator.testing.servers.process import free_port
from tests.acceptance.sink import PATIENCE, Broker, KafkaBroker, LocalBroker, Sink, numbered

SECRET, OLDER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "an older secret of ours"


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Hook:
    """A webhook that runs."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.port = free_port()

    def start(
        self, function: str, python: str = "", *, trigger: str = "", more: str = ""
    ) -> subprocess.Popen[bytes]:
        """Run it, and wait until it listens."""
        on = f"{{on: webhook, listen: '127.0.0.1:{self.port}', path: /hook, {trigger}}}"
        self.sink.write(f"trigger: {on}\nfunction: {function}\n{more}", python)
        process = self.sink.launch()
        self.sink.wait_for(self._listens, "its address")
        return process

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
            given = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, json.loads(text) if text else None, given)
        finally:
            connection.close()

    def post(
        self, body: bytes, id: str = "e1", *, secret: str | None = None, age: int = 0, **headers: str
    ) -> Answer:
        """Signed if there is a secret."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret is None:
            return self.send("POST", "/hook", body, {"webhook-id": id, **named})
        ours = signed(secret_of(secret), id, int(time.time()) - age, body)
        return self.send("POST", "/hook", body, {**ours, **named})


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    sink = Sink(tmp_path / "sink", "hook", LocalBroker(tmp_path / "events"))
    yield Hook(sink)
    sink.close()


def test_only_whoever_knows_a_secret_starts_the_function(hook: Hook) -> None:
    """D85: right and rotated are taken; tampered, unsigned, foreign and old are not."""
    hook.start("{python: 'functions:note'}", trigger=f"secret: ['{SECRET}', '{OLDER}']")
    body = b'{"n":  1.10}'
    good = signed(secret_of(SECRET), "e9", int(time.time()), body)
    answers = {
        "right": hook.post(body, "e1", secret=SECRET),
        "rotated": hook.post(body, "e2", secret=OLDER),
        "tampered": hook.send("POST", "/hook", body + b" ", good),
        "unsigned": hook.post(body),
        "foreign": hook.post(body, secret="a secret of somebody else"),
        "old": hook.post(body, secret=SECRET, age=360),
        "from the future": hook.post(body, secret=SECRET, age=-360),
        "nearly old": hook.post(body, "e3", secret=SECRET, age=240),
    }
    statuses = {name: answer.status for name, answer in answers.items()}
    assert statuses == {
        "right": 200,
        "rotated": 200,
        "tampered": 401,
        "unsigned": 401,
        "foreign": 401,
        "old": 401,
        "from the future": 401,
        "nearly old": 200,
    }
    assert [call["ids"] for call in hook.sink.calls()] == [["e1"], ["e2"], ["e3"]]
    assert not any(secret in hook.sink.log for secret in (SECRET, OLDER))


def test_the_answer_has_what_the_function_gives_and_it_is_published(hook: Hook) -> None:
    process = hook.start(
        "{python: 'functions:double'}",
        """
        def double(events, context):
            [event] = events
            assert "authorization" not in event.headers
            return [{"n": 2 * event.value["n"], "from": event.headers["x-from"]}]
        """,
        more=f"output: {{topic: doubled, url: '{hook.sink.broker.url}'}}",
    )
    answer = hook.post(b'{"n": 21}', "e7", x_from="tests", authorization="Bearer x")
    expected = {"n": 42, "from": "tests"}
    assert answer == (200, {"id": "e7", "outputs": [expected]}, answer.headers)
    [record] = hook.sink.broker.read("doubled")
    assert json.loads(record.value or b"") == expected
    hook.sink.stop(process)


def test_what_is_no_event_of_ours_is_refused(hook: Hook) -> None:
    hook.start("{python: 'functions:note'}", trigger="largest: 1KiB")
    assert hook.send("POST", "/other", b"{}", {}).status == 404
    for method in ("GET", "PUT", "DELETE"):
        answer = hook.send(method, "/hook", None, {})
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert hook.post(b"x" * 1025).status == 413
    assert hook.post(b"{}", origin="https://foreign.example").status == 403
    assert hook.post(b"{}", content_encoding="gzip").status == 415
    assert hook.sink.calls() == []
    assert hook.post(b"x" * 1024).body["outputs"] == []
    assert hook.sink.given() == ["x" * 1024], "text that is no JSON comes as it is"


def test_the_answer_says_how_the_function_failed_and_nothing_of_what_it_said(hook: Hook) -> None:
    hook.start(
        "{python: 'functions:choose'}",
        """
        import time
        from liberator import PermanentError

        def choose(events, context):
            note(events, context)
            [event] = events
            if event.value == "raise":
                raise ValueError("about a customer")
            if event.value == "never":
                raise PermanentError("about a customer")
            if event.value == "hang":
                time.sleep(600)
            if event.value == "die":
                os._exit(3)
        """,
        more="policy: {timeout: 5s}",
    )
    answers = {
        word: hook.post(json.dumps(word).encode(), word) for word in ("raise", "never", "die", "hang", "fine")
    }
    assert {word: answer.status for word, answer in answers.items()} == {
        "raise": 503,
        "never": 422,
        "die": 503,
        "hang": 504,
        "fine": 200,
    }
    assert "retry-after" in answers["raise"].headers
    assert not any("customer" in json.dumps(answer.body) for answer in answers.values())
    assert [call["attempt"] for call in hook.sink.calls()] == [1] * 5, "who posts it tries again"


def test_an_event_that_is_posted_again_starts_the_function_once(hook: Hook) -> None:
    """D83."""
    hook.start("{python: 'functions:note'}", more="policy: {idempotency: {store: 'sqlite:done.db'}}")
    assert [hook.post(b"{}", id).status for id in ("e1", "e1", "e2")] == [200, 200, 200]
    assert [call["ids"] for call in hook.sink.calls()] == [["e1"], ["e2"]]


def test_requests_do_not_wait_for_each_other_and_each_gets_its_own_answer(hook: Hook) -> None:
    hook.start(
        "{python: 'functions:meet', in_process: true}",
        """
        import threading
        together = threading.Barrier(4)

        def meet(events, context):
            together.wait(120)
            return {"mine": events[0].value}
        """,
        more="scale: {workers: {max: 4}}",
    )
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: hook.post(b"%d" % n, f"e{n}"), range(4)))
    assert [answer.body["outputs"] for answer in answers] == [[{"mine": n}] for n in range(4)]


def test_what_is_under_way_is_answered_before_it_ends(hook: Hook) -> None:
    process = hook.start(
        "{python: 'functions:slow'}",
        """
        import time

        def slow(events, context):
            note(events, context)
            time.sleep(1.5)
            return "late"
        """,
    )
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(hook.post(b"1")))
    thread.start()
    hook.sink.wait_for(lambda: bool(hook.sink.calls()), "the call")
    hook.sink.stop(process)
    thread.join()
    assert [(answer.status, answer.body["outputs"]) for answer in answers] == [(200, ["late"])]


def test_there_are_no_more_connections_than_the_memory_holds_bodies(hook: Hook) -> None:
    hook.start("{python: 'functions:note', in_process: true}", more="limits: {memory: 8MiB}")
    with ExitStack() as stack:
        for _ in range(8):
            connection = socket.create_connection(("127.0.0.1", hook.port))
            stack.callback(connection.close)
            connection.sendall(b"POST /hook HTTP/1.1\r\nContent-Length: 2\r\n\r\n{")
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            hook.post(b"{}")
        connection.sendall(b"}")
        assert connection.recv(12) == b"HTTP/1.1 200"
    hook.sink.wait_for(lambda: _answers(hook), "a place that is free again")


def _answers(hook: Hook) -> bool:
    try:
        return hook.post(b"{}").status == 200
    except (http.client.HTTPException, ConnectionError):
        return False


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("trigger: {on: webhook, listen: '0.0.0.0:8080'}", "nothing tells who they are"),
        ("trigger: {on: webhook, respond: accepted}", "there is none"),
        ("trigger: {on: webhook, secret: short}", "no secret that could be kept"),
        ("trigger: {on: webhook}\npolicy: {retry: {attempts: 3}}", "posts it again"),
        ("trigger: {on: webhook}\npolicy: {on_failure: stop}", "posts it again"),
        ("trigger: [{on: webhook}, {on: schedule, cron: '* * * * *'}]", "stands alone"),
        ("trigger: {on: webhook}\nstream: {topics: [orders]}", "no stream in between"),
        ("trigger: {on: webhook, path: hook}", "no path of a URL"),
    ],
    ids=["reachable", "accepted", "secret", "retry", "on_failure", "two", "stream", "path"],
)
def test_what_can_not_be_kept_is_refused_before_it_listens(hook: Hook, yaml: str, words: str) -> None:
    hook.sink.write(f"{yaml}\nfunction: {{python: 'functions:note'}}")
    hook.sink.run("--max-events", "1", code=2)
    assert words in " ".join(hook.sink.log.split())


def test_an_address_that_is_taken_is_told(hook: Hook) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", hook.port))
        taken.listen()
        hook.sink.write(
            f"trigger: {{on: webhook, listen: '127.0.0.1:{hook.port}'}}\nfunction: {{python: 'functions:note'}}"
        )
        hook.sink.run("--max-events", "1", code=3)
    assert "webhook.port_in_use" in hook.sink.log


@pytest.fixture(params=["local", "kafka"])
def streaming(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Iterator[Hook]:
    """A webhook with a stream behind it."""
    broker: Broker = LocalBroker(tmp_path / "events")
    if request.param == "kafka":
        kafka: Kafka = request.getfixturevalue("kafka")
        broker = KafkaBroker(kafka.bootstrap)
    sink = Sink(tmp_path / "sink", unique, broker)
    yield Hook(sink)
    sink.close()


def test_an_accepted_request_is_in_the_stream_before_it_is_answered(streaming: Hook, unique: str) -> None:
    """What the function makes of it is another matter: attempts and dead letters are those of a stream."""
    hook, topic = streaming, f"{unique}.hooks"
    hook.sink.broker.create(topic, 1)
    process = hook.start(
        "{python: 'functions:picky'}",
        """
        def picky(events, context):
            note(events, context)
            return {"failed": [event.id for event in events if event.value.get("bad")]}
        """,
        trigger=f"respond: accepted, secret: '{SECRET}'",
        more=f"stream: {{topics: [{topic}]}}\npolicy: {{retry: {{attempts: 2, initial: 1ms}}}}",
    )
    hook.sink.wait_for(lambda: hook.post(b'{"n": 1}', "e1", secret=SECRET).status == 202, "the first 202")
    kept = hook.sink.broker.read(topic)
    assert [(record.header("id"), record.value) for record in kept] == [("e1", b'{"n": 1}')]
    answers = {
        "again": hook.post(b'{"n": 1}', "e1", secret=SECRET),
        "another": hook.post(b'{"n": 2}', "e1", secret=SECRET),
        "bad": hook.post(
            b'{"bad": true}', "e2", secret=SECRET, x_from="me", authorization="Bearer geheim123"
        ),
        "no json": hook.post(b"{", "e3", secret=SECRET),
        "unsigned": hook.post(b"{}", "e4"),
    }
    statuses = {name: answer.status for name, answer in answers.items()}
    assert statuses == {"again": 202, "another": 409, "bad": 202, "no json": 422, "unsigned": 401}
    hook.sink.wait_for(lambda: hook.sink.broker.committed(unique, topic) == 2, "both done")
    [dead] = hook.sink.dead_letters()
    assert (dead.header("id"), dead.header("x-from")) == ("e2", "me")
    assert "authorization" not in dict(dead.headers), "who posts is nobody's business later"
    hook.sink.stop(process)
    assert [record.header("id") for record in hook.sink.broker.read(topic)] == ["e1", "e2"]
    assert [id for call in hook.sink.calls() for id in call["ids"]].count("e1") == 1


def test_a_stream_of_accepted_requests_is_drained_once_without_listening(hook: Hook) -> None:
    hook.sink.broker.create("hooks", 1)
    hook.sink.broker.append("hooks", numbered(range(3)))
    hook.sink.write(
        "stream: {topics: [hooks]}\ntrigger: {on: webhook, respond: accepted}\nfunction: {python: 'functions:note'}"
    )
    hook.sink.run("--once")
    assert len(hook.sink.given()) == 3
