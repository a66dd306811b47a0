"""Changes of tables as events: where they stand among the rows, and what they are called."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liberator.build.parts import make_announcer
from liberator.change import EncodedBatch, Record
from liberator.config import from_options
from liberator.plan.announce import Announcer, Place
from liberator.plan.evolution import Change
from liberator.plan.resume import Cut
from liberator.plan.versions import Announced
from liberator.postgres.alteration import alterations
from liberator.postgres.model import Column, PgType, Table

INT4 = PgType(23, "pg_catalog", "int4")
BEFORE = Table(1, "public", "t", (Column("id", INT4),), ("id",))
AFTER = Table(1, "public", "t", (Column("id", INT4), Column("n", INT4)), ("id",))
CHANGE = Change(
    BEFORE, AFTER, "shop.public.t", alterations(BEFORE, AFTER), None, None, {}, {}, "backward", ()
)
PLACE = Place(256, 1_000_000, 7)


def rows(*ids: bytes) -> EncodedBatch:
    out = EncodedBatch()
    for id in ids:
        out.add("shop.public.t", b"1", b"{}", id)
    return out


def test_a_change_stands_before_the_first_row_that_shows_it() -> None:
    out = rows(b"7001/slot/0/100/0")
    Announcer("shop.changes", "shop", "db").add(
        out, [Announced(CHANGE, 0)], b"7001/slot/0/100/1/schema", PLACE
    )
    out.add("shop.public.t", b"1", b"{}", b"7001/slot/0/100/1")
    out.control.append(Record("shop.transaction", None, b"{}", b"end"))
    whole = out.with_control()
    assert [id.rpartition(b"/0/100/")[2] for id in whole.ids] == [b"0", b"1/schema", b"1", b"end"]
    assert whole.topics[1] == "shop.changes"
    assert json.loads(whole.keys[1] or b"") == {"schema": "public", "table": "t"}
    value = json.loads(whole.values[1] or b"")
    assert [each["text"] for each in value["changes"]] == ["column n (int4) added"]
    assert value["source"]["lsn"] == 256


def test_the_changes_of_a_table_that_queries_read_are_numbered() -> None:
    out = EncodedBatch()
    Announcer("changes").add(out, [Announced(CHANGE, 3)], b"shop/public.t/schema/%d", PLACE)
    assert [record.id for record in out.control] == [b"shop/public.t/schema/3"]


def test_nobody_is_told_where_there_is_no_topic_for_it() -> None:
    out = EncodedBatch()
    Announcer().add(out, [Announced(CHANGE, 0)], b"id", PLACE)
    assert out.control == []


def test_what_was_announced_before_a_transaction_was_cut_is_not_announced_again() -> None:
    out = rows(b"7001/slot/0/100/0", b"7001/slot/0/100/1", b"7001/slot/0/100/2")
    for number in (1, 2):
        record = Record("changes", None, b"{}", b"7001/slot/0/100/%d/schema" % number, before=number)
        out.control.append(record)
    Cut(256, 2, 0).drop_published(out, b"7001/slot/0/100/")
    assert [id.rpartition(b"/0/100/")[2] for id in out.with_control().ids] == [b"2/schema", b"2"]


@pytest.mark.parametrize(
    ("settings", "topic"),
    [
        ([], "shop.schema-changes"),
        (["schema.change_topic=false"], None),
        (["publish.create_topics=false"], None),
        (["publish.create_topics=false", "schema.change_topic=changes"], "changes"),
    ],
)
def test_a_topic_that_nobody_asked_for_and_that_may_not_be_made_is_left_alone(
    settings: list[str], topic: str | None
) -> None:
    """A stream that no DDL stops must not stop for want of a topic that tells of it."""
    options: dict[str, Any] = {
        "source": "postgresql://db/shop",
        "name": "shop",
        "publish": "kafka://b",
        "set": settings,
    }
    assert make_announcer(from_options(options, {}), "shop").topic == topic
