"""What a contract asks beyond what a column's type already guarantees.

Enters: two schemas, the one that every value satisfies (given) and the one that is asked for (goal). Leaves: the
keywords of the goal that do not follow from the given. Called by the gate when a table version is compiled; sees
no row. It only ever errs by leaving a keyword unproven, which costs a check at run time and nothing else.

How: the given is split into cases (one per branch of its ``anyOf``), each a list of plain keyword objects that
hold together; a rule per keyword then tries to prove that keyword of the goal in that case.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from liberator.contract.document import Schema, validator

Part = Mapping[str, Any]
Assumed = frozenset[tuple[int, int]]
"""Pairs (goal, given) already being compared further up: the comparison went round a recursive schema once."""

ALL_TYPES = frozenset({"null", "boolean", "integer", "fraction", "string", "array", "object"})
NUMBERS = frozenset({"integer", "fraction"})
_NOTHING: Part = {"enum": []}
_MOST_CASES = 64


@dataclass(frozen=True)
class Rooted:
    """A schema together with the document that its references point into."""

    root: Schema
    schema: Schema

    def inner(self, schema: Schema) -> Rooted:
        return Rooted(self.root, schema)


@dataclass(frozen=True)
class Case:
    """Keyword objects that hold together for a value."""

    root: Schema
    parts: tuple[Part, ...]

    def operands(self, keyword: str) -> list[Any]:
        return [part[keyword] for part in self.parts if keyword in part]

    @property
    def values(self) -> list[Any] | None:
        """The only values that can occur, when the parts list them."""
        listed = [*self.operands("enum"), *([value] for value in self.operands("const"))]
        return min(listed, key=len) if listed else None

    @property
    def types(self) -> frozenset[str]:
        """The JSON types that can occur; ``fraction`` is a number that is no integer."""
        types = ALL_TYPES
        for operand in self.operands("type"):
            types &= named_types(operand)
        if self.values is not None:
            types &= {type_of(value) for value in self.values}
        return types


def named_types(operand: str | list[str]) -> frozenset[str]:
    """The types that an operand of ``type`` allows."""
    names = {operand} if isinstance(operand, str) else set(operand)
    return frozenset(names | NUMBERS if "number" in names else names) - {"number"}


def type_of(value: Any) -> str:
    """The JSON type of a value; ``fraction`` is a number that is no integer."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if value == int(value) else "fraction"
    for kind, name in ((str, "string"), (list, "array"), (Mapping, "object")):
        if isinstance(value, kind):
            return name
    return "null"


def follow(root: Schema, reference: str) -> Schema:
    """What a ``#/...`` reference leads to in `root`; one that leads nowhere promises nothing.

    In a contract all lead somewhere (`Document` has seen to that); of what a column guarantees this cannot be said.
    """
    here: Any = root
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list) and name.isdecimal() and int(name) < len(here):
            here = here[int(name)]
        elif isinstance(here, dict) and name in here:
            here = here[name]
        else:
            return True
    found: Schema = here
    return found


def parts_of(goal: Rooted, types: frozenset[str] = ALL_TYPES) -> list[Part]:
    """The keyword objects that a value must satisfy together: ``allOf`` and ``$ref`` are opened.

    For values of `types` only, so is an ``anyOf`` with one branch that is meant for them (``anyOf: [..., null]``).
    """
    if isinstance(goal.schema, bool):
        return [] if goal.schema else [_NOTHING]
    part: Part = goal.schema
    members = list(part.get("allOf", ()))
    if "$ref" in part:
        members.append(follow(goal.root, part["$ref"]))
    if types != ALL_TYPES:
        fitting = [branch for branch in part.get("anyOf", ()) if types_of(goal.inner(branch)) & types]
        if len(fitting) == 1:
            members.append(fitting[0])
            part = {word: part[word] for word in part if word != "anyOf"}
    return [part, *(inner for member in members for inner in parts_of(goal.inner(member), types))]


def cases(given: Rooted) -> list[Case]:
    """The given as cases of which at least one holds for every value."""
    parts = parts_of(given)
    branches = [part["anyOf"] for part in parts if "anyOf" in part]
    found = [Case(given.root, tuple(parts))]
    for alternatives in branches:
        split = [
            Case(given.root, case.parts + more.parts)
            for case, branch in itertools.product(found, alternatives)
            for more in cases(given.inner(branch))
        ]
        found = split if len(split) <= _MOST_CASES else found
    return [case for case in found if case.types]


def types_of(schema: Rooted) -> frozenset[str]:
    """The JSON types that a schema lets through, or more."""
    return frozenset().union(*(case.types for case in cases(schema)))


def unproven(goal: Rooted, given: Rooted, assumed: Assumed = frozenset()) -> list[tuple[str, Any]]:
    """The keywords of `goal`, with their operands, that do not follow from `given`; empty: every value passes.

    One that is open in several cases is listed several times.
    """
    pair = (id(goal.schema), id(given.schema))
    if pair in assumed:
        return []
    attempt = Attempt(goal.root, assumed | {pair})
    left: list[tuple[str, Any]] = []
    for case in cases(given):
        for part in parts_of(goal, case.types):
            left += [(word, part[word]) for word in part if not attempt.proves(case, part, word)]
    return left


def follows(goal: Rooted, given: Rooted, assumed: Assumed = frozenset()) -> bool:
    """Does every value of `given` satisfy `goal`, provably?"""
    return not unproven(goal, given, assumed)


@dataclass(frozen=True)
class Attempt:
    """One attempt to prove parts of a goal; the root is the goal's."""

    root: Schema
    assumed: Assumed

    def proves(self, case: Case, part: Part, word: str) -> bool:
        """Does keyword `word` of the goal's `part` follow in this case? Annotations always do."""
        types = JUDGES.get(word)
        if types is None or not (types & case.types):
            return True
        operand = part[word]
        if case.values is not None and word in _SCALAR:
            judge = validator({word: operand})
            return all(judge.is_valid(value) for value in case.values)
        rule = _RULES.get(word)
        return bool(rule and rule(self, case, part, operand)) or _verbatim(case, part, word)

    def follows(self, goal: Schema, case: Case, given: Schema) -> bool:
        return follows(Rooted(self.root, goal), Rooted(case.root, given), self.assumed)


Rule = Callable[[Attempt, Case, Part, Any], bool]

_LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_LENGTHS = ("minLength", "maxLength", "pattern")
_SCALAR = frozenset(("type", "enum", "const", *_LIMITS, *_LENGTHS))
_STRINGS = frozenset({"string"})
_ARRAYS = frozenset({"array"})
_OBJECTS = frozenset({"object"})
JUDGES: dict[str, frozenset[str]] = {
    **dict.fromkeys(("type", "enum", "const", "anyOf", "oneOf", "not", "if"), ALL_TYPES),
    **dict.fromkeys(_LIMITS, NUMBERS),
    **dict.fromkeys(_LENGTHS, _STRINGS),
    **dict.fromkeys(("items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"), _ARRAYS),
    "unevaluatedItems": _ARRAYS,
    **dict.fromkeys(("properties", "patternProperties", "additionalProperties", "propertyNames"), _OBJECTS),
    **dict.fromkeys(("required", "minProperties", "maxProperties", "unevaluatedProperties"), _OBJECTS),
    **dict.fromkeys(("dependentRequired", "dependentSchemas"), _OBJECTS),
}
"""Every keyword that can reject a value, and the types of the values that it judges."""

TOGETHER = (
    ("if", "then", "else"),
    ("contains", "minContains", "maxContains"),
    ("prefixItems", "items"),
    ("properties", "patternProperties", "additionalProperties"),
)
"""Keywords that mean something together only."""


def _verbatim(case: Case, part: Part, word: str) -> bool:
    """Does the given say the same in the same words?"""
    family = next((words for words in TOGETHER if word in words), (word,))
    wanted = _text([part.get(each, None) for each in family])
    if word.startswith("unevaluated") or '"$ref"' in wanted:
        return False
    return any(
        _text([other.get(each, None) for each in family]) == wanted for other in case.parts if word in other
    )


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _type(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return case.types <= named_types(operand)


def _minimum(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return any(low >= operand for word in ("minimum", "exclusiveMinimum") for low in case.operands(word))


def _maximum(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return any(high <= operand for word in ("maximum", "exclusiveMaximum") for high in case.operands(word))


def _exclusive_minimum(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return any(low > operand for low in case.operands("minimum")) or any(
        low >= operand for low in case.operands("exclusiveMinimum")
    )


def _exclusive_maximum(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return any(high < operand for high in case.operands("maximum")) or any(
        high <= operand for high in case.operands("exclusiveMaximum")
    )


def _multiple_of(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    factors = [*case.operands("multipleOf"), *([1] if "fraction" not in case.types else [])]
    judge = validator({"multipleOf": operand})
    return any(judge.is_valid(factor) for factor in factors)


def _at_least(word: str) -> Rule:
    return lambda _, case, __, operand: operand == 0 or any(low >= operand for low in case.operands(word))


def _at_most(word: str) -> Rule:
    return lambda _, case, __, operand: any(high <= operand for high in case.operands(word))


def _pattern(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return operand in case.operands("pattern")


def _unique_items(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return not operand or True in case.operands("uniqueItems")


def _any_of(attempt: Attempt, case: Case, _: Part, operand: Any) -> bool:
    opened = ("allOf", "anyOf", "$ref")  # their content already stands beside them
    whole: Schema = {
        "allOf": [{word: part[word] for word in part if word not in opened} for part in case.parts]
    }
    return any(attempt.follows(branch, case, whole) for branch in operand)


def _items(attempt: Attempt, case: Case, part: Part, operand: Any) -> bool:
    if "prefixItems" in part or case.operands("prefixItems"):
        return False
    return any(attempt.follows(operand, case, item) for item in [True, *case.operands("items")])


def _required(_: Attempt, case: Case, __: Part, operand: Any) -> bool:
    return set(operand) <= set(itertools.chain.from_iterable(case.operands("required")))


def _properties(attempt: Attempt, case: Case, _: Part, operand: Any) -> bool:
    return all(
        any(attempt.follows(schema, case, given) for given in [True, *given_for(case, name)])
        for name, schema in operand.items()
    )


def given_for(case: Case, name: str) -> Iterable[Schema]:
    """What the given says about the member `name`."""
    for part in case.parts:
        if name in part.get("properties", ()):
            yield part["properties"][name]
        elif "patternProperties" not in part and "additionalProperties" in part:
            yield part["additionalProperties"]


def _additional_properties(attempt: Attempt, case: Case, part: Part, operand: Any) -> bool:
    named = set(part.get("properties", ()))
    for given in case.parts:
        if "additionalProperties" in given and "patternProperties" not in given:
            others = [given["additionalProperties"]]
            others += [schema for name, schema in given.get("properties", {}).items() if name not in named]
            if all(attempt.follows(operand, case, schema) for schema in others):
                return True
    return attempt.follows(operand, case, True)


_RULES: dict[str, Rule] = {
    "type": _type,
    "minimum": _minimum,
    "maximum": _maximum,
    "exclusiveMinimum": _exclusive_minimum,
    "exclusiveMaximum": _exclusive_maximum,
    "multipleOf": _multiple_of,
    "minLength": _at_least("minLength"),
    "maxLength": _at_most("maxLength"),
    "pattern": _pattern,
    "minItems": _at_least("minItems"),
    "maxItems": _at_most("maxItems"),
    "uniqueItems": _unique_items,
    "minProperties": _at_least("minProperties"),
    "maxProperties": _at_most("maxProperties"),
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional_properties,
    "items": _items,
    "anyOf": _any_of,
}
