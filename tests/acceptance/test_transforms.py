"""Transforms through the command: snapshot and stream alike, and what is hidden is nowhere to be seen."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from liberator.testing.servers.process import free_port
from tests.acceptance.connector import PATIENCE, Connector

Make = Callable[..., Connector]

SECRET = "ann.4711@example.org"
"""What is masked."""
DROPPED = "hunter2-is-secret"
"""What is left out."""
PEPPER = "a-salt-nobody-knows"
BIG = "x" * 9000


def with_transforms(*steps: dict[str, Any]) -> tuple[str, ...]:
    return ("--set", f"transform={json.dumps(steps)}")


def hidden(value: str) -> str:
    return hashlib.sha256(f"{PEPPER}{value}".encode()).hexdigest()


MASK = {"mask": {"table": "public.users", "column": "email", "with": "sha256", "salt": PEPPER}}
STEPS = (
    {"drop_columns": {"table": "public.users", "columns": ["password"]}},
    MASK,
    {"mask": {"table": "public.users", "column": "phone", "with": "truncate:4"}},
    {"rename": {"table": "public.users", "columns": {"email": "mail"}}},
    {"cast": {"table": "public.users", "columns": {"amount": "number"}}},
    {"filter": {"table": "public.users", "where": "after.status != 'draft'"}},
    {"route": {"match": "public[.](.*)", "topic": "people.$1"}},
)
USERS = (
    "create table users (id int, email text, password text, phone text, amount numeric, status text, body text,"
    " primary key (id))",
    "alter table users alter body set storage external",
)


def user(id: int, status: str = "new", body: str = "''") -> str:
    return (
        f"insert into users values ({id}, '{SECRET}', '{DROPPED}', '+43 1 4711', 12.50, '{status}', {body})"
    )


def test_a_row_is_transformed_alike_in_snapshot_and_stream(each_database: str, connector: Make) -> None:
    running = connector(each_database, *with_transforms(*STEPS))
    running.execute(*USERS, user(1), user(2, "draft"))
    running.start()
    assert len(running.events()) == 1
    running.execute(
        user(3, body=f"'{BIG}'"),
        user(4, "draft"),
        "update users set status = 'paid' where id = 3",
        "update users set id = 5 where id = 3",
        "update users set status = 'draft' where id = 5",
        "delete from users where id = 1",
    )
    events = running.events()
    assert set(events.topics) == {"people.users"}
    row = {"id": 1, "mail": hidden(SECRET), "phone": "+43 ", "amount": 12.5, "status": "new", "body": ""}
    assert [(event.op, event.key["id"]) for event in events] == [
        ("r", 1),
        ("c", 3),
        ("u", 3),
        *(("d", 3), ("tombstone", 3), ("c", 5)),
        *(("d", 5), ("tombstone", 5)),
        *(("d", 1), ("tombstone", 1)),
    ]
    assert events[0].row == row
    assert events[1].row == {**row, "id": 3, "body": BIG}
    assert events[2].source["unchanged"] == ["body"]
    unsent = {name: value for name, value in row.items() if name != "body"}
    assert events[2].row == {**unsent, "id": 3, "status": "paid"}
    assert b'"amount":12.50' in (running.folder / "events.ndjson").read_bytes()


def test_a_masked_key_is_masked_in_every_event(each_database: str, connector: Make) -> None:
    key = {"key": {"table": "public.users", "columns": ["email"]}}
    running = connector(each_database, *with_transforms(MASK, key))
    running.execute(*USERS, "alter table users replica identity full", user(1))
    running.start()
    running.execute("update users set email = 'bob' where id = 1", "delete from users where id = 1")
    events = running.events()
    assert [event.op for event in events] == ["r", "d", "c", "d"]
    assert [event.key["email"] for event in events] == [hidden(SECRET)] * 2 + [hidden("bob")] * 2
    before = events[3].before
    assert before is not None
    assert before["email"] == hidden("bob")


def test_what_is_hidden_is_nowhere_to_be_seen(database: str, connector: Make) -> None:
    """Not in events, the log at its most talkative, dead letters, the checkpoint or the endpoint."""
    port = free_port()
    contract = {"type": "object", "properties": {"status": {"enum": ["new", "paid"]}}}
    options = ("--set", f"observe.listen=127.0.0.1:{port}", "--log-level", "debug")
    key = {"key": {"table": "public.users", "columns": ["email"]}}
    drop = {"drop_columns": {"table": "public.users", "columns": ["password"]}}
    failing = {"filter": {"table": "public.users", "where": "after.status != 'odd' || after.email > 3"}}
    running = connector(database, *options, *with_transforms(drop, MASK, key, failing))
    folder = running.folder / "schemas" / f"{running.name}.public.users"
    folder.mkdir(parents=True)
    (folder / "1.json").write_text(json.dumps(contract))
    running.execute(
        *USERS, "alter table users replica identity full", user(1), user(2, "broken"), user(3, "odd")
    )
    running.start()
    running.execute(
        user(4, "broken"),
        user(5, "odd"),
        "update users set email = email || 'x' where id < 3",
        "update users set status = 'odd' where id = 4",
        "delete from users where id in (1, 5)",
    )
    events = running.events()
    dead = events.of("dead-letters")
    assert {event.headers["__connect.errors.stage"] for event in dead} == {
        "VALUE_CONVERTER",
        "TRANSFORMATION",
    }
    seen = [*running.folder.rglob("*")]
    files = {path.name: path.read_bytes() for path in seen if path.is_file()}
    for page in ("status", "metrics", "health/ready"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}") as answer:
            files[page] = answer.read()
    running.stop()
    files.update({f"{path.name} at the end": path.read_bytes() for path in seen if path.is_file()})
    assert {"events.ndjson", "log", "status"} <= files.keys()
    assert any(name.endswith(".db") for name in files)
    assert hidden(SECRET).encode() in files["events.ndjson"]
    for secret in (SECRET, DROPPED, PEPPER):
        showing = [name for name, content in files.items() if secret.encode() in content]
        assert showing == []


FUNCTIONS = """
def enrich(event):
    if event["op"] == "d":
        return event
    if event["after"]["status"] == "skip":
        return None
    event["after"]["greeting"] = "hello " + event["after"]["phone"]
    return event
"""


def test_a_function_of_the_folder_gets_every_event(database: str, connector: Make) -> None:
    running = connector(database, *with_transforms({"python": "mytransforms:enrich"}))
    (running.folder / "mytransforms.py").write_text(FUNCTIONS)
    running.execute(*USERS, user(1), user(2, "skip"))
    running.start()
    running.execute(
        user(3),
        user(4, "skip"),
        "update users set phone = 'x' where id = 1",
        "delete from users where id = 3",
    )
    rows = [event.after["greeting"] for event in running.events() if event.after]
    assert rows == ["hello +43 1 4711", "hello +43 1 4711", "hello x"]
    assert [event.op for event in running.events()] == ["r", "c", "u", "d", "tombstone"]


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"drop_columns": {"table": "public.users", "columns": ["passwort"]}}, "plan.transform_column"),
        ({"drop_columns": {"table": "public.user", "columns": ["password"]}}, "plan.transform_table"),
        ({"filter": {"table": "public.users", "where": "after.statuss == 'x'"}}, "plan.transform_column"),
        ({"mask": {"table": "public.users", "column": "id", "with": "null"}}, "plan.transform_key"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_published(
    database: str, connector: Make, step: dict[str, Any], code: str
) -> None:
    running = connector(database, *with_transforms(step))
    running.execute(*USERS, user(1))
    assert code in running.refusal()
    assert running.execute(
        "select count(*) from pg_replication_slots where database = current_database()"
    ) == [(0,)]


def test_a_hidden_column_that_gets_another_name_stops_the_connector_before_it_is_seen(
    database: str, connector: Make
) -> None:
    running = connector(database, *with_transforms(STEPS[0]))
    running.execute(*USERS, user(1))
    running.start()
    assert len(running.events()) == 1
    running.execute("alter table users rename password to passphrase", user(2))
    assert running.launched().wait(PATIENCE) == 3
    assert "plan.transform_hides" in running.last_words
    assert DROPPED.encode() not in (running.folder / "events.ndjson").read_bytes()
