"""Asking a schema registry from many threads: one asks at a time, and nobody waits twice for a registry that is away.

Enters: subjects and schemas of the threads of requests. Leaves: ids, or the `ContractError` of whoever asked. Called by the
wire of events, once for each type of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from liberator.errors import ContractError


class Registering:
    """ids: (subject, schema) -> its id, for one thread at a time."""

    def __init__(
        self, ids: Callable[[str, dict[str, Any]], int], tick: Callable[[], float] = time.monotonic
    ) -> None:
        self._ids = ids
        self._tick = tick
        self._asking = threading.Lock()
        self._failed: tuple[float, ContractError] | None = None

    def __call__(self, subject: str, schema: dict[str, Any]) -> int:
        """The id of `schema`. Raises what the registry says, also when it said so to another thread meanwhile."""
        came = self._tick()
        with self._asking:
            if self._failed is not None and self._failed[0] >= came:
                raise self._failed[1]
            try:
                return self._ids(subject, schema)
            except ContractError as error:
                if error.retryable:
                    self._failed = (self._tick(), error)
                raise
