"""Functions elsewhere as steps, and called by name, through the real command: one server plays an HTTP endpoint, an OpenFaaS
gateway and AWS Lambda, and answers only what each of them is really asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from liberator.testing.servers import Kafka
from tests.acceptance.endpoint import serving
from tests.acceptance.sink import KafkaBroker, LocalBroker, Sink, numbered

SECRET = "Bearer of-a-secret-token"
PROGRAM = """
import json, sys
for line in sys.stdin:
    event = json.loads(line)
    if "error" in (event["value"] or {}):
        print(json.dumps({"value": {"given_up": event["value"]["error"]["code"]}}))
    else:
        print(json.dumps({"value": {**event["value"], "by": "program"}}))
"""


@dataclass
class Elsewhere:
    """busy: answers 503 so often. seen: path, headers, body of each request."""

    url: str = ""
    busy: int = 0
    seen: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    def answer(self, path: str, headers: dict[str, str], body: Any) -> tuple[int, Any]:
        """Status, and JSON."""
        self.seen.append((path, headers, body))
        if path == "/check":
            if headers.get("authorization") != SECRET:
                return 401, {}
            if self.busy:
                self.busy -= 1
                return 503, {}
            return (422, {}) if body["n"] == 3 else (200, {"n": body["n"], "checked": True})
        if path == "/function/mail":
            return 200, {"mailed": body["n"]}
        if path == "/2015-03-31/functions/book/invocations":
            [record] = [record for records in body["records"].values() for record in records]
            assert body["eventSource"] == "SelfManagedKafka"
            return 200, {"booked": json.loads(base64.b64decode(record["value"]))["n"]}
        return 404, {}

    def headers_of(self, path: str) -> list[dict[str, str]]:
        """Of the requests to it, in order."""
        return [headers for one, headers, _ in self.seen if one == path]


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    it = Elsewhere()

    def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        status, told = it.answer(path, headers, json.loads(body))
        return status, {"Content-Type": "application/json"}, json.dumps(told).encode()

    with serving(answer) as it.url:
        yield it


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """As boto3 finds them; and a token for the endpoint."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of aws")
    monkeypatch.setenv("TOKEN", SECRET)


def values(sink: Sink, topic: str) -> list[Any]:
    return [json.loads(record.value or b"") for record in sink.broker.read(topic)]


def test_steps_of_every_kind_pass_on_what_they_gave(
    make_sink: Callable[..., Sink], kafka: Kafka, unique: str, elsewhere: Elsewhere
) -> None:
    sink = make_sink(KafkaBroker(kafka.bootstrap))
    elsewhere.busy = 2
    (sink.folder / "program.py").write_text(PROGRAM)
    url = elsewhere.url
    sink.write(
        f"""
        stream: {{topics: [{unique}.orders]}}
        function:
          steps:
            - name: check
              http: {{url: '{url}/check', headers: {{Authorization: '${{TOKEN}}'}}, allow_private: true}}
              retry: {{attempts: 3, initial: 10ms}}
              timeout: 10s
            - name: both
              parallel:
                - {{name: mail, openfaas: {{gateway: '{url}', function: mail}}}}
                - {{name: book, aws_lambda: {{name: book, region: eu-west-1, endpoint: '{url}'}}}}
            - {{name: program, command: [python3, program.py]}}
            - {{name: last, python: 'functions:last'}}
        policy: {{timeout: 50s, order: partition}}
        output: {{topic: {unique}.done}}
        """,
        """
        import os

        def last(events, context):
            note(events, context)
            return [{**event.value, "secrets": "TOKEN" in os.environ} for event in events]
        """,
    )
    sink.broker.create(f"{unique}.orders", 1)
    sink.broker.append(f"{unique}.orders", numbered(range(5)))
    sink.run("--once")
    done = values(sink, f"{unique}.done")
    assert sorted(done, key=json.dumps) == [
        {"mail": {"mailed": n}, "book": {"booked": n}, "by": "program", "secrets": False}
        for n in (0, 1, 2, 4)
    ]
    assert len({call["pid"] for call in sink.calls()}) == 1, "its worker is kept"
    [letter] = sink.dead_letters()
    assert letter.value == b'{"n":3}'
    assert "step check: the endpoint answers 422" in letter.header("__connect.errors.exception.message")
    assert sink.broker.committed(sink.name, f"{unique}.orders") == 5
    assert SECRET not in sink.log
    assert [headers["ce-id"] for headers in elsewhere.headers_of("/check")] == ["e0"] * 3 + [
        f"e{n}" for n in range(1, 5)
    ]


CALLS = """
    stream: {{topics: [orders]}}
    function: {{python: 'functions:notify'}}
    functions:
      - name: check
        http: {{url: '{url}/check', headers: {{Authorization: '${{TOKEN}}'}}, allow_private: true}}
        retry: {{attempts: 3, initial: 10ms}}
      - {{name: price, python: 'functions:price', calls: [book]}}
      - {{name: book, aws_lambda: {{name: book, region: eu-west-1, endpoint: '{url}'}}}}
      - name: tell
        command: [python3, program.py]
    policy: {{order: partition}}
    output: {{topic: told}}
"""
FUNCTIONS = """
import os

def notify(events, context):
    for event in events:
        checked = context.call("check", event, timeout=20)
        price = context.call("price", checked, cause=event)
        told = context.call("tell", {"n": price["price"]}, cause=event)
        context.publish({**told, **price, "secrets": "TOKEN" in os.environ, "pid": os.getpid()}, cause=event)

def price(events, context):
    [event] = events
    booked = context.call("book", event)
    return {"price": booked["booked"] * 100, "checked": event.value["checked"], "other": os.getpid()}
"""


@pytest.fixture
def caller(tmp_path: Path, elsewhere: Elsewhere) -> Iterator[Sink]:
    """A sink on a local log with five events, whose function calls others."""
    it = Sink(tmp_path / "sink", "caller", LocalBroker(tmp_path / "events"))
    it.broker.create("orders", 1)
    it.broker.append("orders", numbered(range(5)))
    it.write(CALLS.format(url=elsewhere.url), FUNCTIONS)
    (it.folder / "program.py").write_text(PROGRAM)
    yield it
    it.close()


def test_a_function_in_a_worker_calls_functions_of_every_kind(caller: Sink, elsewhere: Elsewhere) -> None:
    elsewhere.busy = 2
    caller.run("--once")
    done = sorted(values(caller, "told"), key=lambda one: int(one["n"]))
    assert [(one["n"], one["price"], one["checked"], one["by"]) for one in done] == [
        (n * 100, n * 100, True, "program") for n in (0, 1, 2, 4)
    ]
    assert not any(one["secrets"] for one in done)
    assert not {one["pid"] for one in done} & {one["other"] for one in done}, "each has a worker of its own"
    [letter] = caller.dead_letters()
    assert "function check: the endpoint answers 422" in letter.header("__connect.errors.exception.message")
    assert SECRET not in caller.log
    last = elsewhere.headers_of("/check")[-1]
    assert (last["ce-id"], last["ce-calldepth"]) == ("e4", "1")
    records = [
        record
        for path, _, body in elsewhere.seen
        if path.startswith("/2015")
        for record in body["records"]["price-0"]
    ]
    headers = {name: bytes(value).decode() for one in records[-1]["headers"] for name, value in one.items()}
    assert headers["id"] == "e4/call/price/0"
    assert (headers["correlation"], headers["causation"], headers["calldepth"]) == ("e4", "e4", "2")


def test_function_test_calls_stubs_in_place_of_others(caller: Sink, elsewhere: Elsewhere) -> None:
    stubs = ["--stub", 'check={"n": 1, "checked": true}', "--stub", 'price={"price": 7}']
    lines = caller.call("function test", "--events", "stream", "--limit", "1", "--json", *stubs).splitlines()
    outputs = [json.loads(line) for line in lines if json.loads(line)["kind"] == "output"]
    assert [(one["value"]["price"], one["value"]["by"]) for one in outputs] == [(7, "program")]
    assert elsewhere.seen == []
    caller.call("function test", "--events", "stream", "--stub", "chekc=1", code=2)
    assert "there is no function chekc to stand for" in caller.log


def test_an_endpoint_that_is_away_costs_no_event(caller: Sink, elsewhere: Elsewhere) -> None:
    elsewhere.busy = 10_000
    process = caller.launch("--log-level", "info")
    caller.wait_for(lambda: "the function check is left alone" in caller.log, "the circuit")
    elsewhere.busy = 0
    caller.wait_for(lambda: len(caller.broker.read("told")) == 4, "what it gave")
    caller.wait_for(lambda: len(caller.dead_letters()) == 1, "the one that is refused")
    caller.stop(process)
