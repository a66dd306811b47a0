"""The versions of tables that rows have come in, and which contract held for each: the history that a checkpoint keeps.

Enters: table versions as they come. Leaves: what holds for them, changes to be announced, and partitions of a checkpoint.
Called by the planners. Nothing is remembered here but what the next start finds again in the checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from liberator.change import State
from liberator.errors import CheckpointError
from liberator.plan.evolution import Change, Evolution, Former, Settled
from liberator.postgres.catalogue import table_from_json, table_to_json
from liberator.postgres.model import Table
from liberator.source.position import RELATION_PREFIX


@dataclass(frozen=True, slots=True)
class Announced:
    """A change, and how many there were of this table before."""

    change: Change
    number: int


@dataclass(frozen=True, slots=True)
class _Known:
    former: Former
    changes: int = 0

    def encode(self) -> bytes:
        """As saved: older versions of liberator read the table, and leave the rest alone."""
        document = json.loads(table_to_json(self.former.table))
        document["contract"], document["changes"] = self.former.contract, self.changes
        if self.former.refused:
            document["refused"] = True
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> _Known:
        """Inverse of `encode`. ValueError, KeyError or TypeError for anything else."""
        document = json.loads(data)
        contract, refused = document.get("contract"), bool(document.get("refused"))
        return cls(Former(table_from_json(data), contract, refused), int(document.get("changes", 0)))


class TableVersions:
    """The newest version of every table, by what names it: its oid, or ``schema.table``."""

    def __init__(self, evolution: Evolution | None) -> None:
        self._evolution = evolution
        self._known: dict[str, _Known] = {}
        self._unsaved: dict[str, bytes] = {}
        self._refused: dict[str, tuple[str, int | None]] = {}
        self._changes: list[Announced] = []

    def restore(self, state: State) -> None:
        """Know what the checkpoint knows, and nothing else. Raises `CheckpointError`."""
        for known in (self._known, self._unsaved, self._refused):
            known.clear()
        self._changes = []
        for partition, data in state.items():
            if partition.startswith(RELATION_PREFIX):
                try:
                    self._known[partition.removeprefix(RELATION_PREFIX)] = _Known.decode(data)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise CheckpointError(
                        f"the schema history in the checkpoint can't be read ({type(error).__name__})",
                        code="checkpoint.corrupt",
                        where=f"partition {partition}",
                        fix="`liberate checkpoint reset` starts again with a new snapshot",
                    ) from None

    def history(self) -> dict[str, bytes]:
        """The versions that came since the last call, to be saved with the state of their first rows."""
        unsaved, self._unsaved = self._unsaved, {}
        return unsaved

    def table(self, name: str) -> Table | None:
        """The newest version of a table."""
        known = self._known.get(name)
        return None if known is None else known.former.table

    def settle(self, name: str, topic: str, table: Table) -> Settled:
        """What holds for rows of `table`, which is its newest version from now on. Raises `ContractError`."""
        known = self._known.get(name)
        former = None if known is None else known.former
        evolution = self._evolution
        settled = Settled(None, None) if evolution is None else evolution.settle(topic, table, former)
        changes = 0 if known is None else known.changes
        if settled.change is not None:
            self._changes.append(Announced(settled.change, changes))
            changes += 1
        self._refused.pop(name, None)
        if settled.refused and evolution is not None:
            self._refused[name] = topic, evolution.newest(topic)
        now = _Known(Former(table, settled.version, settled.refused), changes)
        if now != known:
            self._known[name] = now
            self._unsaved[f"{RELATION_PREFIX}{name}"] = now.encode()
        return settled

    def changes(self) -> list[Announced]:
        """The changes since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def to_settle_again(self) -> Iterator[str]:
        """Tables whose rows go to the dead letters, and whose contract has a newer version by now."""
        return filter(self.is_due, self._refused)

    def is_due(self, name: str) -> bool:
        """Is it one of them?"""
        if self._evolution is None or name not in self._refused:
            return False
        topic, newest = self._refused[name]
        return self._evolution.newest(topic) != newest
