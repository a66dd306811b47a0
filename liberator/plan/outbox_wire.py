"""What stands in front of the values of an outbox's events where a schema registry is used: the ids of their schemas.

Enters: topic and type of an event, and the contract that holds for it. Leaves: bytes, remembered, so that an event costs no
more than a look. Called by the router of an outbox. As in `plan.wire`, an event waits until its schema has an id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from liberator.codec.debezium_schema import DIALECT
from liberator.contract.payload import PayloadGate
from liberator.contract.registry.embed import embedded
from liberator.contract.registry.subjects import Strategy, subject
from liberator.contract.registry.wire import encode

Contract = dict[str, Any]

_KNOWN_TYPES = 4096
"""Types of events are the application's, so there may be any number of them."""


class EventWire:
    """id_of: (subject, schema) -> its id. envelope: what stands beside the payload; empty: the payload is the value."""

    def __init__(
        self, id_of: Callable[[str, Contract], int], strategy: Strategy, envelope: Sequence[str] = ()
    ) -> None:
        self._id_of = id_of
        self._strategy = strategy
        self._envelope = tuple(envelope)
        self._known: dict[tuple[str, str], tuple[PayloadGate | None, bytes]] = {}

    def prefix(self, topic: str, type: str, gate: PayloadGate | None) -> bytes:
        """See `plan.outbox.Prefix`. Raises `ContractError` when the registry does not answer, or refuses the schema."""
        known = self._known.get((topic, type))
        if known is not None and known[0] is gate:
            return known[1]
        schema = event_schema(type, None if gate is None else gate.contract, self._envelope)
        prefix = encode(self._id_of(event_subject(self._strategy, topic, type), schema), b"")
        if len(self._known) >= _KNOWN_TYPES:
            self._known.clear()
        self._known[topic, type] = gate, prefix
        return prefix


def event_subject(strategy: Strategy, topic: str, type: str) -> str:
    """Under which subject the schema of an event type is registered. An event without a type is one of its topic."""
    return subject(strategy if type else "topic_name", topic, type, "value")


def event_schema(type: str, contract: Contract | None, envelope: Sequence[str] = ()) -> Contract:
    """The schema of an event's value. contract: of its payload; None: it may be anything. envelope: see `EventWire`."""
    if not envelope:
        payload = {} if contract is None else embedded(contract, ())
        named = {"title": type} if type else {}
        return {"$schema": DIALECT, **named, **payload}
    payload = {} if contract is None else embedded(contract, ("$defs", "payload"))
    members: Contract = {name: {} for name in envelope}
    return {
        "$schema": DIALECT,
        **({"title": type} if type else {}),
        "type": "object",
        "properties": {"payload": {"$ref": "#/$defs/payload"}, **members},
        "required": ["payload", *envelope],
        "$defs": {"payload": payload},
    }
