"""An endpoint that is away for a while: the sink waits for it, and says so; nothing is lost, and nothing is given up."""

from __future__ import annotations

import json
import threading
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from liberator.testing.servers.process import free_port
from tests.acceptance.sink import LocalBroker, Sink, numbered

EVENTS = 30


@pytest.fixture
def sink(tmp_path: Path, unique: str) -> Iterator[Sink]:
    """It calls an endpoint that is not there yet, at `sink.folder / "port"`."""
    broker = LocalBroker(tmp_path / "events")
    broker.create(f"{unique}.in", 1)
    broker.append(f"{unique}.in", numbered(range(EVENTS)))
    sink = Sink(tmp_path / "sink", unique, broker)
    yield sink
    sink.close()


def write(sink: Sink, endpoint: int, listen: int | None = None) -> None:
    observe = f'observe: {{listen: "127.0.0.1:{listen}"}}' if listen else ""
    sink.write(
        f"""
        stream: {{topics: [{sink.name}.in]}}
        trigger: {{batch_size: 2, batch_window: 10ms}}
        function: {{http: {{url: "http://127.0.0.1:{endpoint}/", allow_private: true}}}}
        policy: {{retry: {{attempts: 2, initial: 1ms}}, circuit_breaker: {{pause: 50ms, max: 100ms}}}}
        {observe}
        """
    )


def test_a_sink_waits_for_an_endpoint_that_is_away_and_says_so(sink: Sink) -> None:
    endpoint, listen = free_port(), free_port()
    write(sink, endpoint, listen)

    def circuit() -> dict[str, Any]:
        try:
            status: dict[str, Any] = json.loads(sink.page(listen, "/status"))
            return status["circuit"] or {}
        except OSError:
            return {}

    def readiness() -> str:
        try:
            return sink.page(listen, "/health/ready")
        except urllib.error.HTTPError as error:
            return error.read().decode()

    process = sink.launch()
    sink.wait_for(lambda: sink.log.count("left alone") > 3, "a function that is left alone")
    assert circuit()["state"] != "closed"
    assert (circuit()["opened"], circuit()["code"]) == (1, "function.unreachable")
    assert "the function is left alone, as it fails every time (function.unreachable)" in readiness()
    assert "liberator_circuit_open 1.0" in sink.page(listen, "/metrics")
    assert json.loads(sink.page(listen, "/health/live"))["status"] == "ok", "a restart would not help"
    assert sink.dead_letters() == []
    assert sink.broker.committed(sink.name, f"{sink.name}.in") == 0

    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(self.headers["ce-id"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", endpoint), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sink.wait_for(
            lambda: sink.broker.committed(sink.name, f"{sink.name}.in") == EVENTS, "the end of all events"
        )
        assert circuit() == {"state": "closed", "opened": 1, "code": None, "pause_seconds": 0.0}
        assert json.loads(readiness())["status"] == "ok"
        sink.stop(process)
        server.shutdown()
    assert sorted(set(seen)) == sorted(f"e{number}" for number in range(EVENTS))
    assert sink.dead_letters() == []


def test_once_does_not_wait_for_it_and_stands_in_front_of_the_events(sink: Sink) -> None:
    write(sink, free_port())
    sink.run(code=1)
    assert "function.circuit_open" in sink.log
    assert sink.dead_letters() == []
    assert sink.broker.committed(sink.name, f"{sink.name}.in") == 0
