"""What the commands about a connector do when it queries tables: there is no slot, only positions by table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from liberator.build.parts import make_checkpoint
from liberator.errors import PreconditionError
from liberator.ledger import Ledger
from liberator.source.query.position import PREFIX, TablePosition, partition_of, positions_of

if TYPE_CHECKING:
    from liberator.config import SourceConfig


def no_slot() -> PreconditionError:
    """Slots and their positions belong to the log."""
    return PreconditionError(
        "a connector of mode query has no slot",
        code="source.no_slot",
        where="source.mode",
        fix="`liberate checkpoint show` tells where it stands",
    )


def reset_query(config: SourceConfig, tables: Sequence[str]) -> None:
    """Forget all positions, or those of `tables`, whose rows are then read anew. Raises `PreconditionError`."""
    with closing(make_checkpoint(config)) as checkpoint:
        if not tables:
            checkpoint.reset()
            return
        known = positions_of(checkpoint.load())
        if unknown := [table for table in tables if table not in known]:
            raise PreconditionError(
                f"{config.name} has no position for {', '.join(unknown)}",
                code="source.table_missing",
                fix=f"it has read {', '.join(sorted(known)[:20]) or 'nothing yet'}",
            )
        Ledger(checkpoint).save({partition_of(table): b"" for table in tables})


def status_query(config: SourceConfig) -> dict[str, Any]:
    """Where it stands in each table, as saved. Nothing is asked of the database."""
    with closing(make_checkpoint(config)) as checkpoint:
        positions = positions_of(checkpoint.load())
    return {
        "connector": config.name,
        "mode": "query",
        "tables": len(positions),
        "first_pass": sorted(name for name, position in positions.items() if position.passes == 0),
    }


def is_query(partition: str) -> bool:
    """Is it a partition of a query source?"""
    return partition.startswith(PREFIX)


def query_meaning(partition: str, value: bytes) -> dict[str, Any]:
    """A partition in words. Raises `CheckpointError` for what can't be read."""
    position = TablePosition.decode(value, partition)
    under_way = position.under_way
    words = f"{position.passes} passes by {position.strategy}"
    if under_way is not None:
        words += ", one under way"
    if position.reconciled:
        words += f", {position.reconciled} comparisons of keys"
    return {"position": words, "low": position.low, "database": position.database}
