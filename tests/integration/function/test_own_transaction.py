"""`@idempotent`: what is done, and that it is done, in one transaction of the function's own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
import sqlalchemy

from liberator import Event, PermanentError, idempotent
from liberator.errors import ConfigError
from liberator.function.context import Context
from liberator.idempotency import claim
from liberator.testing.functions import event, run_function

Connect = Callable[[], Any]


class Stand(NamedTuple):
    """connect: as `idempotent` wants it. rows: what is in table ``booked``."""

    connect: Connect
    rows: Callable[[], list[int]]


def select(url: str) -> Callable[[], list[int]]:
    def rows() -> list[int]:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            found = [row[0] for row in connection.execute(sqlalchemy.text("SELECT n FROM booked ORDER BY n"))]
        engine.dispose()
        return found

    return rows


@pytest.fixture(params=["psycopg", "sqlite3", "sqlalchemy-postgresql", "sqlalchemy-sqlite"])
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    sqlite = f"sqlite:///{tmp_path / 'own.db'}"
    url = sqlite
    if request.param in ("psycopg", "sqlalchemy-postgresql"):
        dsn: str = request.getfixturevalue("database")
        url = dsn.replace("postgresql://", "postgresql+psycopg://", 1)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE booked (n int)"))
    if request.param == "psycopg":
        return Stand(lambda: psycopg.connect(dsn), select(url))
    if request.param == "sqlite3":
        return Stand(lambda: sqlite3.connect(tmp_path / "own.db"), select(url))
    return Stand(engine.begin, select(url))


def book(connection: Any, events: list[Event]) -> None:
    for each in events:
        if isinstance(connection, sqlalchemy.Connection):
            connection.execute(sqlalchemy.text("INSERT INTO booked VALUES (:n)"), {"n": each.value})
        else:
            connection.execute(f"INSERT INTO booked VALUES ({int(each.value)})")


def numbered(*numbers: int) -> list[Event]:
    return [event(number, id=f"e{number}") for number in numbers]


def test_an_event_that_comes_again_is_done_once(stand: Stand) -> None:
    given: list[int] = []

    @idempotent(stand.connect)
    def function(events: list[Event], context: Context, connection: Any) -> None:
        given.extend(each.value for each in events)
        book(connection, events)

    run_function(function, numbered(1, 2, 1)).assert_ok()
    run_function(function, numbered(2, 3)).assert_ok()
    run_function(function, numbered(1, 2, 3)).assert_ok()
    assert given == stand.rows() == [1, 2, 3], "in their order, and not at all when all is done"


def test_what_fails_is_taken_back_whole_and_done_the_next_time(stand: Stand) -> None:
    calls = []

    @idempotent(stand.connect)
    def function(events: list[Event], context: Context, connection: Any) -> None:
        book(connection, events)
        calls.append(len(events))
        if len(calls) == 1:
            raise RuntimeError("after it has written")

    run = run_function(function, numbered(1, 2), attempts=2)
    assert run.fates() == ["retried", "retried"]
    assert (calls, stand.rows()) == ([2, 2], [1, 2])


def test_events_that_it_names_as_failed_are_not_done(stand: Stand) -> None:
    @idempotent(stand.connect)
    def function(events: list[Event], context: Context, connection: Any) -> Any:
        good = [each for each in events if each.value != 2 or context.attempt > 1]
        book(connection, good)
        return {"failed": [each.id for each in events if each not in good]}

    run = run_function(function, numbered(1, 2, 3), attempts=2)
    assert run.fates() == ["done", "retried", "done"]
    assert stand.rows() == [1, 2, 3]


@pytest.mark.parametrize("how", ["returned", "published"])
def test_what_it_publishes_could_be_lost_so_it_is_refused(tmp_path: Path, how: str) -> None:
    @idempotent(lambda: sqlite3.connect(tmp_path / "own.db"))
    def function(events: list[Event], context: Context, connection: Any) -> Any:
        connection.execute("CREATE TABLE trace (n)")
        if how == "published":
            context.publish(1)
            return None
        return [1]

    run = run_function(function, numbered(1))
    assert run.fates() == ["permanent"]
    assert isinstance(run.outcomes[0].error, PermanentError)
    assert "outbox" in (run.outcomes[0].error.fix or "")
    assert run.outputs == []


def test_of_two_workers_with_one_event_the_second_waits_and_leaves_it_out(database: str) -> None:
    began, go_on = threading.Event(), threading.Event()
    found: dict[str, list[str]] = {}

    def work(name: str, wait: bool) -> None:
        with psycopg.connect(database) as connection:
            if wait:
                assert began.wait(120)
            found[name] = [each.id for each in claim(connection, numbered(1), "booking")]
            if not wait:
                began.set()
                assert go_on.wait(120)

    with psycopg.connect(database) as connection:
        claim(connection, [], "booking")  # the table is there
    workers = [threading.Thread(target=work, args=each) for each in (("first", False), ("second", True))]
    for worker in workers:
        worker.start()
    with psycopg.connect(database, autocommit=True) as onlooker:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while onlooker.execute(query).fetchone() != (1,):  # the second one waits
            assert "second" not in found
    go_on.set()
    for worker in workers:
        worker.join(120)
    assert found == {"first": ["e1"], "second": []}


def test_names_remember_for_themselves_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr("liberator.idempotency.time.time", lambda: clock[0])
    monkeypatch.setattr("liberator.idempotency._forget_at", {})

    def new(by: str) -> list[str]:
        with sqlite3.connect(tmp_path / "own.db") as connection:
            return [each.id for each in claim(connection, numbered(1), by, ttl=60.0)]

    assert (new("one"), new("two"), new("one")) == (["e1"], ["e1"], [])
    clock[0] += 601.0
    assert new("one") == [], "it is looked for before what is old is forgotten"
    assert new("one") == ["e1"]


def test_an_asynchronous_function_is_refused() -> None:
    async def function(events: list[Event], context: Context, connection: Any) -> None:
        """Nothing."""

    with pytest.raises(ConfigError, match="asynchronous"):
        idempotent(lambda: sqlite3.connect(":memory:"))(function)
