"""Transforms together with a registry: the schema is that of what the steps leave, from the log and from queries of
PostgreSQL alike. Real PostgreSQL, Kafka and registry; read by confluent-kafka's deserializer, which validates."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from liberator.testing.servers import Kafka, Registry
from tests.integration.contract.wire_format import Reader, Shop

STEPS: list[dict[str, Any]] = [
    {"drop_columns": {"table": "public.orders", "columns": ["internal"]}},
    {"rename": {"table": "public.orders", "columns": {"mail": "email"}}},
    {"mask": {"table": "public.orders", "column": "email", "with": "sha256", "salt": "s"}},
    {"mask": {"table": "public.orders", "column": ["phone", "born"], "with": "redact"}},
    {"cast": {"table": "public.orders", "columns": {"total": "number"}}},
    {"key": {"table": "public.orders", "columns": ["email", "id"]}},
    {"filter": {"table": "public.orders", "where": "after.status != 'draft' && after.total < 100.0"}},
    {"route": {"match": "public[.](.*)", "topic": "NAME.$1"}},
    {"python": {"function": "enrich:enrich"}},
]
ENRICH = """
def enrich(event):
    if event["after"]:
        event["after"]["greeting"] = f"hello {event['key']['id']}"
    return event
"""


@pytest.fixture
def shop(database: str, tmp_path: Path, unique: str, kafka: Kafka, registry: Registry) -> Shop:
    (tmp_path / "enrich.py").write_text(ENRICH)
    shop = Shop(database, tmp_path, unique, kafka, registry.url)
    shop.topic = f"{unique}.orders"
    shop.execute(
        "create table orders (id int primary key, customer int not null, status text not null, mail text,"
        " phone text, born date, total numeric(12,2), internal jsonb)",
        "alter table orders replica identity full",
        "insert into orders values (1, 7, 'paid', 'a@b', '123', '2000-01-01', 12.30, '{}'),"
        " (2, 7, 'draft', 'c@d', '456', '2000-01-02', 1, '{}'), (3, 8, 'paid', null, null, null, 99, null)",
    )
    return shop


def hidden(mail: str) -> str:
    return hashlib.sha256(b"s" + mail.encode()).hexdigest()


def row(id: int, customer: int, status: str, mail: str | None, total: float) -> dict[str, Any]:
    known = mail is not None
    return {
        "id": id,
        "customer": customer,
        "status": status,
        "email": None if mail is None else hidden(mail),
        "phone": "***" if known else None,
        "born": "***" if known else None,
        "total": total,
        "greeting": f"hello {id}",
    }


EXPECTED = {
    "log": [
        ("r", 1, row(1, 7, "paid", "a@b", 12.3)),
        ("r", 3, row(3, 8, "paid", None, 99.0)),
        ("c", 2, row(2, 7, "paid", "c@d", 1.0)),
        ("d", 1, None),
        ("d", 3, None),
        ("d", 2, None),
    ],
    "query": [
        ("r", 1, row(1, 7, "paid", "a@b", 12.3)),
        ("r", 3, row(3, 8, "paid", None, 99.0)),
        ("d", 1, None),
        ("u", 2, row(2, 7, "paid", "c@d", 1.0)),
        ("d", 3, None),
        ("d", 2, None),
    ],
}
"""Of each event: what it is, of which row, and `after`. A query can't know that a row was there and did not fit."""


@pytest.mark.parametrize("mode", ["log", "query"])
def test_rows_and_schemas_are_what_the_steps_leave(shop: Shop, reader: Reader, mode: str) -> None:
    """The first read and what follows; rows that enter, leave and are deleted. From the log the key holds a masked column
    that may be null; a query knows deleted rows by their own key only."""
    steps = json.dumps(STEPS).replace("NAME", shop.name)
    options = [f"transform={steps}", "publish.create_topics.partitions=1"]
    if mode == "query":
        options += ["source.query.strategy=xmin", "source.query.deletes=reconcile"]
        said = shop.run(*options, mode=mode, code=3)
        assert "error [plan.key_not_in_identity]: when a row of public.orders is deleted, id is known" in said
        options[0] = options[0].replace('"columns": ["email", "id"]', '"columns": ["id"]')
    shop.run(*options, mode=mode)
    shop.execute(
        "update orders set status = 'paid' where id = 2",
        "update orders set status = 'draft' where id = 1",
        "update orders set total = 101 where id = 3",
    )
    shop.run(*options, mode=mode)
    shop.execute("delete from orders where id = 2")
    shop.run(*options, mode=mode)
    read = shop.confluent_reads(len(shop.events()))
    changes = [(value["op"], key["id"], value["after"]) for key, value in read if value is not None]
    assert changes == EXPECTED[mode]
    tombstones = [key["id"] for key, value in read if value is None]
    assert tombstones == [1, 3, 2]
    masked = {1: hidden("a@b"), 2: hidden("c@d"), 3: None}
    for key, _ in read:
        assert key == ({"email": masked[key["id"]], "id": key["id"]} if mode == "log" else {"id": key["id"]})
    value_id, key_id = (reader.id(data) for data in (shop.events()[0].value, shop.events()[0].key))
    properties = reader.schema(value_id)["$defs"]["row"]["properties"]
    assert sorted(properties) == ["born", "customer", "email", "id", "phone", "status", "total"]
    assert properties["total"]["type"] == ["number", "null"]
    assert list(reader.schema(key_id)["properties"]) == (["email", "id"] if mode == "log" else ["id"])
