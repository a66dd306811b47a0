"""The checks in Rust never pass what Python's refuse; what a contract usually asks, they are sure of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.contract.gate import ColumnFacts, compile_gate
from tests.unit.contract.generated import KINDS, Kind, value_schemas

native: Any = pytest.importorskip("liberator_native")

INT4 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
FLOAT8 = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
TEXT = {"type": "string"}


def checks(rules: Any, guaranteed: dict[str, Any]) -> tuple[Any, Any]:
    """Python's check of a column and its twin; None: there is none."""
    gate = compile_gate({"properties": {"c": rules}}, [ColumnFacts("c", guaranteed, nullable=True)])
    data = gate.described.get("c")
    return gate.columns.get("c"), None if data is None else native.Check(json.dumps(data))


def spellings(value: Any) -> list[bytes]:
    return [json.dumps(value, ensure_ascii=ascii).encode() for ascii in (False, True)]


@given(value_schemas(1, references=False), st.sampled_from(KINDS), st.data())
def test_it_never_passes_what_python_refuses(rules: Any, kind: Kind, data: st.DataObject) -> None:
    reference, twin = checks(rules, kind.guaranteed)
    if twin is None:
        return
    for value in data.draw(st.lists(kind.values | st.none(), min_size=4, max_size=12)):
        for raw in spellings(value):
            assert reference(raw) or not twin.passes(raw)


@given(value_schemas(1, references=False), st.sampled_from(KINDS), st.binary(max_size=12))
def test_it_passes_no_bytes_that_python_refuses(rules: Any, kind: Kind, raw: bytes) -> None:
    reference, twin = checks(rules, kind.guaranteed)
    if twin is not None and twin.passes(raw) and raw[:1] in b'"-0123456789[{tfn' and is_json(raw):
        assert reference(raw)


def is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("rules", "guaranteed", "good"),
    [
        ({"enum": ["new", "päid", None]}, TEXT, ["new", "päid", None]),
        ({"const": 5}, INT4, [5]),
        ({"type": "integer"}, INT4, [0, -5]),
        ({"minimum": 0, "maximum": 100}, INT4, [0, 100, None]),
        ({"exclusiveMinimum": 0, "multipleOf": 5}, INT4, [5, 10]),
        ({"type": ["number", "null"], "minimum": 0}, FLOAT8, [0, 0.5, 1e22, None]),
        ({"type": ["integer", "string"], "maximum": 9}, FLOAT8, [9, 8.0, "NaN"]),
        ({"type": "string", "minLength": 1, "maxLength": 3}, TEXT, ["a", "é\n😀"]),
        ({"type": "string", "pattern": r"^\w+@[a-z.]+\.\D{2,}$"}, TEXT, ["a@b.de"]),
        ({"pattern": "^[^ ]*$", "maxLength": 9}, TEXT, ["", 'q"\\', None]),
        ({"anyOf": [{"type": "string", "minLength": 2}, {"type": "null"}]}, TEXT, ["ab", None]),
        ({"type": "null"}, INT4, [None]),
    ],
)
def test_it_is_sure_of_what_contracts_usually_ask(
    rules: Any, guaranteed: dict[str, Any], good: list[Any]
) -> None:
    reference, twin = checks(rules, guaranteed)
    for value in good:
        raw = json.dumps(value, ensure_ascii=False).encode()
        assert (reference(raw), twin.passes(raw)) == (True, True)


@pytest.mark.parametrize(
    "rules", [{"minItems": 1}, {"not": {"const": 1}}, {"oneOf": [{"type": "string"}, {"minimum": 5}]}]
)
def test_what_can_not_be_said_as_data_is_left_to_python(rules: Any) -> None:
    reference, twin = checks(rules, {"type": ["integer", "string", "array"]})
    assert reference is not None
    assert twin is None
