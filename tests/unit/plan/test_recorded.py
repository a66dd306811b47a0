"""What servers really sent (see recorded/record.py), through both executors: the same bytes, and hardly a row for Python."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from liberator.change import Batch
from liberator.plan.native import native_plan
from liberator.plan.planner import Planner
from liberator.plan.python import PythonExecutor
from liberator.postgres.catalogue import table_from_json
from liberator.postgres.model import Table
from liberator.postgres.values import TypeOptions
from tests.unit.plan.test_envelopes import ENVELOPES
from tests.unit.plan.test_native_executor import Both, needs_native
from tests.unit.plan.test_python_executor import executor

pytestmark = needs_native

OPTIONS = {
    "plain": TypeOptions(),
    "others": TypeOptions(int64="string", json="embed", array_bounds="text", char="trim"),
}


@pytest.fixture(autouse=True)
def implementation() -> str:
    """These tests run both."""
    return "both"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no catalogue to ask whether composite types have changed, or whether there are partitions."""
    monkeypatch.setattr(Planner, "varies", lambda self, plan: False)
    monkeypatch.setattr(Planner, "pads", lambda self, plan: False)


def load(name: str) -> tuple[list[Table], list[bytes]]:
    told = json.loads(gzip.decompress((Path(__file__).parent / "recorded" / f"{name}.json.gz").read_bytes()))
    tables = [table_from_json(json.dumps(table).encode()) for table in told["tables"]]
    return [table for table in tables if table is not None], list(map(base64.b64decode, told["frames"]))


@pytest.mark.parametrize("server", ["pg15", "pg18"])
@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_servers_stream_becomes_the_same_events(
    server: str, envelope: str, options: str, size: int
) -> None:
    tables, frames = load(server)
    both = Both(*tables, envelope=envelope, types=OPTIONS[options], messages=("note",))
    for start in range(0, len(frames), size):
        assert both.encode(frames[start : start + size])


@pytest.mark.parametrize("server", ["pg15", "pg18"])
def test_of_what_a_server_sends_nothing_common_is_left_to_python(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, frames = load(server)
    done: Counter[str] = Counter()
    plainly = PythonExecutor._stream

    def counted(self: PythonExecutor, frames: Any, out: Any) -> None:
        done.update(chr(frame[25]) for frame in frames)
        plainly(self, frames, out)

    monkeypatch.setattr(PythonExecutor, "_stream", counted)
    it = executor(*tables, implementation="native")
    for frame in frames:
        it.encode(Batch([frame]))
    sent = Counter(chr(frame[25]) for frame in frames)
    # The commit behind what a transaction says of itself; the first old row with NULLs asks whether they were sent.
    assert done == {kind: sent[kind] for kind in "RYTM"} | {"C": 1, "D": 1}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("server", ["pg15", "pg18"])
def test_every_type_is_known_to_native(server: str, options: str) -> None:
    tables, _ = load(server)
    planner = executor(*tables, types=OPTIONS[options], implementation="native")._planner
    assert {table.name for table in tables if not native_plan(planner.of_table(table))} == set()
