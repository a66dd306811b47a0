"""The command, querying: it goes on where it was, whatever ends it, and follows what the database does meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liberator.consume.local import LocalConsumer
from liberator.testing.conformance.stream import Watcher, read

PATIENCE = 120.0


class Querying:
    """`liberate run` on a file of its own. Events go to ``events.ndjson``, the log to ``log``."""

    def __init__(self, dsn: str, folder: Path, name: str) -> None:
        self.dsn, self.folder, self.name = dsn, folder, name
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, **query: Any) -> None:
        """Write the file. query: keys of ``source.query``; ``tables`` of ``source``."""
        tables = query.pop("captured", None)
        source: dict[str, Any] = {
            "url": self.dsn,
            "mode": "query",
            "query": {"poll_interval": "200ms", **query},
        }
        if tables:
            source["tables"] = tables
        document = {"name": self.name, "source": source, "publish": {"url": "file:events.ndjson"}}
        (self.folder / "shop.yaml").write_text(json.dumps(document))

    def liberate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "liberator", *arguments],
            cwd=self.folder,
            env=self._environ(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def start(self) -> None:
        """Start it."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liberator", "run", "shop.yaml"],
                cwd=self.folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, number: int) -> int:
        """Send it a signal; its exit code."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(number)
        return process.wait(PATIENCE)

    def close(self) -> None:
        """End it, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def events(self) -> list[dict[str, Any]]:
        """Everything in the file, a torn last line left out."""
        path = self.folder / "events.ndjson"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until it holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            log = (self.folder / "log").read_text()
            assert self._process is None or self._process.poll() is None, log[-3000:]
            assert time.monotonic() < end, f"{what} did not come\n{log[-3000:]}"
            time.sleep(0.05)

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows published of a table."""
        topic = f"{self.name}.public.{table}"
        return [
            event["value"]["after"]
            for event in self.events()
            if event["topic"] == topic and event["value"] is not None and event["value"]["after"] is not None
        ]

    def _environ(self) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("LIBERATE_")}
        return {**ours, "PYTHONPATH": str(Path.cwd())}


@pytest.fixture
def it(database: str, tmp_path: Path, unique: str) -> Iterator[Querying]:
    """A connector of an empty database, not configured yet."""
    querying = Querying(database, tmp_path, unique)
    yield querying
    querying.close()


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of the application, in autocommit."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


def test_a_trial_prints_every_row_and_leaves_nothing(it: Querying, db: psycopg.Connection[Any]) -> None:
    db.execute("create table t (id int primary key); insert into t values (1), (2)")
    done = it.liberate("--source", it.dsn, "--mode", "query", "--once")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["value"]["after"] for line in done.stdout.splitlines()] == [{"id": 1}, {"id": 2}]
    assert list(it.folder.iterdir()) == []


def test_rows_and_tables_that_come_while_it_runs_are_published(
    it: Querying, db: psycopg.Connection[Any]
) -> None:
    db.execute("create table t (id int primary key); insert into t values (1)")
    it.configure(discovery_interval="300ms")
    it.start()
    it.wait_for(lambda: it.rows("t") == [{"id": 1}], "the first row")
    db.execute("insert into t values (2)")
    it.wait_for(lambda: it.rows("t") == [{"id": 1}, {"id": 2}], "the second row")
    db.execute("create table later (id int primary key); insert into later values (7)")
    it.wait_for(lambda: it.rows("later") == [{"id": 7}], "the new table")
    db.execute("drop table later; insert into t values (3)")
    it.wait_for(lambda: {"id": 3} in it.rows("t"), "the third row")
    assert it.end(signal.SIGTERM) == 0


def test_tables_have_settings_of_their_own(it: Querying, db: psycopg.Connection[Any]) -> None:
    db.execute("create table t (id int primary key, at timestamptz default clock_timestamp(), v text)")
    db.execute("create table codes (code text primary key); insert into codes values ('a')")
    db.execute("insert into t values (1)")
    it.configure(
        strategy="timestamp",
        timestamp_column="at",
        tables={"public.codes": {"strategy": "bulk", "poll_interval": "1h"}},
    )
    it.start()
    it.wait_for(lambda: len(it.rows("t")) == 1 and len(it.rows("codes")) == 1, "both tables")
    db.execute("update t set v = 'b', at = clock_timestamp()")
    it.wait_for(lambda: [row["v"] for row in it.rows("t")] == [None, "b"], "the change")
    assert len(it.rows("codes")) == 1
    assert it.end(signal.SIGTERM) == 0


def test_kills_lose_nothing_and_what_comes_again_has_its_old_id(
    it: Querying, db: psycopg.Connection[Any]
) -> None:
    """D63, while an application writes: every version that stayed is published, and one id means one row."""
    db.execute("create table t (id int primary key, v int, at timestamptz default clock_timestamp())")
    db.execute("create index on t (at)")
    db.execute("insert into t select n, 0 from generate_series(1, 3000) n")
    it.configure(
        strategy="timestamp",
        timestamp_column="at",
        batch_rows=100,
        deletes="reconcile",
        reconcile_interval="1s",
    )
    for round in range(6):
        it.start()
        for step in range(4):
            new = 10_000 + round * 100 + step * 20
            changed = f"update t set v = {new}, at = clock_timestamp() where id % 17 = {step}"
            gone = f"delete from t where id % 101 = {round * 4 + step}"
            added = f"insert into t select n, 1 from generate_series({new}, {new + 9}) n"
            for statement in (changed, gone, added):
                db.execute(statement.encode())
            time.sleep(0.2 + 0.08 * round)
        it.end(signal.SIGKILL)
    last = it.liberate("run", "shop.yaml", "--once")
    assert last.returncode == 0, last.stderr
    published: dict[int, int] = {}
    for event in it.events():
        if event["value"] is not None and event["value"]["after"] is not None:
            published[event["key"]["id"]] = event["value"]["after"]["v"]
        elif event["value"] is not None:
            published.pop(event["key"]["id"], None)
    assert published == dict(db.execute("select id, v from t").fetchall())
    versions: dict[str, Any] = {}
    for event in it.events():
        content = event["value"] and (event["value"]["op"], event["value"]["before"], event["value"]["after"])
        assert versions.setdefault(event["headers"]["id"], (event["key"], content)) == (event["key"], content)


def test_a_table_can_be_read_anew(it: Querying, db: psycopg.Connection[Any]) -> None:
    db.execute(
        "create table t (id int primary key); insert into t values (1); create table u (id int primary key)"
    )
    it.configure()
    assert it.liberate("run", "shop.yaml", "--once").returncode == 0
    shown = it.liberate("checkpoint", "show", "shop.yaml", "--json")
    partitions = {
        json.loads(line)["partition"]: json.loads(line)["position"] for line in shown.stdout.splitlines()
    }
    passes = {name: words for name, words in partitions.items() if name.startswith("query:")}
    assert passes == {"query:public.t": "1 passes by xmin", "query:public.u": "1 passes by xmin"}
    reset = it.liberate("checkpoint", "reset", "shop.yaml", "--read", "public.t", "--yes")
    assert reset.returncode == 0, reset.stderr
    assert it.liberate("run", "shop.yaml", "--once").returncode == 0
    assert it.rows("t") == [{"id": 1}, {"id": 1}]
    assert it.liberate("checkpoint", "adopt", "shop.yaml", "--yes").returncode == 3
    assert it.liberate("checkpoint", "reset", "shop.yaml", "--yes").returncode == 0
    assert it.liberate("run", "shop.yaml", "--once").returncode == 0
    assert len(it.rows("t")) == 3


def test_another_strategy_is_refused(it: Querying, db: psycopg.Connection[Any]) -> None:
    db.execute("create table t (id int primary key); insert into t values (1)")
    it.configure()
    assert it.liberate("run", "shop.yaml", "--once").returncode == 0
    it.configure(incrementing_column="id")
    refused = it.liberate("run", "shop.yaml", "--once")
    assert refused.returncode == 3
    assert "checkpoint.strategy" in refused.stderr


@pytest.mark.parametrize("grant", [False, True])
def test_reading_needs_nothing_but_select(
    grant: bool, it: Querying, db: psycopg.Connection[Any], unique: str
) -> None:
    db.execute("create table t (id int primary key); insert into t values (1)")
    db.execute(f"create role {unique} login".encode())
    if grant:
        db.execute(f"grant select on t to {unique}".encode())
    it.dsn = re.sub("postgres@", f"{unique}@", it.dsn)
    it.configure()
    done = it.liberate("run", "shop.yaml", "--once")
    db.execute(f"drop owned by {unique}; drop role {unique}".encode())
    if grant:
        assert done.returncode == 0, done.stderr
        assert it.rows("t") == [{"id": 1}]
    else:
        assert done.returncode == 3
        assert f'GRANT SELECT ON "public"."t" TO "{unique}"' in done.stderr


def test_a_database_that_restarts_is_waited_for(own_postgres: Any, tmp_path: Path, unique: str) -> None:
    server = own_postgres()
    it = Querying(server.dsn, tmp_path, unique)
    server.execute("create table t (id int primary key); insert into t values (1)")
    it.configure()
    it.start()
    try:
        it.wait_for(lambda: len(it.rows("t")) == 1, "the first row")
        server.restart("immediate")
        server.execute("insert into t values (2)")
        it.wait_for(lambda: it.rows("t") == [{"id": 1}, {"id": 2}], "what came after the restart")
        assert it.end(signal.SIGTERM) == 0
    finally:
        it.close()


def test_the_sample_connector_runs_as_it_stands(
    it: Querying, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("create table orders (id int primary key); insert into orders values (1)")
    sample = Path(__file__).parents[2] / "connectors" / "postgres-query.yaml"
    text = sample.read_text().replace("127.0.0.1:9465", "127.0.0.1:0")
    (it.folder / "shop.yaml").write_text(text)
    monkeypatch.setenv("SHOP_DSN", it.dsn)
    monkeypatch.setenv("SHOP_BROKER", "file:events.ndjson")
    assert it.liberate("validate", "shop.yaml").returncode == 0
    done = it.liberate("run", "shop.yaml", "--once")
    assert done.returncode == 0, done.stderr
    assert [event["topic"] for event in it.events()] == ["shop-query.public.orders"]


def test_rows_come_exactly_once_into_a_local_log(it: Querying, db: psycopg.Connection[Any]) -> None:
    """Kills in the middle of passes, of tables with pages and of one that has none."""
    db.execute("create table t (id int primary key, v text); create table bare (n int)")
    db.execute("insert into t select n, 'x' from generate_series(1, 20000) n")
    db.execute("insert into bare select generate_series(1, 20000)")
    it.configure(batch_rows=500)
    document = json.loads((it.folder / "shop.yaml").read_text())
    document["publish"] = {"url": "local:events", "delivery": "exactly_once"}
    (it.folder / "shop.yaml").write_text(json.dumps(document))
    for pause in (0.9, 1.1, 1.3):
        it.start()
        time.sleep(pause)
        it.end(signal.SIGKILL)
    last = it.liberate("run", "shop.yaml", "--once")
    assert last.returncode == 0, last.stderr
    consumer = LocalConsumer(it.folder / "events", "readers")
    consumer.subscribe([f"{it.name}.public.t", f"{it.name}.public.bare"], Watcher())
    batch = read(consumer, 40_000, quiet=1.0)
    consumer.close()
    rows = [json.loads(value or b"null")["after"] for value in batch.values]
    assert sorted(row["id"] for row in rows if "id" in row) == list(range(1, 20_001))
    assert sorted(row["n"] for row in rows if "n" in row) == list(range(1, 20_001))
