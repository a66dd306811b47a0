"""Records what servers really send: python -m tests.unit.plan.recorded.record

Enters: PostgreSQL 18 and 15, as tests find them. Leaves: pg18.json.gz and pg15.json.gz beside this file: the XLogData
payloads of some transactions, and the versions of the tables that they are about. Columns of every type, each with values
and NULL; identities with a key, FULL and without any; keys that change; TOASTed values that do not; truncates, messages,
savepoints.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import psycopg

from liberator.postgres.catalogue import load_table, table_to_json
from liberator.postgres.session import connect
from liberator.testing.servers import Postgres, find_postgres
from tests.integration.postgres.random_values import Random
from tests.integration.postgres.test_types_round_trip import CASES, CASES_15, CASES_18, SETUP, Case
from tests.unit.postgres.wire import xlog

_HERE = Path(__file__).parent
_ROWS = 4

_TABLES = """
CREATE TABLE public.shop (id int8 PRIMARY KEY, name text, big text);
CREATE TABLE public.pairs (a int4, b text, note text, PRIMARY KEY (b, a));
CREATE TABLE public.whole (id int8, name text, big text);
ALTER TABLE public.whole REPLICA IDENTITY FULL;
CREATE TABLE public.log_only (line text);
ALTER TABLE public.shop ALTER big SET STORAGE EXTERNAL;
ALTER TABLE public.whole ALTER big SET STORAGE EXTERNAL;
CREATE PUBLICATION recorded FOR TABLE public.shop, public.pairs, public.whole, public.types;
CREATE PUBLICATION recorded_inserts FOR TABLE public.log_only WITH (publish = 'insert, truncate');
"""

_TRANSACTIONS = [
    """INSERT INTO public.shop VALUES (1, 'a "b" \\ ' || chr(10) || 'ü☃', repeat('big', 1000)),
        (2, NULL, ''), (3, 'c', NULL);
    INSERT INTO public.whole SELECT * FROM public.shop; INSERT INTO public.pairs VALUES (1, 'x', 'n'), (2, 'x', NULL);
    INSERT INTO public.log_only VALUES ('one'), (NULL)""",
    """UPDATE public.shop SET name = 'd' WHERE id = 1; UPDATE public.whole SET name = 'd' WHERE id = 1;
    UPDATE public.pairs SET note = 'm'; UPDATE public.shop SET id = 10, name = 'moved' WHERE id = 1;
    UPDATE public.pairs SET a = 3 WHERE a = 2;
    UPDATE public.whole SET big = NULL WHERE id = 1""",
    """SELECT pg_logical_emit_message(true, 'liberator.context', '{"who": "ann"}');
    INSERT INTO public.shop VALUES (4, 'with a context', 'x'); SELECT pg_logical_emit_message(true, 'note', 'between');
    UPDATE public.shop SET big = 'y' WHERE id = 4""",
    """SAVEPOINT s; INSERT INTO public.shop VALUES (5, 'never', 'seen'); ROLLBACK TO s; DELETE FROM public.shop WHERE id = 2;
    DELETE FROM public.whole WHERE id = 2; DELETE FROM public.pairs; DELETE FROM public.shop WHERE id = 10""",
    "TRUNCATE public.shop, public.log_only",
    "INSERT INTO public.shop SELECT g, 'row ' || g, NULL FROM generate_series(1, 30) g",
]


def record(postgres: Postgres, cases: list[Case], more: str) -> dict[str, Any]:
    """What a server sends of it all."""
    dsn = postgres.database()
    try:
        with connect(dsn) as connection:
            connection.execute((SETUP + more).encode())
            names = [f"c{number}" for number in range(len(cases))]
            columns = "".join(f", {name} {case.sql}" for name, case in zip(names, cases, strict=True))
            connection.execute(f"CREATE TABLE public.types (id int8 PRIMARY KEY{columns})".encode())
            connection.execute(_TABLES.encode())
            connection.execute("SELECT pg_create_logical_replication_slot('recorded', 'pgoutput')")
            for transaction in _TRANSACTIONS:
                connection.execute(f"BEGIN; {transaction}; COMMIT".encode())
            _write_types(connection, cases)
            oids = connection.execute(
                "SELECT oid FROM pg_class WHERE relname = ANY(%s)", [_PUBLISHED]
            ).fetchall()
            tables = [load_table(connection, oid) for (oid,) in oids]
            frames = [xlog(data, lsn) for lsn, data in connection.execute(_READ).fetchall()]
            connection.execute("SELECT pg_drop_replication_slot('recorded')")
    finally:
        postgres.drop(dsn)
    return {
        "tables": [json.loads(table_to_json(table)) for table in tables if table is not None],
        "frames": [base64.b64encode(frame).decode() for frame in frames],
    }


_PUBLISHED = ["shop", "pairs", "whole", "log_only", "types"]
_READ = """
SELECT (lsn - '0/0')::int8, data FROM pg_logical_slot_get_binary_changes('recorded', NULL, NULL,
    'proto_version', '1', 'publication_names', 'recorded,recorded_inserts', 'messages', 'true')
"""


def _write_types(connection: psycopg.Connection[Any], cases: list[Case]) -> None:
    random = Random("recorded")
    casts = "".join(f", %s::{case.sql}" for case in cases)
    for number in range(_ROWS):
        values = [case.generate(random) for case in cases]
        connection.execute(f"INSERT INTO public.types VALUES (%s{casts})".encode(), [number, *values])
    connection.execute("INSERT INTO public.types (id) VALUES (-1)")
    connection.execute("UPDATE public.types SET id = -2 WHERE id = 0")
    connection.execute("DELETE FROM public.types WHERE id = 1")


def main() -> None:
    """Write both files anew."""
    plain = [case for case in CASES if not case.note]
    for version, more, setup in (
        (18, [case for case in CASES_18 if not case.note], "CREATE EXTENSION vector SCHEMA public"),
        (15, CASES_15, ""),
    ):
        with find_postgres(version) as postgres:
            told = record(postgres, [*plain, *more], setup)
        data = gzip.compress(json.dumps(told, indent=0).encode(), mtime=0)
        (_HERE / f"pg{version}.json.gz").write_bytes(data)
        print(f"pg{version}: {len(told['frames'])} messages, {len(data)} bytes")


if __name__ == "__main__":
    main()
