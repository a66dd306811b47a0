"""What a log source is told, once for its whole life. Made from the configuration by build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from liberator.postgres.selection import Selection


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a log source is told.

    selection: which tables; exact: those that the configuration names literally, as written -> (schema, table).
    via_root: under which name partitions come; via_root_asked: the configuration says so, rather than its default.
    trial: temporary slot and publication, nothing stays behind. once: end at what was committed before the start.
    rows_are_events: of an outbox: they come in the order of their transactions, as far as that is known, and the stream
    waits for them. heartbeat: seconds between acknowledgements of idle WAL. heartbeat_query: SQL to run as often, or None.
    messages: are logical messages sent? messages_only: no table is captured.
    queue_bytes: budget for what is read and not yet taken.
    """

    url: str
    name: str
    slot: str
    publications: tuple[str, ...]
    selection: Selection
    exact: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    autocreate: str = "filtered"
    via_root: bool = True
    via_root_asked: bool = False
    snapshot: str = "initial"
    workers: int = 2
    rows_are_events: bool = False
    heartbeat: float = 10.0
    heartbeat_query: str | None = None
    messages: bool = False
    messages_only: bool = False
    failover: bool = False
    trial: bool = False
    once: bool = False
    queue_bytes: int = 32 * 1024 * 1024
