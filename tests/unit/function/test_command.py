"""Programs as functions: lines of JSON in, lines of JSON out, and how they may end."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from liberator.change import Event
from liberator.errors import ConfigError
from liberator.function.command import CommandFunction
from liberator.function.context import Context
from liberator.function.environment import clean_environment
from liberator.protocols import Outcome
from tests.unit.function.headed import headed

EVENTS = [
    Event("t", 1, 7, 1_000, b'{"id":7}', b'{"n":12345678901234567890.10}', (("id", b"e7"),)),
    Event("t", 1, 8, 1_001, b"caf\xc3\xa9", b"\xff\x00"),
    Event("t", 1, 9, 1_002, None, None),
]


def run(
    tmp_path: Path,
    source: str,
    timeout: float | None = None,
    attempt: int = 1,
    events: Sequence[Event] = EVENTS,
) -> Outcome:
    (tmp_path / "program.py").write_text(source)
    deadline = None if timeout is None else time.monotonic() + timeout
    with closing(CommandFunction([sys.executable, "program.py"], tmp_path)) as it:
        return it.call(events, Context("program", attempt, deadline))


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


def test_gets_the_same_line_of_json_behind_the_head_of_a_registry(tmp_path: Path) -> None:
    run(tmp_path, "import sys; open('got', 'wb').write(sys.stdin.buffer.read())", events=EVENTS[:1])
    plain = (tmp_path / "got").read_bytes()
    run(tmp_path, "import sys; open('got', 'wb').write(sys.stdin.buffer.read())", events=headed(EVENTS[:1]))
    assert (tmp_path / "got").read_bytes() == plain


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
    source = "import subprocess, sys; subprocess.Popen(['sleep', '600']); open('up', 'w'); import time; time.sleep(600)"
    began = time.monotonic()
    outcome = run(tmp_path, source, timeout=1.0)
    assert {error.code for error in outcome.failures.values()} == {"function.timeout"}
    assert time.monotonic() - began < 120


def test_one_that_reads_nothing_and_ends_well_has_done_its_work(tmp_path: Path) -> None:
    assert run(tmp_path, "pass") == Outcome()


@pytest.mark.parametrize("line", ["nonsense", "[1]", '{"key": 1}', '{"failed": ["e99"]}'])
def test_lines_that_mean_nothing_fail_all(tmp_path: Path, line: str) -> None:
    outcome = run(tmp_path, f"print({line!r})")
    assert {error.code for error in outcome.failures.values()} == {"function.result"}


@pytest.mark.parametrize("name", ["nowhere", "not_executable", "no_program"])
def test_a_program_that_can_not_be_run_is_a_wrong_configuration_and_fails_no_event(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "not_executable").write_text("#!/bin/sh\n")
    (tmp_path / "no_program").write_text("nothing that a kernel knows")
    (tmp_path / "no_program").chmod(0o755)
    with pytest.raises(ConfigError) as caught:
        CommandFunction([f"./{name}"], tmp_path).call(EVENTS, Context("x", 1))
    assert caught.value.code == "function.program"
    assert caught.value.fix


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


@pytest.mark.parametrize("more", [0, 1], ids=["all of it", "one byte more"])
def test_may_write_as_much_as_its_bound(tmp_path: Path, more: int) -> None:
    source = f"print('{{\"value\":\"' + 'x' * {1_000 + more} + '\"}}', end='')"
    (tmp_path / "program.py").write_text(source)
    with closing(CommandFunction([sys.executable, "program.py"], tmp_path, most=1_012)) as it:
        outcome = it.call(EVENTS, Context("program", 1, None))
    if not more:
        assert not outcome.failures
        assert len(outcome.outputs) == 1
        return
    [error] = set(outcome.failures.values())
    assert (error.code, error.retryable) == ("function.output_too_large", False)
    assert str(error).startswith(f"{Path(sys.executable).name} wrote more than 1012 bytes")


def test_one_that_writes_without_end_is_killed_with_what_it_started(tmp_path: Path) -> None:
    source = """
import os, subprocess
child = subprocess.Popen(["sleep", "600"])
open("child", "w").write(str(child.pid))
while True:
    os.write(1, b"x" * 65536)
"""
    (tmp_path / "program.py").write_text(source)
    with closing(CommandFunction([sys.executable, "program.py"], tmp_path, most=1 << 20)) as it:
        outcome = it.call(EVENTS, Context("program", 1, None))
    assert {error.code for error in outcome.failures.values()} == {"function.output_too_large"}
    child = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    until = time.monotonic() + 10
    while child.exists() and " Z " not in child.read_text():
        assert time.monotonic() < until, "what it has started lives on"
        time.sleep(0.01)


def test_any_amount_of_words_is_cut_to_its_end(tmp_path: Path) -> None:
    source = (
        "import os, sys\nfor _ in range(64): os.write(2, b'y' * 65536)\nos.write(2, b'the end')\nsys.exit(3)"
    )
    outcome = run(tmp_path, source)
    [error] = set(outcome.failures.values())
    assert str(error).endswith("the end")
    assert len(str(error)) < 1_000


def test_does_not_have_to_read_what_it_is_told(tmp_path: Path) -> None:
    large = [Event("t", 0, n, 0, None, b'"' + b"z" * 100_000 + b'"') for n in range(20)]
    (tmp_path / "program.py").write_text("print('{\"value\": 1}')")
    with closing(CommandFunction([sys.executable, "program.py"], tmp_path)) as it:
        outcome = it.call(large, Context("program", 1, None))
    assert [output.value for output in outcome.outputs] == [b"1"]


KEPT = """
import json, os, sys, time
said = []
for line in sys.stdin:
    if line == "\\n":
        if "hang" in said: time.sleep(600)
        if "die" in said: sys.exit(65)
        if "flood" in said: print("x" * 2_000_000)
        print(json.dumps({"value": [os.getpid(), said]}))
        print(flush=True)
        said = []
    else:
        said.append(json.loads(line)["value"])
open("ended", "w").write("by itself")
"""


def one(value: str) -> list[Event]:
    return [Event("t", 0, 0, 0, None, json.dumps(value).encode())]


def kept(tmp_path: Path, *values: str, timeout: float = 60) -> list[Outcome]:
    (tmp_path / "program.py").write_text(KEPT)
    command = CommandFunction([sys.executable, "program.py"], tmp_path, most=1_000_000, keep=True)
    with closing(command) as it:
        return [it.call(one(value), Context("program", 1, time.monotonic() + timeout)) for value in values]


def test_one_that_is_kept_does_one_invocation_after_the_other(tmp_path: Path) -> None:
    answers = [json.loads(outcome.outputs[0].value or b"") for outcome in kept(tmp_path, "a", "b", "c")]
    assert [said for _, said in answers] == [["a"], ["b"], ["c"]]
    assert len({pid for pid, _ in answers}) == 1
    assert (tmp_path / "ended").read_text() == "by itself"


@pytest.mark.parametrize(
    ("bad", "code", "retryable"),
    [("die", "function.command", False), ("flood", "function.output_too_large", False)],
)
def test_in_place_of_one_that_fails_there_is_a_new_one(
    tmp_path: Path, bad: str, code: str, retryable: bool
) -> None:
    first, failed, third = kept(tmp_path, "a", bad, "b")
    assert (failed.failures[0].code, failed.failures[0].retryable) == (code, retryable)
    pids = [json.loads(outcome.outputs[0].value or b"")[0] for outcome in (first, third)]
    assert pids[0] != pids[1]


def test_one_that_is_kept_and_hangs_is_killed(tmp_path: Path) -> None:
    [outcome] = kept(tmp_path, "hang", timeout=1)
    assert outcome.failures[0].code == "function.timeout"
    assert not (tmp_path / "ended").exists()


def test_several_calls_have_a_kept_program_each(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(KEPT)
    with closing(CommandFunction([sys.executable, "program.py"], tmp_path, keep=True)) as it:

        def call(value: str) -> Outcome:
            return it.call(one(value), Context("program", 1, None))

        with ThreadPoolExecutor(4) as threads:
            outcomes = list(threads.map(call, map(str, range(40))))
    said = [json.loads(outcome.outputs[0].value or b"") for outcome in outcomes]
    assert [values for _, values in said] == [[str(number)] for number in range(40)]
    assert len({pid for pid, _ in said}) <= 4
