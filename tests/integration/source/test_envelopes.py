"""A row is the same bytes in all envelopes, for every type, from a snapshot, from the stream and from queries; and what
queries find is told in each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random as Seeded

import psycopg
import pytest

from liberator.build.run import make_connector
from liberator.build.running import How
from liberator.config import from_options
from liberator.testing.publisher import MemoryPublisher, Published
from tests.integration.postgres.random_values import Random
from tests.integration.postgres.test_types_round_trip import CASES, SETUP

VALUES = 5
TYPES = sorted({case.sql: case for case in CASES}.items())
ENVELOPES = {
    "debezium": ["format.envelope=debezium"],
    "binary": ["format.envelope=cloudevents"],
    "structured": ["format.envelope=cloudevents", "format.cloudevents_mode=structured"],
    "flat": ["format.envelope=flat"],
}


class Envelopes:
    """A connector for each envelope, in this process."""

    def __init__(self, dsn: str, folder: Path, name: str, mode: str, *settings: str) -> None:
        self._dsn, self._folder, self._name, self._mode = dsn, folder, name, mode
        self._settings = settings

    def run(self) -> dict[str, list[Published]]:
        """What each of them publishes until it has seen everything."""
        return {envelope: list(self._run(envelope)) for envelope in ENVELOPES}

    def _run(self, envelope: str) -> Iterator[Published]:
        name = f"{self._name}_{envelope}"
        given = [*ENVELOPES[envelope], *self._settings, f"checkpoint.url=file:{self._folder / name}.db"]
        if self._mode == "query":
            given.append(f"source.query.key_file={self._folder / name}.keys")
        options = {"source": self._dsn, "mode": self._mode, "name": name, "set": given}
        publisher = MemoryPublisher(1 << 30)
        config = from_options(options, {})
        with closing(make_connector(config, How(lambda: publisher, once=True))) as connector:
            connector.capture.run()
        yield from publisher.events


def row_bytes(envelope: str, event: Published) -> bytes:
    """The row as it was published."""
    value = event.value
    assert value is not None
    if envelope == "flat":
        return value
    start = value.index(b'"after":') + len(b'"after":')
    if envelope == "debezium":
        return value[start : value.index(b',"source":', start)]
    return value[start:-1] if envelope == "binary" else value[start:-2]


def rows(events: dict[str, list[Published]]) -> dict[str, dict[tuple[str, bytes | None], bytes]]:
    """By envelope, table and key."""
    return {
        envelope: {
            (event.topic.rpartition(".")[2], event.key): row_bytes(envelope, event) for event in published
        }
        for envelope, published in events.items()
    }


def fill(db: psycopg.Connection[object], random: Random, first: int) -> None:
    for number, (sql, case) in enumerate(TYPES):
        values = [None, *(case.generate(random) for _ in range(VALUES))]
        db.cursor().executemany(
            f"insert into t{number} values (%s, %s::text::{sql})".encode(), list(enumerate(values, first))
        )


@pytest.mark.parametrize("mode", ["log", "query"])
def test_a_row_of_every_type_is_the_same_bytes_in_all_envelopes(
    mode: str, database: str, tmp_path: Path, unique: str
) -> None:
    random: Random = Seeded(11)
    envelopes = Envelopes(database, tmp_path, unique, mode)
    with psycopg.connect(database, autocommit=True) as db:
        db.execute(SETUP.encode())
        db.execute("set search_path = public, pg_catalog")
        for number, (sql, _) in enumerate(TYPES):
            db.execute(f"create table t{number} (k int primary key, v {sql})".encode())
        fill(db, random, 0)
        for first in (100, 200):
            seen = rows(envelopes.run())
            assert len(seen["debezium"]) >= len(TYPES) * (VALUES + 1)
            for other in ("binary", "structured", "flat"):
                assert seen[other] == seen["debezium"], other
            if first == 100:
                fill(db, random, first)


@pytest.mark.parametrize("deletes", ["soft:gone", "reconcile"])
def test_deletes_that_queries_find_are_told_in_every_envelope(
    deletes: str, database: str, tmp_path: Path, unique: str
) -> None:
    settings = (f"source.query.deletes={deletes}", "source.query.strategy=xmin")
    envelopes = Envelopes(database, tmp_path, unique, "query", *settings)
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("create table t (id int primary key, gone bool); insert into t values (1), (2)")
        assert {name: len(events) for name, events in envelopes.run().items()} == dict.fromkeys(ENVELOPES, 2)
        db.execute(
            "update t set gone = true where id = 2" if "soft" in deletes else "delete from t where id = 2"
        )
        found = envelopes.run()
    debezium = [(event.key, event.id, event.value is None) for event in found["debezium"]]
    assert [is_null for _, _, is_null in debezium] == [False, True]
    without_names = {
        name: [event.id.partition(b"/")[2] for event in events] for name, events in found.items()
    }
    id = without_names["debezium"][0]
    assert without_names == {**{name: [id, id + b"/t"] for name in ENVELOPES}, "flat": [id]}
    for name in ("binary", "structured"):
        gone, tombstone = found[name]
        assert (tombstone.value, tombstone.headers["ce_type"][-8:]) == (None, b".deleted")
        data = b'"before":{"id":2,"gone":true}' if "soft" in deletes else b'"before":{"id":2}'
        assert data + b',"after":null' in (gone.value or b"")
    [flat] = found["flat"]
    assert (flat.key, flat.value) == (b'{"id":2}', None)
    assert (flat.headers["__op"], flat.headers["__deleted"]) == (b"d", b"true")
