"""Functions that files start: each once, over kills and restarts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.sink import LocalBroker, Sink, numbered


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    it = Sink(tmp_path / "sink", "intake", LocalBroker(tmp_path / "events"))
    (it.folder / "incoming").mkdir()
    yield it
    it.close()


def put(sink: Sink, name: str, content: str = "{}") -> None:
    """As programs should: written elsewhere, then renamed into the folder."""
    part = sink.folder / f"{name}.part"
    part.write_text(content)
    part.rename(sink.folder / "incoming" / name)


def taken(sink: Sink) -> list[tuple[str, str]]:
    return [(value["event"], value["key"]) for value in sink.given()]


TRIGGER = "trigger: {on: file, path: 'incoming/*.json', settle: 0, poll_interval: 20ms"


def test_each_file_starts_the_function_once_over_kills_and_restarts(sink: Sink) -> None:
    """A kill -9 while the function runs brings its file again, and no other."""
    sink.write(
        f"{TRIGGER}}}\nfunction: {{python: 'functions:take'}}\npolicy: {{on_failure: stop}}",
        """
        def take(events, context):
            note(events, context)
            if (Path(__file__).parent / "hang").exists():
                time.sleep(600)
        """,
    )
    put(sink, "a.json")
    process = sink.launch()
    sink.wait_for(lambda: len(sink.calls()) == 1, "the first file")
    put(sink, "b.json")
    sink.wait_for(lambda: len(sink.calls()) == 2, "the second file")
    sink.stop(process)
    (sink.folder / "hang").touch()
    put(sink, "c.json")
    process = sink.launch()
    sink.wait_for(lambda: len(sink.calls()) == 3, "the third file")
    process.kill()
    process.wait()
    with contextlib.suppress(ProcessLookupError):  # it ends with who started it, if that can be arranged
        os.kill(sink.calls()[2]["pid"], signal.SIGKILL)
    (sink.folder / "hang").unlink()
    sink.run("--once")
    assert [key for _, key in taken(sink)] == ["a.json", "b.json", "c.json", "c.json"]
    assert sink.calls()[2]["ids"] == sink.calls()[3]["ids"]
    put(sink, "a.json", "changed")
    sink.run("--once")
    assert taken(sink)[4:] == [("changed", "a.json")]


def test_a_filter_and_dead_letters_hold_for_files_too(sink: Sink) -> None:
    sink.write(
        f"""
        {TRIGGER}, filter: 'value.size > 2'}}
        function: {{python: "functions:picky"}}
        output: {{topic: taken, url: '{sink.broker.url}'}}
        policy: {{retry: {{attempts: 2, initial: 1ms}}}}
        """,
        """
        def picky(events, context):
            note(events, context)
            [event] = events
            if event.key == "bad.json":
                raise ValueError("no")
            return {"taken": event.key}
        """,
    )
    for name, content in {"empty.json": "{}", "bad.json": "[1,2]", "good.json": "[1,2]"}.items():
        put(sink, name, content)
    sink.run("--once")
    assert {key for _, key in taken(sink)} == {"bad.json", "good.json"}
    [published] = sink.broker.read("taken")
    assert json.loads(published.value or b"") == {"taken": "good.json"}
    [dead] = sink.dead_letters()
    letter: Any = json.loads(dead.value or b"")
    assert letter["key"] == "bad.json"
    sink.run("--once")
    assert len(sink.dead_letters()) == 1, "a file that is given up is done"


def test_files_and_a_schedule_start_one_function(sink: Sink) -> None:
    """Its times come without events, whatever the files bring."""
    times = "{on: schedule, cron: '0 3 * * *'}, {on: file, path: 'incoming/*.json', settle: 0}"
    sink.write(f"trigger: [{times}]\nfunction: {{python: 'functions:note'}}\npolicy: {{on_failure: stop}}")
    put(sink, "a.json")
    put(sink, "b.json")
    sink.run("--once")
    assert sorted(len(call["events"]) for call in sink.calls()) == [0, 1, 1]
    assert sorted(key for _, key in taken(sink)) == ["a.json", "b.json"]


def test_a_stream_and_files_start_one_function(sink: Sink) -> None:
    sink.write(
        """
        stream: {topics: [orders]}
        trigger: [{on: stream, batch_window: 10ms}, {on: file, path: 'incoming/*.json', settle: 0}]
        function: {python: "functions:topics"}
        """,
        """
        def topics(events, context):
            with open(Path(__file__).parent / "topics", "a") as file:
                file.writelines(f"{event.topic} {event.id}\\n" for event in events)
        """,
    )
    sink.broker.create("orders", 1)
    sink.broker.append("orders", numbered(range(3)))
    put(sink, "a.json")
    sink.run("--once")
    topics = [line.split()[0] for line in (sink.folder / "topics").read_text().splitlines()]
    assert sorted(topics) == ["intake.files", "orders", "orders", "orders"]
    sink.run("--once")
    assert len((sink.folder / "topics").read_text().splitlines()) == 4, "both remember what is done"
