"""What was done to a table, told from two of its shapes."""

from __future__ import annotations

import pytest

from liberator.postgres.alteration import alterations, same_shape
from liberator.postgres.model import Column, PgType, Table

INT4, INT8, TEXT = (
    PgType(oid, "pg_catalog", name) for oid, name in ((23, "int4"), (20, "int8"), (25, "text"))
)
VARCHAR = PgType(1043, "pg_catalog", "varchar")

ID, A, B = Column("id", INT4), Column("a", TEXT), Column("b", INT8)


def a_table(
    *columns: Column, name: str = "t", key: tuple[str, ...] = ("id",), schema: str = "public"
) -> Table:
    return Table(1, schema, name, columns, key)


@pytest.mark.parametrize(
    ("new", "ddl", "text"),
    [
        (
            a_table(ID, A),
            'ALTER TABLE "public"."t" DROP COLUMN "b"',
            "column b (int8) dropped",
        ),
        (
            a_table(ID, A, B, Column('c "1"', VARCHAR, 24)),
            'ALTER TABLE "public"."t" ADD COLUMN "c ""1""" varchar(20)',
            'column c "1" (varchar(20)) added',
        ),
        (
            a_table(ID, Column("z", TEXT), B),
            'ALTER TABLE "public"."t" RENAME COLUMN "a" TO "z"',
            "column a renamed to z (or dropped, and the other added)",
        ),
        (
            a_table(ID, A, Column("b", TEXT)),
            'ALTER TABLE "public"."t" ALTER COLUMN "b" TYPE text',
            "type of column b changed from int8 to text",
        ),
        (
            a_table(ID, A, B, name="u"),
            'ALTER TABLE "public"."t" RENAME TO "u"',
            "table renamed from public.t to public.u",
        ),
        (
            a_table(ID, A, B, schema="s"),
            'ALTER TABLE "public"."t" SET SCHEMA "s"',
            "table renamed from public.t to s.t",
        ),
        (a_table(ID, A, B, key=("id", "a")), None, "key changed from (id) to (id, a)"),
    ],
)
def test_one_thing_that_was_done_has_its_ddl_and_its_words(new: Table, ddl: str | None, text: str) -> None:
    [found] = alterations(a_table(ID, A, B), new)
    assert (found.ddl, str(found)) == (ddl, text)
    assert not same_shape(a_table(ID, A, B), new)


def test_a_column_of_another_type_in_the_place_of_one_that_is_gone_is_another() -> None:
    kinds = [each.kind for each in alterations(a_table(ID, A), a_table(ID, Column("z", INT8)))]
    assert kinds == ["column_dropped", "column_added"]


def test_a_column_that_was_dropped_and_one_added_at_the_end_are_two() -> None:
    kinds = [each.kind for each in alterations(a_table(ID, A, B), a_table(ID, B, Column("z", TEXT)))]
    assert kinds == ["column_dropped", "column_added"]


def test_a_key_whose_column_was_renamed_is_the_same_key() -> None:
    new = a_table(Column("number", INT4), A, key=("number",))
    assert [each.kind for each in alterations(a_table(ID, A), new)] == ["column_renamed"]


def test_what_a_relation_message_does_not_tell_is_no_change() -> None:
    new = a_table(Column("id", INT4, not_null=True, can_be_toasted=False), A, B)
    assert same_shape(a_table(ID, A, B), new)
    assert alterations(a_table(ID, A, B), new) == []
