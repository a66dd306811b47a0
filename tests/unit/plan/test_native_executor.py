"""The native executor beside the reference: the same bytes, the same errors, the same place in the stream."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liberator.change import Batch
from liberator.errors import ConfigError, LiberatorError
from liberator.plan import native
from liberator.plan.native import NativeExecutor, executor_class, installed, native_plan
from liberator.plan.python import PythonExecutor
from liberator.postgres.model import Identity, Table
from liberator.postgres.pgoutput import UNCHANGED, Value
from liberator.publish.ndjson import encode
from tests.unit.plan.test_envelopes import ENVELOPES
from tests.unit.plan.test_python_executor import (
    COLUMNS,
    CONTRACT,
    OID,
    CatalogueAsked,
    a_table,
    executor,
    run,
    transaction,
)
from tests.unit.postgres.wire import begin, commit, delete, insert, message, relation, truncate, update, xlog

needs_native = pytest.mark.skipif(
    not installed(), reason="liberator-native is not installed: `make setup` says why"
)

OTHER = OID + 1


@pytest.fixture(autouse=True)
def implementation() -> str:
    """These tests choose theirs themselves."""
    return "both"


class Both:
    """Two executors that get the same batches."""

    def __init__(self, *tables: Table, envelope: str = "debezium", **settings: Any) -> None:
        make = ENVELOPES[envelope]
        self._reference = executor(*tables, implementation="python", envelope=make(), **settings)
        self._native = executor(*tables, implementation="native", envelope=make(), **settings)

    def encode(self, frames: Sequence[bytes]) -> bool:
        """One batch. Does the stream go on?"""
        expected = outcome_of(self._reference, Batch(list(frames)))
        assert outcome_of(self._native, Batch(list(frames))) == expected
        return not isinstance(expected, str)


def outcome_of(it: PythonExecutor, batch: Batch) -> Any:
    """The events, whole and then column by column, and where the stream is then; or the error."""
    try:
        out = it.encode(batch)
    except (LiberatorError, CatalogueAsked) as error:
        return error.block() if isinstance(error, LiberatorError) else repr(error)
    return [
        (len(out), dict(out.counts()), out.size(), encode(out)),
        *map(list, zip(out.topics, out.keys, out.values, out.ids, out.headers, strict=True)),
        out.control,
        it.inside(),
        it.committed_us,
        it.history(),
    ]


texts = st.sampled_from([b"good", b"secret", b"", b'a "q" \\ \n', "ß😀".encode(), b"\xff", b"x" * 300])
ids = st.sampled_from([b"1", b"2", b"-7", b"9223372036854775807"])
fields = st.one_of(texts, st.none())


@st.composite
def rows(draw: st.DrawFn, *, kept: bool = False) -> list[Value]:
    """id, name, big; kept: some may not have been sent."""
    more = st.one_of(fields, st.just(UNCHANGED)) if kept else fields
    width = draw(st.sampled_from([3] * 30 + [2, 4]))
    return [draw(st.one_of(ids, ids, ids, more)), *(draw(more) for _ in range(width - 1))]


oids = st.sampled_from([OID] * 8 + [OTHER])


@st.composite
def changes(draw: st.DrawFn) -> bytes:
    """A message of a transaction; most are changes of rows."""
    oid, kind = draw(oids), draw(st.sampled_from("IIIUUUUDDTMRQ"))
    old, sent = draw(rows()), draw(st.sampled_from(["K", "O", None]))
    if kind == "I":
        return insert(oid, *draw(rows(kept=draw(st.booleans()))))
    if kind == "U":
        return update(oid, draw(rows(kept=True)), old if sent else None, sent or "K")
    if kind == "D":
        return delete(oid, *old, kind=sent or "K")
    if kind == "T":
        return truncate(oid, flags=draw(st.integers(0, 3)))
    if kind == "M":
        prefix = draw(st.sampled_from(["note", "other", "liberator.context"]))
        return message(prefix, b'{"why":"x"}', transactional=draw(st.booleans()))
    if kind == "R":
        return relation(oid, "t", COLUMNS, "d")
    return b"O" + struct.pack(">Q", 5) + b"elsewhere\0"


@st.composite
def streams(draw: st.DrawFn, identity: str) -> list[bytes]:
    """Transactions, cut into frames; sometimes a frame is damaged."""
    messages = [relation(OID, "t", COLUMNS, identity)]
    for number, inside in enumerate(draw(st.lists(st.lists(changes(), max_size=12), min_size=1, max_size=5))):
        lsn = (number + 1) << draw(st.sampled_from([4, 32, 60]))
        messages += [
            begin(
                lsn, xid=draw(st.integers(0, 2**32 - 1)), committed_us=draw(st.integers(-(2**63), 2**63 - 1))
            ),
            *inside,
            commit(lsn, lsn + 8),
        ]
    if draw(st.booleans()):
        which = draw(st.integers(0, len(messages) - 1))
        broken = bytearray(messages[which])
        for place in draw(st.lists(st.integers(0, len(broken) - 1), max_size=3)):
            broken[place] = draw(st.integers(0, 255))
        messages[which] = bytes(broken[: draw(st.integers(0, len(broken)))])
    return [xlog(data, draw(st.sampled_from([1, 2**64 - 1]))) for data in messages]


@needs_native
@pytest.mark.parametrize("envelope", ENVELOPES)
@settings(max_examples=settings().max_examples // 3)  # of each envelope
@given(st.data())
def test_any_stream_becomes_the_same_events_and_errors(envelope: str, data: st.DataObject) -> None:
    identity: Identity = data.draw(st.sampled_from(["default", "full"]))
    both = Both(
        a_table(identity, ("id",) if identity == "default" else data.draw(st.sampled_from([("id",), ()]))),
        envelope=envelope,
        contract=data.draw(st.sampled_from([None, CONTRACT])),
        on_invalid=data.draw(st.sampled_from(["dead_letter", "warn"])),
        messages=("note",),
        tombstones=data.draw(st.booleans()),
        transaction_topic=data.draw(st.sampled_from([None, None, None, "shop.transaction"])),
    )
    frames = data.draw(streams("f" if identity == "full" else "d"))
    while frames:
        size = data.draw(st.integers(1, len(frames)))
        if not both.encode(frames[:size]):
            return
        frames = frames[size:]


@needs_native
def test_common_changes_never_come_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    it = executor(implementation="native")
    done: list[bytes] = []
    monkeypatch.setattr(PythonExecutor, "_other", lambda self, frame, out: done.append(frame[25:26]))
    for name in ("_insert", "_update", "_delete"):
        monkeypatch.setattr(PythonExecutor, name, None)
    plan = it._plans[OID] = it._planner.of_table(a_table())
    plan.native = native_plan(plan)
    changed = [update(OID, [b"1", b"b", UNCHANGED]), update(OID, [b"2", b"b", b"c"], [b"1", None, None])]
    events = run(it, *transaction(insert(OID, b"1", b"a", None), *changed, delete(OID, b"2", None, None)))
    assert done == [b"R"]
    assert len(events) == 1 + 1 + 3 + 2


@needs_native
def test_a_row_that_does_not_fit_stops_a_run_and_the_next_goes_on_behind_it() -> None:
    names = [b"secret" if number % 7 == 3 else b"good" for number in range(100)]
    messages = transaction(*(insert(OID, b"%d" % i, name, b"b") for i, name in enumerate(names)))
    both = Both(contract=CONTRACT, on_invalid="warn")
    assert both.encode([xlog(data) for data in messages])


@needs_native
def test_what_comes_as_no_list_is_done_too() -> None:
    frames = [
        xlog(data) for data in transaction(insert(OID, b"1", b"a", b"b"), insert(OID, b"2", b"a", b"b"))
    ]
    expected = outcome_of(executor(implementation="python"), Batch(frames))
    assert outcome_of(executor(implementation="native"), Batch(tuple(frames))) == expected


# -- which one is taken


def test_python_is_taken_when_it_is_asked_for() -> None:
    assert executor_class("python") is PythonExecutor


@needs_native
@pytest.mark.parametrize("wanted", ["native", "auto"])
def test_native_is_taken_where_it_is_installed(wanted: str) -> None:
    assert executor_class(wanted) is NativeExecutor


@pytest.mark.parametrize("module", [None, object()], ids=["missing", "of another version"])
def test_without_a_module_that_fits_auto_is_python_and_says_so(
    module: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "liberator_native", module)
    with caplog.at_level(logging.INFO):
        assert executor_class("auto") is PythonExecutor
    assert "liberator-native is" in caplog.text
    with pytest.raises(ConfigError, match="liberator-native is"):
        executor_class("native")


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="LIBERATOR_IMPL"):
        executor_class("rust")
