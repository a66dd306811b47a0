"""For a sink without a broker: it publishes nothing, so all of it is durable at once.

Enters: batches without events. Leaves: their states. What a function gives is refused before it gets here.
"""

from __future__ import annotations

from liberator.change import EncodedBatch, State


class NowherePublisher:
    """See `liberator.protocols.Publisher`."""

    owns_state = False

    def __init__(self) -> None:
        self._state: State = {}

    def ready(self, timeout: float) -> bool:
        """Always."""
        return True

    def publish(self, batch: EncodedBatch, state: State | None) -> None:
        """Take the state of a batch without events."""
        assert not len(batch), "a sink without a broker has nothing to publish"
        self._state = {**self._state, **(state or {})}

    def durable(self) -> State | None:
        """See `Publisher.durable`."""
        state, self._state = self._state, {}
        return state or None

    def flush(self, timeout: float) -> bool:
        """Nothing is left."""
        return True

    def close(self) -> None:
        """Nothing is held."""
