"""What every planner of tables shares: one topic a table, and the gate of the contract that is stored for it.

Enters: tables and their topics. Leaves: topics that nobody else has, compiled gates. Called when a table is first seen,
never per row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from liberator.contract.gate import ColumnFacts, Gate, compile_gate
from liberator.errors import PreconditionError

log = logging.getLogger(__name__)


class Contracts(Protocol):
    """Where stored contracts are."""

    def load(self, topic: str) -> tuple[int, dict[str, Any]] | None:
        """The version that holds and its schema; None: there is none."""


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


def stored_gate(
    contracts: Contracts | None, topic: str, qualified: str, facts: Callable[[], Sequence[ColumnFacts]]
) -> Gate | None:
    """What is left to check of the contract of a topic; None: there is none. facts: what the table's types guarantee."""
    stored = contracts.load(topic) if contracts is not None else None
    if stored is None:
        return None
    version, contract = stored
    gate = compile_gate(contract, list(facts()))
    if gate.impossible is not None:
        log.warning(
            "no row of %s as it is now can satisfy contract %s version %d: %s",
            qualified,
            topic,
            version,
            gate.impossible,
        )
    return gate
