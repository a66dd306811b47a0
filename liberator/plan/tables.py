"""What every planner of tables shares: one topic a table, what its columns' types say, and where its contracts are.

Enters: tables and their topics. Leaves: topics that nobody else has, schemas and facts of columns. Called when a table is
first seen, never per row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from liberator.contract.derive import ColumnSchema
from liberator.contract.gate import ColumnFacts, Gate
from liberator.errors import PreconditionError
from liberator.postgres.model import Column, Table
from liberator.postgres.values import TypeOptions, schema

log = logging.getLogger(__name__)


class Contracts(Protocol):
    """Where stored contracts are."""

    def load(self, topic: str) -> tuple[int, dict[str, Any]] | None:
        """The newest version and its schema; None: there is none."""

    def newest(self, topic: str) -> int | None:
        """The number of the newest version. Reads none."""

    def versions(self, topic: str) -> Mapping[int, dict[str, Any]]:
        """All of them."""

    def add(self, topic: str, contract: dict[str, Any]) -> int:
        """Keep the next version, durably; its number. Where the newest says the same, that is it."""


class TopicOwners:
    """Which table has which topic. topic: (schema, table) -> its topic."""

    def __init__(self, topic: Callable[[str, str], str]) -> None:
        self._topic = topic
        self._owners: dict[str, tuple[str, str]] = {}

    def topic_of(self, schema: str, table: str) -> str:
        """A table's topic. Raises `PreconditionError` when another table has it."""
        topic = self._topic(schema, table)
        owner = self._owners.setdefault(topic, (schema, table))
        if owner != (schema, table):
            raise PreconditionError(
                f"tables {'.'.join(owner)} and {schema}.{table} would both be published to topic {topic}",
                code="plan.topic_collision",
                where="publish.topic",
                fix="exclude one of them, or run a second connector for it with another publish.topic",
            )
        return topic

    def tables(self) -> dict[str, str]:
        """Topic -> ``schema.table``, of all tables seen so far."""
        return {topic: ".".join(table) for topic, table in self._owners.items()}


def warn_if_impossible(gate: Gate, qualified: str, topic: str, version: int) -> None:
    """Say it once when all rows of a table will be refused."""
    if gate.impossible is not None:
        log.warning(
            "no row of %s as it is now can satisfy contract %s version %d: %s",
            qualified,
            topic,
            version,
            gate.impossible,
        )


def column_schemas(table: Table, options: TypeOptions) -> list[ColumnSchema]:
    """The schemas of the values of a table's columns."""
    columns = []
    for column in table.columns:
        fragment, definitions = schema(column.type, column.typmod, options)
        columns.append(
            ColumnSchema(column.name, fragment, definitions, column.not_null, column.can_be_toasted)
        )
    return columns


def column_facts(table: Table, options: TypeOptions) -> list[ColumnFacts]:
    """What the types of a table's columns guarantee of their JSON. A backlog may be older than a NOT NULL."""
    return [_facts(column, options, nullable=column.name not in table.key) for column in table.columns]


def _facts(column: Column, options: TypeOptions, *, nullable: bool) -> ColumnFacts:
    fragment, definitions = schema(column.type, column.typmod, options)
    return ColumnFacts(column.name, {**fragment, "$defs": definitions} if definitions else fragment, nullable)
