"""Rows behind a place, in SQL for every database."""

from __future__ import annotations

import sqlite3
from itertools import product

import pytest

from liberator.source.query.sql_alchemy import behind

ROWS = list(product([None, 1, 2], repeat=2))


@pytest.mark.parametrize("nulls_first", [True, False], ids=["nulls-first", "nulls-last"])
def test_behind_a_place_are_the_rows_that_the_order_has_behind_it(nulls_first: bool) -> None:
    """Of columns that may be NULL, too."""
    where = "FIRST" if nulls_first else "LAST"
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE t (a, b)")
        database.executemany("INSERT INTO t VALUES (?, ?)", ROWS)
        order = f"ORDER BY a NULLS {where}, b NULLS {where}"
        rows = database.execute(f"SELECT a, b FROM t {order}").fetchall()
        assert len(rows) == 9
        for place, row in enumerate(rows):
            condition = behind(["a", "b"], row, nulls_first=nulls_first)
            text = condition.compile(compile_kwargs={"literal_binds": True})
            found = database.execute(f"SELECT a, b FROM t WHERE {text} {order}").fetchall()
            assert found == rows[place + 1 :], row
    database.close()
