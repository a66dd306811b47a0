"""Invariant 9: the log and queries give one and the same JSON for one and the same row, byte for byte, for every type."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random as Seeded

import psycopg
import pytest

from liberator.build.connector import Connector
from liberator.build.running import How
from liberator.config import from_options
from liberator.postgres.model import PgType
from liberator.postgres.types import load_types
from liberator.postgres.values import ConversionError, TypeOptions, converter
from liberator.postgres.values.columns import converted
from liberator.testing.publisher import MemoryPublisher
from tests.integration.postgres.random_values import Random
from tests.integration.postgres.test_types_round_trip import CASES, SETUP
from tests.integration.query.reading import Looks, Seen, seen

VALUES = 25
TYPES = sorted({case.sql: case for case in CASES}.items())


def _events(publisher: MemoryPublisher) -> dict[tuple[str, int], Seen]:
    events = [seen(event) for event in publisher.events]
    return {(event.table, event.row["k"]): event for event in events}


def _log(dsn: str, folder: Path, name: str) -> dict[tuple[str, int], Seen]:
    """What the log holds since the last call."""
    options = {
        "source": dsn,
        "mode": "log",
        "name": name,
        "set": [f"checkpoint.url=file:{folder / 'log.db'}", "source.log.snapshot=never"],
    }
    publisher = MemoryPublisher(1 << 30)
    with closing(Connector(from_options(options, {}), How(lambda: publisher, once=True))) as connector:
        connector.capture.run()
    return _events(publisher)


@pytest.mark.parametrize("how", ["columns", "rows"])
def test_every_type_looks_the_same_in_the_log_and_in_queries(
    how: str, each_database: str, tmp_path: Path, unique: str
) -> None:
    """how: the plan's two ways, whole columns and row by row (which a soft-delete column asks for)."""
    random: Random = Seeded(9)
    with psycopg.connect(each_database, autocommit=True) as db:
        db.execute(SETUP.encode())
        db.execute("set search_path = public, pg_catalog")
        for number, (sql, _) in enumerate(TYPES):
            db.execute(f"create table t{number} (k int primary key, v {sql}, gone bool)".encode())
        assert _log(each_database, tmp_path, unique) == {}
        for number, (sql, case) in enumerate(TYPES):
            values = [None, *(case.generate(random) for _ in range(VALUES))]
            db.cursor().executemany(
                f"insert into t{number} values (%s, %s::text::{sql})".encode(), list(enumerate(values))
            )
    log = _log(each_database, tmp_path, unique)
    settings = {"deletes": "soft:gone"} if how == "rows" else {}
    query = {
        (event.table, event.row["k"]): event
        for event in Looks(each_database, tmp_path, unique, "public.t*", **settings).look()
    }
    assert len(log) == len(TYPES) * (VALUES + 1)
    assert query.keys() == log.keys()
    differing = {
        TYPES[int(table[1:])][0]
        for table, k in log
        if log[table, k].after_bytes != query[table, k].after_bytes
    }
    assert differing == set()
    assert [event.key for event in log.values()] == [query[place].key for place in log]


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("text", ["a", 'b"c', "d\\e", "\n", "", "é", "\x01", "\x7f", "日本"]),
        ("numeric", ["1", "-1.50", "NaN", "-Infinity", "0.000001"]),
        ("date", ["2024-02-29", "infinity", "0044-03-15 BC", "12024-01-01"]),
        (
            "timestamp",
            ["2024-02-29 00:00:00", "2024-02-29 00:00:00.000001", "-infinity", "0001-01-01 00:00:00 BC"],
        ),
        ("timestamptz", ["2024-02-29 00:00:00+00", "2024-02-29 00:00:00.5+00", "infinity"]),
        ("uuid", ["00000000-0000-0000-0000-00000000000f"]),
        ("bool", ["t", "f"]),
        ("int8", ["1", "-9223372036854775808"]),
    ],
)
def test_a_column_is_converted_as_its_values_are(name: str, texts: list[str]) -> None:
    """Every pair of values, so that simple ones meet those that are not."""
    convert = converter(PgType(0, "pg_catalog", name), -1, TypeOptions())
    for one in texts:
        for other in texts:
            column = [one.encode(), other.encode()]
            quoted, values = converted(convert, column)
            assert [b'"%b"' % v if quoted else v for v in values] == list(map(convert, column))


def test_half_a_character_is_refused_though_its_other_half_follows() -> None:
    convert = converter(PgType(0, "pg_catalog", "text"), -1, TypeOptions())
    with pytest.raises(ConversionError):
        converted(convert, ["é".encode()[:1], "é".encode()[1:]])


def test_a_time_of_another_zone_is_refused() -> None:
    convert = converter(PgType(0, "pg_catalog", "timestamptz"), -1, TypeOptions())
    with pytest.raises(ConversionError):
        converted(convert, [b"2024-02-29 00:00:00+02", b"2024-02-29 00:00:00+00"])


def test_types_of_the_catalogue_have_the_forms_that_columns_know(database: str) -> None:
    """The fast forms are looked up by converter: one that is made anew for each column would never be found."""
    with psycopg.connect(database) as db:
        types = load_types(db, [25, 1043, 1700, 1082, 1114, 1184, 2950])
    for type in types.values():
        assert converter(type, -1, TypeOptions()) is converter(type, 8, TypeOptions()), type.name
