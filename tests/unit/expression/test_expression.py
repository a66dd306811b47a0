"""Conditions over events: what they say, which are refused offline, and what their failures do not tell."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator import expression
from liberator.errors import ConfigError, EvaluationError

SECRET = "4711-very-secret"


def row(**after: Any) -> dict[str, Any]:
    return {"after": after, "before": None, "op": "c", "key": {"id": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("after.status != 'draft'", True),
        ("after.status == 'paid' && after.amount > 10", True),
        ("after.status in ['new', 'open']", False),
        ("op == 'd' || after.n >= 7", True),
        ("has(after.note)", False),
        ("after.nothing == null", True),
        ("before == null", True),
        ("key.id == 1", True),
        ("after['odd name'] == 1", True),
        ("after.`odd name` == 1", True),
        ("after.list.exists(x, x == 2)", True),
        ("after.status.startsWith('pa') && after.status.matches('^p.*d$')", True),
        ("after.n == 7.0 && after.n < 7.5", True),
        ("after.big == 9007199254740993", True),
        ("after.n > 3 ? after.status == 'paid' : false", True),
        ("op == 'c' || after.missing > 1", True),
        ("timestamp(after.at) < timestamp('2025-01-01T00:00:00Z')", True),
    ],
)
def test_a_condition_says_what_cel_means(text: str, expected: bool) -> None:
    values: dict[str, Any] = {"status": "paid", "amount": 12.5, "n": 7, "nothing": None, "list": [1, 2]}
    values |= {"odd name": 1, "big": 9007199254740993, "at": "2024-02-29T00:00:00Z"}
    assert expression.condition(text).holds(row(**values)) is expected


def test_an_expression_gives_any_value() -> None:
    assert expression.compile("{'n': after.n + 1, 'l': [after.s]}").evaluate(row(n=1, s="x")) == {
        "n": 2,
        "l": ["x"],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("after.status ==", "line 1, column 16: mismatched input '<EOF>'"),
        ("op == 'c' &&\n  statuss == 1", "line 2, column 3: undeclared reference to 'statuss'"),
        ("size(after.status", "line 1, column 18"),
        ("op == 3", "line 1, column 4: found no matching overload"),
        ("", "line 1, column 1"),
        ("after.\0x == 1", "line 1, column 7"),
        ("'a' + 'b'", "this is string"),
        ("(" * 300 + "true" + ")" * 300, "nested too deeply"),
        ("-" * 3 + "(" * 40 + "1" + ")" * 40 + " == 1", "nested too deeply"),
        ("after.a == '" + "x" * expression.LONGEST + "'", "at most 4096 characters"),
    ],
)
def test_a_bad_expression_is_refused_offline_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        expression.condition(text)
    assert said in caught.value.what
    assert caught.value.code == "expression.invalid"
    assert caught.value.fix


def test_other_variables_are_known_to_who_asks_for_them() -> None:
    with pytest.raises(ConfigError, match="undeclared reference to 'topic'"):
        expression.compile("topic == 'a'")
    assert expression.condition("topic == 'a'", ("after", "topic")).holds({"topic": "a"})


def test_a_python_without_the_engine_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    with pytest.raises(ConfigError, match=r"3\.11") as caught:
        expression.condition("after.a == 1", ("after", "never_asked_before"))
    assert caught.value.code == "expression.unavailable"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("after.missing == 1", "not there"),
        ("after.n > 1 && after.s > 1", "_>_(string, int64)"),
        ("after.nothing > 1", "_>_(null_type, int64)"),
        ("before.x == 1", "something that has none"),
        ("1 / (after.n - 2) == 1", "division by zero"),
        ("after.n + 9223372036854775807 > 0", "too large"),
        ("after.list[9] == 1", "outside of a list"),
        ("after.s", "neither true nor false"),
        ("after.s.matches(after.odd)", "can't be used"),
        ("int(after.s) == 1", "can't be used"),
        ("after.map[after.s] == 1", "not there"),
        ("after.huge > 1", "can't be used"),
    ],
)
def test_a_failure_has_a_reason_and_no_value(text: str, reason: str) -> None:
    values: dict[str, Any] = {
        "n": 2,
        "s": SECRET,
        "nothing": None,
        "list": [],
        "odd": f"({SECRET}",
        "map": {},
    }
    if "huge" in text:
        values["huge"] = 47_110_000_000_000_000_000_000
    with pytest.raises(EvaluationError) as caught:
        expression.condition(text).holds(row(**values))
    assert reason in caught.value.block()
    assert SECRET not in caught.value.block()
    assert "4711" not in caught.value.block()


def test_text_that_is_no_unicode_is_a_failure() -> None:
    with pytest.raises(EvaluationError):
        expression.condition("after.s == 'a'").holds(row(s="\ud800"))


@pytest.mark.parametrize(
    "text",
    [
        "after.l.all(a, after.l.all(b, after.l.all(c, after.l.all(d, true))))",
        "after.l.map(a, after.l.map(b, after.l)) == []",
    ],
)
def test_macros_inside_of_macros_come_to_an_end(text: str) -> None:
    compiled = expression.condition(text)
    started = time.process_time()
    with pytest.raises(EvaluationError, match="too many elements"):
        compiled.holds(row(l=list(range(200))))
    assert time.process_time() - started < 60


def test_an_expression_is_shared_by_threads() -> None:
    compiled = expression.condition("after.n == after.m")
    wrong: list[int] = []

    def ask(number: int) -> None:
        wrong.extend(n for n in range(2000) if not compiled.holds(row(n=n * number, m=n * number)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("after.status != 'draft'", {"status"}),
        ("after.a.b == after['c'] && has(after.d) && after.`e f` == 1", {"a", "c", "d", "e f"}),
        ("'after.x' == after.y // after.z", {"y"}),
        ('r"\\d" == after.y && after.z == "\\"after.q"', {"y", "z"}),
        ("'''it's after.x''' == after.y", {"y"}),
        ("key.after == 1 || .after.x == 1", {"x"}),
        ("op == 'c'", set()),
        ("'x' in after", None),
        ("after == before", None),
        ("after[op] == 1", None),
        ("after['a\\x62'] == 1", None),
        ("size(after) == 1", None),
        ("after.all(k, k == 'a')", None),
        ("[{'x': 1}].all(after, after.x == 1)", None),
    ],
)
def test_only_the_members_that_it_mentions_are_needed(text: str, members: set[str] | None) -> None:
    assert expression.compile(text).mentions("after") == members


NAMES = ["a", "b", "c_1", "op", "before", "odd name"]


def _access(name: str) -> st.SearchStrategy[str]:
    ways = [f"after['{name}']", f'after["{name}"]', f"after.`{name}`", f"after [ '{name}' ]"]
    return st.sampled_from(
        ways if " " in name else [*ways, f"after.{name}", f"after . {name}", f".after.{name}"]
    )


ATOM = st.sampled_from(NAMES).flatmap(_access)
TEXT = st.sampled_from(
    ["'x'", '"after.a"', "r'\\d'", "'''after.b'''", "'\\''", "(b'after.c' == b'' ? 'a' : 'b')"]
)
TERM = st.builds("{} == {}".format, ATOM, TEXT | ATOM) | st.builds(
    "has(after.{})".format, st.sampled_from("ab")
)
CONDITION = st.recursive(
    TERM,
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
    max_leaves=6,
)


@given(CONDITION, st.fixed_dictionaries({name: st.sampled_from(["x", "after.a", "b"]) for name in NAMES}))
def test_the_members_that_it_does_not_mention_make_no_difference(text: str, values: dict[str, str]) -> None:
    compiled = expression.condition(text)
    members = compiled.mentions("after")
    assert members is not None
    needed = {name: value for name, value in values.items() if name in members}
    assert compiled.evaluate(row(**needed)) == compiled.evaluate(row(**values))
