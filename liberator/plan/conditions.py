"""The filters of a table: which changes of its rows are events, and of which kind.

Enters: compiled conditions, and rows as they were sent. Leaves: a `Verdict`. Called by the executors, for tables with a
filter only, before anything of a row is converted; only columns that a condition mentions are looked at. No I/O.

What the server did not send is not known, and what is not known does not keep an event back: a delete that carries its key
alone passes, and so does an update that leaves out a column which a condition needs.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from liberator.errors import EvaluationError
from liberator.expression import Expression
from liberator.postgres.pgoutput import UNCHANGED
from liberator.postgres.values import ConversionError

Read = Callable[[Any], Any]
"""A value as it was sent -> as expressions take it."""

Looks = tuple[tuple[str, int, Read], ...]
"""Name, index in the row, and what makes it ready."""


class Verdict(enum.Enum):
    """What becomes of a change. LEAVES: its row no longer belongs to the stream, so it is a delete. ENTERS: its row did not
    belong to the stream before, so it is a create."""

    PASSES = enum.auto()
    FAILS = enum.auto()
    LEAVES = enum.auto()
    ENTERS = enum.auto()


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """after, before, key: the columns that it needs of each. rows: it says which rows belong to the stream."""

    expression: Expression
    after: Looks
    before: Looks
    key: Looks
    rows: bool

    def holds(self, op: str, after: Sequence[Any] | None, before: Sequence[Any] | None) -> bool | None:
        """None: something that it needs was not sent. Raises `EvaluationError`."""
        activation: dict[str, Any] = {"op": op}
        key_row = before if after is None else after
        for name, looks, row in (
            ("after", self.after, after),
            ("before", self.before, before),
            ("key", self.key, key_row),
        ):
            if row is None:
                if looks and (op == "u" or key_row is None):
                    return None
                activation[name] = None
                continue
            found = activation[name] = {}
            for column, index, read in looks:
                value = row[index]
                if value is UNCHANGED:
                    return None
                found[column] = None if value is None else _read(read, value)
        return self.expression.holds(activation)


def _read(read: Read, value: Any) -> Any:
    try:
        return read(value)
    except ConversionError:
        raise EvaluationError(
            "the expression can't be evaluated: a column that it needs holds what its type does not have",
            code="expression.failed",
            fix="correct the row",
        ) from None


def reader(convert: Callable[[Any], bytes], number: Callable[[str], float] | None) -> Read:
    """What makes a value ready for expressions. convert: to JSON. number: of text that holds one."""

    def read(value: Any) -> Any:
        try:
            ready = orjson.loads(convert(value))
        except orjson.JSONDecodeError:
            raise ConversionError("no JSON") from None
        return number(ready) if number is not None and isinstance(ready, str) else ready

    return read


def judge(
    conditions: Sequence[CompiledCondition],
    op: str,
    after: Sequence[Any] | None,
    before: Sequence[Any] | None,
) -> Verdict:
    """What becomes of a change. op: as in events. after, before: rows as they were sent, `UNCHANGED` for what was not; None:
    no row. On a delete the old row is tested as `after`, too. Raises `EvaluationError`."""
    fits_now, fitted = True, True
    for condition in conditions:
        holds = condition.holds(op, before if op == "d" else after, before)
        if condition.rows and op == "u":
            fits_now = fits_now and holds is not False
            fitted = fitted and _fitted(condition, before)
        elif holds is False:
            return Verdict.FAILS
    if fits_now:
        return Verdict.PASSES if fitted else Verdict.ENTERS
    return Verdict.LEAVES if fitted else Verdict.FAILS


def _fitted(condition: CompiledCondition, before: Sequence[Any] | None) -> bool:
    """May the old row have belonged to the stream? Where it can't be told, it may."""
    if before is None:
        return True
    try:
        return condition.holds("u", before, before) is not False
    except EvaluationError:
        return True
