"""The check that a column still needs as data, for executors that are not Python (native/src/checks.rs).

Enters: what `checks` has found to be open. Leaves: ``{"null": bool, "rules": [...]}``, or None for what can't be said so.
Called at compile time. All that is open must be among the rules: what another executor lets pass, nobody looks at again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Set
from typing import Any

from liberator.contract.pattern import portable_spelling
from liberator.contract.proof import Part

Described = dict[str, Any]

_LARGEST = 10**30


def described(parts: Iterable[Part], words: Set[str], types: Set[str], *, null: bool) -> Described | None:
    """words: what is open, asked by `parts` of every value. types: that a value can have, and may. null: does null pass?"""
    rules: list[list[Any]] = []
    for part in parts:
        for word in words & part.keys():
            rule = _kinds(types) if word == "type" else _rule(word, part[word])
            if rule is None:
                return None
            rules.append(rule)
    return {"null": null, "rules": rules}


def listed(spellings: Iterable[bytes], *, null: bool) -> Described:
    """One of these JSON texts, or null."""
    return {"null": null, "rules": [["listed", sorted(text.decode() for text in spellings)]]}


def nearest(number: float) -> float:
    """The nearest floating-point number; of whole numbers beyond them all, infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _kinds(types: Set[str]) -> list[Any]:
    return ["kinds", *sorted(types)]


def _rule(word: str, operand: Any) -> list[Any] | None:
    make = _RULES.get(word)
    said = None if make is None else make(operand)
    return None if said is None else [word, said]


def _number(limit: float) -> str | None:
    return repr(limit) if abs(limit) < _LARGEST else None


def _factor(factor: float) -> str | None:
    return str(factor) if isinstance(factor, int) and 0 < factor < _LARGEST else None


_RULES: dict[str, Callable[[Any], Any]] = {
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
    "multipleOf": _factor,
    "minLength": int,
    "maxLength": int,
    "pattern": portable_spelling,
}
