"""The check that one column still needs, on the bytes that its converter makes.

Enters: what the column's type guarantees and what the contract asks. Leaves: a function from JSON bytes to a
verdict, or the knowledge that none is needed. Called by the gate at compile time; the functions by the plan, once
per row, so they are as short as Python allows.

Every check is two-fold: a quick test that accepts most good values by their bytes, and the run-time validator,
which has the last word on everything else. A quick test may refuse a good value; it never accepts a bad one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import orjson

from liberator.contract.described import Described, described, listed, nearest
from liberator.contract.document import Document, Pointer
from liberator.contract.proof import NUMBERS, Part, Rooted, named_types, parts_of, types_of, unproven
from liberator.contract.reading import read

ColumnCheck = Callable[[bytes], bool]
Slow = Callable[[bytes], bool]

NULL = b"null"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a column's values beforehand: `given` is satisfied by all but null."""

    given: Rooted
    nullable: bool

    @property
    def types(self) -> frozenset[str]:
        return types_of(self.given)


@dataclass(frozen=True, slots=True)
class Needed:
    """test: says of a value's JSON whether it may pass. described: the same as data, None: it can't be said so."""

    test: ColumnCheck
    described: Described | None = None


def column_check(
    document: Document, places: Sequence[Pointer], known: Known
) -> Needed | Literal[False] | None:
    """The check that a column needs for the subschemas at `places`; None: none; False: no value can pass."""
    goal = Rooted(document.schema, {"allOf": [document.at(place) for place in places]})
    judge = document.validator({"allOf": [document.link(place) for place in places]}).is_valid
    null_passes = bool(judge(None))
    open_words = unproven(goal, known.given)
    null_is_open = known.nullable and not null_passes
    if not open_words and not null_is_open:
        return None
    slow = _slow(judge, known.types)
    if "null" in known.types:
        return Needed(slow)
    if not (types_of(goal) & known.types):
        only_null = Needed(NULL.__eq__, listed((), null=True))
        return only_null if known.nullable and null_passes else False
    if not open_words:
        return Needed(NULL.__ne__, described((), frozenset(), known.types, null=False))
    parts = parts_of(goal, known.types)
    if not _hold(parts, open_words):
        return Needed(slow)
    return _two_fold(parts, {word for word, _ in open_words}, known, judge, slow)


def _hold(parts: list[Part], open_words: Sequence[tuple[str, Any]]) -> bool:
    """Is all that is open asked of every value? Of an ``anyOf`` with a branch for numbers and one for texts it is not."""
    return all(any(word in part and part[word] == operand for part in parts) for word, operand in open_words)


def _slow(judge: Callable[[Any], bool], types: frozenset[str]) -> Slow:
    """The verdict of the validator on what the bytes say."""
    loads = orjson.loads if types <= {"string", "boolean"} else read

    def check(raw: bytes) -> bool:
        try:
            value = loads(raw)
        except (ValueError, RecursionError):
            return False  # text that is not UTF-8, or nested too deeply
        return judge(value)

    return check


def _two_fold(
    parts: list[Part], words: set[str], known: Known, judge: Callable[[Any], bool], slow: Slow
) -> Needed:
    """The quick test where there is one, before the slow one."""
    null_verdict = bool(judge(None))
    if words & {"enum", "const"}:
        return _listed(parts, judge, slow, null_verdict and known.nullable)
    allowed = _allowed(parts, known.types)
    data = described(parts, words, allowed, null=null_verdict)
    if not words <= _QUICK:
        return Needed(slow, data)
    if words <= _RANGE and "fraction" not in known.types:
        return Needed(_whole_between(parts, null_verdict, slow), data)
    if words & _RANGE and known.types & NUMBERS <= allowed:
        words = words - {"type"}  # whatever reads as a number is one
    tests = [make(parts, allowed) for some, make in _TESTS if words & some]
    return Needed(_guarded(reduce(_both, tests), null_verdict, slow), data)


def _allowed(parts: list[Part], known: frozenset[str]) -> frozenset[str]:
    """The types that a value can have and may have."""
    return known.intersection(*(named_types(operand) for operand in _operands(parts, "type")))


def _both(first: ColumnCheck, second: ColumnCheck) -> ColumnCheck:
    return lambda raw: first(raw) and second(raw)


def _guarded(test: ColumnCheck, null_verdict: bool, slow: Slow) -> ColumnCheck:
    def check(raw: bytes) -> bool:
        if raw == NULL:
            return null_verdict
        try:
            return test(raw) or slow(raw)
        except ValueError:
            return slow(raw)

    return check


def _listed(parts: list[Part], judge: Callable[[Any], bool], slow: Slow, null_passes: bool) -> Needed:
    """One of the listed values, in any spelling that a converter may choose."""
    members = [member for member in _operands(parts, "enum") for member in member]
    members += _operands(parts, "const")
    spelled = {spelling for member in members if judge(member) for spelling in _spellings(member)}
    allowed = frozenset(spelled | {NULL} if null_passes else spelled - {NULL})

    def check(raw: bytes) -> bool:
        return raw in allowed or slow(raw)

    return Needed(check, listed(allowed - {NULL}, null=null_passes))


def _spellings(value: Any) -> set[bytes]:
    return {
        json.dumps(value, separators=(",", ":"), ensure_ascii=escape).encode() for escape in (True, False)
    }


def _whole_between(parts: list[Part], null_verdict: bool, slow: Slow) -> ColumnCheck:
    """An integer between two bounds, both included."""
    low = max(
        (
            *(math.ceil(bound) for bound in _operands(parts, "minimum")),
            *(math.floor(bound) + 1 for bound in _operands(parts, "exclusiveMinimum")),
        ),
        default=-math.inf,
    )
    high = min(
        (
            *(math.floor(bound) for bound in _operands(parts, "maximum")),
            *(math.ceil(bound) - 1 for bound in _operands(parts, "exclusiveMaximum")),
        ),
        default=math.inf,
    )

    def check(raw: bytes) -> bool:
        if raw == NULL:
            return null_verdict
        try:
            if low <= int(raw) <= high:
                return True
        except ValueError:
            pass  # 1.0 or 1e3: the validator reads it
        return slow(raw)

    return check


def _between(parts: list[Part], _: frozenset[str]) -> ColumnCheck:
    """A number strictly between the bounds; on a bound itself the exact validator decides.

    Bounds are rounded as numbers are: rounding keeps their order, unless they seem to be the same.
    """
    low = max((*_operands(parts, "minimum"), *_operands(parts, "exclusiveMinimum")), default=-math.inf)
    high = min((*_operands(parts, "maximum"), *_operands(parts, "exclusiveMaximum")), default=math.inf)
    least, most = nearest(low), nearest(high)
    return lambda raw: least < float(raw) < most


def _kind(_: list[Part], allowed: frozenset[str]) -> ColumnCheck:
    """A value of an allowed type, by its first byte; whether a number is whole is left to the validator."""
    first = {"string": b'"', "boolean": b"tf", "array": b"[", "object": b"{"}
    starts = b"".join(first.get(kind, b"") for kind in allowed)
    starts += b"-0123456789" if "fraction" in allowed else b""
    return lambda raw: raw[0] in starts


def _longest(parts: list[Part], _: frozenset[str]) -> ColumnCheck:
    """No more bytes between the quotes than characters are allowed: a character has at least one byte."""
    most = min(_operands(parts, "maxLength")) + 2
    return lambda raw: len(raw) <= most


def _shortest(parts: list[Part], _: frozenset[str]) -> ColumnCheck:
    """Plain ASCII without escapes has as many characters as bytes."""
    least = max(_operands(parts, "minLength")) + 2
    return lambda raw: len(raw) >= least and raw.isascii() and b"\\" not in raw


def _multiple(parts: list[Part], _: frozenset[str]) -> ColumnCheck:
    """A multiple of whole numbers; other factors are left to the validator."""
    factors = _operands(parts, "multipleOf")
    if not all(isinstance(factor, int) for factor in factors):
        return lambda raw: False
    whole = math.lcm(*factors)
    return lambda raw: int(raw) % whole == 0


def _operands(parts: list[Part], word: str) -> list[Any]:
    return [part[word] for part in parts if word in part]


_RANGE = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_TESTS: tuple[tuple[frozenset[str], Callable[[list[Part], frozenset[str]], ColumnCheck]], ...] = (
    (frozenset({"type"}), _kind),
    (frozenset({"maxLength"}), _longest),
    (frozenset({"minLength"}), _shortest),
    (_RANGE, _between),
    (frozenset({"multipleOf"}), _multiple),
)
_QUICK = frozenset[str]().union(*(some for some, _ in _TESTS))
