"""`run_function`: what a test of a function sees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liberator.change import Event
from liberator.config import SinkConfig, load_together
from liberator.errors import ConfigError, FunctionError, PermanentError
from liberator.testing.functions import FunctionRun, change, differences, event, run_function
from liberator.testing.functions.rehearsal import Rehearsal

CALLING = """
def ask(events, context):
    return [context.call("stock", {"item": event.value["id"]}, cause=event) for event in events]
"""

SINK = """
connector: sink
name: ship
stream: {url: "local:nowhere", topics: [orders]}
trigger: {batch_size: 2, filter: "after.status == 'paid'"}
function: {python: "shipping:ship", in_process: true}
output: {topic: shipped}
policy: {retry: {attempts: 3, initial: 1h, max: 2h}, on_failure: stop, max_age: 1s}
"""

MODULE = """
calls = []

def ship(events, context):
    calls.append([event.value["after"]["id"] for event in events])
    for event in events:
        if event.value["after"]["id"] == 13:
            raise RuntimeError("unlucky")
    return [event.value["after"]["id"] for event in events]
"""

Sink = Callable[..., Path]


@pytest.fixture
def sink(tmp_path: Path, unique: str) -> Sink:
    """A sink's file, and the module of its function, which has a name of its own."""

    def write(yaml: str = SINK, module: str = MODULE) -> Path:
        (tmp_path / f"{unique}.py").write_text(module)
        path = tmp_path / "ship.yaml"
        path.write_text(yaml.replace("shipping:", f"{unique}:"))
        return path

    return write


def paid(*numbers: int) -> list[Any]:
    return [change({"id": number, "status": "paid"}, id=f"e{number}") for number in numbers]


def echo(events: Any, context: Any) -> list[Any]:
    return [each.value for each in events]


def test_a_function_of_this_very_file_is_run() -> None:
    run = run_function(echo, [event({"n": 1}), event({"n": 2})], batch_size=1)
    run.assert_ok()
    assert run.values == [{"n": 1}, {"n": 2}]
    assert [output.topic for output in run.outputs] == ["output", "output"]
    assert run.outputs[1].of == (run.outcomes[1].event.id,)


def test_a_function_is_found_by_its_name(tmp_path: Path, unique: str) -> None:
    (tmp_path / f"{unique}.py").write_text("async def handle(events, context):\n    return len(events)\n")
    assert run_function(f"{unique}:handle", [event(1), event(2)], folder=tmp_path).values == [2]


def test_a_sink_is_run_as_its_file_says_but_for_pauses_and_age(sink: Sink) -> None:
    unpaid = change({"id": 1, "status": "new"})
    run = run_function(sink(), [unpaid, *paid(12, 13, 14), event({"n": 1}, topic="other")])
    assert run.fates() == ["filtered", "retried", "failed", "done", "elsewhere"]
    assert sorted(run.values) == [12, 14]
    [failed] = run.failed
    assert (failed.error.code if failed.error else "", failed.attempts) == ("function.raised", 4)
    with pytest.raises(AssertionError, match="1 of 5 events failed\ne13: failed: RuntimeError: unlucky"):
        run.assert_ok()


def test_a_run_on_events_of_other_topics_only_is_not_ok(sink: Sink) -> None:
    run = run_function(sink(), [event({"n": 1}, topic="other")])
    assert not run.ok
    with pytest.raises(AssertionError, match="nothing was tried"):
        run.assert_ok()


def test_what_will_never_work_is_tried_once() -> None:
    def reject(events: Any, context: Any) -> None:
        raise PermanentError("never")

    [outcome] = run_function(reject, [event(1)], attempts=5).outcomes
    assert (outcome.fate, outcome.attempts) == ("permanent", 1)


def test_an_output_that_breaks_its_contract_is_told(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "1.json").write_text(json.dumps({"type": "integer", "maximum": 5}))
    run = run_function(echo, [event(1), event(9)], contracts=tmp_path)
    assert run.fates() == ["retried", "contract"]
    assert run.values == [1]


def test_poison_never_reaches_the_function(sink: Sink) -> None:
    run = run_function(sink(), [event(b"cut \xff"), event({"after": {"id": 1}})])
    assert run.fates() == ["poison", "poison"]
    assert [outcome.error.code for outcome in run.outcomes if outcome.error] == [
        "function.poison",
        "function.filter",
    ]


def test_events_come_from_a_file_by_the_same_parameter(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"topic": "a", "key": null, "value": 1}\n{"topic": "b", "key": null, "value": 2}\n')
    assert sorted(run_function(echo, path).values) == [1, 2]
    with pytest.raises(ConfigError, match="can't be read"):
        run_function(echo, tmp_path / "missing.ndjson")


def test_hooks_are_called_once(tmp_path: Path, unique: str) -> None:
    (tmp_path / f"{unique}.py").write_text(
        "seen = []\n"
        "def init(): seen.append('init')\n"
        "def close(): seen.append('close')\n"
        "def handle(events, context): return list(seen)\n"
    )
    run = run_function(f"{unique}:handle", [event(1), event(2)], folder=tmp_path, batch_size=1)
    assert run.values == ["init", "init"]


def test_a_schedule_s_function_is_called_once_without_events(sink: Sink) -> None:
    yaml = "connector: sink\nname: nightly\ntrigger: {on: schedule, cron: '0 3 * * *'}\n"
    yaml += (
        "function: {python: 'shipping:report', in_process: true}\noutput: {topic: r, url: 'local:nowhere'}\n"
    )
    run = run_function(sink(yaml, "def report(events, context): return len(events)"), [])
    assert (run.fates(), run.values) == (["done"], [0])


def test_a_state_is_kept_from_one_invocation_to_the_next_and_begins_empty_each_time(
    sink: Sink, tmp_path: Path
) -> None:
    yaml = SINK.replace(
        "trigger: {batch_size: 2, filter: \"after.status == 'paid'\"}", "trigger: {batch_size: 1}"
    )
    yaml += "state: {url: 'sqlite:mine.db'}\n"
    module = """
def ship(events, context):
    seen = context.state.get("seen", 0) + len(events)
    context.state.put("seen", seen)
    return seen
"""
    path = sink(yaml, module)
    assert run_function(path, paid(1, 2, 3)).values == [1, 2, 3]
    assert run_function(path, paid(1, 2, 3)).values == [1, 2, 3]
    assert not (tmp_path / "mine.db").exists()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return len(events)", []),
        (
            "calls.append(1); return len(calls)",
            ["only the first time: output", "only the second time: output"],
        ),
        ("calls.append(1); 1 / (2 - len(calls))", ["e1 was done the first time, failed the second"]),
    ],
    ids=["idempotent", "counts", "fails"],
)
def test_twice_the_same_events_show_what_is_not_idempotent(body: str, told: list[str]) -> None:
    scope: dict[str, Any] = {"calls": []}
    exec(f"def handle(events, context):\n    {body}", scope)

    def handle(events: Any, context: Any) -> Any:
        return scope["handle"](events, context)

    runs: list[FunctionRun] = []
    from liberator.function.python import PythonFunction
    from liberator.function.threads import ThreadInvocations
    from liberator.testing.functions.run import _made

    rehearsal = Rehearsal(
        _made(Path.cwd(), ["test"]), lambda: ThreadInvocations(PythonFunction(handle, Path.cwd()), most=1)
    )
    given = [event(1, id="e1")]
    runs = [rehearsal.run(given), rehearsal.run(given)]
    rehearsal.close()
    found = list(differences(*runs))
    assert len(found) == len(told)
    assert all(text.startswith(start) for text, start in zip(found, told, strict=True))


def test_a_state_is_seen_by_the_next_batch_and_every_run_begins_with_none(sink: Sink, tmp_path: Path) -> None:
    yaml = f"{SINK}state: {{url: 'sqlite:real.db'}}\n".replace("policy:", "limits: {}\npolicy:")
    module = """
def ship(events, context):
    count = context.state.get("count", 0) + len(events)
    context.state.put("count", count)
    return count
"""
    (config,) = load_together([sink(yaml, module)], {})
    assert isinstance(config, SinkConfig)
    given = [change({"id": n, "status": "paid"}, id=f"e{n}", topic="orders") for n in (1, 2, 3)]
    rehearsal = Rehearsal(config)
    try:
        runs = [rehearsal.run(given) for _ in range(2)]
        for run in runs:
            run.assert_ok()
            assert run.values == [2, 3]
    finally:
        rehearsal.close()
    assert not (tmp_path / "real.db").exists()


def test_what_it_calls_can_be_stubbed(tmp_path: Path) -> None:
    (tmp_path / "calling_under_test.py").write_text(CALLING)
    asked = []

    def stock(given: Event) -> Any:
        asked.append(given.value)
        return {"left": given.value["item"]}

    run = run_function(
        "calling_under_test:ask",
        [event({"id": 1}), event({"id": 2})],
        folder=tmp_path,
        calls={"stock": stock},
    )
    assert run.values == [{"left": 1}, {"left": 2}]
    assert asked == [{"item": 1}, {"item": 2}]


def test_a_stub_may_be_a_value_or_fail(tmp_path: Path) -> None:
    (tmp_path / "calling_under_test.py").write_text(CALLING)

    def bad(given: Event) -> Any:
        raise PermanentError("sold out")

    ask, events = "calling_under_test:ask", [event({"id": 1})]
    assert run_function(ask, events, folder=tmp_path, calls={"stock": 3}).values == [3]
    run = run_function(ask, events, folder=tmp_path, calls={"stock": bad})
    assert run.fates() == ["permanent"]


def test_a_function_that_is_not_there_ends_it_in_front_of_the_event(tmp_path: Path) -> None:
    (tmp_path / "calling_under_test.py").write_text(CALLING)
    for calls in ({"other": 1}, None):
        with pytest.raises(FunctionError) as caught:
            run_function("calling_under_test:ask", [event({"id": 1})], folder=tmp_path, calls=calls)
        assert caught.value.code == "function.unknown_call"
