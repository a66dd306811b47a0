"""`liberate schema` on live tables: a first contract, a migration, what it breaks, the next version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liberator.cli import main
from liberator.contract.store import ContractStore

TOPIC = "shop.public.orders"
TABLE = "create table orders (id int primary key, status text not null, quantity int not null, note text)"

Liberate = Callable[..., tuple[int, list[Any]]]


@pytest.fixture
def migrate(database: str) -> Callable[[str], None]:
    def migrate(statement: str) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(statement.encode())

    migrate(TABLE)
    return migrate


@pytest.fixture
def liberate(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Liberate:
    """Calls `liberate schema COMMAND --json`: its exit code and its rows."""

    def liberate(command: str, *options: str, mode: str = "backward") -> tuple[int, list[Any]]:
        target = ["--source", database, "--name", "shop", "--set", f"schema.dir={tmp_path}"]
        code = main(["schema", command, *target, "--set", f"schema.compatibility={mode}", "--json", *options])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return liberate


@pytest.fixture
def store(tmp_path: Path) -> ContractStore:
    return ContractStore(tmp_path)


def fields(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["field"], row["rule"]) for row in rows]


@pytest.mark.usefixtures("migrate")
def test_a_first_contract_is_written_and_kept(liberate: Liberate, store: ContractStore) -> None:
    row = {"connector": "shop", "topic": TOPIC, "version": 1, "path": str(store.path(TOPIC, 1))}
    assert liberate("check") == (0, [])
    assert liberate("derive") == (0, [{**row, "written": True, "due": False}])
    assert liberate("derive", "--write") == (0, [{**row, "written": False, "due": False}])
    assert liberate("check", mode="full_transitive") == (0, [])
    assert liberate("diff") == (0, [])


@pytest.mark.parametrize(
    ("migration", "mode", "broken"),
    [
        ("drop column quantity", "backward", ("/quantity", "required")),
        ("drop column quantity", "none", ("/quantity", "required")),
        ("rename quantity to amount", "backward", ("/quantity", "required")),
        ("alter status type int using 1", "backward", ("/status", "type")),
        ("alter quantity type int8", "forward", ("/quantity", "range-narrowed")),
        ("alter quantity drop not null", "full", ("/quantity", "type-narrowed")),
    ],
)
def test_a_migration_that_breaks_a_contract_is_found(
    liberate: Liberate, migrate: Callable[[str], None], migration: str, mode: str, broken: tuple[str, str]
) -> None:
    """D32, before it happens."""
    liberate("derive")
    migrate(f"alter table orders {migration}")
    code, rows = liberate("check", mode=mode)
    assert code == 4
    assert fields(rows) == [broken]
    assert (rows[0]["topic"], rows[0]["version"]) == (TOPIC, 1)


@pytest.mark.parametrize(
    ("migration", "mode"),
    [
        ("add size int", "full_transitive"),
        ("add size int not null default 7", "full"),
        ("alter quantity type int8", "backward"),
        ("alter quantity drop not null", "backward"),
        ("alter note set not null", "full"),
        ("drop column note", "backward"),
        ("alter quantity type int2", "full"),
    ],
)
def test_a_migration_that_breaks_nothing_is_let_through(
    liberate: Liberate, migrate: Callable[[str], None], migration: str, mode: str
) -> None:
    liberate("derive")
    migrate(f"alter table orders {migration}")
    assert liberate("check", mode=mode) == (0, [])


def test_a_break_names_the_consumers_of_the_field(
    liberate: Liberate, migrate: Callable[[str], None], store: ContractStore
) -> None:
    liberate("derive")
    held = store.versions(TOPIC)[1]
    store.write(TOPIC, {**held, "x-consumers": {"shipping": ["id", "note"], "billing": ["note"]}})
    assert liberate("check") == (0, [])
    migrate("alter table orders drop column note")
    code, rows = liberate("check")
    assert code == 4
    assert fields(rows) == [("/note", "consumer")]
    assert rows[0]["consumers"] == ["shipping", "billing"]
    assert liberate("derive", "--write")[0] == 1


def test_the_next_version_is_written_on_request_and_keeps_what_was_written_by_hand(
    liberate: Liberate, migrate: Callable[[str], None], store: ContractStore
) -> None:
    liberate("derive")
    held = store.versions(TOPIC)[1]
    held["properties"]["status"] = {"enum": ["new", "paid"], "x-pg-type": "text"}
    store.write(TOPIC, held)
    migrate("alter table orders add size int")
    code, rows = liberate("derive")
    assert (code, rows[0]["version"], rows[0]["due"]) == (0, 2, True)
    assert list(store.versions(TOPIC)) == [1, 2]
    code, rows = liberate("derive", "--write")
    assert (code, rows[0]["version"], rows[0]["written"]) == (0, 3, True)
    versions = store.versions(TOPIC)
    assert versions[2] == held
    assert versions[3]["properties"]["status"] == held["properties"]["status"]
    assert "size" in versions[3]["properties"]
    assert "size" not in versions[3]["required"]
    assert liberate("diff", "--from", "2", "--to", "3")[1][0]["path"] == "/size"
    assert liberate("check", mode="full") == (0, [])


def test_a_version_that_breaks_the_mode_is_written_by_force_only(
    liberate: Liberate, migrate: Callable[[str], None], store: ContractStore
) -> None:
    liberate("derive")
    migrate("alter table orders alter quantity drop not null, add size int")
    assert liberate("derive", "--write", mode="forward") == (1, [])
    assert list(store.versions(TOPIC)) == [1]
    assert liberate("derive", "--write", "--force", mode="forward")[0] == 0
    assert list(store.versions(TOPIC)) == [1, 2]


def test_a_table_that_differs_is_shown(liberate: Liberate, migrate: Callable[[str], None]) -> None:
    liberate("derive")
    migrate("alter table orders drop column note, add size int")
    code, rows = liberate("diff")
    assert code == 4
    assert [(row["path"], row["change"], row["from"], row["to"]) for row in rows][:2] == [
        ("/note", "removed", 1, "table"),
        ("/size", "added", 1, "table"),
    ]


@pytest.mark.usefixtures("migrate")
def test_a_version_that_is_not_there_cannot_be_compared(liberate: Liberate) -> None:
    liberate("derive")
    assert liberate("diff", "--from", "7") == (1, [])


def test_a_table_that_is_gone_is_found(
    liberate: Liberate, migrate: Callable[[str], None], store: ContractStore
) -> None:
    """A contract whose table was renamed would have nothing to be checked against."""
    liberate("derive")
    held = store.versions(TOPIC)[1]
    store.write(TOPIC, {**held, "x-consumers": {"shipping": ["id"]}})
    store.write("warehouse.public.orders", held)
    migrate("alter table orders rename to purchases")
    code, rows = liberate("check")
    assert code == 4
    assert [(row["topic"], row["rule"], row["consumers"]) for row in rows] == [(TOPIC, "table", ["shipping"])]
    assert liberate("check", "--table", "public.other") == (0, [])
    assert liberate("check", "--exclude", "public.orders") == (0, [])


@pytest.mark.usefixtures("migrate")
def test_a_check_of_nothing_says_so(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ["--source", database, "--name", "shop", "--dir", str(tmp_path / "elsewhere")]
    assert main(["schema", "check", *target]) == 0
    assert "nothing was checked: no table that shop captures has a contract in" in capsys.readouterr().err


def test_contracts_are_the_same_in_every_stage(
    liberate: Liberate, migrate: Callable[[str], None], store: ContractStore
) -> None:
    liberate("derive", "--stage", "test")
    assert store.topics() == [TOPIC]
    assert liberate("check", "--stage", "staging") == (0, [])
    migrate("alter table orders rename to purchases")
    assert [row["topic"] for row in liberate("check", "--stage", "staging")[1]] == [TOPIC]


@pytest.mark.parametrize(
    ("template", "found"), [("{db}-{table}.{name}", True), ("all.{schema}.{table}", False)]
)
def test_a_table_that_is_gone_is_told_by_the_template_of_topics(
    liberate: Liberate, migrate: Callable[[str], None], template: str, found: bool
) -> None:
    """Without the connector's name in it, the contract could be one of another connector."""
    liberate("derive", "--topic", template)
    migrate("alter table orders rename to purchases")
    code, rows = liberate("check", "--topic", template)
    assert (code, [row["rule"] for row in rows]) == ((4, ["table"]) if found else (0, []))
