"""Tests of functions: run one on events, and look at what became of each, without a broker.

    from liberator.testing.functions import change, run_function

    def test_a_paid_order_is_shipped():
        run = run_function("notify.yaml", [change({"id": 1, "status": "paid"})])
        run.assert_ok()
        assert run.values == [{"order": 1}]

``liberate function test`` does the same on a command line. `recorded` reads events, `sources` finds them, `rehearsal` runs
the sink's own loop on them, `run` is for tests, `new` writes a project.
"""

from liberator.testing.functions.events import change, event
from liberator.testing.functions.recorded import read_recorded
from liberator.testing.functions.rehearsal import (
    EventOutcome,
    Fate,
    FunctionRun,
    PublishedOutput,
    Rehearsal,
    differences,
)
from liberator.testing.functions.run import run_function
from liberator.testing.functions.sources import events_from

__all__ = [
    "EventOutcome",
    "Fate",
    "FunctionRun",
    "PublishedOutput",
    "Rehearsal",
    "change",
    "differences",
    "event",
    "events_from",
    "read_recorded",
    "run_function",
]
