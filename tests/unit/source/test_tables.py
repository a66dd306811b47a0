"""Which tables are captured, and under which of their names."""

from __future__ import annotations

import pytest

from liberator.errors import PreconditionError
from liberator.postgres.catalogue import Published, TableInfo
from liberator.postgres.selection import Selection
from liberator.source.tables import (
    captured,
    choose,
    refuse_hidden_exclusions,
    require_published,
    shape_notes,
)
from tests.unit.source.tables import table

ROOT = table("orders", 1, partitioned=True, leaves=(3, 4))
MIDDLE = table("orders_eu", 2, partitioned=True, leaves=(3,), ancestors=(1,))
LEAF = table("orders_de", 3, ancestors=(2, 1))
OTHER_LEAF = table("orders_us", 4, ancestors=(1,))
PLAIN = table("users", 5)
ALL = [ROOT, MIDDLE, LEAF, OTHER_LEAF, PLAIN]


def only(*names: str) -> Selection:
    return Selection(included=lambda schema, name: name in names)


def names(tables: list[TableInfo]) -> list[str]:
    return [table.name for table in tables]


def test_the_topmost_chosen_table_stands_for_all_below_it() -> None:
    assert names(choose(ALL, Selection(), via_root=True)) == ["orders", "users"]
    assert names(choose(ALL, only("orders_eu", "orders_de"), via_root=True)) == ["orders_eu"]
    assert names(choose(ALL, only("orders_de"), via_root=True)) == ["orders_de"]


def test_the_topmost_stands_for_its_leaves_to_come_as_well() -> None:
    assert names(choose(ALL, Selection(), via_root=False)) == ["orders", "users"]
    assert names(choose(ALL, only("orders"), via_root=False)) == ["orders"]
    assert names(choose(ALL, only("orders_eu"), via_root=False)) == ["orders_eu"]


def test_a_root_is_identified_as_its_leaves_are_when_they_come_by_themselves() -> None:
    bare = table("orders_us", 4, ancestors=(1,), identified=False)
    tables = [table("orders", 1, partitioned=True, leaves=(3, 4), identified=False), LEAF, bare]
    assert [chosen.identified for chosen in choose(tables, only("orders"), via_root=False)] == [False]
    tables[2] = OTHER_LEAF
    assert [chosen.identified for chosen in choose(tables, only("orders"), via_root=False)] == [True]
    assert [chosen.identified for chosen in choose(tables, only("orders"), via_root=True)] == [False]


def test_an_excluded_leaf_is_left_out_though_its_root_is_chosen() -> None:
    selection = Selection(lambda schema, name: name == "orders", lambda schema, name: name == "orders_us")
    assert names(choose(ALL, selection, via_root=False)) == ["orders_de"]


def test_an_excluded_leaf_can_not_hide_behind_its_root() -> None:
    selection = Selection(excluded=lambda schema, name: name == "orders_us")
    refuse_hidden_exclusions(ALL, [LEAF, PLAIN], selection)
    with pytest.raises(PreconditionError, match=r"partition public\.orders_us is excluded") as caught:
        refuse_hidden_exclusions(ALL, [ROOT, PLAIN], selection)
    assert caught.value.code == "source.partition_excluded"


def test_a_leaf_that_its_root_shows_as_well_is_captured_once() -> None:
    shown = {oid: Published(oid, None, None) for oid in (1, 3)}
    assert names(captured(ALL, shown, Selection())) == ["orders"]


def test_captured_is_what_is_both_published_and_configured() -> None:
    shown = {oid: Published(oid, None, None) for oid in (1, 5)}
    assert names(captured(ALL, shown, only("users", "nothing"))) == ["users"]


def test_a_table_that_is_named_must_exist_and_be_published() -> None:
    shown = {5: Published(5, None, None)}
    require_published(ALL, shown, ["p"], {"users": ("public", "users")})
    with pytest.raises(PreconditionError, match="does not exist") as caught:
        require_published(ALL, shown, ["p"], {"usres": ("public", "usres")})
    assert caught.value.code == "source.table_missing"
    with pytest.raises(PreconditionError, match="does not publish") as caught:
        require_published(ALL, shown, ["p"], {"orders": ("public", "orders")})
    assert 'ALTER PUBLICATION "p" ADD TABLE orders' in str(caught.value.fix)


def test_a_root_is_published_by_its_leaves_and_a_leaf_by_its_root() -> None:
    require_published(ALL, {3: Published(3, None, None)}, ["p"], {"orders": ("public", "orders")})
    require_published(ALL, {1: Published(1, None, None)}, ["p"], {"orders_de": ("public", "orders_de")})


def test_tables_without_identity_are_noted() -> None:
    assert shape_notes(ALL) == []
    assert "public.log" in shape_notes([table("log", identified=False, key=())])[0]
