"""The positions of a log source, as they stand in the checkpoint: versioned JSON, one partition each.

``slot``: where the stream is, and whose position it is (the guards). ``publications``: their oids, a guard as well.
``table:<schema>.<name>``: whether a snapshot has read a table, and which one. ``relation:<oid>`` belongs to the plan
(schema history). No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from liberator.errors import CheckpointError
from liberator.postgres.lsn import format_lsn, parse_lsn

SLOT = "slot"
PUBLICATIONS = "publications"
TABLE_PREFIX = "table:"
RELATION_PREFIX = "relation:"

_VERSION = 1
_RESET = (
    "look at it with `liberate checkpoint show`; `liberate checkpoint reset` starts again with a new snapshot"
)


@dataclass(frozen=True, slots=True)
class SlotPosition:
    """lsn: everything that commits before it is published. created: False while only the intent to create the slot is
    saved, so that a kill in between is not mistaken for a loss."""

    system: str
    timeline: int
    database: str
    slot: str
    publications: tuple[str, ...]
    lsn: int
    created: bool = True

    def at(self, lsn: int) -> SlotPosition:
        """The same stream, further on."""
        return replace(self, lsn=lsn)

    def encode(self) -> bytes:
        """As saved."""
        return _dump({**asdict(self), "lsn": format_lsn(self.lsn)})

    @classmethod
    def decode(cls, data: bytes) -> SlotPosition:
        """Inverse of `encode`. Raises `CheckpointError` for what is not a position of this version."""
        fields = _load(data, SLOT)
        try:
            return cls(
                system=str(fields["system"]),
                timeline=int(fields["timeline"]),
                database=str(fields["database"]),
                slot=str(fields["slot"]),
                publications=tuple(str(name) for name in fields["publications"]),
                lsn=parse_lsn(fields["lsn"]),
                created=bool(fields["created"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _corrupt(SLOT, error) from None


@dataclass(frozen=True, slots=True)
class TablePosition:
    """done: the consistent LSN of the snapshot that read the whole table; None: still to be read. oid: the table's, so that
    it is found under another name, and another one of its name is noticed; None: unknown. afresh: what was published
    under its name is of another table, and does not hold any more."""

    done: int | None
    oid: int | None = None
    afresh: bool = False

    def encode(self) -> bytes:
        """As saved."""
        fields: dict[str, Any] = {"done": None if self.done is None else format_lsn(self.done)}
        if self.oid is not None:
            fields["oid"] = self.oid
        if self.afresh:
            fields["afresh"] = True
        return _dump(fields)

    @classmethod
    def decode(cls, data: bytes, partition: str) -> TablePosition:
        """Inverse of `encode`. Raises `CheckpointError`."""
        fields = _load(data, partition)
        try:
            return cls(
                done=None if fields["done"] is None else parse_lsn(fields["done"]),
                oid=None if fields.get("oid") is None else int(fields["oid"]),
                afresh=bool(fields.get("afresh", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _corrupt(partition, error) from None


def encode_publications(oids: Mapping[str, int]) -> bytes:
    """Which publications the stream has, by name."""
    return _dump({"oids": dict(sorted(oids.items()))})


def publications_of(state: Mapping[str, bytes]) -> dict[str, int]:
    """Name -> oid of the publications that `state` was made with; empty: unknown. Raises `CheckpointError`."""
    if PUBLICATIONS not in state:
        return {}
    fields = _load(state[PUBLICATIONS], PUBLICATIONS)
    try:
        return {str(name): int(oid) for name, oid in fields["oids"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _corrupt(PUBLICATIONS, error) from None


def table_partition(qualified: str) -> str:
    """The partition of a table's snapshot."""
    return TABLE_PREFIX + qualified


def tables_of(state: Mapping[str, bytes]) -> dict[str, TablePosition]:
    """Qualified name -> position, of all tables in `state`."""
    return {
        partition[len(TABLE_PREFIX) :]: TablePosition.decode(data, partition)
        for partition, data in state.items()
        if partition.startswith(TABLE_PREFIX)
    }


def _dump(fields: Mapping[str, Any]) -> bytes:
    return json.dumps({"v": _VERSION, **fields}, separators=(",", ":")).encode()


def _load(data: bytes, partition: str) -> dict[str, Any]:
    try:
        fields = json.loads(data)
        version = fields["v"]
    except (ValueError, KeyError, TypeError) as error:
        raise _corrupt(partition, error) from None
    if version != _VERSION:
        raise CheckpointError(
            f"the checkpoint's position is of format {version}, this version of liberator reads {_VERSION}",
            code="checkpoint.version",
            where=f"partition {partition}",
            fix="run the version of liberator that wrote it, or a newer one",
        )
    return dict(fields)


def _corrupt(partition: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint holds something that is not a position ({type(error).__name__})",
        code="checkpoint.corrupt",
        where=f"partition {partition}",
        fix=_RESET,
    )
