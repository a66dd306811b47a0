"""Functions behind an OpenFaaS gateway, through the real command; the gateway is a server that answers as one does."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance.endpoint import serving
from tests.acceptance.sink import LocalBroker, Record, Sink, numbered

CALLED_BACK = "async: true, callback: {listen: '127.0.0.1:0'}"


@dataclass
class Gateway:
    """A gateway with one function, `double`, that fails as often as `failures` says for an event. queued: calls that wait
    for a worker. password: of admin; None: anybody may call."""

    url: str = ""
    password: str | None = None
    failures: dict[int, list[int]] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    calls_back: bool = True
    callbacks: list[str] = field(default_factory=list)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, as the gateway's own."""
        self.seen.append((path, headers, body))
        call = {"X-Call-Id": f"call-{len(self.seen)}", "X-Start-Time": "1700000000000000000"}
        if self.password is not None:
            pair = base64.b64encode(f"admin:{self.password}".encode()).decode()
            if headers.get("authorization") != f"Basic {pair}":
                return 401, {"WWW-Authenticate": 'Basic realm="Restricted"'}, b"invalid credentials"
        if path.startswith("/async-function/"):
            self.queued.append(call["X-Call-Id"])
            if (back := headers.get("x-callback-url")) is not None and self.calls_back:
                threading.Thread(target=self._call_back, args=(back, call["X-Call-Id"], body)).start()
            return 202, call, b""
        if path != "/function/double":
            return 404, {}, b"error finding function"
        given = json.loads(body)["n"]
        left = self.failures.get(given, [])
        if left:
            return left.pop(0), {**call, "Retry-After": "0"}, b"exit status 1"
        return 200, {**call, "Content-Type": "application/octet-stream"}, b'{"n":%d}' % (2 * given)

    def _call_back(self, url: str, id: str, body: bytes) -> None:
        """As the queue worker does when the function has ended."""
        given = json.loads(body)["n"]
        left = self.failures.get(given, [])
        status = left.pop(0) if left else 200
        headers = {"X-Call-Id": id, "X-Function-Status": str(status), "X-Duration-Seconds": "0.01"}
        result = b'{"n":%d}' % (2 * given) if status == 200 else b"exit status 1"
        self.callbacks.append(url)
        with urllib.request.urlopen(urllib.request.Request(url, result, headers), timeout=120) as answer:
            assert answer.status == 200

    def numbers(self) -> list[int]:
        """What the function was given, in order."""
        return [json.loads(body)["n"] for _, _, body in self.seen]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    it = Gateway()
    with serving(it.answer) as it.url:
        yield it


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    """A sink on a local log with six events."""
    it = Sink(tmp_path / "sink", "faas", LocalBroker(tmp_path / "events"))
    it.broker.create("orders", 1)
    it.broker.append("orders", numbered(range(6), keys=6))
    yield it
    it.close()


def test_a_function_is_called_by_its_name_and_what_it_answers_is_published(
    sink: Sink, gateway: Gateway
) -> None:
    sink.write(
        f"""
        stream: {{topics: [orders]}}
        function: {{openfaas: {{gateway: '{gateway.url}/', function: double}}}}
        output: {{topic: doubled}}
        """
    )
    sink.run()
    assert {path for path, _, _ in gateway.seen} == {"/function/double"}
    assert sorted(gateway.numbers()) == list(range(6))
    doubled = [json.loads(record.value or b"")["n"] for record in sink.broker.read("doubled")]
    assert sorted(doubled) == [0, 2, 4, 6, 8, 10]
    [headers] = [headers for _, headers, body in gateway.seen if body == b'{"n":3}']
    assert headers["ce-id"] == "e3"
    assert sink.broker.committed("faas", "orders") == 6


def test_status_codes_say_what_becomes_of_an_event(sink: Sink, gateway: Gateway) -> None:
    """D84. Without the circuit breaker: five of these failures may come in a row."""
    gateway.failures = {1: [500, 503], 2: [429], 3: [400], 4: [502] * 9}
    sink.write(
        f"""
        stream: {{topics: [orders]}}
        function: {{openfaas: {{gateway: '{gateway.url}', function: double}}}}
        policy: {{retry: {{attempts: 3, initial: 10ms}}, circuit_breaker: false}}
        """
    )
    sink.run()
    tried = gateway.numbers()
    assert [tried.count(n) for n in range(6)] == [1, 3, 2, 1, 3, 1]
    assert sorted(record.header("id") for record in sink.dead_letters()) == ["e3", "e4"]
    assert sink.broker.committed("faas", "orders") == 6


def test_a_password_opens_the_gateway_and_is_never_shown(sink: Sink, gateway: Gateway) -> None:
    """D86."""
    gateway.password = "pass-wörd-7"
    (sink.folder / "password").write_text("pass-wörd-7\n")
    yaml = f"""
        stream: {{topics: [orders]}}
        function: {{openfaas: {{gateway: '{gateway.url}', function: double, password: "${{file:password}}"}}}}
        """
    sink.write(yaml)
    sink.run("--once", "--log-level", "debug")
    assert sink.dead_letters() == []
    assert "pass-wörd-7" not in sink.log
    sink.write(yaml.replace("${file:password}", "another"))
    sink.broker.append("orders", numbered([6]))
    sink.run()
    assert "401" in sink.dead_letters()[0].header("__connect.errors.exception.message")


def test_a_function_that_is_not_there_makes_dead_letters(sink: Sink, gateway: Gateway) -> None:
    sink.write(
        f"""
        stream: {{topics: [orders]}}
        function: {{openfaas: {{gateway: '{gateway.url}', function: nobody.staging}}}}
        """
    )
    sink.run()
    assert {path for path, _, _ in gateway.seen} == {"/function/nobody.staging"}
    assert len(gateway.seen) == len(sink.dead_letters()) == 6


def test_asynchronous_calls_are_queued_and_committed_before(sink: Sink, gateway: Gateway) -> None:
    sink.write(
        f"""
        stream: {{topics: [orders]}}
        function: {{openfaas: {{gateway: '{gateway.url}', function: double, async: true, format: raw}}}}
        policy: {{commit: before}}
        """
    )
    sink.broker.append("orders", [Record(b"k", None, (("id", b"gone"),))])
    sink.run()
    assert {path for path, _, _ in gateway.seen} == {"/async-function/double"}
    assert len(gateway.queued) == 7
    assert not any(name.startswith("ce-") for _, headers, _ in gateway.seen for name in headers)
    assert [body for _, _, body in gateway.seen].count(b"") == 1, "a tombstone"
    assert sink.broker.committed("faas", "orders") == 7


def test_a_queued_call_is_done_when_its_result_is_called_back(sink: Sink, gateway: Gateway) -> None:
    """Results are published, failures tried again, as those of calls that answer at once."""
    gateway.failures = {1: [500], 3: [400]}
    sink.write(
        f"""
        stream: {{topics: [orders]}}
        function: {{openfaas: {{gateway: '{gateway.url}', function: double, {CALLED_BACK}}}}}
        output: {{topic: doubled}}
        policy: {{retry: {{attempts: 3, initial: 10ms}}}}
        """
    )
    sink.run()
    tried = gateway.numbers()
    assert [tried.count(n) for n in range(6)] == [1, 2, 1, 1, 1, 1]
    doubled = [json.loads(record.value or b"")["n"] for record in sink.broker.read("doubled")]
    assert sorted(doubled) == [0, 2, 4, 8, 10]
    assert [record.header("id") for record in sink.dead_letters()] == ["e3"]
    assert sink.broker.committed("faas", "orders") == 6
    assert len(set(gateway.callbacks)) == 7, "an address for each call"
    assert not any(url.rpartition("/")[2] in sink.log for url in gateway.callbacks)


def test_a_result_that_does_not_come_in_time_brings_the_event_again(sink: Sink, gateway: Gateway) -> None:
    gateway.calls_back = False
    sink.broker.create("single", 1)
    sink.broker.append("single", numbered([7]))
    sink.write(
        f"""
        stream: {{topics: [single]}}
        function: {{openfaas: {{gateway: '{gateway.url}', function: double, {CALLED_BACK}}}}}
        policy: {{timeout: 300ms, retry: {{attempts: 2, initial: 10ms}}}}
        """
    )
    sink.run()
    assert gateway.numbers() == [7, 7]
    [dead] = sink.dead_letters()
    assert "not come in time" in dead.header("__connect.errors.exception.message")


def test_asynchronous_calls_are_refused_where_offsets_wait_for_them(sink: Sink) -> None:
    sink.write(
        """
        stream: {topics: [orders]}
        function: {openfaas: {gateway: 'http://gateway:8080', function: double, async: true}}
        """
    )
    sink.run("--once", code=2)
    assert "config.commit" in sink.log
    assert "async: false" in sink.log
