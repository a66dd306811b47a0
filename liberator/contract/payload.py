"""The check on the payload of an event that an application wrote itself.

Enters: a contract. Leaves: a `PayloadGate`. Called by the plan of an outbox, once per topic and event type; its check once
per event. Nothing is known of a payload beforehand, so all of it is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from liberator.contract.document import Document
from liberator.contract.reading import read
from liberator.contract.unsent import without
from liberator.contract.violation import UNREADABLE, Violation, from_errors


class PayloadGate:
    """A compiled contract. contract: as it is stored. Raises `ContractError` for one that can't be kept."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.contract = schema
        self._document = Document(schema)
        self._schema = self._document.link(())
        self._judge: Any = self._document.validator(self._schema)

    def violation(self, payload: bytes) -> Violation | None:
        """How this JSON breaks the contract; None: it keeps it."""
        try:
            value = read(payload)
        except (ValueError, RecursionError):
            return UNREADABLE
        if self._judge.is_valid(value):
            return None
        return from_errors(self._judge.iter_errors(value), self._schema)

    def violation_of_row(self, row: Mapping[str, Any], unsent: Collection[str]) -> Violation | None:
        """How a row that was read (`reading.read`) breaks the contract. unsent: columns that were not sent of it."""
        if not unsent:
            return from_errors(self._judge.iter_errors(row), self._schema)
        schema = without(self._document, frozenset(unsent), frozenset([*row, *unsent]))
        return from_errors(self._document.validator(schema).iter_errors(row), schema)


def is_json(payload: bytes) -> bool:
    """Is it JSON in UTF-8?"""
    try:
        read(payload)
    except (ValueError, RecursionError):
        return False
    return True
