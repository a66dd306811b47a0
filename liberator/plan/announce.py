"""A change of a table as an event, for those who want to hear of it. Field by field: docs/reference/events.md.

Enters: changes, and where in the stream they were seen. Leaves: control records. Called by the executors, when a table is
first seen in a new shape. No I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from liberator import __version__
from liberator.change import EncodedBatch, Record
from liberator.plan.evolution import Change
from liberator.plan.versions import Announced
from liberator.postgres.model import Table
from liberator.postgres.types import format_type


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change was seen. lsn: of the commit, or of the snapshot; None: queries know none. at_us: of the commit, or
    when it was read, microseconds since the Unix epoch."""

    lsn: int | None
    at_us: int
    xid: int | None


@dataclass(frozen=True, slots=True)
class Announcer:
    """topic: where changes are announced; None: nowhere. name, database: of the connector, and of what it reads."""

    topic: str | None = None
    name: str = ""
    database: str = ""

    def add(self, out: EncodedBatch, changes: Iterable[Announced], id: bytes, place: Place) -> None:
        """Before the next event of `out`. A ``%d`` in `id` stands for how many changes of the table there were before."""
        for announced in changes:
            if self.topic is not None:
                own = id.replace(b"%d", b"%d" % announced.number)
                out.control.append(self._record(self.topic, announced.change, own, place, len(out)))

    def _record(self, topic: str, change: Change, id: bytes, place: Place, before: int) -> Record:
        table = change.after
        value = {
            "source": {
                "version": __version__,
                "name": self.name,
                "db": self.database,
                "schema": table.schema,
                "table": table.name,
                "ts_ms": place.at_us // 1000,
                "txId": place.xid,
                "lsn": place.lsn,
            },
            "topic": change.topic,
            "changes": [
                {
                    "kind": each.kind,
                    "column": each.column,
                    "was": each.was,
                    "now": each.now,
                    "text": str(each),
                }
                for each in change.done
            ],
            "ddl": [each.ddl for each in change.done if each.ddl is not None],
            "before": None if change.before is None else _table(change.before),
            "after": _table(table),
            "contract": _contract(change),
            "compatibility": {
                "mode": change.mode,
                "compatible": not change.broken,
                "incompatibilities": [asdict(each) for each in change.broken],
            },
            "schema": {"before": change.old_schema, "after": change.new_schema},
        }
        return Record(
            topic, _json({"schema": table.schema, "table": table.name}), _json(value), id, before=before
        )


def _contract(change: Change) -> dict[str, Any]:
    """verdict: derived (the schema follows the table), kept, next_version, or dead_letter (no version is for it yet)."""
    if change.refused:
        verdict = "dead_letter"
    elif change.new is None:
        verdict = "derived"
    else:
        verdict = "kept" if change.new == change.old else "next_version"
    return {"verdict": verdict, "before": change.old, "after": change.new}


def _table(table: Table) -> dict[str, Any]:
    columns = [{"name": c.name, "type": format_type(c.type, c.typmod)} for c in table.columns]
    return {"schema": table.schema, "table": table.name, "columns": columns, "key": list(table.key)}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
