"""Deleted rows: by a column that marks them, and by a comparison of keys."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from liberator.errors import CheckpointError, PreconditionError, PublishError
from liberator.testing.publisher import MemoryPublisher
from tests.integration.query.conftest import MakeLooks, Session
from tests.integration.query.reading import Looks, Seen, keys, ops, seen


def shown(events: list[Seen]) -> list[tuple[str, int]]:
    return sorted((op, key) for op, key in ops(events))


def test_a_row_that_is_marked_as_deleted_becomes_a_delete(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key, v text, gone_at timestamptz)")
    db.execute("insert into t values (1, 'a', null), (2, 'b', null)")
    it = looks("public.t", deletes="soft:gone_at")
    assert ops(it.look()) == [("r", 1), ("r", 2)]
    db.execute("update t set gone_at = '2024-01-01 00:00:00+00' where id = 2")
    events = it.look()
    assert ops(events) == [("d", 2), ("tombstone", 2)]
    assert events[0].before == {"id": 2, "v": "b", "gone_at": "2024-01-01T00:00:00Z"}
    assert (events[0].row, events[1].id) == (None, f"{events[0].id}/t")


@pytest.mark.parametrize(
    ("type", "alive", "dead"), [("bool", "false", "true"), ("int", "0", "1"), ("text", "'N'", "'Y'")]
)
def test_a_mark_may_be_of_any_type(type: str, alive: str, dead: str, looks: MakeLooks, db: Session) -> None:
    db.execute(f"create table t (id int primary key, gone {type})".encode())
    db.execute(f"insert into t values (1, {alive}), (2, {dead}), (3, null)".encode())
    assert shown(looks("public.t", deletes="soft:gone").look()) == [
        ("d", 2),
        ("r", 1),
        ("r", 3),
        ("tombstone", 2),
    ]


@pytest.mark.parametrize("strategy", ["bulk", "incrementing", "xmin"])
def test_a_comparison_finds_rows_that_are_gone(
    strategy: str, looks: MakeLooks, db: Session, unique: str
) -> None:
    db.execute(
        "create table t (id int primary key, v text); insert into t select n, 'x' from generate_series(1, 9) n"
    )
    it = looks("public.t", strategy=strategy, incrementing_column="id", deletes="reconcile", batch_rows=4)
    assert keys(it.look()) == list(range(1, 10))
    db.execute("delete from t where id in (2, 9); insert into t values (10)")
    events = [event for event in it.look() if event.op in ("d", "tombstone")]
    assert shown(events) == [("d", 2), ("d", 9), ("tombstone", 2), ("tombstone", 9)]
    assert events[0].before == {"id": 2}
    assert events[0].id == f'{unique}/public.t/{{"id":2}}/d2'
    db.execute("delete from t where id = 10")
    assert shown([event for event in it.look() if event.op == "d"]) == [("d", 10)]
    assert [event for event in it.look() if event.op == "d"] == []


def test_a_row_that_came_and_went_between_two_comparisons_is_deleted(looks: MakeLooks, db: Session) -> None:
    """It was published by a look, and no comparison ever saw it."""
    db.execute("create table t (id int primary key); insert into t values (1)")
    it = looks("public.t", incrementing_column="id", deletes="reconcile")
    it.look()
    db.execute("insert into t values (2)")
    with closing(it.connector(MemoryPublisher(), max_events=1)) as connector:
        connector.capture.run()
    db.execute("delete from t where id = 2")
    assert shown(it.look()) == [("d", 2), ("tombstone", 2)]


def test_keys_of_several_columns_and_odd_text_are_compared(looks: MakeLooks, db: Session) -> None:
    db.execute('create table t (n int, "a b" text, v text, primary key ("a b", n))')
    odd = ["a\tb", "a\nb", "\\N", 'quo"te', "日本", ""]
    db.cursor().executemany("insert into t values (%s, %s, 'v')", [(n, text) for n, text in enumerate(odd)])
    it = looks("public.t", deletes="reconcile", batch_rows=2)
    assert len(it.look()) == len(odd)
    assert it.look() == []
    db.execute("delete from t")
    gone = [event for event in it.look() if event.op == "d"]
    assert sorted(event.before["a b"] for event in gone) == sorted(odd)
    assert all(event.key == event.before for event in gone)
    assert [list(event.key) for event in gone] == [["a b", "n"]] * len(odd)


def test_deletes_that_were_not_saved_come_again_under_the_same_ids(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key); insert into t select generate_series(1, 500)")
    it = looks("public.t", incrementing_column="id", deletes="reconcile")
    it.look()
    db.execute("delete from t where id > 10")
    publisher = MemoryPublisher()
    with closing(it.connector(publisher, max_events=300)) as connector:
        connector.capture.run()
    first = [seen(event) for event in publisher.events]
    assert len(first) == 300
    again = it.look()
    assert {event.id for event in first} < {event.id for event in again}
    assert len(again) == 2 * 490
    assert it.look() == []


def test_a_publisher_that_fails_loses_no_delete(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int primary key); insert into t values (1), (2)")
    it = looks("public.t", incrementing_column="id", deletes="reconcile")
    it.look()
    db.execute("delete from t")
    publisher = MemoryPublisher()
    publisher.fail(PublishError("no", code="publish.test"))
    with closing(it.connector(publisher)) as connector, pytest.raises(PublishError):
        connector.capture.run()
    assert shown(it.look()) == [("d", 1), ("d", 2), ("tombstone", 1), ("tombstone", 2)]


def test_refuses_another_file_of_keys(looks: MakeLooks, db: Session, tmp_path: Path) -> None:
    db.execute("create table t (id int primary key); insert into t values (1)")
    it = looks("public.t", incrementing_column="id", deletes="reconcile")
    it.look()
    for file in tmp_path.glob("keys.db*"):
        file.unlink()
    with pytest.raises(CheckpointError) as caught:
        it.look()
    assert caught.value.code == "checkpoint.keys"


def test_refuses_to_compare_what_has_no_key(looks: MakeLooks, db: Session) -> None:
    db.execute("create table t (id int)")
    with pytest.raises(PreconditionError) as caught:
        looks("public.t", deletes="reconcile").look()
    assert caught.value.code == "source.query_key"


def test_keys_of_any_database_are_compared(tmp_path: Path, unique: str) -> None:
    shop = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    shop.execute("create table t (a real, b blob, v text, primary key (a, b))")
    shop.execute("insert into t values (0.1, x'00', 'v'), (1e300, x'ff', 'v')")
    it = Looks(f"sqlite:///{tmp_path / 'shop.db'}", tmp_path, unique, deletes="reconcile", strategy="bulk")
    assert len(it.look()) == 2
    shop.execute("delete from t where v = 'v' and a > 1")
    gone = [event for event in it.look() if event.op == "d"]
    assert [event.before for event in gone] == [{"a": 1e300, "b": "/w=="}]
    shop.close()
