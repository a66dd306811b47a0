"""Functions that a schedule starts, without any stream."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.acceptance.sink import LocalBroker, Sink

EVERY_SECOND = 'trigger: {on: schedule, cron: "* * * * * *"}'


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    it = Sink(tmp_path / "sink", "nightly", LocalBroker(tmp_path / "events"))
    yield it
    it.close()


def test_once_calls_once_without_events_and_publishes_what_it_gives(sink: Sink) -> None:
    sink.write(
        f"""
        trigger: {{on: schedule, cron: "0 3 * * *"}}
        function: {{python: "functions:report"}}
        output: {{topic: reports, url: '{sink.broker.url}'}}
        """,
        """
        def report(events, context):
            note(events, context)
            return {"events": len(events)}
        """,
    )
    sink.run("--once")
    assert [call["events"] for call in sink.calls()] == [[]]
    [record] = sink.broker.read("reports")
    assert json.loads(record.value or b"") == {"events": 0}
    assert record.header("id").startswith("nightly/schedule/")


def test_every_time_calls_it_until_it_is_stopped(sink: Sink) -> None:
    sink.write(f"{EVERY_SECOND}\nfunction: {{python: 'functions:note', in_process: true}}")
    process = sink.launch()
    sink.wait_for(lambda: len(sink.calls()) >= 3, "three calls")
    sink.stop(process)
    assert all(call["events"] == [] for call in sink.calls())
    seconds = [int(call["at"]) for call in sink.calls()]
    assert len(set(seconds)) == len(seconds), "once a second"


def test_a_call_that_fails_is_tried_again_and_then_left_to_the_next_time(sink: Sink) -> None:
    sink.write(
        f"{EVERY_SECOND}\nfunction: {{python: 'functions:fail'}}\npolicy: {{retry: {{attempts: 2, initial: 10ms}}}}",
        """
        def fail(events, context):
            note(events, context)
            raise ValueError("not today")
        """,
    )
    process = sink.launch()
    sink.wait_for(lambda: len(sink.calls()) >= 4, "two times")
    sink.stop(process)
    assert [call["attempt"] for call in sink.calls()][:4] == [1, 2, 1, 2]
    assert "not today" in sink.log
    sink.run("--once", code=1)
    assert "not today" in sink.log.splitlines()[-1] or "function.raised" in sink.log


@pytest.mark.parametrize("kind", ["command", "http"])
def test_other_functions_are_called_too(sink: Sink, kind: str) -> None:
    seen: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        functions = {
            "command": "{command: [sh, -c, 'cat > given; echo done > end']}",
            "http": f"{{http: {{url: '{url}', allow_private: true}}}}",
        }
        sink.write(
            f"trigger: {{on: schedule, cron: '@daily'}}\nfunction: {functions[kind]}".replace(
                "@daily", "0 0 * * *"
            )
        )
        sink.run("--once")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    if kind == "command":
        assert (sink.folder / "given").read_bytes() == b""
        assert (sink.folder / "end").exists()
    else:
        [(headers, body)] = seen
        assert body == b""
        assert headers["ce-type"] == "nightly.schedule"
