"""Connections as databases with settings of their own give them."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from liberator.postgres.replication import ReplicationConnection
from liberator.postgres.session import connect


def test_nothing_that_a_server_remarks_is_printed(
    each_database: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard error holds log lines and error blocks, in JSON if asked; libpq would print notices between them."""
    with psycopg.connect(each_database, autocommit=True) as application:
        name = application.info.dbname
        application.execute(f"ALTER DATABASE {name} SET client_min_messages = debug5".encode())
    with (
        closing(connect(each_database)) as connection,
        closing(ReplicationConnection(each_database, "t")) as it,
    ):
        connection.execute("DROP TABLE IF EXISTS public.nowhere")
        it.query("IDENTIFY_SYSTEM")
        assert it.identify().database == name
    assert capfd.readouterr() == ("", "")


def test_a_question_about_the_types_of_a_wide_table_is_not_compiled_first(each_database: str) -> None:
    """PostgreSQL overrates what the question costs, and with JIT would take seconds over it, for each version of a table
    and, of tables with composites, for each batch."""
    with psycopg.connect(each_database, autocommit=True) as application:
        application.execute(f"ALTER DATABASE {application.info.dbname} SET jit = on".encode())
    with closing(connect(each_database)) as connection:
        assert connection.execute("SHOW jit").fetchone() == ("off",)
