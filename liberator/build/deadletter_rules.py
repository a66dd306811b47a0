"""Configuration -> which dead letters may be published after all: judged by the contracts as they are now.

Enters: a checked configuration. Leaves: a `Judge`. Called by `deadletter`. Its words hold nothing of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from liberator.contract.payload import PayloadGate, is_json
from liberator.contract.reading import read
from liberator.contract.store import ContractStore
from liberator.deadletter.letter import Letter
from liberator.deadletter.redrive import Judge
from liberator.letters import TRANSFORMATION

if TYPE_CHECKING:
    from liberator.config import SinkConfig, SourceConfig

_KNOWN_CONTRACTS = 1_024

_NO_ROW = (b"d", b"t", b"m")
"""What happened, of flat events whose value is no row: delete, truncate, message."""

_Contract = Callable[[str, str | None], PayloadGate | None]


def judge_of(config: SourceConfig | SinkConfig, *, validate: bool) -> Judge:
    """Why a letter may not be published. validate: also what breaks the contract as it is now.

    What a sink gives up was published under its contract before.
    """
    from liberator.config import SinkConfig

    if isinstance(config, SinkConfig):
        return lambda letter: None
    return _judge_of_source(config, validate=validate)


def _judge_of_source(config: SourceConfig, *, validate: bool) -> Judge:
    contract = _contracts(config)
    outbox = config.source.mode == "outbox"

    def judge(letter: Letter) -> str | None:
        if outbox and (reason := _never_an_event(config, letter)):
            return reason
        if not validate:
            return None
        if letter.stage == TRANSFORMATION:
            return (
                "a transform failed on it, so it is not what would be published: it may show what that hides"
            )
        if letter.value is None:
            return None
        if config.schema_.registry is not None and letter.value.startswith(b"\0"):
            return "it begins with the id of the schema of its time, which it breaks, whatever the contract says now"
        reason = _payload(letter, contract) if outbox else _row(letter, contract)
        return f"it breaks the contract of {letter.topic}: {reason}" if reason else None

    return judge


def _contracts(config: SourceConfig) -> _Contract:
    store = ContractStore(config.schema_.dir)

    @lru_cache(maxsize=_KNOWN_CONTRACTS)
    def contract(topic: str, type: str | None) -> PayloadGate | None:
        stored = store.load(config.without_stage(topic), type)
        return None if stored is None else PayloadGate(stored[1])

    return contract


# Events of an outbox


def _never_an_event(config: SourceConfig, letter: Letter) -> str | None:
    if letter.rule == "topic":
        return "nobody knows which topic it belongs to"
    if config.source.outbox.envelope:
        return "source.outbox.envelope puts more than the payload into a value, and the dead letter has the payload alone"
    return None


def _payload(letter: Letter, contract: _Contract) -> str | None:
    assert letter.value is not None
    type = _header(letter, "type")
    gate = contract(letter.topic, type.decode("utf-8", "replace")) if type else None
    if gate is not None:
        found = gate.violation(letter.value)
        return None if found is None else str(found)
    return "the payload is no JSON" if letter.rule == "json" and not is_json(letter.value) else None


# Rows


def _row(letter: Letter, contract: _Contract) -> str | None:
    assert letter.value is not None
    try:
        value = read(letter.value)
    except (ValueError, RecursionError):
        return "it is no JSON"
    row, unsent = _row_in(letter, value)
    if not isinstance(row, dict):
        return None  # a delete, a truncate, a message: there is no row to be judged
    gate = contract(letter.topic, None)
    if gate is not None:
        found = gate.violation_of_row(row, unsent)
        return None if found is None else str(found)
    if letter.rule == "conversion":
        return "a value did not fit its type, and no contract is stored that could allow it as text"
    return None


def _row_in(letter: Letter, value: Any) -> tuple[Any, Sequence[str]]:
    """The row of an event, and its columns that were not sent. See docs/reference/events.md. It tells its envelope itself:
    the configuration may have another one by now."""
    if op := _header(letter, "__op"):  # flat
        return (None if op in _NO_ROW else value), _unsent(letter)
    if not isinstance(value, dict):
        return None, ()
    source = value.get("source")
    if isinstance(source, dict):  # Debezium's
        return value.get("after"), source.get("unchanged", ())
    data = value.get("data") if "specversion" in value else value
    return (data.get("after") if isinstance(data, dict) else None), _unsent(letter)


def _unsent(letter: Letter) -> Sequence[str]:
    names: list[str] = read(_header(letter, "__unchanged") or b"[]")
    return names


def _header(letter: Letter, wanted: str) -> bytes | None:
    return next((content for name, content in letter.headers if name == wanted), None)
