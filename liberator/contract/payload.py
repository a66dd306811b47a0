"""The check on the payload of an event that an application wrote itself.

Enters: a contract. Leaves: a `PayloadGate`. Called by the plan of an outbox, once per topic and event type; its check once
per event. Nothing is known of a payload beforehand, so all of it is looked at.
"""

from __future__ import annotations

from typing import Any

from liberator.contract.document import Document, Schema
from liberator.contract.reading import read
from liberator.contract.violation import UNREADABLE, Violation, from_errors


class PayloadGate:
    """A compiled contract. Raises `ContractError` for one that can't be kept."""

    def __init__(self, schema: Schema) -> None:
        document = Document(schema)
        self._schema = document.link(())
        self._judge: Any = document.validator(self._schema)

    def violation(self, payload: bytes) -> Violation | None:
        """How this JSON breaks the contract; None: it keeps it."""
        try:
            value = read(payload)
        except (ValueError, RecursionError):
            return UNREADABLE
        if self._judge.is_valid(value):
            return None
        return from_errors(self._judge.iter_errors(value), self._schema)


def is_json(payload: bytes) -> bool:
    """Is it JSON in UTF-8?"""
    try:
        read(payload)
    except (ValueError, RecursionError):
        return False
    return True
