"""Programs as functions: lines of JSON in, lines of JSON out, and how they may end."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from liberator.change import Event
from liberator.function.command import CommandFunction
from liberator.function.context import Context
from liberator.function.environment import clean_environment
from liberator.protocols import Outcome

EVENTS = [
    Event("t", 1, 7, 1_000, b'{"id":7}', b'{"n":12345678901234567890.10}', (("id", b"e7"),)),
    Event("t", 1, 8, 1_001, b"caf\xc3\xa9", b"\xff\x00"),
    Event("t", 1, 9, 1_002, None, None),
]


def run(tmp_path: Path, source: str, timeout: float | None = None, attempt: int = 1) -> Outcome:
    (tmp_path / "program.py").write_text(source)
    deadline = None if timeout is None else time.monotonic() + timeout
    with closing(CommandFunction([sys.executable, "program.py"], tmp_path)) as it:
        return it.call(EVENTS, Context("program", attempt, deadline))


def test_gets_a_line_for_each_event_with_its_very_digits(tmp_path: Path) -> None:
    outcome = run(tmp_path, "import sys; open('got', 'wb').write(sys.stdin.buffer.read())")
    assert outcome == Outcome()
    lines = (tmp_path / "got").read_bytes().splitlines()
    assert b'"value":{"n":12345678901234567890.10}' in lines[0]
    first, second, third = map(json.loads, lines)
    assert (first["topic"], first["partition"], first["offset"], first["id"]) == ("t", 1, 7, "e7")
    assert (first["key"], first["headers"]) == ({"id": 7}, {"id": "e7"})
    assert (second["key"], second["key_base64"]) == (None, "Y2Fmw6k=")
    assert (second["value"], second["value_base64"]) == (None, "/wA=")
    assert (third["key"], third["value"], third["id"]) == (None, None, "t/1/9")


def test_publishes_what_it_writes(tmp_path: Path) -> None:
    lines = [{"value": {"paid": True}, "key": "k", "topic": "paid", "headers": {"why": "x"}}, {"value": None}]
    outcome = run(tmp_path, f"for line in {[json.dumps(line) for line in lines]!r}: print(line); print()")
    first, second = outcome.outputs
    assert (first.topic, first.key, first.value, first.headers) == (
        "paid",
        b'"k"',
        b'{"paid":true}',
        (("why", b"x"),),
    )
    assert (second.topic, second.value) == (None, None)


def test_can_say_which_event_an_output_comes_of(tmp_path: Path) -> None:
    outcome = run(tmp_path, """print('{"value": 1, "cause": "t/1/8"}')""")
    assert [output.event for output in outcome.outputs] == [1]
    wrong = run(tmp_path, """print('{"value": 1, "cause": "elsewhere"}')""")
    assert {error.code for error in wrong.failures.values()} == {"function.result"}


def test_can_say_which_events_failed(tmp_path: Path) -> None:
    outcome = run(tmp_path, """print('{"failed": ["t/1/8"]}')""")
    assert list(outcome.failures) == [1]


@pytest.mark.parametrize(("end", "retryable"), [("1", True), ("65", False), ("70", True)])
def test_an_exit_code_fails_all_and_65_for_good(tmp_path: Path, end: str, retryable: bool) -> None:
    outcome = run(tmp_path, f"import sys; print('no route', file=sys.stderr); sys.exit({end})")
    assert len(outcome.failures) == 3
    assert outcome.failures[0].retryable is retryable
    assert str(outcome.failures[0]).endswith(f"ended with {end}: no route")


def test_one_that_takes_too_long_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    source = "import subprocess, sys; subprocess.Popen(['sleep', '60']); open('up', 'w'); import time; time.sleep(60)"
    began = time.monotonic()
    outcome = run(tmp_path, source, timeout=1.0)
    assert {error.code for error in outcome.failures.values()} == {"function.timeout"}
    assert time.monotonic() - began < 10


def test_one_that_reads_nothing_and_ends_well_has_done_its_work(tmp_path: Path) -> None:
    assert run(tmp_path, "pass") == Outcome()


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"key": 1}', '{"failed": ["e99"]}'])
def test_lines_that_mean_nothing_fail_all(tmp_path: Path, line: str) -> None:
    outcome = run(tmp_path, f"print({line!r})")
    assert {error.code for error in outcome.failures.values()} == {"function.result"}


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    outcome = CommandFunction(["./nowhere.sh"], tmp_path).call(EVENTS, Context("x", 1))
    assert outcome.failures[0].code == "function.command"
    assert outcome.failures[0].fix


def test_sees_what_it_is_given_and_nothing_of_the_connectors_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_DSN", "postgresql://me:hunter2@db/shop")
    (tmp_path / "program.py").write_text("import json, os; print(json.dumps({'value': dict(os.environ)}))")
    it = CommandFunction(
        [sys.executable, "program.py"], tmp_path, {**clean_environment(), "API_TOKEN": "t0ken"}
    )
    with closing(it):
        [output] = it.call(EVENTS, Context("x", 1)).outputs
    seen = json.loads(output.value or b"")
    assert "SHOP_DSN" not in seen
    assert (seen["API_TOKEN"], seen["PATH"]) == ("t0ken", os.environ["PATH"])


def test_knows_which_attempt_it_is(tmp_path: Path) -> None:
    outcome = run(
        tmp_path, "import os; print('{\"value\": %s}' % os.environ['LIBERATOR_ATTEMPT'])", attempt=3
    )
    assert outcome.outputs[0].value == b"3"
