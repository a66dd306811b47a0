"""The function `table` against real databases: what events make of rows, and which events are done."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from liberator.change import Event, ReadHeaders, TopicPartition
from liberator.errors import FunctionError, PreconditionError
from liberator.function.context import Context
from liberator.function.table.offsets import OffsetTable
from liberator.function.table.target import TargetSettings
from liberator.function.table.writer import TableFunction, TableSettings
from liberator.testing.servers import MariaDb
from tests.integration.function.tables import Base, postgres_base

ORDERS = """
CREATE TABLE orders (id INT PRIMARY KEY, customer VARCHAR(40), total DECIMAL(12,2), paid BOOLEAN, at {timestamp})
"""
TIMESTAMPS = {"sqlite": "DATETIME", "postgresql": "TIMESTAMP", "mysql": "DATETIME(6)"}


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Base]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield Base(f"sqlite:///{tmp_path / 'copy.db'}", "sqlite")
    elif request.param == "postgresql":
        yield postgres_base(request.getfixturevalue("database"))
    else:
        server: MariaDb = request.getfixturevalue("mariadb")
        url = server.database()
        yield Base(url, "mysql")
        server.drop(url)


Make = Callable[..., TableFunction]


@pytest.fixture
def make(base: Base) -> Iterator[Make]:
    """Makes a function that writes to the table `orders`, or to another."""
    with ExitStack() as stack:

        def made(
            table: str = "orders",
            *,
            connector: str = "copy",
            truncate: Any = "apply",
            stops: bool = False,
            **more: Any,
        ) -> TableFunction:
            target = TargetSettings(table=table, **more)
            function = TableFunction(TableSettings(base.url, connector, target, truncate, stops))
            stack.callback(function.close)
            return function

        yield made


@pytest.fixture
def orders(base: Base) -> Base:
    """The database with an empty table of orders."""
    base.execute(ORDERS.format(timestamp=TIMESTAMPS[base.dialect]))
    return base


class Stream:
    """Numbers events, as one partition does."""

    def __init__(self, topic: str = "shop.public.orders", partition: int = 0) -> None:
        self.place = TopicPartition(topic, partition)
        self._next = 0

    def event(self, key: Any, value: Any, headers: Mapping[str, str] | None = None) -> Event:
        """An event of JSON; None as key or value is null."""
        pairs: ReadHeaders = tuple((name, text.encode()) for name, text in (headers or {}).items())
        self._next += 1
        return Event(*self.place, self._next - 1, 0, _json(key), _json(value), pairs)

    def row(self, op: str, row: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Event:
        """A change as the envelope debezium has it."""
        return self.event(
            {"id": row["id"]}, {"before": before, "after": None if op == "d" else row, "op": op}
        )


def _json(value: Any) -> bytes | None:
    return None if value is None else json.dumps(value).encode()


def order(id: int, customer: str = "Ann", **more: Any) -> dict[str, Any]:
    return {"id": id, "customer": customer, **more}


def call(function: TableFunction, *events: Event) -> Mapping[int, FunctionError]:
    return function.call(events, Context("copy", 1)).failures


def customers(base: Base) -> dict[int, str]:
    return {row[0]: row[1] for row in base.rows("SELECT id, customer FROM orders")}


def done(function: TableFunction, *places: TopicPartition) -> list[int | None]:
    return list(function.places(dict.fromkeys(places, 0), {}).values())


def test_rows_are_inserted_updated_and_deleted(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    first = [stream.row("r", order(1)), stream.row("c", order(2)), stream.row("c", order(3))]
    assert not call(function, *first)
    assert customers(orders) == {1: "Ann", 2: "Ann", 3: "Ann"}
    second = [stream.row("u", order(2, "Bob")), stream.row("d", {"id": 1}), stream.event({"id": 1}, None)]
    assert not call(function, *second)
    assert customers(orders) == {2: "Bob", 3: "Ann"}
    assert done(function, stream.place) == [6]


def test_many_changes_of_one_row_in_a_batch_leave_the_last(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    changes = [
        stream.row("c", order(1, "a", total="1.00")),
        stream.row("d", {"id": 1}),
        stream.row("c", order(1, "b")),
        stream.row("u", order(1, "c")),
        stream.row("c", order(2)),
        stream.row("d", {"id": 2}),
    ]
    assert not call(function, *changes)
    assert orders.rows("SELECT id, customer, total FROM orders") == [(1, "c", None)]


def test_a_column_that_the_event_does_not_have_stays_as_it_is(orders: Base, make: Make) -> None:
    """An unchanged TOAST column."""
    function, stream = make(), Stream()
    call(function, stream.row("c", order(1, "Ann", paid=True)))
    call(function, stream.row("u", {"id": 1, "paid": False}))
    call(function, stream.row("u", order(2)), stream.row("u", {"id": 2, "paid": True}))
    assert orders.rows("SELECT id, customer, paid FROM orders ORDER BY id") == [(1, "Ann", 0), (2, "Ann", 1)]


@pytest.mark.parametrize("envelope", ["debezium", "cloudevents", "structured", "flat", "bare"])
def test_every_envelope_is_understood(orders: Base, make: Make, envelope: str) -> None:
    function, stream = make(), Stream()

    def event(op: str, row: dict[str, Any]) -> Event:
        key = {"id": row["id"]}
        after = None if op == "d" else row
        data = {"before": key if op == "d" else None, "after": after}
        type = f"shop.public.orders.{'deleted' if op == 'd' else 'created'}"
        if envelope == "debezium":
            return stream.event(key, {**data, "op": op})
        if envelope == "cloudevents":
            return stream.event(key, data, {"ce_type": type})
        if envelope == "structured":
            return stream.event(
                key,
                {"type": type, "data": data},
                {"content-type": "application/cloudevents+json; charset=UTF-8"},
            )
        return stream.event(key, after, {"__op": op} if envelope == "flat" else {})

    assert not call(function, event("c", order(1)), event("c", order(2)), event("d", order(1)))
    assert customers(orders) == {2: "Ann"}


def test_a_row_whose_key_changes_is_one_row(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    call(function, stream.row("c", order(1)))
    # As the source publishes it: a delete of the old key, a create of the new one.
    moved = [stream.row("d", {"id": 1}), stream.event({"id": 1}, None), stream.row("c", order(5))]
    assert not call(function, *moved)
    assert customers(orders) == {5: "Ann"}


def moved(stream: Stream, old: int, row: Mapping[str, Any], unchanged: list[str]) -> list[Event]:
    """A change of the key as the source publishes it."""
    gone = {"__debezium.newkey": json.dumps({"id": row["id"]})}
    return [
        stream.event({"id": old}, {"before": {"id": old}, "after": None, "op": "d"}, gone),
        stream.event({"id": old}, None, gone),
        stream.event(
            {"id": row["id"]},
            {"before": None, "after": row, "op": "c", "source": {"unchanged": unchanged}},
            {"__debezium.oldkey": json.dumps({"id": old})},
        ),
    ]


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_a_row_whose_key_changes_keeps_what_was_not_sent_again(orders: Base, make: Make, batch: int) -> None:
    """An unchanged TOAST column, which PostgreSQL does not send with a new key either."""
    function, stream = make(), Stream()
    events = [
        stream.row("c", order(1, "Ann")),
        stream.row("c", order(2, "Bob")),
        *moved(stream, 1, {"id": 3, "paid": True}, ["customer"]),
        *moved(stream, 2, {"id": 1, "paid": False}, ["customer"]),
        *moved(stream, 3, {"id": 2, "paid": False}, ["customer"]),
        stream.row("u", {"id": 2, "paid": True}),
    ]
    for start in range(0, len(events), batch):
        assert not call(function, *events[start : start + batch])
    assert orders.rows("SELECT id, customer, paid FROM orders ORDER BY id") == [(1, "Bob", 0), (2, "Ann", 1)]


def test_a_row_whose_key_of_several_columns_changes_keeps_what_was_not_sent_again(
    base: Base, make: Make
) -> None:
    base.execute(
        "CREATE TABLE parts (a INT NOT NULL, b VARCHAR(10) NOT NULL, n INT, t VARCHAR(10), PRIMARY KEY (a, b))"
    )
    function, stream = make("parts"), Stream()
    old, new = {"a": 1, "b": "x"}, {"a": 2, "b": "y"}
    call(function, stream.event(old, {"before": None, "after": {**old, "n": 1, "t": "long"}, "op": "c"}))
    gone = {"__debezium.newkey": json.dumps(new)}
    deleted = stream.event(old, {"before": old, "after": None, "op": "d"}, gone)
    created = stream.event(
        new,
        {"before": None, "after": {**new, "n": 2}, "op": "c", "source": {"unchanged": ["t"]}},
        {"__debezium.oldkey": json.dumps(old)},
    )
    assert not call(function, deleted, created)
    assert base.rows("SELECT a, b, n, t FROM parts") == [(2, "y", 2, "long")]


def test_a_row_whose_key_changes_in_several_partitions_is_not_written_in_half(
    orders: Base, make: Make
) -> None:
    function, stream = make(), Stream()
    function.places({}, {stream.place.topic: 2})
    call(function, stream.row("c", order(1, "Ann")), stream.row("c", order(2, "Bob")))
    failures = call(
        function, *moved(stream, 1, {"id": 3}, ["customer"]), *moved(stream, 2, order(4, "Bob"), ["extra"])
    )
    assert {index: error.code for index, error in failures.items()} == {2: "function.table_unsent"}
    assert customers(orders) == {4: "Bob"}


def test_a_row_that_changes_its_partition_only_is_not_deleted(orders: Base, make: Make) -> None:
    """The key of its events has the table's key and more (`publish.key`)."""
    function, stream = make(), Stream()
    call(function, stream.event({"id": 1, "customer": "Ann"}, {"before": None, "after": order(1), "op": "c"}))
    old, new = {"id": 1, "customer": "Ann"}, {"id": 1, "customer": "Bob"}
    created = stream.event(
        new, {"before": None, "after": order(1, "Bob"), "op": "c"}, {"__debezium.oldkey": json.dumps(old)}
    )
    deleted = stream.event(
        old, {"before": old, "after": None, "op": "d"}, {"__debezium.newkey": json.dumps(new)}
    )
    assert not call(function, created), "of another partition, which is read before"
    assert not call(function, deleted)
    assert customers(orders) == {1: "Bob"}


def test_an_event_whose_key_is_another_is_written_by_the_key_of_the_row(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    call(function, stream.event({"customer": "Ann"}, {"before": None, "after": order(1), "op": "c"}))
    change = {"before": order(1), "after": order(2), "op": "u"}
    assert not call(function, stream.event({"customer": "Ann"}, change))
    assert customers(orders) == {2: "Ann"}


def test_a_truncate_deletes_all_rows(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    call(function, stream.row("c", order(1)))
    cut = [stream.row("c", order(2)), stream.event(None, {"before": None, "after": None, "op": "t"})]
    assert not call(function, *cut, stream.row("c", order(3)))
    assert customers(orders) == {3: "Ann"}


@pytest.mark.parametrize(
    ("truncate", "left"), [("apply", {1: "Ann"}), ("anyway", {}), ("ignore", {1: "Ann"})]
)
def test_a_truncate_of_several_partitions_is_refused_unless_somebody_says_otherwise(
    orders: Base, make: Make, truncate: str, left: dict[int, str]
) -> None:
    function, stream = make(truncate=truncate), Stream()
    function.places({}, {stream.place.topic: 2})
    call(function, stream.row("c", order(1)))
    failures = call(function, stream.event(None, {"before": None, "after": None, "op": "t"}))
    assert [error.code for error in failures.values()] == (
        ["function.table_truncate"] if truncate == "apply" else []
    )
    assert customers(orders) == left


def test_what_comes_again_changes_nothing(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    events = [stream.row("c", order(1, "old")), stream.row("u", order(1, "new"))]
    call(function, *events)
    orders.execute("UPDATE orders SET customer = 'seen' WHERE id = 1")
    assert not call(function, *events)
    assert not call(make(), events[0])
    assert customers(orders) == {1: "seen"}


def test_the_first_rows_of_a_partition_that_two_members_write_at_once_are_written_once(
    orders: Base, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, stream = make(), Stream()
    event = stream.row("c", order(1))
    with monkeypatch.context() as before:
        before.setattr(OffsetTable, "load", lambda *_, **__: {})
        assert not call(make(), event)
        orders.execute("UPDATE orders SET customer = 'seen'")
        with pytest.raises(FunctionError) as caught:
            call(late, event)
    assert (caught.value.code, caught.value.retryable) == ("function.table_conflict", True)
    assert not call(late, event)
    assert customers(orders) == {1: "seen"}


def test_the_offsets_of_connectors_and_partitions_are_apart(orders: Base, make: Make) -> None:
    function = make()
    one, two = Stream(partition=0), Stream(partition=1)
    call(function, one.row("c", order(1)), two.row("c", order(2)), two.row("c", order(3)))
    assert done(function, one.place, two.place) == [1, 2]
    assert done(make(connector="other"), one.place, two.place) == [None, None]


def test_a_row_that_the_database_refuses_is_given_up_alone(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    events = [stream.row("c", order(n, "x" * 50 if n in (3, 7) else "Ann", total="1.00")) for n in range(10)]
    if orders.dialect == "sqlite":  # knows no lengths
        orders.execute(
            "CREATE TRIGGER short BEFORE INSERT ON orders WHEN length(NEW.customer) > 40"
            " BEGIN SELECT RAISE(ABORT, 'too long'); END"
        )
    failures = call(function, *events)
    assert {index: (error.code, error.retryable) for index, error in failures.items()} == dict.fromkeys(
        (3, 7), ("function.table_row", False)
    )
    assert not any("xxx" in error.what for error in failures.values())
    assert sorted(customers(orders)) == [0, 1, 2, 4, 5, 6, 8, 9]
    assert done(function, stream.place) == [3], "the first whose dead letter may not be durable"
    assert list(function.places({stream.place: 10}, {}).values()) == [10], "the group has committed them"


def test_an_event_that_was_given_up_is_given_up_again_and_touches_no_row(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    events = [
        stream.row("c", order(1, "Ann", total="1.00")),
        stream.row("c", order(2, "Bob", total="no number")),
        stream.row("u", order(1, "Cid", total="3.00")),
    ]
    first = call(function, *events)
    assert list(first) == [1]
    orders.execute("ALTER TABLE orders DROP COLUMN total")
    again = call(make(new_columns="ignore"), *events[1:])
    assert {index: error.what for index, error in again.items()} == {0: first[1].what}
    assert customers(orders) == {1: "Cid"}


def test_of_two_that_were_given_up_the_second_comes_again_too(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    events = [stream.row("c", order(n, total="no" if n in (1, 3) else "1")) for n in range(5)]
    assert list(call(function, *events)) == [1, 3]
    assert list(call(function, *events[1:3])) == [0], "a smaller batch, after a crash"
    assert list(call(function, *events[3:])) == [0]


def test_with_on_failure_stop_nothing_behind_the_first_failure_is_written(orders: Base, make: Make) -> None:
    function, stream = make(stops=True), Stream()
    events = [stream.row("c", order(n, total="no" if n in (2, 3) else "1")) for n in range(5)]
    failures = call(function, *events)
    assert {index: error.retryable for index, error in failures.items()} == {2: False, 3: True, 4: True}
    assert sorted(customers(orders)) == [0, 1]
    assert done(function, stream.place) == [2]
    assert list(call(function, *events[2:])) == [0, 1, 2], "it is tried again, in earnest"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(None, {"customer": "Ann"}, id="no key"),
        pytest.param({"id": None}, {"customer": "Ann"}, id="null in the key"),
        pytest.param({"id": 1}, "text", id="no row"),
        pytest.param(None, None, id="tombstone without key"),
    ],
)
def test_an_event_that_names_no_row_is_given_up(orders: Base, make: Make, key: Any, value: Any) -> None:
    failures = call(make(), Stream().event(key, value))
    assert [(error.code, error.retryable) for error in failures.values()] == [("function.table_event", False)]


def test_a_message_is_no_row_and_is_done(orders: Base, make: Make) -> None:
    stream = Stream()
    value = {"before": None, "after": None, "op": "m", "message": {"prefix": "p", "content": ""}}
    assert not call(make(), stream.event({"prefix": "p"}, value))


def test_several_columns_make_a_key(base: Base, make: Make) -> None:
    base.execute("CREATE TABLE parts (a INT NOT NULL, b VARCHAR(10) NOT NULL, n INT, PRIMARY KEY (a, b))")
    function, stream = make("parts"), Stream()
    rows = [{"b": b, "a": a, "n": a} for a in (1, 2) for b in "xy"]
    call(
        function,
        *(
            stream.event({"b": row["b"], "a": row["a"]}, {"before": None, "after": row, "op": "c"})
            for row in rows
        ),
    )
    assert not call(
        function,
        stream.event({"b": "x", "a": 2}, None),
        stream.event({"b": "y", "a": 1}, {"b": "y", "a": 1, "n": 9}),
    )
    assert base.rows("SELECT a, b, n FROM parts ORDER BY a, b") == [(1, "x", 1), (1, "y", 9), (2, "y", 2)]


def test_a_table_that_is_nothing_but_its_key_is_kept(base: Base, make: Make) -> None:
    base.execute("CREATE TABLE tags (id INT PRIMARY KEY)")
    function, stream = make("tags"), Stream()
    assert not call(function, stream.row("c", {"id": 1}), stream.row("r", {"id": 2}))
    assert not call(function, stream.row("u", {"id": 1}))
    assert base.rows("SELECT id FROM tags ORDER BY id") == [(1,), (2,)]


def test_another_unique_column_never_makes_one_row_of_two(base: Base, make: Make) -> None:
    """MariaDB's ON DUPLICATE KEY would update whichever row is in the way."""
    base.execute("CREATE TABLE users (id INT PRIMARY KEY, mail VARCHAR(40) UNIQUE, name VARCHAR(10))")
    function, stream = make("users"), Stream()
    call(function, stream.row("c", {"id": 1, "mail": "a", "name": "x"}))
    failures = call(
        function,
        stream.row("c", {"id": 2, "mail": "a", "name": "y"}),
        stream.row("u", {"id": 1, "mail": "a", "name": "z"}),
    )
    assert list(failures) == [0]
    assert base.rows("SELECT * FROM users") == [(1, "a", "z")]


def test_rows_that_exchange_a_unique_value_are_written_in_their_order(base: Base, make: Make) -> None:
    base.execute("CREATE TABLE users (id INT PRIMARY KEY, mail VARCHAR(40) UNIQUE)")
    function, stream = make("users"), Stream()
    call(function, stream.row("c", {"id": 1, "mail": "a"}), stream.row("c", {"id": 2, "mail": "b"}))
    steps = [(1, "c"), (2, "a"), (1, "b"), (3, "c"), (3, "d"), (1, "c"), (3, "b")]
    assert not call(function, *(stream.row("u", {"id": id, "mail": mail}) for id, mail in steps))
    assert base.rows("SELECT id, mail FROM users ORDER BY id") == [(1, "c"), (2, "a"), (3, "b")]


def test_a_table_without_a_key_is_refused(base: Base, make: Make) -> None:
    base.execute("CREATE TABLE loose (id INT, n INT)")
    with pytest.raises(PreconditionError) as caught:
        make("loose")
    assert caught.value.code == "function.table_key"
    with pytest.raises(PreconditionError) as caught:
        make("loose", key=("id",))
    assert caught.value.fix == "make one: CREATE UNIQUE INDEX ON loose (id)"
    base.execute("CREATE UNIQUE INDEX one ON loose (id)")
    assert not call(make("loose", key=("id",)), Stream().row("c", {"id": 1, "n": 2}))


def test_new_columns_are_added_left_out_or_stop_it(orders: Base, make: Make) -> None:
    stream = Stream()
    new = stream.row("c", order(1, weight=1.5, note="x", count=3, empty=None))
    with pytest.raises(PreconditionError) as caught:
        call(make(), new)
    assert caught.value.code == "function.table_columns"
    assert "ADD COLUMN" in (caught.value.fix or "")
    assert not call(make(new_columns="ignore"), new)
    assert not call(make(new_columns="add"), stream.row("c", order(2, weight=2.5, note="y", count=2**40)))
    assert orders.rows("SELECT id, weight, note, count FROM orders ORDER BY id") == [
        (1, None, None, None),
        (2, 2.5, "y", 2**40),
    ]


def test_new_columns_may_be_called_anything(orders: Base, make: Make) -> None:
    """A driver reads % and : in a statement as places of parameters."""
    names = ["a%b", "c:d", 'e"f', "%s", "n%(x)s", "ü ü"]
    row = {"id": 1, **{name: number for number, name in enumerate(names)}}
    with pytest.raises(PreconditionError) as caught:
        call(make(), Stream().row("c", row))
    assert "%%" not in (caught.value.fix or "")
    assert not call(make(new_columns="add"), Stream().row("c", row))
    [written] = orders.rows("SELECT * FROM orders")
    assert list(written)[-len(names) :] == list(range(len(names)))


def test_a_new_column_whose_name_the_database_changes_is_not_left_out_in_silence(
    orders: Base, make: Make
) -> None:
    name = "a`b" if orders.dialect == "mysql" else "x" * 64
    event = Stream().row("c", {"id": 1, name: 1})
    if orders.dialect == "sqlite":  # takes every name
        assert not call(make(new_columns="add"), event)
        assert orders.rows(f"SELECT {name} FROM orders") == [(1,)]
        return
    with pytest.raises(PreconditionError) as caught:
        call(make(new_columns="add"), event)
    assert caught.value.code == "function.table_columns"


CONTRACT = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "x-pg-type": "int4"},
        "name": {"type": ["string", "null"], "maxLength": 20, "x-pg-type": "varchar(20)"},
        "price": {"type": ["string", "null"], "pattern": "^x$", "x-pg-type": "numeric(10,2)"},
        "made": {"type": ["string", "null"], "x-pg-type": "timestamp"},
        "seen": {"type": ["string", "null"], "x-pg-type": "timestamptz"},
        "picture": {"type": ["string", "null"], "contentEncoding": "base64", "x-pg-type": "bytea"},
        "ratio": {
            "anyOf": [{"type": "number"}, {"enum": ["NaN"]}, {"type": "null"}],
            "x-pg-type": "float8",
        },
        "tags": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "x-pg-type": "text[]"},
        "more": {"type": ["string", "null"], "x-pg-type": "jsonb"},
    },
    "x-key": ["id"],
}


def test_a_missing_table_is_made_as_its_contract_says(base: Base, make: Make) -> None:
    function, stream = make("things", create=True, contract=lambda: CONTRACT), Stream()
    row = {
        "id": 1,
        "name": "é",
        "price": "12.30",
        "made": "2024-01-02T03:04:05.000001",
        "seen": "2024-03-31T00:30:00Z",
        "picture": base64.b64encode(b"\x00\xff").decode(),
        "ratio": 0.1,
        "tags": ["a", None, 'b"c'],
        "more": '{"a": [1]}',
    }
    assert not call(
        function, stream.row("c", row), stream.row("c", {**row, "id": 2, **dict.fromkeys(list(row)[1:])})
    )
    [first, second] = base.rows("SELECT * FROM things ORDER BY id")
    assert tuple(second)[1:] == (None,) * 8
    assert [first[0], first[1], str(first[2]), bytes(first[5]), first[6]] == [
        1,
        "é",
        "12.30",
        b"\x00\xff",
        0.1,
    ]
    assert str(first[3]).replace("T", " ") == "2024-01-02 03:04:05.000001"
    assert str(first[4]).replace("T", " ").startswith("2024-03-31 00:30:00")


def test_a_missing_table_is_refused_with_the_statement_that_makes_it(base: Base, make: Make) -> None:
    with pytest.raises(PreconditionError) as caught:
        make("things", contract=lambda: CONTRACT)
    assert caught.value.code == "function.table_missing"
    statement = (caught.value.fix or "").partition("make it: ")[2]
    base.execute(statement)
    assert not call(make("things"), Stream().row("c", {"id": 1, "name": "x"}))
    with pytest.raises(PreconditionError, match="no contract"):
        make("others")


def test_a_table_that_goes_away_ends_the_session_and_no_event_is_given_up(orders: Base, make: Make) -> None:
    function, stream = make(), Stream()
    orders.execute("DROP TABLE orders")
    with pytest.raises(PreconditionError) as caught:
        call(function, stream.row("c", order(1)))
    assert caught.value.code == "function.table_refused"
    assert done(function, stream.place) == [None]


def test_two_writers_of_a_moment_do_each_event_once(orders: Base, make: Make) -> None:
    """A member that was taken for dead writes late: what the other has done stays."""
    zombie, heir, stream = make(), make(), Stream()
    late = [stream.row("c", order(1, "old")), stream.row("c", order(2))]
    rest = [stream.row("u", order(1, "new"))]
    assert not call(heir, *late, *rest)
    assert not call(zombie, *late)
    assert customers(orders) == {1: "new", 2: "Ann"}
