"""How a table is best read, by what can be seen of it."""

from __future__ import annotations

import pytest

from liberator.source.query.advice import COUNTED, Advice, ColumnSeen, TableSeen, advise, summary

ID = ColumnSeen("id", "integer", nullable=False, growing=True)
UPDATED = ColumnSeen("updated_at", "time", nullable=False)
KEYED = frozenset({"id"})
BOTH = KEYED | {"updated_at"}


def of(
    *columns: ColumnSeen,
    name: str = "orders",
    leading: frozenset[str] = KEYED,
    versions: bool = False,
    rows: int = 10,
    inserts_only: int = 0,
    before_update: str | None = None,
    key: tuple[str, ...] = ("id",),
) -> Advice:
    table = TableSeen(
        columns,
        key,
        leading,
        rows,
        versions,
        inserts_only=inserts_only,
        before_update=before_update,
    )
    return advise(name, table)


@pytest.mark.parametrize(
    "name",
    [
        "updated_at",
        "updatedAt",
        "UpdatedAt",
        "UPDATED_AT",
        "last_modified",
        "modified",
        "date_changed",
        "mtime",
    ],
)
def test_a_time_of_the_last_write_is_known_by_its_name(name: str) -> None:
    advice = of(ID, ColumnSeen(name, "time", nullable=False))
    assert advice.settings == {
        "strategy": "timestamp+incrementing",
        "timestamp_column": name,
        "incrementing_column": "id",
    }
    assert f"make sure that everybody who writes sets `{name}`" in advice.hints
    assert advice.late


@pytest.mark.parametrize(
    "column",
    [
        ColumnSeen("created_at", "time"),
        ColumnSeen("born", "time"),
        ColumnSeen("updated_by", "other"),
        ColumnSeen("updates", "integer"),
    ],
)
def test_other_columns_are_not_taken_for_it(column: ColumnSeen) -> None:
    assert of(ID, column).settings == {"strategy": "bulk"}


def test_a_column_that_the_database_sets_is_preferred_to_a_name() -> None:
    stamped = ColumnSeen("stamp", "time", nullable=False, at_update=True)
    advice = of(ID, UPDATED, stamped, leading=BOTH)
    assert advice.settings["timestamp_column"] == "stamp"
    assert "the database sets `stamp` at every write" in advice.why
    assert advice.hints == ["give `stamp` an index: without one every look reads the whole table"]


def test_without_a_number_all_rows_count_as_changed() -> None:
    advice = of(ColumnSeen("code", "other", nullable=False), UPDATED, leading=BOTH, key=("code",))
    assert advice.settings == {"strategy": "timestamp", "timestamp_column": "updated_at"}
    assert "whether a row is new: all count as changed" in advice.unseen


def test_null_times_are_told_of_where_they_are_not_read() -> None:
    nullable = ColumnSeen("updated_at", "time")
    told = "rows whose `updated_at` is NULL, after the first pass"
    assert told in of(ID, nullable).unseen
    assert told not in of(ID, nullable, leading=BOTH, versions=True).unseen


def test_row_versions_are_preferred_to_a_time_without_an_index() -> None:
    """A look by it would cost the same and see less."""
    advice = of(ID, UPDATED, versions=True)
    assert advice.settings == {"strategy": "xmin"}
    assert not advice.late
    assert of(ID, UPDATED, versions=True, leading=BOTH).settings["strategy"] == "timestamp+incrementing"


def test_a_trigger_that_may_set_the_time_is_named() -> None:
    advice = of(ID, UPDATED, versions=True, leading=BOTH, before_update="stamp_it")
    assert any("trigger `stamp_it` may set it" in why for why in advice.why)
    assert not advice.hints


def test_a_table_that_only_grew_so_far_is_read_by_its_number() -> None:
    advice = of(ID, versions=True, inserts_only=5000)
    assert advice.settings == {"strategy": "incrementing", "incrementing_column": "id"}
    assert "of 5000 writes that the server has counted all were inserts" in advice.why
    assert "updates" in advice.unseen
    assert of(ID, versions=True, inserts_only=5).settings == {"strategy": "xmin"}


@pytest.mark.parametrize("name", ["audit_log", "AuditLog", "events", "price_history"])
def test_a_log_is_read_by_its_number(name: str) -> None:
    assert of(ID, name=name).settings["strategy"] == "incrementing"


@pytest.mark.parametrize("name", ["orders", "eventual", "catalog", "blog"])
def test_a_name_that_only_sounds_so_is_no_log(name: str) -> None:
    assert of(ID, name=name).settings == {"strategy": "bulk"}


def test_a_number_without_an_index_is_of_no_use() -> None:
    assert of(ID, name="log", leading=frozenset(), key=("code", "id")).settings == {"strategy": "bulk"}


def test_a_large_table_without_a_time_is_read_by_its_number_and_that_is_said() -> None:
    advice = of(ID, rows=COUNTED + 1)
    assert advice.settings["strategy"] == "incrementing"
    assert "updates" in advice.unseen


def test_what_is_read_whole_and_large_is_read_seldom() -> None:
    large = ColumnSeen("code", "other")
    assert of(large, rows=COUNTED + 1).settings == {"strategy": "bulk", "poll_interval": "10m"}
    assert of(large, rows=COUNTED + 1, versions=True).settings == {"strategy": "xmin", "poll_interval": "10m"}


@pytest.mark.parametrize(
    "name", ["deleted", "deleted_at", "is_deleted", "isDeleted", "DeletedAt", "removed_on"]
)
def test_a_mark_of_deleted_rows_is_known_by_its_name(name: str) -> None:
    advice = of(ID, UPDATED, ColumnSeen(name, "flag"))
    assert advice.settings["deletes"] == f"soft:{name}"
    assert "rows that are deleted for good" in advice.unseen


def test_who_deleted_is_no_mark() -> None:
    assert "deletes" not in of(ID, UPDATED, ColumnSeen("deleted_by", "integer")).settings
    assert "deletes" not in of(ID, UPDATED, ColumnSeen("deleted", "other")).settings


def test_deletes_are_always_spoken_of() -> None:
    assert "deletes, unless `deletes: reconcile` compares all keys once an hour" in of(ID).unseen
    bare = of(ID, key=())
    assert "deletes: there is no key to compare" in bare.unseen
    assert any("give it a primary key" in hint for hint in bare.hints)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (-1, "rows not counted"),
        (0, "no rows yet"),
        (7, "about 7 rows"),
        (COUNTED + 1, "more than 100000 rows"),
    ],
)
def test_the_size_is_told(rows: int, words: str) -> None:
    assert summary(TableSeen((), rows=rows)) == words
