"""Rows of queries become events: what they are called."""

from __future__ import annotations

import json

from liberator.plan.evolution import Evolution
from liberator.plan.invalid import InvalidRows
from liberator.plan.query import QueryExecutor, QueryPlanSettings
from liberator.plan.shaping import Left, Transforms
from liberator.plan.tables import column_facts, column_schemas
from liberator.postgres.values import TypeOptions
from liberator.source.query.batch import RowBatch
from liberator.transform import Rename, Tables
from tests.unit.plan.test_envelopes import ENVELOPES
from tests.unit.plan.test_python_executor import NOW_US, Contracts, a_table

TABLES = Tables("public.t", lambda schema, table: True, True, "transform[0]")
RENAMED = Transforms((Rename(TABLES, {"id": "number"}),))


def executor(transforms: Transforms) -> QueryExecutor:
    types = TypeOptions()
    plans = QueryPlanSettings(
        "shop",
        lambda schema, table: f"shop.{schema}.{table}",
        lambda schema, table: None,
        types=types,
        transforms=transforms,
    )
    left = Left(
        transforms,
        lambda table: column_schemas(table, types),
        lambda table: column_facts(table, types),
        plans.key,
    )
    evolution = Evolution(Contracts(None), left.columns, left.certain, naming=left.naming)
    invalid = InvalidRows("dead_letter", "shop", "shop.dead-letters", now_ms=lambda: 5)
    return QueryExecutor(plans, ENVELOPES["debezium"](), evolution, invalid, lambda: NOW_US)


def test_an_id_has_the_names_of_the_database_whichever_way_a_row_takes() -> None:
    """Renaming a column neither changes ids nor makes them depend on who stands beside a row."""
    for soft in (None, 1):  # whole columns at once, and row by row
        batch = RowBatch([b"740\t1\tf\tb\n"], table=a_table(), versions=True, soft=soft)
        events = executor(RENAMED).encode(batch)
        assert (events.keys, events.ids) == ([b'{"number":1}'], [b'shop/public.t/{"id":1}/740'])


def test_a_text_that_looks_like_null_is_none_beside_a_null() -> None:
    lines = [b"740\t1\t\\\\N\tb\n", b"740\t2\t\\N\tb\n"]
    batch = RowBatch(lines, table=a_table(), versions=True)
    rows = [json.loads(value or b"{}")["after"] for value in executor(Transforms()).encode(batch).values]
    assert [row["name"] for row in rows] == ["\\N", None]
