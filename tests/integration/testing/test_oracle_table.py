"""The oracle against a real table: rows are read as the stream shows them."""

from __future__ import annotations

from typing import Any

import pytest

from liberator.postgres.session import connect
from liberator.postgres.values import TypeOptions
from liberator.testing.oracle import Replay, assert_complete, read_table

ROW = {
    "id": 9007199254740993,
    "price": "1.10",
    "ratio": -0.0,
    "at": "2024-03-31T00:30:00Z",
    'odd "name"': "a\tb\\c\nd",
    "tags": [["x", None], ["NULL", ""]],
    "nothing": None,
}


@pytest.fixture
def orders(database: str) -> str:
    with connect(database) as connection:
        connection.execute(
            'CREATE TABLE public."or.ders" (id int8 PRIMARY KEY, price numeric, ratio float8, at timestamptz,'
            ' "odd ""name""" text, tags text[], nothing int4, twice int8 GENERATED ALWAYS AS (id * 2) STORED)'
        )
        connection.execute(
            "INSERT INTO public.\"or.ders\" VALUES (9007199254740993, 1.10, '-0', '2024-03-31 02:30+02',"
            " E'a\\tb\\\\c\\nd', '{{x,NULL},{\"NULL\",\"\"}}')"
        )
    return database


def created(after: dict[str, Any], id: str = "7312/shop/0/10/0") -> dict[str, Any]:
    source = {"schema": "public", "table": "or.ders", "lsn": 1}
    value = {"before": None, "after": after, "source": source, "op": "c"}
    return {"topic": "t", "key": {"id": after["id"]}, "value": value, "headers": {"id": id}}


def test_reads_rows_as_events_show_them(orders: str) -> None:
    assert list(read_table(orders, "public", "or.ders")) == [ROW]
    options = TypeOptions(int64="string")
    assert [row["id"] for row in read_table(orders, "public", "or.ders", options)] == ["9007199254740993"]


def test_a_table_that_is_not_there_is_an_error(orders: str) -> None:
    with pytest.raises(LookupError, match=r"no table public\.other"):
        list(read_table(orders, "public", "other"))


def test_reads_a_table_without_columns_and_a_partitioned_one(database: str) -> None:
    with connect(database) as connection:
        connection.execute("CREATE TABLE public.bare (); INSERT INTO public.bare DEFAULT VALUES")
        connection.execute("CREATE TABLE public.parts (id int4) PARTITION BY RANGE (id)")
        connection.execute("CREATE TABLE public.low PARTITION OF public.parts FOR VALUES FROM (0) TO (5)")
        connection.execute("INSERT INTO public.parts VALUES (1), (2)")
    assert list(read_table(database, "public", "bare")) == [{}]
    assert list(read_table(database, "public", "parts")) == [{"id": 1}, {"id": 2}]


def test_a_complete_stream_passes(orders: str) -> None:
    replay = assert_complete([created(ROW)], orders, ["public.or.ders"])
    assert replay.events == 1
    assert assert_complete(Replay().read([created(ROW)]), orders, ["public.or.ders"]).events == 1


def test_an_incomplete_stream_fails_with_a_readable_list(orders: str) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_complete(
            [created({**ROW, "price": "1.1"}), created({**ROW, "id": 2})], orders, ["public.or.ders"]
        )
    assert str(caught.value).splitlines() == [
        "the stream of 2 events has 3 faults, of which the first 3:",
        '  t key {"id":2}: this event id came before with other content (event 7312/shop/0/10/0)',
        '  public.or.ders key {"id":9007199254740993}: different in the stream:'
        ' price: the table has "1.10", the stream "1.1"',
        '  public.or.ders key {"id":2}: unexpected in the stream: the stream has {"at":"2024-03-31T00:30:00Z",'
        '"id":2,"nothing":null,"odd \\"name\\"":"a\\tb\\\\c\\nd","... (139 characters)',
    ]


def test_a_long_list_is_cut(orders: str) -> None:
    events = [created({"id": number}, f"7312/shop/0/10/{number}") for number in range(100)]
    with pytest.raises(AssertionError, match="has 101 faults, of which the first 20") as caught:
        assert_complete(events, orders, ["public.or.ders"])
    assert len(str(caught.value).splitlines()) == 21
