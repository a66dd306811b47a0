"""Rows that break their contract (D77): judged exactly, told by path, rule and key, and never on their stream."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.shop import DEAD_LETTERS, TOPIC, Shop


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Shop:
    """With a contract that is stricter than its table."""
    made = Shop(database, tmp_path)
    made.execute("alter table orders add price float8, add total bigint, add placed text")
    made.derive()
    contract = made.versions()[1]
    contract["properties"]["quantity"]["minimum"] = 0
    contract["properties"]["price"] = {"type": ["number", "null"], "minimum": 0}
    contract["properties"]["total"]["maximum"] = 2**53
    contract["properties"]["placed"] = {
        "type": ["string", "null"],
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]+Z$",
    }
    made.write(2, contract)
    return made


def test_what_breaks_a_contract_is_a_dead_letter_and_the_log_does_not_tell_the_row(shop: Shop) -> None:
    """D77: a row out of range, NaN where a number is asked for, a time that is none, one more than 2^53."""
    shop.execute(
        "insert into orders values (1, 5, 'fine', 1.5, 9007199254740992, '2026-01-01T00:00:00Z')",
        "insert into orders values (2, -987654)",
        "insert into orders values (3, 5, 'x', 'NaN')",
        "insert into orders values (4, 5, 'x', 1, 9007199254740993)",
        "insert into orders values (5, 5, 'x', 1, 1, 'a secret day')",
    )
    said = shop.run("schema.on_invalid=dead_letter")
    assert [row["id"] for row in shop.rows()] == [1]
    dead = {row["id"]: row for row in shop.rows(DEAD_LETTERS)}
    assert sorted(dead) == [2, 3, 4, 5]
    assert dead[4]["total"] == 2**53 + 1
    assert dead[3]["price"] == "NaN", "never the bare word"
    for id, path, rule in ((2, "quantity", "minimum"), (3, "price", "type"), (4, "total", "maximum")):
        assert f'row with key {{"id":{id}}} breaks its contract: /{path}:' in said
        assert f"({rule}, at /properties/{path}/{rule})" in said
    assert "(pattern, at /properties/placed/pattern)" in said
    for content in ("-987654", "9007199254740993", "a secret day"):
        assert content not in said


def test_a_row_that_breaks_its_contract_stops_the_connector_where_that_is_asked(shop: Shop) -> None:
    """D77: nothing is published after it; with another policy it goes on from there."""
    shop.execute("insert into orders values (1, 1)")
    shop.run("schema.on_invalid=stop")
    shop.execute("insert into orders values (2, -1)", "insert into orders values (3, 3)")
    said = shop.run("schema.on_invalid=stop", code=1)
    assert "breaks the contract" in said
    assert "/quantity" in said
    assert [row["id"] for row in shop.rows()] == [1]
    assert "breaks its contract" in shop.run("schema.on_invalid=warn")
    assert [row["id"] for row in shop.rows(TOPIC)] == [1, 2, 3]
    assert shop.rows(DEAD_LETTERS) == []
