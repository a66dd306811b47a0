"""Publications through the life of a connector: ours follow the configuration, those of others stay as they are, and what
is gone is never made anew without a word."""

from __future__ import annotations

import time

import psycopg
import pytest

from liberator.errors import PreconditionError
from liberator.postgres.selection import Selection
from liberator.source.log import LogSource
from liberator.source.position import PUBLICATIONS
from tests.integration.source.keeping import Keeping, execute, role

PARTITIONED = (
    "create table root (id int primary key) partition by range (id)",
    "create table leaf partition of root for values from (0) to (10)",
)
VIA_ROOT = "select pubname, pubviaroot from pg_publication order by 1"


def test_ours_names_partitions_as_the_configuration_says_now(each_database: str, unique: str) -> None:
    execute(each_database, *PARTITIONED)
    it = Keeping(each_database, unique)
    with it.opened() as source:
        assert [table.qualified for table in source.tables] == ["public.root"]
    for via_root, name in ((False, "public.leaf"), (True, "public.root")):
        with it.opened(via_root=via_root) as source:
            assert [table.qualified for table in source.tables] == [name]
        made = [(unique, via_root), (f"{unique}_inserts", via_root)]
        assert execute(each_database, VIA_ROOT) == made


def test_ours_of_all_tables_names_partitions_as_the_configuration_says_now(
    database: str, unique: str
) -> None:
    execute(database, *PARTITIONED)
    it = Keeping(database, unique, autocreate="all_tables")
    with it.opened():
        pass
    with it.opened(via_root=False):
        assert execute(database, VIA_ROOT) == [(unique, False)]


def test_somebody_elses_is_refused_only_when_it_is_not_what_was_asked_for(database: str, unique: str) -> None:
    execute(database, *PARTITIONED, f"create publication {unique} for table root")
    it = Keeping(database, unique)
    with it.opened(via_root=True) as source:
        assert [table.qualified for table in source.tables] == ["public.leaf"]
    with pytest.raises(PreconditionError) as refused, it.opened(via_root=True, via_root_asked=True):
        pass
    assert refused.value.code == "source.publication_via_root"
    assert refused.value.fix is not None
    execute(database, refused.value.fix.partition(";")[0])
    with it.opened(via_root=True, via_root_asked=True) as source:
        assert [table.qualified for table in source.tables] == ["public.root"]


def test_one_of_all_tables_that_ran_goes_on_with_a_word_when_a_table_without_identity_comes(
    database: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """D03: stopping would not mend the application's updates, which the publication makes fail, only add an outage."""
    execute(database, "create table keyed (id int primary key)")
    it = Keeping(database, unique, autocreate="all_tables")
    with it.opened():
        pass
    execute(database, "create table bare (id int)")
    with it.opened() as source:
        assert len(source.tables) == 2
    words = [record.getMessage() for record in caplog.records if "public.bare" in record.getMessage()]
    assert "updates and deletes fail (55000) in public.bare" in words[0]
    assert "ALTER TABLE public.bare REPLICA IDENTITY FULL" in words[0]


def test_one_of_single_tables_is_not_taken_for_one_of_all(
    database: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    """PostgreSQL can't turn one into the other: no table may fall out of both, not even one that has got a key."""
    execute(database, "create table a (id int primary key)", "create table b (id int)")
    it = Keeping(database, unique)
    with it.opened():
        pass
    execute(database, "alter table b add primary key (id)", "create table c (id int primary key)")
    with it.opened(autocreate="all_tables") as source:
        assert [table.qualified for table in source.tables] == ["public.a", "public.b", "public.c"]
    assert "can't make it one of all tables" in caplog.text


@pytest.mark.parametrize("suffix", ["", "_inserts"])
def test_one_that_is_gone_is_not_made_anew_under_a_position(
    each_database: str, unique: str, suffix: str
) -> None:
    """D58: PostgreSQL 18 would skip what was committed without it, and older versions would fail at it for ever."""
    execute(each_database, "create table t (id int primary key)")
    it = Keeping(each_database, unique)
    with it.opened():
        pass
    execute(each_database, f"drop publication {unique}{suffix}", "insert into t values (1)")
    with pytest.raises(PreconditionError) as refused, it.opened():
        pass
    assert refused.value.code == "source.publication_missing"
    assert "checkpoint reset" in str(refused.value.fix)


def test_the_companion_of_somebody_else_is_never_taken(database: str, unique: str) -> None:
    """A publication that happens to have this name is nobody's to alter but its owner's."""
    execute(
        database, "create table t (id int primary key)", f"create publication {unique}_inserts for table t"
    )
    with pytest.raises(PreconditionError) as refused, Keeping(database, unique).opened():
        pass
    assert refused.value.code == "source.publication_foreign"
    assert execute(database, "select tablename from pg_publication_tables") == [("t",)]


def test_a_trial_that_may_not_make_its_publication_is_told_to_name_one(database: str, unique: str) -> None:
    """Its own name is made up anew each time."""
    execute(database, "create table t (id int primary key)")
    with role(database, unique, "replication") as dsn:
        trial = Keeping(dsn, unique, trial=True)
        with pytest.raises(PreconditionError) as refused, trial.opened():
            pass
    fix = str(refused.value.fix)
    assert 'CREATE PUBLICATION "NAME" FOR TABLE ONLY "public"."t"' in fix
    assert "--publication NAME" in fix
    assert unique not in fix.partition("; or: GRANT")[0]


def test_a_table_that_changes_over_is_at_no_moment_in_neither(database: str, unique: str) -> None:
    """One that has lost its key leaves the main publication for the companion: what is inserted between the two steps
    would be sent to nobody, and the second step may fail."""
    with role(database, unique, "replication") as dsn:
        name = database.rpartition("/")[2]
        execute(
            database, f"grant create on database {name} to {unique}", "create table t (id int primary key)"
        )
        execute(database, f"alter table t owner to {unique}")
        it = Keeping(dsn, unique)
        with it.opened():
            pass
        execute(
            database,
            "alter table t drop constraint t_pkey",
            f"alter publication {unique}_inserts owner to postgres",
        )
        with pytest.raises(PreconditionError), it.opened():
            pass
        assert execute(database, "select pubname, tablename from pg_publication_tables") == [(unique, "t")]
        execute(database, f"select pg_drop_replication_slot('{unique}')")


def test_somebody_elses_that_leaves_changes_out_is_told_of(
    database: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(
        database,
        "create table t (id int primary key)",
        f"create publication {unique} for table t with (publish = 'insert, delete')",
    )
    with Keeping(database, unique).opened():
        assert f"publication {unique} does not publish updates, truncates" in caplog.text


def test_a_partition_that_is_excluded_from_now_on_is_not_published_by_its_root(
    database: str, unique: str
) -> None:
    """Whoever excludes a table wants its rows nowhere, at a restart as well."""
    execute(database, *PARTITIONED)
    it = Keeping(database, unique)
    with it.opened():
        pass
    excluded = Selection(excluded=lambda schema, table: table == "leaf")
    with pytest.raises(PreconditionError) as refused, it.opened(selection=excluded):
        pass
    assert refused.value.code == "source.partition_excluded"


def test_one_that_goes_while_it_streams_ends_the_stream(each_database: str, unique: str) -> None:
    """PostgreSQL 18 would go on and send nothing; older versions fail at the next change."""
    execute(each_database, "create table t (id int primary key)")
    with Keeping(each_database, unique, snapshot="never", heartbeat=0.2).opened() as source:
        source.poll(1, 0.1)
        execute(each_database, f"drop publication {unique}", "insert into t values (1)")
        with pytest.raises(PreconditionError) as refused:
            _poll_on(source)
    assert refused.value.code in {"source.publication_missing", "postgres.42704"}


def test_one_that_was_made_anew_is_not_taken_for_the_former(database: str, unique: str) -> None:
    """What was committed in between is missing, however short it was; only who made it can know that nothing was."""
    execute(database, "create table t (id int primary key)")
    anew = f"begin; drop publication {unique}; create publication {unique} for table t; commit"
    it = Keeping(database, unique, snapshot="never", heartbeat=0.2)
    with it.opened() as source:
        source.poll(1, 0.1)
        execute(database, anew)
        with pytest.raises(PreconditionError) as refused:
            _poll_on(source)
    assert refused.value.code == "source.publication_anew"
    with pytest.raises(PreconditionError) as refused, it.opened():
        pass
    assert refused.value.code == "source.publication_anew"
    assert "checkpoint adopt" in str(refused.value.fix)
    del it.state[PUBLICATIONS]  # as adopt does
    with it.opened() as source:
        for _ in range(5):
            source.poll(1, 0.1)


def test_a_pair_that_another_connector_made_is_used_whole(database: str, unique: str) -> None:
    """A connector that was given another name goes on with its publications: no table falls out, with a key or without."""
    execute(database, "create table a (id int primary key)", "create table b (id int)")
    with Keeping(database, unique).opened():
        pass
    with Keeping(database, f"{unique}_renamed", publications=(unique,)).opened() as source:
        assert [table.qualified for table in source.tables] == ["public.a", "public.b"]


def test_a_start_says_who_keeps_it_from_altering_its_publication(database: str, unique: str) -> None:
    """VACUUM and CREATE INDEX CONCURRENTLY let everybody read and write, but nobody publish."""
    execute(database, "create table a (id int primary key)")
    it = Keeping(database, unique)
    with it.opened():
        pass
    execute(database, "create table b (id int primary key)")
    with psycopg.connect(database) as holder:
        holder.execute("lock table b in share update exclusive mode")
        with pytest.raises(PreconditionError) as held, it.opened():
            pass
        assert held.value.retryable
        assert f"public.b (pid {holder.info.backend_pid})" in held.value.what
    with it.opened() as source:
        assert [table.qualified for table in source.tables] == ["public.a", "public.b"]


def _poll_on(source: LogSource) -> None:
    """For two minutes, if nothing happens."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        source.poll(1, 0.1)
