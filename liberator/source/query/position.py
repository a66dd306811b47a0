"""The positions of a query source, as they stand in the checkpoint: versioned JSON, one partition a table. No I/O."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from liberator.errors import CheckpointError
from liberator.source.query.database import Mark, Place, View

PREFIX = "query:"

_VERSION = 1
_DIGEST = 8
_MOST_KNOWN = 4_000
"""Digests in a checkpoint: 32 kB. Of more none is saved: after a restart these rows come again, with the same ids."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A pass that has begun. view: what it sees, as of its beginning. mark: taken in front of it. low: what the next one
    has to look at. odd: is it at the rows whose cursor is of no use in an order? after: the last row it handed on. order:
    the columns that `after` has values of, None: not written down."""

    view: View
    mark: Mark | None
    low: Any
    odd: bool = False
    after: Place | None = None
    order: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TablePosition:
    """Where a query source is in one table.

    database: whose position it is. strategy, cursor: how it was read. passes: how many have ended. low: everything with a
    smaller cursor is done. seen: the last pass's snapshot (PostgreSQL). pending: a mark that somebody who ran then may still
    undercut. known: digests of rows from `low` on that were handed on, where there are no snapshots. newest: the greatest
    value of the incrementing column so far. under_way: the pass that has begun. reconciled: how many comparisons of keys
    have ended; compared: when the last one did, seconds since the Unix epoch. keys: the set of keys it belongs with. oid: of
    the table (PostgreSQL), 0: not known.
    """

    database: str
    strategy: str
    cursor: tuple[str, ...]
    passes: int = 0
    low: Any = None
    seen: str | None = None
    pending: Mark | None = None
    known: frozenset[bytes] = frozenset()
    newest: int | None = None
    under_way: UnderWay | None = None
    reconciled: int = 0
    compared: float | None = None
    keys: str | None = None
    oid: int = 0

    def at(self, odd: bool, after: Place | None, order: tuple[str, ...]) -> TablePosition:
        """Further on in the pass that is under way."""
        assert self.under_way is not None
        return replace(self, under_way=replace(self.under_way, odd=odd, after=after, order=order))

    def encode(self) -> bytes:
        """As saved."""
        under_way = self.under_way
        known = sorted(self.known) if len(self.known) <= _MOST_KNOWN else []
        document = {
            "v": _VERSION,
            "database": self.database,
            "strategy": self.strategy,
            "cursor": list(self.cursor),
            "passes": self.passes,
            "low": self.low,
            "seen": self.seen,
            "pending": _mark(self.pending),
            "known": base64.b64encode(b"".join(known)).decode(),
            "newest": self.newest,
            "under_way": None
            if under_way is None
            else {
                "seen": under_way.view.seen,
                "ceiling": under_way.view.ceiling,
                "cap": under_way.view.cap,
                "mark": _mark(under_way.mark),
                "low": under_way.low,
                "odd": under_way.odd,
                "after": under_way.after,
                "order": under_way.order,
            },
            "reconciled": self.reconciled,
            "compared": self.compared,
            "keys": self.keys,
            "oid": self.oid,
        }
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes, partition: str) -> TablePosition:
        """Inverse of `encode`. Raises `CheckpointError` for what is not a position of this version."""
        try:
            fields = json.loads(data)
            if fields["v"] != _VERSION:
                raise CheckpointError(
                    f"the checkpoint's position is of format {fields['v']}, this version of liberator reads {_VERSION}",
                    code="checkpoint.version",
                    where=f"partition {partition}",
                    fix="run the version of liberator that wrote it, or a newer one",
                )
            known = base64.b64decode(fields["known"])
            return cls(
                database=str(fields["database"]),
                strategy=str(fields["strategy"]),
                cursor=tuple(fields["cursor"]),
                passes=int(fields["passes"]),
                low=fields["low"],
                seen=fields["seen"],
                pending=_mark_of(fields["pending"]),
                known=frozenset(known[i : i + _DIGEST] for i in range(0, len(known), _DIGEST)),
                newest=fields["newest"],
                under_way=_under_way_of(fields["under_way"]),
                reconciled=int(fields["reconciled"]),
                compared=fields["compared"],
                keys=fields["keys"],
                oid=int(fields.get("oid", 0)),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"the checkpoint holds something that is not a position ({type(error).__name__})",
                code="checkpoint.corrupt",
                where=f"partition {partition}",
                fix="look at it with `liberate checkpoint show`; `liberate checkpoint reset` reads all tables anew",
            ) from None


def partition_of(qualified: str) -> str:
    """The partition of a table."""
    return PREFIX + qualified


def positions_of(state: Mapping[str, bytes]) -> dict[str, TablePosition]:
    """Qualified name -> position, of all tables in `state`."""
    return {
        partition[len(PREFIX) :]: TablePosition.decode(data, partition)
        for partition, data in state.items()
        if partition.startswith(PREFIX)
    }


def _mark(mark: Mark | None) -> dict[str, Any] | None:
    return None if mark is None else {"cursor": mark.cursor, "running": list(mark.running), "at": mark.at}


def _mark_of(fields: Mapping[str, Any] | None) -> Mark | None:
    return None if fields is None else Mark(fields["cursor"], tuple(fields["running"]), float(fields["at"]))


def _under_way_of(fields: Mapping[str, Any] | None) -> UnderWay | None:
    if fields is None:
        return None
    view = View(fields["seen"], fields["ceiling"], fields["cap"])
    order = fields.get("order")
    return UnderWay(
        view,
        _mark_of(fields["mark"]),
        fields["low"],
        bool(fields["odd"]),
        fields["after"],
        None if order is None else tuple(order),
    )
