"""What a log source leaves on the server when it can't be opened, and what it makes there when it can."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from liberator.errors import LiberatorError, PreconditionError
from liberator.postgres.catalogue import TableInfo
from liberator.postgres.replication import System
from liberator.postgres.selection import Selection
from tests.integration.source.keeping import Keeping, execute, role


def test_a_source_that_is_refused_replication_leaves_no_connection(database: str, unique: str) -> None:
    """The two that were made before the third one was refused are closed at once, not when memory is tidied up."""
    with role(database, unique, "") as dsn:
        with pytest.raises(LiberatorError) as refused, Keeping(dsn, unique).opened():
            pass
        left = f"select pid from pg_stat_activity where usename = '{unique}'"
        assert execute(database, left) == [], refused


def test_a_table_that_is_named_and_not_there_is_refused_before_anything_is_made(
    database: str, unique: str
) -> None:
    execute(database, "create table t (id int primary key)")
    it = Keeping(database, unique, exact={"t": ("public", "t"), "public.tt": ("public", "tt")})
    with pytest.raises(PreconditionError, match=r"public\.tt does not exist"), it.opened():
        pass
    assert execute(database, "select pubname from pg_publication") == []


def test_a_glob_that_matches_no_table_is_warned_of(
    database: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(database, "create table t (id int primary key)")
    globs = {name: partial(same, name) for name in ("t", "tt")}
    with Keeping(database, unique, selection=Selection(globs=globs)).opened():
        pass
    assert [r.message for r in caplog.records if "matches no table" in r.message] == [
        "tt of source.tables matches no table (yet)"
    ]


def same(name: str, schema: str, table: str) -> bool:
    """Stands for a pattern."""
    return table == name


def refuse(system: System, tables: Sequence[TableInfo]) -> None:
    """What the plan says when two tables share a topic, or a contract can't be read."""
    raise PreconditionError("this will not do", code="test.refused")


@pytest.mark.parametrize("autocreate", ["filtered", "all_tables"])
@pytest.mark.parametrize("why", ["refused", "nothing to capture"])
def test_a_first_start_that_is_refused_leaves_nothing_on_the_server(
    why: str, autocreate: str, database: str, unique: str
) -> None:
    execute(database, "create table t (id int primary key)")
    nothing = Selection(included=lambda schema, table: False)
    it = Keeping(
        database,
        unique,
        autocreate=autocreate,
        **({"approve": refuse} if why == "refused" else {"selection": nothing}),
    )
    with pytest.raises(PreconditionError) as refused, it.opened():
        pass
    assert refused.value.code in {"test.refused", "source.no_tables"}
    assert execute(database, "select pubname from pg_publication") == []
    assert execute(database, "select from pg_replication_slots where database = current_database()") == []
    assert it.state == {}
