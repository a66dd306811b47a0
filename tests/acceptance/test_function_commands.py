"""`liberate function`: a function tried out on recorded events, and a project begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.sink import Sink, numbered

PICKY = (
    """
    stream: {{topics: [{topic}]}}
    trigger: {{batch_size: 4}}
    function: {{python: "functions:picky"}}
    output: {{topic: {topic}.out}}
    policy: {{retry: {{attempts: 2}}}}
    """,
    """
    from liberator import PermanentError
    def picky(events, context):
        note(events, context)
        for event in events:
            if event.value["n"] == 1:
                raise PermanentError("never one")
            if event.value["n"] == 6:
                raise RuntimeError("not six")
        return [{"n": event.value["n"]} for event in events]
    """,
)


def write(sink: Sink, topic: str) -> None:
    yaml, python = PICKY
    sink.write(yaml.format(topic=topic), python)


def tried(sink: Sink, *words: str, code: int = 0) -> list[Any]:
    printed = sink.call("function test", *words, "--json", code=code)
    return [json.loads(line) for line in printed.splitlines()]


def fates(rows: list[Any]) -> dict[str, str]:
    return {row["id"]: row["outcome"] for row in rows if row["kind"] == "event"}


def test_recorded_events_are_tried_without_a_broker(local: Sink, unique: str, tmp_path: Path) -> None:
    write(local, unique)
    lines = [
        json.dumps(
            {"topic": unique, "key": None, "value": {"n": n}, "headers": {"id": f"e{n}"}, "position": ""}
        )
        for n in range(4, 8)
    ]
    (tmp_path / "events.ndjson").write_text("\n".join(lines))
    rows = tried(local, "--events", str(tmp_path / "events.ndjson"), code=4)
    assert fates(rows) == {"e4": "retried", "e5": "retried", "e6": "failed", "e7": "retried"}
    assert sorted(row["value"]["n"] for row in rows if row["kind"] == "output") == [4, 5, 7]
    assert not (tmp_path / "events").exists(), "no log was made"
    (tmp_path / "good.ndjson").write_text(lines[0])
    assert fates(tried(local, "--events", str(tmp_path / "good.ndjson"), "--twice")) == {"e4": "done"}


def test_a_range_of_the_stream_and_its_dead_letters_are_tried_and_nothing_moves(
    sink: Sink, unique: str
) -> None:
    write(sink, unique)
    sink.broker.create(unique, 1)
    sink.broker.append(unique, numbered(range(8)))
    rows = tried(sink, "--events", "stream", "--from", "0:2", "--to", "5")
    assert fates(rows) == {"e2": "done", "e3": "done", "e4": "done"}
    assert sink.broker.committed(sink.name, unique) == 0
    assert sink.broker.read(f"{unique}.out") == []
    sink.run()
    assert sorted(record.header("id") for record in sink.dead_letters()) == ["e1", "e6"]
    assert fates(tried(sink, "--events", "dead-letters", code=4)) == {"e1": "permanent", "e6": "failed"}
    first, _ = [json.loads(line)["id"] for line in sink.call("dlq list", "--json").splitlines()]
    assert len(fates(tried(sink, "--events", "dead-letters", "--id", first, code=4))) == 1
    sink.call("function test", "--events", "dead-letters", "--id", "0:999", code=1)
    python = (sink.folder / "functions.py").read_text()
    (sink.folder / "functions.py").write_text(python.replace("== 6", "== 66").replace("== 1:", "== 11:"))
    assert fates(tried(sink, "--events", "dead-letters")) == {"e1": "done", "e6": "done"}


def test_standard_output_carries_outcomes_only_and_no_secret(
    local: Sink, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOOKING_TOKEN", "hunter22hunter22")
    local.write(
        f"""
        stream: {{topics: [{unique}]}}
        function: {{python: "functions:leak", in_process: true}}
        context: "${{BOOKING_TOKEN}}"
        policy: {{retry: {{attempts: 1}}}}
        """,
        """
        def leak(events, context):
            print("for people")
            raise RuntimeError("refused: " + "hunter22" * 2)
        """,
    )
    (tmp_path / "events.ndjson").write_text(json.dumps({"topic": unique, "key": None, "value": 1}))
    [line] = local.call("function test", "--events", str(tmp_path / "events.ndjson"), code=4).splitlines()
    assert line.startswith("failed")
    assert "RuntimeError: refused: ***" in line
    assert "for people" in local.log
    assert "hunter22" not in local.log


def test_events_that_the_stream_does_not_read_are_no_success(
    local: Sink, unique: str, tmp_path: Path
) -> None:
    write(local, unique)
    (tmp_path / "events.ndjson").write_text('{"topic": "another", "key": null, "value": {"n": 1}}')
    [row] = tried(local, "--events", str(tmp_path / "events.ndjson"), code=4)
    assert row["outcome"] == "elsewhere"
    assert "they are of another" in local.log


def test_what_is_cut_off_by_the_limit_is_told(local: Sink, unique: str) -> None:
    write(local, unique)
    local.broker.create(unique, 1)
    local.broker.append(unique, numbered(range(2, 6)))
    assert len(fates(tried(local, "--events", "stream", "--limit", "3"))) == 3
    assert "there are more than 3 events" in local.log


@pytest.mark.parametrize(
    "words",
    [[], ["--events", "missing.ndjson"], ["--events", "stream", "--from", "soon"], ["--events", "kafka://"]],
    ids=["nothing", "no-file", "no-place", "no-broker"],
)
def test_wrong_usage_is_told_before_the_function_is_called(
    local: Sink, unique: str, words: list[str]
) -> None:
    write(local, unique)
    local.call("function test", *words, code=2)
    assert local.calls() == []


def liberate(folder: Path, *words: str, module: str = "liberator", code: int = 0) -> str:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LIBERATE_")}
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environ,
        timeout=240,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_new_project_s_test_passes_and_its_connector_runs(tmp_path: Path) -> None:
    written = liberate(tmp_path, "function", "new", "notify-shipping").split()
    folder = tmp_path / "notify-shipping"
    assert sorted(tmp_path / path for path in written) == sorted(
        path for path in folder.rglob("*") if path.is_file()
    )
    passed = liberate(folder, "-q", "-p", "no:cacheprovider", "test_notify_shipping.py", module="pytest")
    assert "4 passed" in passed
    liberate(folder, "validate", "notify-shipping.yaml")
    liberate(folder, "function", "test", "notify-shipping.yaml", "--events", "events.ndjson", "--twice")
    liberate(folder, "run", "notify-shipping.yaml", "--once")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    liberate(tmp_path, "function", "new", "notify", "--folder", "mine", code=2)
    liberate(tmp_path, "function", "new", "no name", code=2)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "file"]
