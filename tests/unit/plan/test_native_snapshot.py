"""Lines of a snapshot in the native executor beside the reference: the same bytes, the same errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liberator.plan.python import PythonExecutor
from liberator.plan.shaping import Transforms
from liberator.postgres.model import Table
from liberator.source.snapshot import SnapshotBatch
from liberator.transform import Mask, Rename, Tables, mask
from tests.unit.plan.test_envelopes import ENVELOPES
from tests.unit.plan.test_native_executor import needs_native, outcome_of
from tests.unit.plan.test_python_executor import CONTRACT, a_table, copy, executor

pytestmark = needs_native


@pytest.fixture(autouse=True)
def implementation() -> str:
    """These tests choose theirs themselves."""
    return "both"


FIELDS = st.one_of(
    st.sampled_from(
        [b"good", b"secret", b"", b"\\N", b"\\\\N", b"a\\tb\\n\\q\\", b"\xff", "ß😀".encode(), b'"']
    ),
    st.lists(st.sampled_from([b"\\", b"\\\\", b"t", b"N", b"b", b"x", b'"']), max_size=6).map(b"".join),
)
IDS = st.sampled_from([b"1", b"2", b"-7", b"9223372036854775807"])


@st.composite
def lines(draw: st.DrawFn, *, in_front: int) -> bytes:
    width = in_front + draw(st.sampled_from([3] * 30 + [2, 4]))
    front = [b"(0,1)"] * in_front
    rest = [draw(FIELDS) for _ in range(width - in_front - 1)]
    return b"\t".join([*front, draw(IDS), *rest]) + b"\n"


@pytest.mark.parametrize("envelope", ENVELOPES)
@settings(max_examples=settings().max_examples // 3)  # of each envelope
@given(st.data())
def test_any_lines_become_the_same_events_and_errors(envelope: str, data: st.DataObject) -> None:
    is_keyed = data.draw(st.booleans())
    table = a_table() if is_keyed else a_table("full", ())
    settings = {
        "contract": data.draw(st.sampled_from([None, CONTRACT])),
        "on_invalid": data.draw(st.sampled_from(["dead_letter", "warn"])),
    }
    found = data.draw(st.lists(lines(in_front=0 if is_keyed else 1), max_size=12))
    marks = data.draw(st.dictionaries(st.integers(0, 11), st.sampled_from(["first", "last"]), max_size=3))
    assert_same(copy(*found, table=table, marks=marks), table, envelope=envelope, **settings)


def test_names_masks_and_dropped_columns_are_those_of_the_reference() -> None:
    tables = Tables("public.t", lambda schema, table: True, True, "transform[0]")
    steps = (Rename(tables, {"id": 'i"d'}), Mask(tables, ("name",), mask("sha256", "salt")))
    batch = copy(b"1\ta\tb\n", b"2\t\\N\tb\n")
    assert_same(batch, a_table(), transforms=Transforms(steps))


def test_a_line_that_is_malformed_is_the_same_error_wherever_it_stands() -> None:
    for wrong in (b"1\ta\n", b"1\ta\tb\tc\n", b"\n", b"1\ta\tb"):
        assert_same(copy(b"1\ta\tb\n", wrong), a_table())


def test_common_lines_never_come_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PythonExecutor, "_lines", None)
    batch = copy(*(b"%d\ta\\tb\t\\N\n" % number for number in range(5000)))
    assert len(executor(implementation="native").encode(batch)) == 5000


def assert_same(batch: SnapshotBatch, table: Table, *, envelope: str = "debezium", **settings: Any) -> None:
    make = ENVELOPES[envelope]
    both = [
        executor(table, implementation=name, envelope=make(), **settings) for name in ("python", "native")
    ]
    reference, native = (outcome_of(it, batch) for it in both)
    assert native == reference
