"""__NAME__, without a broker: `pytest`. `EVENTS=stream pytest` takes the events of its stream instead of recorded ones."""

import os
from pathlib import Path

from liberator.testing.functions import change, run_function

HERE = Path(__file__).parent
SINK = HERE / "__NAME__.yaml"
EVENTS = os.environ.get("EVENTS", str(HERE / "events.ndjson"))


def test_a_paid_order_is_handled() -> None:
    run = run_function(SINK, [change({"id": 7, "status": "paid", "total": 12.5})])
    run.assert_ok()
    assert run.values == [{"order": 7, "total": 12.5}]


def test_an_order_that_is_not_paid_gives_nothing() -> None:
    run = run_function(SINK, [change({"id": 7, "status": "new", "total": 1}), change(None, before={"id": 7})])
    run.assert_ok()
    assert run.values == []


def test_a_negative_total_is_given_up_without_another_attempt() -> None:
    run = run_function(SINK, [change({"id": 7, "status": "paid", "total": -1})])
    assert run.fates() == ["permanent"]
    assert run.outcomes[0].attempts == 1


def test_recorded_events_are_done() -> None:
    run_function(SINK, EVENTS).assert_ok()
