"""Tables with contracts that change while their rows flow (D32): the next version, or what `schema.on_change` says."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.acceptance.shop import CHANGES, DEAD_LETTERS, PATIENCE, TOPIC, Row, Shop


@pytest.fixture
def shop(database: str, tmp_path: Path) -> Shop:
    """With a contract for its table, and nothing in it, whose stream has begun."""
    return begun(database, tmp_path)


@pytest.fixture
def each_shop(each_database: str, tmp_path: Path) -> Shop:
    """The same on each server version in turn: how they tell of a change, which is all that depends on them here."""
    return begun(each_database, tmp_path)


def begun(dsn: str, folder: Path) -> Shop:
    made = Shop(dsn, folder)
    made.derive()
    made.execute("insert into orders values (0, 0)")
    made.run()
    return made


def columns(contract: Row) -> list[str]:
    return list(contract["properties"])


def test_what_is_compatible_makes_a_next_version_and_every_row_keeps_that_of_its_time(
    each_shop: Shop,
) -> None:
    """D32, D30: a column added, one widened, one renamed, one dropped, all before the connector is back."""
    shop = each_shop
    shop.execute(
        "insert into orders values (1, 1, 'a')",
        "alter table orders add place text",
        "insert into orders values (2, 2, 'b', 'here')",
        "alter table orders alter quantity type bigint",
        "insert into orders values (3, 3000000000, 'c', 'here')",
        "alter table orders rename note to remark",
        "insert into orders values (4, 4, 'd', 'here')",
        "alter table orders drop column place",
        "insert into orders values (5, 5, 'e')",
    )
    shop.run()
    versions = shop.versions()
    assert [columns(versions[number]) for number in sorted(versions)] == [
        ["id", "quantity", "note"],
        ["id", "quantity", "note", "place"],
        ["id", "quantity", "note", "place"],
        ["id", "quantity", "place", "remark"],
        ["id", "quantity", "remark"],
    ]
    assert versions[2]["properties"]["quantity"]["maximum"] == 2**31 - 1
    assert versions[3]["properties"]["quantity"]["maximum"] == 2**63 - 1
    assert [sorted(row) for row in shop.rows()[1:]] == [
        ["id", "note", "quantity"],
        ["id", "note", "place", "quantity"],
        ["id", "note", "place", "quantity"],
        ["id", "place", "quantity", "remark"],
        ["id", "quantity", "remark"],
    ]
    assert shop.values(DEAD_LETTERS) == []
    changes = shop.values(CHANGES)
    assert [(change["contract"]["before"], change["contract"]["after"]) for change in changes] == [
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
    ]
    assert [change["ddl"] for change in changes] == [
        ['ALTER TABLE "public"."orders" ADD COLUMN "place" text'],
        ['ALTER TABLE "public"."orders" ALTER COLUMN "quantity" TYPE int8'],
        ['ALTER TABLE "public"."orders" RENAME COLUMN "note" TO "remark"'],
        ['ALTER TABLE "public"."orders" DROP COLUMN "place"'],
    ]
    assert all(change["compatibility"]["compatible"] for change in changes)
    assert [change["schema"]["after"] for change in changes] == [versions[n] for n in (2, 3, 4, 5)]
    shop.run()
    assert len(shop.ids(CHANGES)) == len(set(shop.ids(CHANGES))) == 4, "a restart announces nothing again"
    assert len(shop.versions()) == 5


def test_what_breaks_the_promise_stops_the_connector_which_says_what_and_goes_on_when_it_may(
    shop: Shop,
) -> None:
    """D32: text is no number to those who read numbers."""
    shop.execute(
        "insert into orders values (1, 1)",
        "alter table orders alter quantity type text using 'many'",
        "insert into orders values (2, 'many')",
    )
    said = shop.run(code=1)
    assert "contract.incompatible_change" in said
    assert "type of column quantity changed from int4 to text" in said
    assert "/quantity:" in said
    assert list(shop.versions()) == [1]
    shop.run("schema.on_change=any")
    assert sorted(shop.versions()) == [1, 2]
    assert [row["quantity"] for row in shop.rows()] == [0, 1, "many"]
    [change] = shop.values(CHANGES)
    assert change["contract"] == {"verdict": "next_version", "before": 1, "after": 2}
    [broken] = change["compatibility"]["incompatibilities"]
    assert not change["compatibility"]["compatible"]
    assert (broken["path"], broken["direction"]) == ("/quantity", "backward")


@pytest.mark.parametrize(
    ("ddl", "broken"),
    [("drop column quantity", "/quantity"), ("rename quantity to amount", "/quantity")],
)
def test_the_mode_decides_what_is_compatible(shop: Shop, ddl: str, broken: str) -> None:
    """D32: readers with the old version need what it requires."""
    shop.execute(
        f"alter table orders {ddl}", "insert into orders (id) values (1)" if "drop" in ddl else "select"
    )
    if "rename" in ddl:
        shop.execute("insert into orders values (1, 1)")
    said = shop.run("schema.compatibility=forward", code=1)
    assert f"{broken}: " in said
    assert "forward towards version 1" in said
    shop.run("schema.compatibility=backward_transitive")
    assert sorted(shop.versions()) == [1, 2]
    assert len(shop.rows()) == 2


@pytest.mark.parametrize(
    "ddl",
    ["add place text", "drop column note", "alter quantity type bigint", "rename note to remark"],
)
def test_with_stop_any_change_waits_for_a_version_that_somebody_writes(shop: Shop, ddl: str) -> None:
    """D32"""
    shop.execute(f"alter table orders {ddl}", "insert into orders (id, quantity) values (1, 1)")
    assert "contract.changed" in shop.run("schema.on_change=stop", code=1)
    assert [row["id"] for row in shop.rows()] == [0]
    shop.derive("--write")
    shop.run("schema.on_change=stop")
    assert [row["id"] for row in shop.rows()] == [0, 1]
    assert [change["contract"]["after"] for change in shop.values(CHANGES)] == [2]


def test_with_dead_letter_rows_of_another_shape_wait_there_until_a_version_is_for_it(shop: Shop) -> None:
    """D32: also while the connector runs, and after it was started again."""
    process = shop.start("schema.on_change=dead_letter")
    try:
        shop.execute("alter table orders add place text", "insert into orders values (1, 1, 'a', 'here')")
        assert [row["id"] for row in shop.wait_for_rows(DEAD_LETTERS, 1)] == [1]
        shop.derive("--write")
        shop.execute("insert into orders values (2, 1, 'a', 'here')")
        assert [row["id"] for row in shop.wait_for_rows(TOPIC, 2)] == [0, 2]
        shop.execute("alter table orders drop column place", "insert into orders values (3, 1, 'a')")
        assert [row["id"] for row in shop.wait_for_rows(DEAD_LETTERS, 2)] == [1, 3]
    finally:
        process.terminate()
        process.wait()
    shop.execute("insert into orders values (4, 1, 'a')")
    shop.run("schema.on_change=dead_letter")
    assert [row["id"] for row in shop.rows(DEAD_LETTERS)][-1] == 4
    shop.execute("insert into orders values (5, 1, 'a')")
    shop.run()
    assert [row["id"] for row in shop.rows()] == [0, 2, 5]
    assert sorted(shop.versions()) == [1, 2, 3]
    assert "dead_letter" in [change["contract"]["verdict"] for change in shop.values(CHANGES)]


def test_a_contract_that_is_stricter_than_its_table_stays_so(shop: Shop) -> None:
    """D32, D77: what was written by hand for other columns is in the next version, and is kept."""
    first = shop.versions()[1]
    first["properties"]["quantity"]["maximum"] = 10
    shop.write(2, first)
    shop.execute(
        "insert into orders values (1, 11)",
        "alter table orders add place text",
        "insert into orders values (2, 10)",
        "insert into orders values (3, 11)",
    )
    shop.run()
    assert shop.versions()[3]["properties"]["quantity"]["maximum"] == 10
    assert columns(shop.versions()[3]) == ["id", "quantity", "note", "place"]
    assert [row["id"] for row in shop.rows()] == [0, 2]
    assert [row["id"] for row in shop.rows(DEAD_LETTERS)] == [1, 3]


def test_a_version_that_was_written_before_the_table_changes_waits_for_it(shop: Shop) -> None:
    """D30, D32: rows from before the change are held to the version of before, also when the next one is there already."""
    following = shop.versions()[1]
    del following["properties"]["note"]
    following["properties"]["place"] = {"type": "string", "x-pg-type": "text"}
    following["required"] = [*following["required"], "place"]
    shop.write(2, following)
    shop.execute("insert into orders values (1, 1, 'a')")
    shop.run("schema.on_change=stop")
    assert [row["id"] for row in shop.rows()] == [0, 1]
    shop.execute(
        "insert into orders values (2, 1, 'a')",
        "alter table orders drop column note, add place text",
        "insert into orders values (3, 1, 'here')",
        "insert into orders values (4, 1)",
    )
    shop.run("schema.on_change=stop")
    assert [row["id"] for row in shop.rows()] == [0, 1, 2, 3]
    assert [row["id"] for row in shop.rows(DEAD_LETTERS)] == [4]
    assert sorted(shop.versions()) == [1, 2]


_DYING = """
import os, signal
from liberator.contract.store import ContractStore

write = ContractStore.write

def write_and_die(*given):
    write(*given)
    os.kill(os.getpid(), signal.SIGKILL)

ContractStore.write = write_and_die
"""


def test_a_kill_between_the_next_version_and_its_first_row_loses_neither(shop: Shop, tmp_path: Path) -> None:
    """D63: the version is written before the row is published; the next run finds it, and announces the change."""
    shop.execute("insert into orders values (1, 1)")
    shop.run()
    shop.execute("alter table orders add place text", "insert into orders values (2, 1, 'a', 'here')")
    (tmp_path / "dying").mkdir()
    (tmp_path / "dying" / "sitecustomize.py").write_text(_DYING)
    shop.path.insert(0, tmp_path / "dying")
    assert shop.start().wait(PATIENCE) == -signal.SIGKILL, (shop.folder / "log").read_text()
    shop.path.pop(0)
    assert sorted(shop.versions()) == [1, 2]
    assert [row["id"] for row in shop.rows()] == [0, 1]
    shop.run()
    assert [row["id"] for row in shop.rows()] == [0, 1, 2]
    assert sorted(shop.versions()) == [1, 2]
    [change] = shop.values(CHANGES)
    assert change["contract"] == {"verdict": "next_version", "before": 1, "after": 2}


def test_a_stream_without_a_contract_follows_its_table_and_says_so(database: str, tmp_path: Path) -> None:
    """D32: no DDL stops it, whatever `on_change` says."""
    shop = Shop(database, tmp_path)
    shop.execute("insert into orders values (0, 0)")
    shop.run("schema.on_change=stop")
    shop.execute(
        "alter table orders alter quantity type text using 'many'", "insert into orders values (1, 'many')"
    )
    shop.run("schema.on_change=stop")
    assert [row["quantity"] for row in shop.rows()] == [0, "many"]
    [change] = shop.values(CHANGES)
    assert change["contract"] == {"verdict": "derived", "before": None, "after": None}
    assert change["compatibility"]["compatible"] is False
    assert change["schema"]["after"]["properties"]["quantity"]["type"] == ["string", "null"]
    assert change["source"]["table"] == "orders"
    assert shop.versions() == {}


def test_a_table_that_is_read_by_queries_gets_its_next_version_too(database: str, tmp_path: Path) -> None:
    """D32: what the next pass finds is judged as what the log tells."""
    shop, bulk = Shop(database, tmp_path), "source.query.strategy=bulk"
    shop.derive()
    shop.execute("insert into orders values (0, 0)")
    shop.run(bulk, mode="query")
    shop.execute("alter table orders add place text", "update orders set place = 'here'")
    assert "contract.changed" in shop.run(bulk, "schema.on_change=stop", mode="query", code=1)
    shop.run(bulk, mode="query")
    shop.execute("alter table orders alter quantity type text using 'many'")
    assert "contract.incompatible_change" in shop.run(bulk, mode="query", code=1)
    shop.run(bulk, "schema.on_change=dead_letter", mode="query")
    assert [row["quantity"] for row in shop.rows(DEAD_LETTERS)] == ["many"]
    shop.run(bulk, "schema.on_change=any", mode="query")
    assert [(row["quantity"], row.get("place")) for row in shop.rows()] == [
        (0, None),
        (0, "here"),
        ("many", "here"),
    ]
    assert sorted(shop.versions()) == [1, 2, 3]
    changes = shop.values(CHANGES)
    assert [change["contract"]["after"] for change in changes] == [2, None, 3]
    assert len(set(shop.ids(CHANGES))) == 3
