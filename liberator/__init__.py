"""liberator: change data capture that frees data from legacy databases.

Turns database changes into schema-validated event streams and publishes them one way.
See docs/ARCHITECTURE.md for the picture of the house.

    for batch in liberator.stream("postgresql://...", tables=["public.orders"]):
        for change in batch:
            ...
        batch.ack()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from liberator.change import Change, Event
from liberator.errors import (
    CheckpointError,
    ConfigError,
    ContractError,
    DecodeError,
    FunctionError,
    LiberatorError,
    PermanentError,
    PreconditionError,
    PublishError,
    SourceError,
)

if TYPE_CHECKING:
    from liberator.api import ChangeBatch, stream
    from liberator.idempotency import idempotent

__version__ = "0.1.0"

__all__ = [
    "Change",
    "ChangeBatch",
    "CheckpointError",
    "ConfigError",
    "ContractError",
    "DecodeError",
    "Event",
    "FunctionError",
    "LiberatorError",
    "PermanentError",
    "PreconditionError",
    "PublishError",
    "SourceError",
    "idempotent",
    "stream",
]


def __getattr__(name: str) -> Any:
    """What needs heavy libraries is imported when it is first used."""
    if name in ("ChangeBatch", "stream"):
        from liberator import api

        return getattr(api, name)
    if name == "idempotent":
        from liberator.idempotency import idempotent

        return idempotent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
