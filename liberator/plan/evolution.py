"""Which contract holds for a version of a table, and what is done when none does: `schema.on_change`.

Enters: a table version, and what its table was before. Leaves: the contract with its gate, and the change, if there was one.
Called once per table version. What it decides depends on the stored versions and on the shapes that the log tells, not on
what the catalogue says by now, so that a restart decides the same again: a version that was written just before a crash is
found, and rows from before a change are held to the version of their time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from liberator.contract.compatibility import Incompatibility, Mode, compatible, compatible_with
from liberator.contract.derive import ColumnSchema, contract_uri, derive
from liberator.contract.gate import ColumnFacts, Gate, compile_gate
from liberator.contract.migration import allows_null, describes, is_derived, objections, successor
from liberator.contract.violation import Violation
from liberator.errors import ContractError
from liberator.plan.tables import Contracts, warn_if_impossible
from liberator.postgres.alteration import Alteration, alterations, same_shape
from liberator.postgres.model import Table

log = logging.getLogger(__name__)

OnChange = Literal["compatible", "any", "stop", "dead_letter"]
Contract = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Former:
    """What a table was, as the history knows it. contract: the version that held; None: there was none. refused: no stored
    version was for its shape, so its rows went to the dead letters."""

    table: Table
    contract: int | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a table. before: None when nobody knows what it was.

    old, new: versions of the contract; None: none is stored, or none is for the new shape. old_schema, new_schema: of the
    rows before and from now on. mode: that decided. broken: what the new schema breaks of it.
    """

    before: Table | None
    after: Table
    topic: str
    done: Sequence[Alteration]
    old: int | None
    new: int | None
    old_schema: Contract | None
    new_schema: Contract
    mode: Mode
    broken: Sequence[Incompatibility]
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What holds for a table version. version, contract: the stored one; None: there is none. gate: None: nothing is left to
    check. uri: what names the contract; None: nothing does."""

    version: int | None
    gate: Gate | None
    contract: Contract | None = None
    refused: bool = False
    change: Change | None = None
    uri: str | None = None


class Evolution:
    """Settles by `policy` and `mode`. columns: the schemas of a table's columns; facts: what their types guarantee, None:
    nothing, not even which columns there are. naming: the columns that name a row."""

    def __init__(
        self,
        contracts: Contracts,
        columns: Callable[[Table], Sequence[ColumnSchema]],
        facts: Callable[[Table], Sequence[ColumnFacts] | None],
        policy: OnChange = "compatible",
        mode: Mode = "backward",
        naming: Callable[[Table], Sequence[str]] = lambda table: table.key,
    ) -> None:
        self._contracts = contracts
        self._columns = columns
        self._facts = facts
        self._policy = policy
        self._mode = mode
        self._naming = naming

    def look(self, topic: str) -> int | None:
        """The newest stored version of a topic, without settling anything. Raises `ContractError` for one that is broken."""
        stored = self._contracts.load(topic)
        return None if stored is None else stored[0]

    def newest(self, topic: str) -> int | None:
        """The number of the newest stored version."""
        return self._contracts.newest(topic)

    def settle(self, topic: str, table: Table, before: Former | None) -> Settled:
        """What holds from now on for the rows of `table`. May write a next version of its contract.

        Raises `ContractError` when the policy is to stop, or a contract can't be read or written.
        """
        changed = before is not None and not same_shape(before.table, table)
        stored = dict(self._contracts.versions(topic))
        if not stored:
            change = self._following(topic, table, before.table) if changed and before else None
            return Settled(None, None, change=change)
        same = before is not None and before.table.qualified == table.qualified
        since = before.contract if before is not None and same and before.contract in stored else None
        number = self._made_for(topic, table, stored, since or 0)
        if number is None and not changed and not (before is not None and before.refused):
            number = since if since is not None or is_derived(stored[max(stored)]) else max(stored)
        written = None
        if number is None:
            written = number = self._next(topic, table, stored, before)
        held = max(stored) if number is None else number
        schema = stored[held] if held in stored else self._contracts.versions(topic)[held]
        facts = self._facts(table)
        if facts is None:
            facts = [ColumnFacts(name, {}, nullable=True) for name in schema.get("properties", {})]
        gate = compile_gate(schema, facts)
        if number is None:
            gate = replace(gate, columns={}, row=None, impossible=_undescribed(topic, held))
        else:
            warn_if_impossible(gate, table.qualified, topic, number)
        change = None
        if changed or (written is not None and written not in stored):
            former = before.table if before is not None else None
            change = self._change(topic, table, former, {**stored, held: schema}, since, number)
        if number is None:
            return Settled(since, gate, schema, True, change)
        return Settled(number, gate, schema, False, change, contract_uri(schema, number))

    def _made_for(self, topic: str, table: Table, stored: Mapping[int, Contract], since: int) -> int | None:
        """The highest version that is for this shape. since: versions before it were for what the table was earlier."""
        fitting = (
            number
            for number in sorted(stored, reverse=True)
            if number >= since and describes(stored[number], self._derived(topic, table, stored[number]))
        )
        return next(fitting, None)

    def _next(
        self, topic: str, table: Table, stored: Mapping[int, Contract], before: Former | None
    ) -> int | None:
        """The version that is to hold for a shape that no stored one is for; None: none yet."""
        newest = max(stored)
        held = stored[newest]
        derived = self._derived(topic, table, held)
        following = successor(held, derived)
        if following == held:
            return newest
        where = f"table {table.qualified}, contract {topic} version {newest}"
        if before is None:
            what = f"no contract of {topic} is for {table.qualified} as it is"
        else:
            done = "; ".join(map(str, alterations(before.table, table))) or "as before"
            what = f"no contract of {topic} is for {table.qualified} as it is now ({done})"
        if self._policy == "stop":
            raise ContractError(
                what,
                code="contract.changed",
                where=where,
                fix=f"write version {newest + 1} for the new shape (`liberate schema derive --write` makes one of the table"
                " as it is now), or set schema.on_change; nothing is lost: the connector goes on before the first new row",
            )
        if self._policy == "dead_letter":
            log.warning("%s: rows go to the dead letters until a version is", what)
            return None
        against = objections(stored, following, derived, list(self._facts(table) or ()), self._mode)
        if against and self._policy == "compatible":
            raise ContractError(
                f"{what}, and the next version would break what is promised ({self._mode}): {'; '.join(against)}",
                code="contract.incompatible_change",
                where=where,
                fix=f"write version {newest + 1} by hand if that can be said in another way, or set schema.on_change to any"
                " when no reader depends on it; nothing is lost: the connector goes on before the first new row",
            )
        number = self._contracts.add(topic, following)
        log.info("%s: contract %s version %d is for it from now on", what, topic, number)
        return number

    def _change(
        self,
        topic: str,
        table: Table,
        former: Table | None,
        stored: Mapping[int, Contract],
        since: int | None,
        number: int | None,
    ) -> Change:
        """The change of a table with stored contracts."""
        earlier = {each: schema for each, schema in stored.items() if number is None or each < number}
        old = since if since is not None else max(earlier, default=None)
        if number is None:
            held = stored[max(stored)]
            schema = successor(held, self._derived(topic, table, held))
        else:
            schema = stored[number]
        unchanged = number is not None and number == since
        broken = () if unchanged or not earlier else compatible_with(earlier, schema, self._mode, rows=True)
        return Change(
            before=former,
            after=table,
            topic=topic,
            done=alterations(former, table) if former is not None else (),
            old=old,
            new=number,
            old_schema=None if old is None else stored[old],
            new_schema=schema,
            mode=self._mode,
            broken=broken,
            refused=number is None,
        )

    def _following(self, topic: str, table: Table, former: Table) -> Change:
        """The change of a table whose schema follows it."""
        old = derive(topic, self._columns(former), self._naming(former), strict=False)
        new = derive(topic, self._columns(table), self._naming(table), strict=False)
        broken = compatible(old, new, self._mode, rows=True)
        done = alterations(former, table)
        return Change(former, table, topic, done, None, None, old, new, self._mode, broken)

    def _derived(self, topic: str, table: Table, held: Contract) -> Contract:
        """The contract of the shape, as far as the log tells it: what `held` says about NULL stays."""
        named = held.get("properties", {})
        columns = [
            replace(column, not_null=column.name in named and not allows_null(named[column.name], held))
            for column in self._columns(table)
        ]
        return derive(topic, columns, self._naming(table), strict=True)


def _undescribed(topic: str, newest: int) -> Violation:
    message = (
        f"the table has changed, and no contract of {topic} is for it yet (the newest is version {newest})"
    )
    return Violation("", "on_change", "", message)
