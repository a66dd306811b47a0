"""`liberate init`: what it writes about live databases is right, valid, and runs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from liberator.cli import main
from liberator.config import SourceConfig, load
from liberator.testing.servers import MariaDb, Postgres

Written = Callable[..., SourceConfig]


@pytest.fixture
def written(tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes the file of a database, validates it, and loads it."""

    def write(url: str, *more: str, name: str = unique) -> SourceConfig:
        path = tmp_path / f"{name}.yaml"
        monkeypatch.setenv(f"{name.upper()}_DSN", url)
        monkeypatch.setenv(f"{name.upper()}_BROKER", f"file:{tmp_path / 'out.ndjson'}")
        assert main(["init", "--source", url, "--name", name, "--output", str(path), *more]) == 0
        assert main(["validate", str(path)]) == 0
        [config] = load(path)
        return config

    return write


def run_once(tmp_path: Path, name: str) -> dict[str, int]:
    """Run what was written: events by table."""
    assert main(["run", str(tmp_path / f"{name}.yaml"), "--once"]) == 0
    counts: dict[str, int] = {}
    for line in (tmp_path / "out.ndjson").read_text().splitlines():
        table = json.loads(line)["value"]["source"]["table"]
        counts[table] = counts.get(table, 0) + 1
    return counts


def settings_of(config: SourceConfig) -> dict[str, dict[str, Any]]:
    return {
        pattern.table: {k: v for k, v in own.model_dump().items() if v is not None}
        for pattern, own in config.source.query.tables.items()
    }


@contextmanager
def reader(dsn: str, name: str) -> Iterator[str]:
    """A user who may connect, and nothing else."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"create role {name} login".encode())
        yield dsn.replace("//postgres@", f"//{name}@")
        connection.execute(f"drop owned by {name}".encode())
        connection.execute(f"drop role {name}".encode())


SHOP = (
    "create table orders (id int generated always as identity primary key, updated_at timestamptz not null default now())",
    "create index on orders (updated_at)",
    "create table customers (id serial primary key, updated_at timestamptz, deleted_at timestamptz)",
    "create table audit_log (id bigserial primary key, what text)",
    "create table cached (id serial primary key, what text)",
    "alter sequence cached_id_seq cache 10",
    "create table odd (a text)",
    "create unlogged table scratch (id int primary key)",
    "create view shown as select * from orders",
    "insert into orders default values",
    "insert into customers default values",
    "insert into audit_log default values",
    "insert into odd values ('x'), ('y')",
    "insert into scratch values (1)",
)


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_the_log_is_taken_where_it_can_be_had(
    each_database: str, written: Written, tmp_path: Path, unique: str
) -> None:
    execute(each_database, *SHOP)
    config = written(each_database)
    assert config.source.mode == "log"
    text = (tmp_path / f"{unique}.yaml").read_text()
    comments = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    assert "public.odd: no usable replica identity" in comments
    assert "public.scratch: unlogged or foreign, so not in the log" in comments
    assert run_once(tmp_path, unique) == {"orders": 1, "customers": 1, "audit_log": 1, "odd": 2}


def test_a_user_who_may_only_read_gets_queries_and_the_reasons(
    each_database: str, written: Written, tmp_path: Path, unique: str
) -> None:
    execute(each_database, *SHOP)
    with reader(each_database, unique) as url:
        execute(
            each_database,
            f"grant select on all tables in schema public to {unique}",
            f"revoke all on odd from {unique}",
        )
        config = written(url)
        assert config.source.mode == "query"
        assert [(p.schema, p.table) for p in config.source.exclude] == [("public", "odd")]
        assert settings_of(config) == {
            "orders": {
                "strategy": "timestamp+incrementing",
                "timestamp_column": "updated_at",
                "incrementing_column": "id",
            },
            "customers": {"strategy": "xmin", "deletes": "soft:deleted_at"},
            "audit_log": {"strategy": "incrementing", "incrementing_column": "id"},
            "cached": {"strategy": "xmin"},
            "scratch": {"strategy": "xmin"},
        }
        text = (tmp_path / f"{unique}.yaml").read_text()
        assert f'# - user "{unique}" may not replicate: ALTER ROLE "{unique}" REPLICATION' in text
        assert "this user has no right to SELECT" in text
        assert run_once(tmp_path, unique) == {"orders": 1, "customers": 1, "audit_log": 1, "scratch": 1}


def test_the_log_can_be_insisted_on(
    each_database: str, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(each_database, *SHOP)
    with reader(each_database, unique) as url:
        execute(each_database, f"grant select on all tables in schema public to {unique}")
        assert main(["init", "--source", url, "--mode", "log"]) == 3
    error = capsys.readouterr().err
    assert "source.log_denied" in error
    assert f'ALTER ROLE "{unique}" REPLICATION; GRANT CREATE ON DATABASE' in error


def test_queries_can_be_insisted_on(each_database: str, written: Written) -> None:
    execute(each_database, *SHOP)
    assert written(each_database, "--mode", "query", "--table", "public.shown").source.mode == "query"


def test_a_table_that_only_grew_is_read_by_its_number(postgres18: Postgres, written: Written) -> None:
    dsn = postgres18.database()
    try:
        execute(
            dsn,
            "create table readings (id bigserial primary key, value float)",
            "create table prices (id bigserial primary key, value float)",
            "insert into readings (value) select 1 from generate_series(1, 2000)",
            "insert into prices (value) select 1 from generate_series(1, 2000)",
            "update prices set value = 2",
        )
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("select pg_stat_force_next_flush()")
            connection.execute("select count(*) from readings")
        found = settings_of(written(dsn, "--mode", "query"))
        assert found["readings"]["strategy"] == "incrementing"
        assert found["prices"]["strategy"] == "xmin"
    finally:
        postgres18.drop(dsn)


def test_a_sqlite_file(written: Written, tmp_path: Path, unique: str) -> None:
    path = tmp_path / "legacy.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """
            create table customers (id integer primary key, name text, modified datetime not null, deleted boolean);
            create index changed on customers (modified);
            create table countries (code text primary key, name text);
            create table "we ird.""${X}" (id integer primary key);
            create table event_log (id integer primary key, what text);
            insert into customers values (1, 'ann', '2024-01-02 03:04:05', 0);
            insert into countries values ('ch', 'Switzerland'), ('at', 'Austria');
            insert into "we ird.""${X}" values (1);
            insert into event_log values (1, 'x'), (2, 'y');
            """
        )
    connection.close()
    config = written(f"sqlite:///{path}")
    assert settings_of(config) == {
        "customers": {
            "strategy": "timestamp+incrementing",
            "timestamp_column": "modified",
            "incrementing_column": "id",
            "deletes": "soft:deleted",
        },
        "countries": {"strategy": "bulk"},
        'we ird."${X}': {"strategy": "bulk"},
        "event_log": {"strategy": "incrementing", "incrementing_column": "id"},
    }
    assert config.source.query.delay == 0
    assert run_once(tmp_path, unique) == {"customers": 1, "countries": 2, 'we ird."${X}': 1, "event_log": 2}


def test_a_mariadb(mariadb: MariaDb, written: Written, tmp_path: Path, unique: str) -> None:
    url = mariadb.database()
    with ExitStack() as stack:
        stack.callback(mariadb.drop, url)
        engine = sa.create_engine(url)
        stack.callback(engine.dispose)
        with engine.begin() as connection:
            for statement in (
                "create table orders (id bigint auto_increment primary key, stamp timestamp(6) not null"
                " default current_timestamp(6) on update current_timestamp(6), index (stamp))",
                "create table customers (id int auto_increment primary key, last_update datetime)",
                "create table countries (code char(2) primary key, name varchar(50), middle point, host inet6)",
                "insert into orders values ()",
                "insert into customers values ()",
                "insert into countries values ('ch', 'Switzerland', point(8, 47), '::1')",
            ):
                connection.exec_driver_sql(statement)
        config = written(url)
        assert settings_of(config) == {
            "orders": {
                "strategy": "timestamp+incrementing",
                "timestamp_column": "stamp",
                "incrementing_column": "id",
            },
            "customers": {
                "strategy": "timestamp+incrementing",
                "timestamp_column": "last_update",
                "incrementing_column": "id",
            },
            "countries": {"strategy": "bulk"},
        }
        assert config.source.query.delay == 10
        text = (tmp_path / f"{unique}.yaml").read_text()
        assert "the database sets `stamp` at every write" in text.lower()
        assert "rows whose `last_update` is NULL" in text
        path = tmp_path / f"{unique}.yaml"
        path.write_text(text.replace("delay: 10s", "delay: 0s"))
        assert run_once(tmp_path, unique) == {"orders": 1, "customers": 1, "countries": 1}


def test_a_password_does_not_get_into_the_file(
    each_database: str, capsys: pytest.CaptureFixture[str], unique: str
) -> None:
    execute(each_database, "create table t (id int primary key)")
    url = each_database.replace("//postgres@", "//postgres:hush-hush@")
    assert main(["init", "--source", url, "--name", unique]) == 0
    out = capsys.readouterr().out
    assert "hush-hush" not in out
    assert "postgres:***@" in out


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "legacy.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table t (id integer primary key)")
    connection.close()
    target = tmp_path / "mine.yaml"
    target.write_text("mine")
    assert main(["init", "--source", f"sqlite:///{path}", "--output", str(target)]) == 2
    assert target.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


def test_an_empty_database_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.db"
    sqlite3.connect(path).close()
    path.touch()
    assert main(["init", "--source", f"sqlite:///{path}"]) == 3
    assert "source.no_tables" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["init"], ["init", "--source", "sqlite:///x.db", "outbox"]])
def test_wrong_usage_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "--source" in capsys.readouterr().err
