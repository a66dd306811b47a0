"""The steps of ``transform``: how they are written, and which faults are found without a database."""

from __future__ import annotations

import pytest

from liberator.build.transforms import topics
from tests.unit.config.conftest import Faults, Load

HEAD = "name: shop\nsource: {url: postgresql://db/shop}\ntransform:\n"


def test_a_step_is_read_as_it_is_written(loaded: Load) -> None:
    steps = loaded(
        HEAD
        + '  - mask: {table: public.users, column: "a, b", with: null}\n'
        + '  - mask: {table: public.users, column: email, with: sha256, salt: "${SALT}"}\n'
        + "  - filter: {where: after.n > 1}\n"
        + "  - python: mytransforms:enrich\n",
        SALT="pepper-4711",
    ).transform
    assert steps[0].mask is not None
    assert (steps[0].mask.column, steps[0].mask.with_) == (("a", "b"), "null")
    assert steps[1].mask is not None
    assert steps[1].mask.salt == "pepper-4711"
    assert "pepper-4711" not in repr(steps)
    assert steps[2].filter is not None
    assert steps[2].filter.table.matches("any", "table")
    assert steps[3].python is not None
    assert steps[3].python.function == "mytransforms:enrich"


@pytest.mark.parametrize(
    ("where", "leaving", "rows"),
    [
        ("after.a == 1", "", True),
        ("has(after.a) && after.a.b == 'op'", "", True),
        ("op == 'c'", "", False),
        ("before == null || after.a == 1", "", False),
        ("key.id == 1", "", False),
        ("op == 'c'", ", leaving: delete", True),
        ("after.a == 1", ", leaving: drop", False),
    ],
)
def test_a_condition_about_after_alone_is_about_rows(
    loaded: Load, where: str, leaving: str, rows: bool
) -> None:
    [step] = loaded(HEAD + f'  - filter: {{table: t, where: "{where}"{leaving}}}\n').transform
    assert step.filter is not None
    assert step.filter.rows is rows


@pytest.mark.parametrize(
    ("step", "place", "said"),
    [
        ("drop_column: {table: t, columns: [a]}", "[0].drop_column", 'unknown key "drop_column"'),
        ("drop_columns: {table: t}", "[0].drop_columns.columns", "is missing"),
        ("drop_columns: {columns: [a]}", "[0].drop_columns.table", "is missing"),
        ("drop_columns: {table: t, columns: []}", "[0].drop_columns.columns", "this list is empty"),
        ("drop_columns: {table: a.b.c, columns: [a]}", "[0].drop_columns.table", "no table pattern"),
        ("rename: {table: t, columns: {a: ''}}", "[0].rename.columns.a", "1 to 63 bytes"),
        ("rename: {table: t, columns: [a]}", "[0].rename.columns", "must be a mapping of keys"),
        ("mask: {table: t, column: a, with: md5}", "[0].mask.with", "no way to mask"),
        ("mask: {table: t, column: a, with: 'truncate:x'}", "[0].mask.with", "no way to mask"),
        ("mask: {table: t, column: a, with: sha256}", "[0].mask", "without a salt"),
        ("mask: {table: t, column: a, with: redact, salt: xyz}", "[0].mask", "belongs to sha256 only"),
        (
            "cast: {table: t, columns: {a: nummer}}",
            "[0].cast.columns.a",
            '"nummer" is none of string, number',
        ),
        ("key: {table: t, columns: 5}", "[0].key.columns", "must be a list"),
        ("filter: {table: t, where: 'after.a =='}", "[0].filter.where", "line 1, column 11"),
        ("filter: {table: t, where: 'status == 1'}", "[0].filter.where", "undeclared reference to 'status'"),
        ("filter: {table: t, where: '1 + 1'}", "[0].filter.where", "a condition is true or false"),
        ("filter: {table: t, where: 5}", "[0].filter.where", "an expression is text"),
        ("filter: {table: t, where: 'true', leaving: deleet}", "[0].filter.leaving", "none of delete, drop"),
        ("route: {match: '(', topic: a}", "[0].route.match", "no regular expression"),
        ("route: {match: 'a(b)', topic: a.$2}", "[0].route", "match has 1 group, so there is no $2"),
        ("route: {match: a, topic: 'a b'}", "[0].route", "no topic may have"),
        ("python: mytransforms", "[0].python.function", "module:function"),
        ("python: {function: 'a:b', tables: t}", "[0].python.tables", 'did you mean "table"'),
        ("{}", "[0]", "exactly one"),
        ("{key: {table: t, columns: a}, route: {match: a, topic: b}}", "[0]", "exactly one"),
        ("5", "[0]", "must be a mapping of keys"),
    ],
)
def test_every_fault_is_told_with_its_place(faults: Faults, step: str, place: str, said: str) -> None:
    [fault] = faults(HEAD + f"  - {step}\n")
    assert fault.where == f"{fault.where.partition(':')[0]}:4: transform{place}" if fault.where else False
    assert said in f"{fault.what} {fault.fix}"


def test_nothing_but_routes_and_functions_follows_a_function(faults: Faults) -> None:
    text = HEAD + "  - python: a:b\n  - route: {match: x, topic: y}\n  - key: {table: t, columns: a}\n"
    [fault] = faults(text)
    assert (fault.where or "").endswith("transform[2]")
    assert "before python" in (fault.fix or "")


def test_the_events_of_an_outbox_are_not_transformed(faults: Faults) -> None:
    text = "name: shop\nsource: {url: postgresql://db/shop, mode: outbox}\n"
    [fault] = faults(text + "transform: [{route: {match: x, topic: y}}]\n")
    assert fault.code == "config.outbox"
    assert "{aggregatetype}" in (fault.fix or "")


def test_the_last_route_that_matches_a_whole_name_chooses_the_topic(loaded: Load) -> None:
    config = loaded(
        HEAD
        + '  - route: {match: "public.(.*)", topic: "shop.$1"}\n'
        + '  - route: {match: "public.order", topic: "never"}\n'
        + '  - route: {match: "(.*)[.]o(.*)s", topic: "$1-o$2"}\n'
    )
    topic = topics(config, "db")
    assert topic("public", "users") == "shop.users"
    assert topic("public", "orders") == "public-order"
    assert topic("public", "odd name") == "shop.odd_name"
    assert topic("other", "users") == "shop.other.users"


def test_routes_belong_to_their_stage(loaded: Load) -> None:
    text = HEAD + '  - route: {match: "public.(.*)", topic: "shop.$1"}\n'
    config = loaded(text, stage="test")
    topic = topics(config, "db")("public", "users")
    assert topic == "test.shop.users"
    assert config.without_stage(topic) == "shop.users"
