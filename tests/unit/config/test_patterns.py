"""Table patterns and topic templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.config.patterns import TablePattern, TopicTemplate, split_names
from liberator.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "schema", "table"),
    [
        ("public.orders", "public", "orders"),
        ("orders", "public", "orders"),
        ("public.audit_*", "public", "audit_2024"),
        ("*.orders", "sales", "orders"),
        ("*.*", "sales", "anything"),
        ("public.t?", "public", "t1"),
        ("public.t[12]", "public", "t2"),
        ('"public"."We.ird"', "public", "We.ird"),
        ('public."a*"', "public", "a*"),
        ('"We""ird"', "public", 'We"ird'),
        ("public.日本", "public", "日本"),
        (" public . orders ", "public", "orders"),
        ("public.two\nlines", "public", "two\nlines"),
    ],
)
def test_matches(pattern: str, schema: str, table: str) -> None:
    assert TablePattern.parse(pattern).matches(schema, table)


@pytest.mark.parametrize(
    ("pattern", "schema", "table"),
    [
        ("public.orders", "public", "Orders"),
        ("public.orders", "public", "orders2"),
        ("public.orders", "public", "orders\n"),
        ("orders", "sales", "orders"),
        ("public.audit_*", "sales", "audit_1"),
        ('public."a*"', "public", "ab"),
        ("publi?.orders", "sales", "orders"),
    ],
)
def test_does_not_match(pattern: str, schema: str, table: str) -> None:
    assert not TablePattern.parse(pattern).matches(schema, table)


def test_a_pattern_without_a_schema_means_the_default_schema() -> None:
    assert TablePattern.parse("orders").matches("sales", "orders", default_schema="sales")


@pytest.mark.parametrize("text", ["", " ", "a.b.c", ".a", "a.", '"a', '"a"b', '""', "a..b", 'a"b"'])
def test_refuses_what_is_no_pattern(text: str) -> None:
    with pytest.raises(ValueError):
        TablePattern.parse(text)


@pytest.mark.parametrize(
    ("text", "exact"),
    [("public.a", True), ("a", True), ('"a*"', True), ("a*", False), ("*.a", False), ("a[1]", False)],
)
def test_knows_whether_it_names_one_table(text: str, exact: bool) -> None:
    assert TablePattern.parse(text).exact is exact


@given(
    st.text(min_size=1).filter(lambda name: "\0" not in name),
    st.text(min_size=1).filter(lambda name: "\0" not in name),
)
def test_a_quoted_name_matches_itself_whatever_it_holds(schema: str, table: str) -> None:
    quoted = '"{}"."{}"'.format(schema.replace('"', '""'), table.replace('"', '""'))
    pattern = TablePattern.parse(quoted)
    assert pattern.exact
    assert (pattern.schema, pattern.table) == (schema, table)
    assert pattern.matches(schema, table)


def test_equal_patterns_are_one_key_of_a_mapping() -> None:
    assert len({TablePattern.parse("a.b"), TablePattern.parse("a.b")}) == 1


def test_commas_inside_quotes_belong_to_the_name() -> None:
    assert split_names('a, "b,c" ,, d.e') == ["a", '"b,c"', "d.e"]


def test_fills_names_into_a_topic() -> None:
    template = TopicTemplate.parse("{name}.{schema}.{table}")
    assert template.render(name="shop", schema="public", table="orders") == "shop.public.orders"


def test_replaces_characters_that_no_topic_may_have() -> None:
    topic = TopicTemplate.parse("{db}-{table}").render(name="shop", table='We"ird.Table — ünï⇥', db="a|b")
    assert topic == "a_b-We_ird.Table____n__"


def test_a_name_that_looks_like_a_place_is_not_filled_in_again() -> None:
    assert TopicTemplate.parse("{table}").render(name="shop", table="{name}") == "_name_"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{tabel}", "{tabel}"),
        ("a b", "' '"),
        ("a/b", "'/'"),
        ("{table", "'{'"),
        ("", "1 to 249"),
        ("..", "1 to 249"),
        ("x" * 250, "1 to 249"),
        ("naïve", "'ï'"),
    ],
)
def test_refuses_what_is_no_topic(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("{", r"\{")):
        TopicTemplate.parse(text)


def test_refuses_a_place_that_this_topic_does_not_know() -> None:
    with pytest.raises(ValueError, match=r"it knows \{name\}"):
        TopicTemplate.parse("{table}", ("name",))


def test_refuses_a_topic_longer_than_kafka_allows() -> None:
    template = TopicTemplate.parse("{name}.{table}")
    with pytest.raises(ConfigError, match="250 characters"):
        template.render(name="x" * 186, table="t" * 63)
