"""Patterns: what is portable means the same to every engine, and nothing can stall the stream."""

from __future__ import annotations

import re
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liberator.contract.document import Document, validator
from liberator.contract.pattern import NotPortable, check, python_spelling
from liberator.errors import ContractError

_CHARACTERS = [
    "a",
    "B",
    "-",
    "_",
    "é",
    "日",
    "😀",
    " ",
    "&&",
    "#",
    r"\.",
    r"\/",
    r"\-",
    r"\x41",
    r"\u00e9",
    r"\t",
    r"\n",
]
_CLASSES = [
    ".",
    r"\d",
    r"\D",
    r"\w",
    r"\W",
    r"\s",
    r"\S",
    "[a-c]",
    "[^a-c]",
    r"[\d_-]",
    r"[^\s]",
    r"[\S\s]",
    "[-a]",
]
_ESCAPES = [f"\\{char}" for char in string.punctuation if char not in "<>"]
_SETS = ["[😀-😂]", r"[\]\[]", "[a&~]"]
_ATOMS = st.one_of([st.sampled_from(some) for some in (_CHARACTERS, _CLASSES, _ESCAPES, _SETS)])
_QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?", "+?", "{1,2}?"])
_PATTERNS = st.recursive(
    st.lists(st.tuples(_ATOMS, _QUANTIFIERS).map("".join), max_size=3).map("".join),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("|".join),
        st.tuples(st.sampled_from(["(", "(?:"]), inner, st.just(")"), _QUANTIFIERS, inner).map("".join),
        inner.map(lambda text: f"^{text}"),
        inner.map(lambda text: f"{text}$"),
        inner.map(lambda text: f"^(?:{text})$"),
    ),
    max_leaves=4,
)
_TEXTS = st.text(
    st.sampled_from("abcBA09 \t\n\réé日😀😁\x1c\x85\u2028\ufeff٣" + string.punctuation), max_size=6
)


@settings(max_examples=max(500, settings.default.max_examples if settings.default else 0))
@given(_PATTERNS, _TEXTS)
def test_a_portable_pattern_means_the_same_to_both_engines(pattern: str, text: str) -> None:
    here = validator({"pattern": pattern}).is_valid(text)
    assert here == (re.search(python_spelling(pattern), text) is not None)


@pytest.mark.parametrize(
    "pattern", [r"^\d$", r"^\D$", r"^\w$", r"^\W$", r"^\s$", r"^\S$", "^.$", r"^[^\w\s]$"]
)
def test_a_class_holds_the_same_characters_in_both_engines(pattern: str) -> None:
    here, python = validator({"pattern": pattern}), re.compile(python_spelling(pattern))
    codes = [*range(0xD800), *range(0xE000, 0x11000), 0x1D7D8, 0x1F600, 0x10FFFF]
    assert [c for c in codes if here.is_valid(chr(c))] == [c for c in codes if python.search(chr(c))]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)", "look-ahead"),
        ("(?!a)b", "look-ahead"),
        ("(?<=a)b", "look-behind"),
        ("(?<!a)b", "look-behind"),
        (r"(a)\1", "back reference"),
        (r"(?<n>a)\k<n>", "named group"),
        ("(?P<n>a)", "named group"),
        ("(?>a)", "atomic group"),
        ("(?i)a", "inline flag"),
        ("(?#x)", "comment"),
        (r"\bword", r"the escape '\b'"),
        (r"\p{L}", r"the escape '\p'"),
        (r"\Aa\Z", r"the escape '\A'"),
        (r"\0", "back reference"),
        (r"\<word\>", r"the escape '\<'"),
        (r"[a\>]", r"the escape '\>'"),
        ("\\", "the escape"),
        (r"\ud83d", "surrogate"),
        ("a++", "repeats nothing"),
        ("*a", "repeats nothing"),
        ("^*", "repeats nothing"),
        ("a{,3}", "begins no"),
        ("a{3,1}", "wrong order"),
        ("{", "repeats nothing"),
        ("}", "closes nothing"),
        ("]", "closes nothing"),
        (")", "closes nothing"),
        ("(a", "not closed"),
        ("[a", "not closed"),
        ("[a-", "not closed"),
        ("[]", "empty"),
        ("[^]", "empty"),
        ("[[:alpha:]]", "nested class"),
        ("[a&&b]", "set operation"),
        ("[z-a]", "wrong order"),
        ("[a-c-e]", "neither first nor last"),
        (r"[\d-z]", "begins with a class"),
        (r"[a-\d]", "ends with a class"),
    ],
)
def test_refuses_what_engines_read_differently(pattern: str, reason: str) -> None:
    with pytest.raises(NotPortable, match=re.escape(reason)):
        check(pattern)


@given(st.text(st.sampled_from("ab()[]{}?*+^$|\\-&:=!<>PdDbu1,."), max_size=8))
def test_what_is_not_refused_compiles_in_both_engines(pattern: str) -> None:
    try:
        python = python_spelling(pattern)
    except NotPortable:
        return
    re.compile(python)
    validator({"pattern": pattern})


def test_a_pattern_that_stalls_a_backtracking_engine_is_answered_at_once() -> None:
    judge = Document({"pattern": "^(a+)+$"}).validator({"pattern": "^(a+)+$"})
    began = time.monotonic()
    assert not judge.is_valid("a" * 50_000 + "b")
    assert time.monotonic() - began < 60, "a backtracking engine takes for ever"


def test_refuses_a_pattern_that_is_too_large_to_compile() -> None:
    with pytest.raises(ContractError, match="cannot compile"):
        Document({"pattern": "((a{100}){100}){100}"})
