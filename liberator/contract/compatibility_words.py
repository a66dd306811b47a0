"""What the rules of compatibility are called, and what a version allows in words.

Enters: a keyword of a contract and the case in which another contract does not promise it. Leaves: a rule's id and
half a sentence. Called by `compatibility`; knows contracts only, so nothing of a row can be in it.
"""

from __future__ import annotations

import json
from typing import Any

from liberator.contract.document import validator
from liberator.contract.proof import NUMBERS, Case, Part, named_types

_RULES = {
    "type": "type-narrowed",
    "enum": "values-narrowed",
    "const": "values-narrowed",
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), "range-narrowed"),
    "multipleOf": "multiple-narrowed",
    "minLength": "length-narrowed",
    "maxLength": "length-narrowed",
    "pattern": "pattern-changed",
    **dict.fromkeys(
        ("minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"), "size-narrowed"
    ),
    "propertyNames": "names-narrowed",
    "dependentRequired": "dependency-added",
    "anyOf": "alternatives-narrowed",
}
TOO_COMPLEX = "too-complex"

_SHOWN = 5


def rule_of(word: str) -> str:
    """The id of the rule about a keyword."""
    return _RULES.get(word, TOO_COMPLEX)


def allowance(case: Case, part: Part, word: str) -> str:
    """What the one version allows although the other has keyword `word`: ``null``, ``values below 0``..."""
    operand = part[word]
    if word in _PHRASES:
        return _PHRASES[word].format(operand)
    if word == "type":
        return _types(case.types - named_types(operand))
    if word in ("enum", "const"):
        return _values(case, word, operand)
    if word in ("anyOf", "oneOf"):
        return f"{_types(case.types)} that may fit none of the alternatives"
    return f"values that {word} may refuse, which cannot be decided"


_PHRASES = {
    "minimum": "values below {0}",
    "maximum": "values above {0}",
    "exclusiveMinimum": "values of {0} and below",
    "exclusiveMaximum": "values of {0} and above",
    "multipleOf": "values that are no multiple of {0}",
    "minLength": "text shorter than {0}",
    "maxLength": "text longer than {0}",
    "pattern": "text that does not match {0}, as far as can be told (patterns are compared as text)",
    "minItems": "fewer than {0} elements",
    "maxItems": "more than {0} elements",
    "uniqueItems": "the same element twice",
    "minProperties": "fewer than {0} members",
    "maxProperties": "more than {0} members",
    "propertyNames": "other names of members",
    "dependentRequired": "one member without another that it asks for",
}


def _types(types: frozenset[str]) -> str:
    names = sorted(types - NUMBERS)
    if types & NUMBERS:
        names.append("numbers that are no integers" if types & NUMBERS == {"fraction"} else "numbers")
    return " and ".join(_PLURAL.get(name, name) for name in names)


_PLURAL = {"string": "text", "boolean": "true and false", "array": "arrays", "object": "objects"}


def _values(case: Case, word: str, operand: Any) -> str:
    judge = validator({word: operand})
    if case.values is None:
        return f"{_types(case.types)} beyond what {word} lists"
    lost = [json.dumps(value, ensure_ascii=False) for value in case.values if not judge.is_valid(value)]
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return ", ".join(lost[:_SHOWN]) + more
