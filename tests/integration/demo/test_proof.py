"""The proof against a real database: it must see what is lost, changed or made up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest

from liberator.demo.load import Load, make_mistakes
from liberator.demo.proof import TableProof, prove_table, replayed
from liberator.demo.shop import TABLES, create, store_contract
from liberator.demo.stream import Event, event_of_line
from liberator.testing.servers import Postgres


@pytest.fixture(scope="module")
def shop(postgres18: Postgres) -> Iterator[str]:
    """The dsn of the shop, in which a clerk has made his mistakes."""
    dsn = postgres18.database()
    create(dsn)
    Load(dsn).also(make_mistakes)
    yield dsn
    postgres18.drop(dsn)


@pytest.fixture(scope="module")
def events(shop: str, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """All of it, as a snapshot publishes it."""
    folder = tmp_path_factory.mktemp("shop")
    store_contract(folder, "liberator.public.customers")
    command = [sys.executable, "-m", "liberator", "--source", shop, "--once", "--set", f"schema.dir={folder}"]
    out = subprocess.run(command, capture_output=True, check=True, cwd=folder).stdout
    return [event_of_line(line) for line in out.splitlines()]


def proof_of(table: str, events: list[Event], dsn: str) -> TableProof:
    return prove_table(table, events, replayed(events), dsn)


def first(events: list[Event], table: str) -> int:
    """The place of the first event of `table`."""
    return next(n for n, event in enumerate(events) if event.topic.endswith(f".{table}"))


@pytest.mark.parametrize("table", [table for table in TABLES if table != "customers"])
def test_finds_each_table_equal(table: str, events: list[Event], shop: str) -> None:
    proof = proof_of(table, events, shop)
    assert proof.faults == []
    assert proof.rows == proof.streamed == proof.ops["r"] > 0


@pytest.mark.parametrize("table", ["orders", "audit_log"])
def test_sees_a_lost_event(table: str, events: list[Event], shop: str) -> None:
    lost = first(events, table)
    [fault] = proof_of(table, [*events[:lost], *events[lost + 1 :]], shop).faults
    assert "missing in the stream" in fault


def test_sees_a_value_that_is_not_what_it_was(events: list[Event], shop: str) -> None:
    """A trailing zero of a number, say."""
    changed = first(events, "products")
    value = orjson.loads(events[changed].value or b"")
    value["after"]["price"] += "0"
    spoilt = [*events]
    spoilt[changed] = replace(events[changed], value=orjson.dumps(value))
    [fault] = proof_of("products", spoilt, shop).faults
    assert "price" in fault


def test_sees_a_row_that_nobody_wrote(events: list[Event], shop: str) -> None:
    copied = first(events, "audit_log")
    ghost = replace(events[copied], headers={**events[copied].headers, "id": "1/shop/F/FFFFFFFF/0"})
    [fault] = proof_of("audit_log", [*events, ghost], shop).faults
    assert "unexpected in the stream" in fault


def test_a_row_in_the_dead_letters_is_withheld_until_it_is_mended(events: list[Event], shop: str) -> None:
    """Both mistakes are in the dead letters here; of the second the proof expects that it was mended."""
    proof = proof_of("customers", events, shop)
    assert proof.withheld == 1
    assert proof.rows == proof.streamed + 2
    [fault] = proof.faults
    assert "900002" in fault
    assert "missing" in fault


def test_sees_a_row_on_the_stream_that_breaks_its_contract(events: list[Event], shop: str) -> None:
    leaked = [
        replace(event, topic="liberator.public.customers", headers={"id": event.id})
        if event.topic.endswith("dead-letters")
        else event
        for event in events
    ]
    [fault] = proof_of("customers", leaked, shop).faults
    assert fault == 'customers {"id":900001}: breaks its contract and is on the stream'
