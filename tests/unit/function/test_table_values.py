"""What a column takes of a JSON value, where that is no plain matter of its type."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

from liberator.function.table.values import converter


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("type", [sa.Double(), sa.Numeric(10, 2)], ids=["float", "decimal"])
def test_what_is_no_finite_number_is_refused_by_databases_that_have_none(
    type: TypeEngine[Any], value: str
) -> None:
    """PyMySQL writes such a decimal as the name of a column, and refuses a float as a wrong program."""
    with pytest.raises(ValueError, match=r"^no finite number$"):
        converter("mysql", type)(value)


def test_sqlite_keeps_not_a_number_as_text() -> None:
    """As a number it would be null."""
    assert converter("sqlite", sa.Double())("NaN") == "NaN"
    assert converter("sqlite", sa.Double())("-Infinity") == float("-inf")


@pytest.mark.parametrize("dialect", ["sqlite", "mysql"])
@pytest.mark.parametrize(
    "type", [sa.Double(), sa.Numeric(), sa.Integer(), sa.LargeBinary()], ids=lambda type: type.__visit_name__
)
def test_a_refusal_does_not_show_the_value(dialect: str, type: TypeEngine[Any]) -> None:
    with pytest.raises(ValueError) as caught:
        converter(dialect, type)("4711 secret!")
    assert "4711" not in str(caught.value)


def test_an_object_that_looks_a_little_like_a_range_is_none() -> None:
    assert converter("postgresql", sa.Text())({"empty": False}) == '("false")'
    assert converter("postgresql", sa.Text())({"empty": True}) == "empty"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("_box", ["(1,1),(0,0)", None], '{"(1,1),(0,0)";NULL}'),
        ("_box", [["(1,1),(0,0)"]], '{{"(1,1),(0,0)"}}'),
        ("vector", [1, 2.5], "[1,2.5]"),
        ("halfvec", [], "[]"),
        ("sparsevec", {"dimensions": 5, "vector": {"1": 1.5, "3": 2}}, "{1:1.5,3:2}/5"),
        ("int2vector", [1, 2], "1 2"),
        ("vector", "[1,2.5]", "[1,2.5]"),
    ],
)
def test_types_of_postgresql_whose_text_is_their_own_are_known_by_name(
    name: str, value: Any, expected: str
) -> None:
    assert converter("postgresql", sa.types.NULLTYPE, name)(value) == expected
