"""When an event of an outbox happened: the time of its record, in a local log."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from liberator.build.run import make_connector
from liberator.build.running import How
from liberator.cli import main
from liberator.errors import PreconditionError
from liberator.locallog import LocalLog
from liberator.testing.servers import MariaDb, Postgres
from tests.integration.outbox.conftest import TABLE
from tests.integration.outbox.running import Running
from tests.unit.locallog.events import read

AN_HOUR_AGO = (datetime.now(timezone.utc) - timedelta(hours=1)).replace(microsecond=1000)
"""Younger than what retention takes."""

AN_HOUR_AGO_MS = int(AN_HOUR_AGO.replace(microsecond=0).timestamp()) * 1000 + 1

Reading = Callable[..., Running]

ADD = (
    "insert into outbox ({columns}aggregatetype, aggregateid, type, payload)"
    " values ({values}'order', '7', 'Placed', '{payload}')"
)


def add(payload: int, columns: str = "", values: str = "") -> str:
    return ADD.format(columns=columns, values=values, payload=payload)


def times(running: Running) -> dict[int, int]:
    """Run it until all is published: payload -> time of its record."""
    folder = running.folder / "log"
    with closing(make_connector(running.config(publish={"url": f"local:{folder}"}), How(once=True))) as it:
        it.capture.run()
    found = {}
    with closing(LocalLog(folder)) as log:
        topic = f"{running.stage}.outbox.event.order"
        for partition in range(len(known.partitions) if (known := log.topic(topic)) else 0):
            batch = read(log, topic, partition)
            for value, timestamp in zip(batch.values, batch.timestamps, strict=True):
                found[json.loads(value or b"")] = timestamp
    return found


def now_ms(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "select floor(extract(epoch from clock_timestamp()) * 1000)::bigint"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_event_from_the_log_has_the_time_of_its_commit(each_database: str, reading: Reading) -> None:
    """D75"""
    log = reading(each_database, "outbox-log.yaml")
    log.execute(TABLE)
    assert times(log) == {}
    before = now_ms(log.dsn)
    log.execute(add(1))
    between = now_ms(log.dsn)
    log.execute(add(2), "select pg_sleep(0.05)", add(3))
    after = now_ms(log.dsn)
    found = times(log)
    assert before <= found[1] <= between <= found[2] <= after
    assert found[2] == found[3], "events of one transaction have one time"
    assert found[3] >= between + 50, "it is the commit's, not the insert's"


def test_a_message_has_the_time_of_its_commit(each_database: str, reading: Reading) -> None:
    messages = reading(each_database, "outbox-message.yaml")
    assert times(messages) == {}
    before = now_ms(messages.dsn)
    event = json.dumps({"aggregatetype": "order", "aggregateid": "7", "type": "t", "payload": 1})
    messages.execute(f"select pg_logical_emit_message(true, 'outbox', '{event}')")
    after = now_ms(messages.dsn)
    assert before <= times(messages)[1] <= after


COLUMN = {"outbox": {"columns": {"timestamp": "at"}}}


@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("timestamptz", f"'{AN_HOUR_AGO.isoformat()}'"),
        ("timestamp", f"'{AN_HOUR_AGO.replace(tzinfo=None)}'"),
        ("bigint", str(AN_HOUR_AGO_MS)),
    ],
    ids=["timestamptz", "timestamp", "bigint"],
)
def test_a_column_may_tell_the_time(
    postgres18: Postgres, reading: Reading, unique: str, type: str, value: str
) -> None:
    dsn = postgres18.database()
    try:
        running = reading(dsn, "outbox-log.yaml", source=COLUMN, types={"int64": "string"})
        running.execute(TABLE, f"alter table outbox add at {type}")
        running.execute(add(1, "at, ", f"{value}, "))
        assert times(running) == {1: AN_HOUR_AGO_MS}, "also rows that were there before the first start"
        running.execute(add(2, "at, ", f"{value}, "), add(3))
        before = now_ms(dsn)
        found = times(running)
        assert found[2] == AN_HOUR_AGO_MS
        assert found[3] <= before, "without one it is the commit time"
        assert found[3] > before - 60_000
    finally:
        postgres18.drop(dsn)


def test_a_column_that_holds_no_time_is_refused_at_the_start(log: Running) -> None:
    log.execute("alter table outbox add at text")
    with pytest.raises(PreconditionError) as refused:
        log.run(source=COLUMN)
    assert refused.value.code == "outbox.timestamp_type"


@pytest.mark.parametrize("server", ["pg18", "mariadb", "sqlite"])
def test_a_polled_event_has_the_time_of_its_column_else_the_present(
    request: pytest.FixtureRequest, reading: Reading, tmp_path: Path, server: str
) -> None:
    id = "id varchar(36) not null primary key"
    columns = (
        "aggregatetype varchar(9), aggregateid varchar(9), type varchar(9), payload varchar(9), at {} null"
    )
    if server == "sqlite":
        url, time = f"sqlite:///{tmp_path / 'shop.db'}", "timestamp"
    elif server == "mariadb":
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        url, time = mariadb.database(), "timestamp(3)"
        request.addfinalizer(lambda: mariadb.drop(url))
    else:
        postgres: Postgres = request.getfixturevalue("postgres18")
        url, time = postgres.database(), "timestamptz"
        request.addfinalizer(lambda: postgres.drop(url))
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"create table outbox ({id}, {columns.format(time)})")
        at = AN_HOUR_AGO.replace(tzinfo=None).isoformat(" ")
        if server == "mariadb":
            connection.exec_driver_sql("set time_zone = '+00:00'")
        elif server == "pg18":
            at += "+00"
        connection.exec_driver_sql(add(1, "id, at, ", f"'a', '{at}', "))
        connection.exec_driver_sql(add(2, "id, ", "'b', "))
    engine.dispose()
    found = times(reading(url, "outbox-poll.yaml", source=COLUMN))
    assert found[1] == AN_HOUR_AGO_MS
    assert found[2] > AN_HOUR_AGO_MS


def test_the_table_that_is_printed_has_the_column(
    each_database: str, reading: Reading, capsys: pytest.CaptureFixture[str]
) -> None:
    running = reading(each_database, "outbox-log.yaml", source=COLUMN)
    running.config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_DSN", each_database)
        assert main(["init", "outbox", str(running.folder / "connectors" / "outbox-log.yaml")]) == 0
    script = capsys.readouterr().out
    with psycopg.connect(each_database, autocommit=True) as connection:
        connection.execute(script.encode())
    running.execute(add(1))
    written = now_ms(each_database)
    assert abs(times(running)[1] - written) < 60_000
