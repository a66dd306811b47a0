"""Whenever the rules say compatible, what one version allows the other allows too: `jsonschema` looks for what does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from liberator.contract.compatibility import compatible
from liberator.contract.document import Document, Schema, walk
from liberator.contract.reference import read_exactly, reference
from liberator.errors import ContractError

from .generated import NAMES, NUMBERS, TEXTS, contracts, encoded, row_schemas, value_schemas
from .test_compatibility import REFUSED

_scalars = st.sampled_from([None, True, False, *NUMBERS, *TEXTS])
_members = st.sampled_from([*NAMES, "empty", "lower"])
VALUES: SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_members, inner, max_size=3),
    max_leaves=5,
)
ROWS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)
COLUMNS = st.dictionaries(st.sampled_from(NAMES), value_schemas(2, references=False), min_size=1, max_size=2)

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems")


@st.composite
def edited(draw: st.DrawFn, schema: Schema) -> Schema:
    """A next version: the old one with one to three places changed, mostly so that they allow more."""
    changed = copy.deepcopy(schema)
    for _ in range(draw(st.integers(1, 3))):
        places = [here for _, here in walk(changed) if isinstance(here, dict) and here]
        assume(places)
        _edit(draw, draw(st.sampled_from(places)))
    return changed


def _edit(draw: st.DrawFn, here: dict[str, Any]) -> None:
    word = draw(st.sampled_from(sorted(here)))
    operand = here[word]
    choice = draw(st.integers(0, 5))
    if choice == 0:
        del here[word]
    elif choice == 1 and word == "type":
        types = [operand] if isinstance(operand, str) else operand
        here[word] = sorted({*types, draw(st.sampled_from(["null", "number", "string", "object"]))})
    elif choice == 2 and word in _BOUNDS:
        here[word] = max(0, operand + draw(st.sampled_from([-1, 1]))) if "inL" in word else operand + 1
    elif choice == 3 and word in ("enum", "required"):
        here[word] = (
            [*operand, draw(st.sampled_from(["a", "empty"]))] if word == "required" else [*operand, "abc"]
        )
        here[word] = list({json.dumps(each): each for each in here[word]}.values())
    elif choice == 4:
        rest = {word: here.pop(word) for word in list(here) if word != "$defs"}
        here["anyOf"] = [rest, draw(value_schemas(0, references=False))]
    else:
        here.update(draw(value_schemas(1, references=False).filter(lambda schema: isinstance(schema, dict))))


@st.composite
def versions(draw: st.DrawFn) -> tuple[Schema, Schema]:
    old = draw(
        contracts()
        | st.builds(lambda columns: {"type": "object", "properties": columns}, COLUMNS)
        | st.builds(lambda columns: {"properties": columns, "additionalProperties": False}, COLUMNS)
    )
    return old, draw(edited(old))


def _checked(schema: Schema) -> bool:
    try:
        Document(schema)
    except ContractError:
        return False
    return True


def counterexamples(old: Schema, new: Schema, values: list[Any]) -> Iterator[Any]:
    before, after = reference(old), reference(new)
    for value in values:
        exact = read_exactly(encoded(value))
        if before.is_valid(exact) and not after.is_valid(exact):
            yield value


@given(versions(), st.lists(ROWS, min_size=10, max_size=25))
def test_what_a_compatible_version_refuses_the_old_one_refused(
    pair: tuple[Schema, Schema], rows: list[Any]
) -> None:
    old, new = pair
    assume(_checked(old) and _checked(new))
    if not compatible(old, new, "backward"):
        assert list(counterexamples(old, new, rows)) == []
    if not compatible(old, new, "forward"):
        assert list(counterexamples(new, old, rows)) == []


@given(versions(), st.lists(ROWS, min_size=10, max_size=25))
def test_rows_that_have_only_named_members_are_judged_alike(
    pair: tuple[Schema, Schema], rows: list[Any]
) -> None:
    old, new = pair
    assume(_checked(old) and _checked(new))
    assert isinstance(old, dict)
    named = set(old.get("properties", {}))
    if not compatible(old, new, "backward", rows=True):
        assert list(counterexamples(old, new, [row for row in rows if row.keys() <= named])) == []


@given(value_schemas(2, references=False), st.data(), st.lists(VALUES, min_size=10, max_size=25))
def test_values_of_a_column_are_judged_alike(column: Schema, data: st.DataObject, values: list[Any]) -> None:
    old = {"properties": {"a": column}}
    new = {
        "properties": {"a": data.draw(edited(column) if column not in (True, False, {}) else st.just(column))}
    }
    assume(_checked(old) and _checked(new))
    if not compatible(old, new, "backward"):
        assert list(counterexamples(old, new, [{"a": value} for value in values])) == []


OF_TYPE: dict[str, SearchStrategy[Any]] = {
    "integer": st.sampled_from([number for number in NUMBERS if isinstance(number, int)]),
    "number": st.sampled_from(NUMBERS),
    "string": st.sampled_from(TEXTS),
    "array": st.lists(VALUES, max_size=4),
    "object": st.dictionaries(_members, VALUES, max_size=5),
}


@given(st.sampled_from(sorted(OF_TYPE)), st.data())
def test_one_more_rule_is_judged_alike(kind: str, data: st.DataObject) -> None:
    """One rule at a time, so that each has to find out by itself what it refuses."""
    more = data.draw(row_schemas(0) if kind == "object" else value_schemas(1))
    assume(isinstance(more, dict) and more)
    word = data.draw(st.sampled_from(sorted(more)))
    old = {"type": kind, "$defs": {"d": {"type": "string"}, "e": {"type": "integer"}, "row": {}}}
    new = {**old, word: more[word]}
    assume(_checked(new))
    values = data.draw(st.lists(OF_TYPE[kind], min_size=10, max_size=20))
    if not compatible(old, new, "backward"):
        assert list(counterexamples(old, new, values)) == []
    if not compatible(old, new, "forward"):
        assert list(counterexamples(new, old, values)) == []


CERTAIN = [case for case in REFUSED if case[0] not in ("unknown-keyword", "pattern-changed")]
TELLING = [
    *(None, True, 0, 1, -1, 7, 10, 0.5, "", "x", "y", "abcd", "a", "nine char"),
    *([], [1, 1], [1, 2, 3], [1, "x"], ["x", None], ["x"], {}, {"a": 1}),
]
TELLING_ROWS = [
    *({}, {"a": 1, "b": 1}, {"a": 1, "b": "x"}, {"long": 1}, {"x1": 1}, {f"n{n}": n for n in range(10)}),
    *({name: value} for name in ("a", "b") for value in TELLING),
]


@pytest.mark.parametrize(("rule", "path", "old", "new"), CERTAIN)
def test_what_a_rule_refuses_is_a_real_break(rule: str, path: str, old: Schema, new: Schema) -> None:
    """For every example of a rule there is a row that the old version allows and the new one refuses."""
    assert list(counterexamples(old, new, TELLING_ROWS))


@given(contracts())
def test_a_version_may_follow_itself(schema: Schema) -> None:
    assume(_checked(schema))
    assert compatible(schema, json.loads(json.dumps(schema)), "full") == []
