"""Which version of a contract holds for a shape, and what is done when none does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from liberator.contract.derive import derive
from liberator.errors import ContractError
from liberator.plan.evolution import Evolution, Former, OnChange, Settled
from liberator.plan.tables import column_facts, column_schemas
from liberator.postgres.model import Column, PgType, Table
from liberator.postgres.values import TypeOptions

TOPIC = "shop.public.t"
INT4, TEXT = PgType(23, "pg_catalog", "int4"), PgType(25, "pg_catalog", "text")
ID = Column("id", INT4, not_null=True, can_be_toasted=False)
NOTE = Column("note", TEXT)
COUNT = Column("n", INT4, not_null=True, can_be_toasted=False)

Contract = dict[str, Any]


class Contracts:
    """Stored versions, in memory."""

    def __init__(self, *versions: Contract) -> None:
        self.stored = dict(enumerate(versions, 1))

    def load(self, topic: str) -> tuple[int, Contract] | None:
        newest = self.newest(topic)
        return None if newest is None else (newest, self.stored[newest])

    def newest(self, topic: str) -> int | None:
        return max(self.stored, default=None)

    def versions(self, topic: str) -> Mapping[int, Contract]:
        return self.stored

    def add(self, topic: str, contract: Contract) -> int:
        number = max(self.stored) + 1
        self.stored[number] = contract
        return number


def a_table(*columns: Column) -> Table:
    return Table(1, "public", "t", columns, ("id",))


def derived(*columns: Column) -> Contract:
    return derive(TOPIC, column_schemas(a_table(*columns), TypeOptions()), ("id",), strict=True)


def settle(
    contracts: Contracts, table: Table, before: Former | None = None, policy: OnChange = "compatible"
) -> Settled:
    evolution = Evolution(
        contracts,
        lambda table: column_schemas(table, TypeOptions()),
        lambda table: column_facts(table, TypeOptions()),
        policy,
    )
    return evolution.settle(TOPIC, table, before)


def test_a_column_is_no_change_of_a_contract_from_scratch_that_is_open() -> None:
    contracts = Contracts({"type": "object", "properties": {"id": {"type": "integer"}}})
    settled = settle(contracts, a_table(ID, NOTE), Former(a_table(ID), 1), "stop")
    assert (settled.version, list(contracts.stored)) == (1, [1])
    assert settled.change is not None
    assert (settled.change.old, settled.change.new) == (1, 1)


def test_a_contract_from_scratch_that_is_closed_gets_a_version_that_names_the_column() -> None:
    closed = {"type": "object", "properties": {"id": {"type": "integer"}}, "additionalProperties": False}
    contracts = Contracts(closed)
    settled = settle(contracts, a_table(ID, NOTE), Former(a_table(ID), 1))
    assert settled.version == 2
    assert list(contracts.stored[2]["properties"]) == ["id", "note"]
    assert settled.gate is not None
    assert settled.gate.impossible is None


def test_a_contract_from_scratch_that_never_fitted_is_left_as_it_is() -> None:
    """What somebody wrote on purpose: its rows are judged one by one."""
    contracts = Contracts({"type": "object", "properties": {"note": {"type": "integer"}}})
    settled = settle(contracts, a_table(ID, NOTE), policy="any")
    assert (settled.version, settled.change, list(contracts.stored)) == (1, None, [1])


def test_a_column_that_comes_back_makes_a_new_version_and_revives_no_old_one() -> None:
    contracts = Contracts(derived(ID, COUNT), derived(ID))
    settled = settle(contracts, a_table(ID, COUNT), Former(a_table(ID), 2))
    assert settled.version == 3
    assert contracts.stored[3]["required"] == ["id"], "rows of version 2 have no such column"


def test_a_table_that_has_not_changed_takes_a_stricter_version_and_no_version_for_another_shape() -> None:
    stricter = derived(ID, COUNT)
    stricter["properties"]["n"]["maximum"] = 7
    contracts = Contracts(derived(ID, COUNT), stricter, derived(ID, COUNT, NOTE))
    assert settle(contracts, a_table(ID, COUNT), Former(a_table(ID, COUNT), 1)).version == 2
    assert settle(contracts, a_table(ID, COUNT)).version == 2
    assert settle(contracts, a_table(ID, COUNT, NOTE)).version == 3


def test_a_shape_without_its_not_null_leaves_the_contract_its_own() -> None:
    """A backlog tells no NOT NULL; the next version must be the same whatever the catalogue says by then."""
    bare = a_table(Column("id", INT4), Column("n", INT4), NOTE)
    live, replayed = Contracts(derived(ID, COUNT)), Contracts(derived(ID, COUNT))
    settle(live, a_table(ID, COUNT, NOTE), Former(a_table(ID, COUNT), 1))
    settle(replayed, bare, Former(a_table(ID, COUNT), 1))
    assert live.stored == replayed.stored
    assert live.stored[2]["properties"]["n"]["type"] == "integer"


def test_a_column_that_a_consumer_reads_does_not_go() -> None:
    read = {**derived(ID, NOTE), "x-consumers": {"billing": ["note"]}}
    with pytest.raises(ContractError) as caught:
        settle(Contracts(read), a_table(ID), Former(a_table(ID, NOTE), 1))
    assert caught.value.code == "contract.incompatible_change"
    assert "billing" in caught.value.what


def test_what_was_refused_is_settled_anew_by_the_policy_of_now() -> None:
    contracts = Contracts(derived(ID))
    refused = settle(contracts, a_table(ID, NOTE), Former(a_table(ID), 1), "dead_letter")
    assert (refused.refused, refused.version) == (True, 1)
    assert refused.gate is not None
    assert refused.gate.impossible is not None
    before = Former(a_table(ID, NOTE), 1, refused=True)
    assert settle(contracts, a_table(ID, NOTE), before, "dead_letter").refused
    settled = settle(contracts, a_table(ID, NOTE), before)
    assert (settled.version, settled.refused) == (2, False)
    assert settled.change is not None
