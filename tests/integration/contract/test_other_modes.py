"""`liberate schema` where tables are queried, and where an application writes events."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from liberator.cli import main
from liberator.contract.store import ContractStore
from liberator.testing.servers import MariaDb

Call = Callable[..., tuple[int, list[Any]]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls `liberate schema COMMAND --json` of a connector called shop: its exit code and its rows."""

    def call(command: str, url: str, *more: str, mode: str = "query") -> tuple[int, list[Any]]:
        target = [
            "--source",
            url,
            "--mode",
            mode,
            "--name",
            "shop",
            "--set",
            f"schema.dir={tmp_path / 'schemas'}",
        ]
        code = main(["schema", command, *target, "--json", *more])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


@pytest.fixture
def store(tmp_path: Path) -> ContractStore:
    return ContractStore(tmp_path / "schemas")


@pytest.fixture
def shop(mariadb: MariaDb) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A database of MariaDB: its URL, and what runs SQL in it."""
    with ExitStack() as stack:
        url = mariadb.database()
        stack.callback(mariadb.drop, url)
        engine = sa.create_engine(url)
        stack.callback(engine.dispose)

        def run(statement: str) -> None:
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)

        run(
            "create table orders (id bigint primary key, total decimal(9,2) not null, at datetime not null,"
            " note varchar(20), seen timestamp null, data json, flags bit(3), photo blob)"
        )
        yield url, run


def test_a_contract_is_derived_from_sqlalchemys_types(
    call: Call, store: ContractStore, shop: tuple[str, Callable[[str], None]]
) -> None:
    url, _ = shop
    assert call("check", url) == (0, [])
    code, [row] = call("derive", url)
    assert (code, row["version"], row["written"]) == (0, 1, True)
    contract = store.versions(row["topic"])[1]
    columns = contract["properties"]
    assert contract["x-key"] == ["id"]
    assert contract["required"] == list(columns), "a query's rows are whole"
    assert columns["id"] == {"type": "integer"}
    assert columns["total"]["pattern"] == "^(?:-?[0-9]+([.][0-9]+)?)$"
    assert columns["at"]["pattern"].endswith("([.][0-9]{1,6})?)$")
    assert columns["photo"] == {"type": ["string", "null"], "contentEncoding": "base64"}
    assert call("check", url) == (0, [])
    assert call("diff", url) == (0, [])


def test_rows_keep_the_contract_that_was_derived(
    call: Call, shop: tuple[str, Callable[[str], None]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, run = shop
    run(
        "insert into orders values (1, 1.10, '2024-01-02 03:04:05', 'x', '2024-01-02 03:04:05', '{}', b'101', 'ab'),"
        " (2, -0.01, '2024-01-02 03:04:05', null, null, null, null, null)"
    )
    assert call("derive", url)[0] == 0
    where = f"schema.dir={tmp_path / 'schemas'}"
    command = ["--source", url, "--mode", "query", "--set", "schema.on_invalid=stop", "--set", where]
    assert main([*command, "--set", "publish.topic=shop.{schema}.{table}", "--once"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("migration", "broken"),
    [
        ("drop column note", ("/note", "required")),
        ("modify total int not null", ("/total", "type")),
        ("modify note varchar(50) not null", None),
        ("add size int", None),
    ],
)
def test_a_migration_is_checked_against_the_stored_contract(
    call: Call, shop: tuple[str, Callable[[str], None]], migration: str, broken: tuple[str, str] | None
) -> None:
    """D32, before it happens."""
    url, run = shop
    call("derive", url)
    run(f"alter table orders {migration}")
    code, rows = call("check", url)
    assert (code, [(row["field"], row["rule"]) for row in rows]) == ((4, [broken]) if broken else (0, []))
    assert call("diff", url)[0] == 4


def test_a_table_that_is_gone_is_found_where_its_schema_is_the_default_one(
    call: Call, tmp_path: Path
) -> None:
    path = tmp_path / "legacy.db"
    with sqlite3.connect(path) as connection:
        connection.executescript("create table a (id integer primary key); create table b (x text)")
    url = f"sqlite:///{path}"
    assert len(call("derive", url)[1]) == 2
    connection.execute("drop table b")
    connection.close()
    code, [row] = call("check", url)
    assert (code, row["topic"], row["rule"]) == (4, "shop.main.b", "table")


def test_views_and_queries_have_contracts_where_tables_are_queried(
    call: Call, database: str, store: ContractStore
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table t (id int primary key, note text)")
        connection.execute("create view shown as select id, note from t")
    code, rows = call("derive", database, "--table", "public.shown", "--set", "source.query.strategy=bulk")
    assert (code, [row["topic"] for row in rows]) == (0, ["shop.public.shown"])
    assert store.versions("shop.public.shown")[1]["required"] == ["id", "note"]


# An outbox


POLL = ("--set", "source.outbox.capture=poll")
PLACED = {"type": "object", "properties": {"total": {"type": "string"}}, "required": ["total"]}


def keep(
    store: Path, type: str, version: int, contract: dict[str, Any], topic: str = "outbox.event.order"
) -> None:
    file = store / topic / type / f"{version}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(contract))


def test_nothing_can_be_derived_for_events(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["schema", "derive", "--source", "sqlite:///x.db", "--mode", "outbox", "--name", "shop", *POLL]
    )
    assert code == 2
    assert "the application's to say" in capsys.readouterr().err


def test_versions_of_an_events_contract_are_compared(call: Call, tmp_path: Path) -> None:
    schemas = tmp_path / "schemas"
    narrower = {**PLACED, "required": ["total", "currency"]}
    keep(schemas, "OrderPlaced", 1, PLACED)
    keep(schemas, "order%2Fpaid", 1, PLACED)
    assert call("check", "sqlite:///x.db", *POLL, mode="outbox") == (0, [])
    keep(schemas, "OrderPlaced", 2, {**PLACED, "title": "placed"})
    assert call("check", "sqlite:///x.db", *POLL, mode="outbox") == (0, [])
    keep(schemas, "order%2Fpaid", 2, narrower)
    code, rows = call("check", "sqlite:///x.db", *POLL, mode="outbox")
    assert code == 4
    assert {(row["topic"], row["version"]) for row in rows} == {("outbox.event.order/order%2Fpaid", 2)}
    forward = ("--set", "schema.compatibility=forward")
    assert call("check", "sqlite:///x.db", *POLL, *forward, mode="outbox") == (0, [])


def test_versions_of_an_events_contract_are_told_apart(call: Call, tmp_path: Path) -> None:
    schemas = tmp_path / "schemas"
    keep(schemas, "OrderPlaced", 1, PLACED)
    assert call("diff", "sqlite:///x.db", *POLL, mode="outbox") == (0, [])
    keep(schemas, "OrderPlaced", 2, {**PLACED, "required": []})
    code, rows = call("diff", "sqlite:///x.db", *POLL, mode="outbox")
    assert code == 4
    assert {(row["topic"], row["from"], row["to"]) for row in rows} == {
        ("outbox.event.order/OrderPlaced", 1, 2)
    }
    assert call("diff", "sqlite:///x.db", *POLL, "--from", "2", "--to", "2", mode="outbox") == (0, [])


def test_contracts_of_other_topics_are_not_looked_at(call: Call, tmp_path: Path) -> None:
    schemas = tmp_path / "schemas"
    keep(schemas, "t", 1, PLACED, topic="billing.order")
    keep(schemas, "t", 2, {**PLACED, "required": ["other"]}, topic="billing.order")
    assert call("check", "sqlite:///x.db", *POLL, mode="outbox") == (0, [])
