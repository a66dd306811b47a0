"""The plan's executor with runs of changes in Rust (native/, module `liberator_native`), where that is installed.

Enters and leaves: as in `python`, in the same bytes. Called by the capture loop. It does only what is common: row changes of
tables whose plan can be said as data, where transactions begin and end, and rows of a snapshot. At the first frame of any
other kind, and at a row that does not fit or may break its contract, a run stops; Python's executor does that one, and the
next run goes on behind it. So what is rare has one implementation.
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable, Sequence
from typing import Any, Literal

from liberator.change import EncodedBatch
from liberator.codec.envelope import Transaction
from liberator.errors import ConfigError
from liberator.plan.compile import TablePlan
from liberator.plan.python import Copy, PythonExecutor
from liberator.postgres.copying import Lines
from liberator.rust import fits, liberator_native

log = logging.getLogger(__name__)

Wanted = Literal["python", "native", "auto"]

_LEAST, _MOST = 16, 4096
"""Frames that a run looks at."""
_U32 = struct.Struct(">I").unpack_from
_LONGEST_PAUSE = 64
"""Frames that Python does, where runs bring nothing."""


def installed() -> bool:
    """Is there a module that fits?"""
    return fits(liberator_native)


def executor_class(wanted: str) -> type[PythonExecutor]:
    """The executor to take. wanted: ``python``, ``native``, or ``auto``: native where there is one. Raises `ConfigError`
    where it can't be had."""
    if wanted == "python":
        return PythonExecutor
    if wanted not in ("native", "auto"):
        raise _unusable(f"LIBERATOR_IMPL is {wanted}", "set it to python, native or auto")
    if installed():
        return NativeExecutor
    missing = f"liberator-native is {'not installed' if liberator_native is None else 'of another version'}"
    if wanted == "native":
        raise _unusable(missing, "install liberator-native of this version, or set LIBERATOR_IMPL=python")
    log.info("%s: events are made by Python, in the same bytes, slower", missing)
    return PythonExecutor


def _unusable(what: str, fix: str) -> ConfigError:
    return ConfigError(
        what, code="config.native_unusable", where="environment variable LIBERATOR_IMPL", fix=fix
    )


class NativeExecutor(PythonExecutor):
    """See `PythonExecutor`; raises the same."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._native = liberator_native.Executor(self._place.encode(), self._tombstones)

    def _stream(self, frames: Sequence[bytes], out: EncodedBatch) -> None:
        if self._metadata is not None or not isinstance(frames, list):
            super()._stream(frames, out)
            return

        def run(start: int, end: int) -> int:
            done = self._run(frames, start, end, out)
            if done == start and self._is_new(frames[start]):
                self._plan(_U32(frames[start], 26)[0], out)
                done = self._run(frames, start, end, out)
            return done

        def plainly(start: int, end: int) -> None:
            super(NativeExecutor, self)._stream(frames[start:end], out)

        in_turns(0, len(frames), run, plainly)

    def _is_new(self, frame: bytes) -> bool:
        """Is it a change of a table that has no plan yet?"""
        return frame[25] in b"IUD" and _U32(frame, 26)[0] not in self._plans

    def _run(self, frames: list[bytes], start: int, end: int, out: EncodedBatch) -> int:
        """The events of a run from `start`, never beyond `end`; the index of the first frame that is still to be done."""
        now = self._transaction
        events, done, place = self._native.run(
            frames,
            start,
            end,
            self._plans,
            self._tables.padded,
            self._processed_us,
            self._context.empty,
            (
                self._change,
                self._message,
                self._inside,
                self._begun,
                self.committed_us,
                (now.commit_lsn, now.committed_us, now.xid, now.last_commit, now.number),
            ),
        )
        out.take(events)
        self._change, self._message, self._inside, self._begun, self.committed_us, then = place
        if then[-1] != now.number:
            self._transaction = Transaction(*then)
            self._id_prefix = self._prefix_of(self._transaction.commit_lsn)
        return done

    def _lines(self, copy: Copy, start: int, end: int, out: EncodedBatch) -> None:
        """Runs of lines, between those that are marked."""
        plan, lines = copy.plan, copy.batch.frames
        if plan.native is None:
            plan.native = native_plan(plan) or False
        if not plan.native or not isinstance(lines, Lines):
            super()._lines(copy, start, end, out)
            return
        for marked in sorted(number for number in copy.batch.marks if start <= number < end):
            self._between(copy, lines, start, marked, out)
            super()._lines(copy, marked, marked + 1, out)
            start = marked + 1
        self._between(copy, lines, start, end, out)

    def _between(self, copy: Copy, lines: Lines, start: int, end: int, out: EncodedBatch) -> None:
        in_turns(
            start,
            end,
            lambda start, end: self._run_of_lines(copy, lines, start, end, out),
            lambda start, end: super(NativeExecutor, self)._lines(copy, start, end, out),
        )

    def _run_of_lines(self, copy: Copy, lines: Lines, start: int, end: int, out: EncodedBatch) -> int:
        """The events of lines from `start`, never beyond `end`; the index of the first line that is still to be done."""
        plan, batch = copy.plan, copy.batch
        events = self._native.copy(
            lines.data,
            start,
            end,
            plan.native,
            plan.topic,
            copy.prefix,
            int(batch.by_ctid),
            batch.lsn,
            batch.taken_us,
            self._processed_us,
        )
        out.take(events)
        return start + len(events)

    def _plan(self, oid: int, out: EncodedBatch) -> TablePlan | None:
        plan = super()._plan(oid, out)
        if plan is not None and plan.native is None:
            plan.native = native_plan(plan) or False
        return plan


def in_turns(done: int, end: int, run: Callable[[int, int], int], python: Callable[[int, int], None]) -> None:
    """Have frames done in order, from `done` to `end`: by `run`, which is given (start, end) and returns how far it came,
    and at what stops it by `python`, which does all from start to end."""
    reach, pause = _MOST, 1
    while done < end:
        upto = run(done, min(done + reach, end))
        came, done = upto - done, upto
        # What a run looked at in vain is bounded by what it brought.
        reach = min(max(2 * came, _LEAST), _MOST)
        if came:
            pause = 1
            continue
        upto = min(done + pause, end)
        python(done, upto)
        done, pause = upto, min(2 * pause, _LONGEST_PAUSE)


def native_plan(plan: TablePlan) -> Any:
    """The plan in Rust; None: its rows are Python's."""
    try:
        return liberator_native.Plan(json.dumps(_described(plan)).encode())
    except (LookupError, ValueError) as error:
        log.debug("rows of %s are done by Python: native does not know %s", plan.label, error)
        return None


def _described(plan: TablePlan) -> dict[str, Any]:
    """What native/src/plan.rs reads. Raises `LookupError` for what can't be said as data."""
    gate = plan.gate
    if plan.special:
        raise LookupError("filters and functions")
    if gate is not None and (gate.impossible is not None or gate.row is not None):
        raise LookupError("a contract that looks at whole rows")
    return {
        "columns": [
            {"name": name.decode(), "converter": convert} if name else None
            for name, convert in zip(plan.names, plan.described, strict=True)
        ],
        "key": plan.key_columns,
        "id": [
            (json.dumps(plan.table.columns[index].name, ensure_ascii=False), index)
            for index in plan.id_columns
        ],
        "identity": plan.identity_columns,
        "unique_key": plan.unique_key,
        "checks": plan.checks_described,
        "before_key": list(plan.before_key),
        "before_value": list(plan.before_value),
        "envelope": plan.form.described(),
    }
