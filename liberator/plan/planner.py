"""Which plan a table version gets: topic, key, contract.

Enters: table versions (from a snapshot) and Relation messages (from the stream). Leaves: compiled plans, None for tables
that are not captured. Called by the executors when a version is first seen; asks the catalogue then, never per row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from liberator.change import State
from liberator.codec.envelope import Envelope
from liberator.plan.compile import TablePlan, compile_plan, resolve_key
from liberator.plan.evolution import Evolution
from liberator.plan.shaping import Transforms, fields
from liberator.plan.tables import TopicOwners, column_facts
from liberator.plan.versions import Announced, TableVersions
from liberator.plan.wire import Wire
from liberator.postgres.catalogue import (
    TableInfo,
    ancestors_of,
    fits,
    load_table,
    logs_less,
    table_of_relation,
)
from liberator.postgres.model import PgType, Table
from liberator.postgres.pgoutput import Relation
from liberator.postgres.selection import Selection
from liberator.postgres.session import source_error
from liberator.postgres.types import load_types
from liberator.postgres.values import TypeOptions


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What of the configuration decides about plans.

    topic: (schema, table) -> topic. key: (schema, table) -> configured key columns, None: those of the identity.
    all_meant: is the publication made of the configured tables, so that whatever it sends is meant unless excluded?
    """

    topic: Callable[[str, str], str]
    selection: Selection = field(default_factory=Selection)
    key: Callable[[str, str], Sequence[str] | None] = lambda schema, table: None
    all_meant: Callable[[], bool] = lambda: False
    types: TypeOptions = field(default_factory=TypeOptions)
    transforms: Transforms = field(default_factory=Transforms)


class Planner:
    """Makes plans and remembers them. connection: gives the connection for catalogue questions, when one is needed."""

    def __init__(
        self,
        settings: PlanSettings,
        envelope: Envelope,
        evolution: Evolution | None,
        connection: Callable[[], psycopg.Connection[Any]],
        wire: Wire | None = None,
    ) -> None:
        self._settings = settings
        self._envelope = envelope
        self._evolution = evolution
        self._connection = connection
        self._wire = wire
        self._versions = TableVersions(evolution)
        self._owners = TopicOwners(settings.topic)
        self._plans: dict[int, TablePlan] = {}
        self._prepared = False

    def restore(self, state: State) -> None:
        """Know the table versions of a checkpoint, and no others."""
        self._versions.restore(state)
        self._plans.clear()

    def history(self) -> dict[str, bytes]:
        """The table versions that came since the last call, to be saved with the state of their first rows."""
        return self._versions.history()

    def changes(self) -> list[Announced]:
        """The changes of tables that were seen since the last call."""
        return self._versions.changes()

    def to_settle_again(self) -> list[int]:
        """The oids of tables whose rows were refused, and whose contract has a newer version by now."""
        again = [int(name) for name in self._versions.to_settle_again()]
        for oid in again:
            self._plans.pop(oid, None)
        return again

    def prepare(self, tables: Iterable[TableInfo]) -> None:
        """Find out at the start what would go wrong later: one topic for two tables, impossible keys, broken contracts,
        transforms of what is not there."""
        tables = list(tables)
        if tables and not self._prepared:
            self._prepared = True
            self._settings.transforms.warn_of_unused((info.schema, info.name) for info in tables)
        for info in tables:
            topic = self._owners.topic_of(info.schema, info.name)
            if self._evolution is not None:
                self._evolution.look(topic)
            configured = self._settings.key(info.schema, info.name)
            if configured is not None:
                resolve_key(info.qualified, info.identity, info.key, configured, configured)
            if self._settings.transforms.apply_to(info.schema, info.name):
                self._try_transforms(info, configured)

    def _try_transforms(self, info: TableInfo, key: Sequence[str] | None) -> None:
        """Against the table as it is now, which must have what they name."""
        table = load_table(self._connection(), info.oid)
        if table is None:
            return
        columns = fields(table, column_facts(table, self._settings.types))
        shape = self._settings.transforms.shape(table, columns, key, missing="refuse")
        if shape is not None and shape.key is not None:
            names = [table.columns[index].name for index in shape.key]
            resolve_key(table.qualified, table.identity, table.key, names, names)

    def of_table(self, table: Table) -> TablePlan:
        """The plan for a version that the snapshot reads."""
        plan = self._plans.get(table.oid)
        if plan is None or plan.table != table:
            plan = self._compile(table)
        return plan

    def of_relation(self, relation: Relation, *, fresh_types: bool = False) -> TablePlan | None:
        """The plan for a version that the stream announces; None: its changes are not captured. Raises `SourceError` when
        the catalogue can't be asked."""
        try:
            return self._of_relation(relation, fresh_types)
        except psycopg.Error as error:
            raise source_error(error, f"looking up {relation.schema}.{relation.name}") from None

    def _of_relation(self, relation: Relation, fresh_types: bool) -> TablePlan | None:
        if not self._wants(relation):
            return None
        known = self._versions.table(str(relation.oid))
        if known is not None and fits(known, relation) and not fresh_types:
            table = known
        else:
            table = table_of_relation(self._connection(), relation, known)
        plan = self._plans.get(relation.oid)
        return plan if plan is not None and plan.table == table and not fresh_types else self._compile(table)

    def varies(self, plan: TablePlan) -> bool:
        """Does the table have composite types? What attributes those have changes without a word in the stream."""
        return any(_is_composite(column.type) for column in plan.table.columns)

    def as_of_now(self, plan: TablePlan) -> TablePlan:
        """`plan` itself, or with the attributes that its composite types have by now. One question to the catalogue.
        Raises `SourceError` when that can't be asked."""
        table = plan.table
        asked = {column.type.oid for column in table.columns if _is_composite(column.type)}
        try:
            types = load_types(self._connection(), asked)
        except psycopg.Error as error:
            raise source_error(error, f"looking up the types of {table.qualified}") from None
        found = {oid: type for oid, type in types.items() if type.name != "unknown"}
        columns = tuple(
            replace(column, type=found.get(column.type.oid, column.type)) for column in table.columns
        )
        return plan if columns == table.columns else self._compile(replace(table, columns=columns))

    def pads(self, plan: TablePlan) -> bool:
        """Are there partitions that log less than this root, of FULL identity, promises? The server fills their old rows up
        with nulls. It announces the root again before the first row of every partition. Raises `SourceError`."""
        table = plan.table
        try:
            return logs_less(self._connection(), table.oid)
        except psycopg.Error as error:
            raise source_error(error, f"looking up the partitions of {table.qualified}") from None

    def topics(self) -> dict[str, str]:
        """Topic -> ``schema.table``, of all tables seen so far."""
        return self._owners.tables()

    def _wants(self, relation: Relation) -> bool:
        """A partition is wanted when a table above it is. What was above one that is dropped or detached by now is told by
        nobody but the publication that sends it."""
        selection = self._settings.selection
        if selection.excluded(relation.schema, relation.name):
            return False
        if selection.included(relation.schema, relation.name) or self._settings.all_meant():
            return True
        return selection.wants(relation.schema, relation.name, ancestors_of(self._connection(), relation.oid))

    def _compile(self, table: Table) -> TablePlan:
        topic = self._owners.topic_of(table.schema, table.name)
        settings = self._settings
        name, key = str(table.oid), settings.key(table.schema, table.name)
        former, columns = self._versions.table(name), fields(table, column_facts(table, settings.types))
        shape = settings.transforms.shape(table, columns, key, former=former)
        settled = self._versions.settle(name, topic, table)
        plan = compile_plan(
            table,
            topic=topic,
            key=key,
            options=settings.types,
            gate=settled.gate,
            form=self._envelope.table(table.schema, table.name, settled.uri),
            shape=shape,
        )
        if self._wire is not None:
            self._wire.prepare(plan, settled.contract)
        self._plans[table.oid] = plan
        return plan


def _is_composite(type: PgType) -> bool:
    """Is it, or is it made of, a composite type?"""
    return type.kind == "composite" or (type.element is not None and _is_composite(type.element))
