"""The text of queries: pages behind a place, rows that a snapshot did not show, COPY lines there and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.postgres.model import Column, PgType, Table
from liberator.source.query.database import Relation, Scan, Shape, View
from liberator.source.query.postgres_pages import fields_of, line_of, mark_query, page_query, present_query

INT = PgType(23, "pg_catalog", "int4")
TABLE = Table(1, "public", "t", (Column("id", INT, not_null=True), Column('a"b', INT)), ("id",), "full")


def shape(**different: object) -> Shape:
    fields: dict[str, object] = {
        "relation": Relation("public", "t", 1),
        "table": TABLE,
        "key": ("id",),
        "order": ("id",),
        "paged": True,
        "cursor": "id",
        "versions": True,
        **different,
    }
    return Shape(**fields)  # type: ignore[arg-type]  # as above


def text(scan: Scan, ages: tuple[int, int] = (1000, 1000)) -> str:
    return page_query(scan, 10, ages).as_string()


def test_a_page_follows_its_key_and_never_an_offset() -> None:
    query = text(Scan(shape(order=('a"b', "id")), View(None), low="5", after=["5", "7"]))
    assert query == (
        'SELECT t.xmin, t."id", t."a""b" FROM "public"."t" AS t WHERE t."id" IS NOT NULL AND t."id" >= \'5\''
        ' AND (t."a""b", t."id") > (\'5\', \'7\') ORDER BY t."a""b", t."id" LIMIT 10'
    )


def test_what_has_no_key_is_read_as_one_stream() -> None:
    query = text(Scan(shape(paged=False, order=(), cursor=None, by_place=True), View(None)))
    assert query == 'SELECT t.xmin, t.tableoid || \':\' || t.ctid, t."id", t."a""b" FROM "public"."t" AS t'


def test_the_greatest_time_leaves_out_what_is_no_time() -> None:
    query = mark_query(shape(dated=True, bounded=True), "2030-01-01").as_string()
    assert "<= '2030-01-01'" in query
    assert "> '-infinity'" in query


def test_a_type_of_an_extension_is_compared_by_its_own_operators() -> None:
    citext = PgType(9, "public", "citext")
    table = Table(1, "public", "t", (Column("id", citext, not_null=True),), ("id",), "full")
    query = text(Scan(shape(table=table, cursor=None), View(None), after=["a"]))
    assert """ WHERE t."id" OPERATOR("public".>) 'a'::"public"."citext" ORDER BY t."id" """ in query


def test_a_place_with_a_null_is_spelled_out() -> None:
    query = text(Scan(shape(order=("id", 'a"b')), View(None), after=["5", None]))
    assert """t."id" >= '5' AND (t."id" > '5' OR (t."id" = '5' AND (false)))""" in query


def test_equal_rows_of_an_order_that_is_not_unique_stay_in_one_page() -> None:
    assert text(Scan(shape(unique=False), View(None))).endswith("FETCH FIRST 10 ROWS WITH TIES")


def test_a_key_is_there_only_as_it_was_written() -> None:
    words = PgType(25, "pg_catalog", "text")
    table = Table(1, "public", "t", (Column("id", words, not_null=True),), ("id",), "full")
    query = present_query(shape(table=table), [["a"]]).as_string()
    assert """t."id" = 'a' AND t."id"::pg_catalog.text = 'a' COLLATE pg_catalog."C")""" in query


def ages(query: str) -> list[int]:
    return [int(number) for number in re.findall(r"BETWEEN 0 AND (\d+)", query)]


@pytest.mark.parametrize(
    ("seen", "here", "expected"),
    [
        ("100:100:", (120, 120), [20]),
        ("90:100:95", (120, 120), [30]),
        (f"{2**32 - 6}:{2**32 - 6}:", (2**32 + 4, 4), [10]),
        (f"{2**32 - 6}:{2**32 - 6}:", (2**32 - 6, 4), [10]),
        ("3:3:", (2**33, 0), [2**31 - 1]),
        ("100:100:", (100, 100), [0]),
    ],
)
def test_ages_are_counted_from_where_the_transaction_counts(
    seen: str, here: tuple[int, int], expected: list[int]
) -> None:
    """Ids are 32 bits wide and come round; a snapshot's are 64 bits wide."""
    assert ages(text(Scan(shape(), View(None), unseen=seen), here)) == expected


def test_transactions_that_are_known_are_left_out_by_their_32_bits() -> None:
    known = frozenset((2**32 + number).to_bytes(8, "big") for number in (5, 7))
    seen = f"{2**32 + 5}:{2**32 + 9}:{2**32 + 6}"
    query = text(Scan(shape(), View(None), unseen=seen, known=known), (2**32 + 9, 9))
    assert "NOT t.xmin = ANY ('{5,7}'::pg_catalog.xid[])" in query


@given(
    st.lists(
        st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1
    )
)
def test_fields_come_back_from_a_line(fields: list[str | None]) -> None:
    line = line_of(fields)
    assert line.count(b"\n") == 1
    assert fields_of(line) == fields


def test_bytes_that_are_no_text_come_back_from_a_line() -> None:
    assert line_of(fields_of(b"a\xff\tb\n")) == b"a\xff\tb\n"
