"""What functions give, looked at before it counts: outputs that can't be published are failures of their invocation.

Enters: outcomes. Leaves: outcomes whose outputs may be published as they are. Between the dispatch loop and whatever runs
the function; what may be published is decided by who wires them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.protocols import Invocations, Outcome, Output

Check = Callable[[Output], Output | FunctionError | None]
"""The output as it is published; None: it is not; or why it can't be. Raises what ends the connector."""


class CheckedInvocations:
    """See `liberator.protocols.Invocations`."""

    def __init__(self, invocations: Invocations, check: Check) -> None:
        self._invocations = invocations
        self._check = check
        self._sizes: dict[int, int] = {}

    def free(self) -> int:
        """How many invocations could begin now."""
        return self._invocations.free()

    def begin(self, number: int, events: Sequence[Event], attempt: int) -> None:
        """Start an invocation."""
        self._sizes[number] = len(events)
        self._invocations.begin(number, events, attempt)

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call."""
        return [
            (number, self._checked(outcome, self._sizes.pop(number)))
            for number, outcome in self._invocations.finished(timeout)
        ]

    def close(self, timeout: float) -> None:
        """Give the function's resources back."""
        self._invocations.close(timeout)

    def _checked(self, outcome: Outcome, size: int) -> Outcome:
        if not outcome.outputs:
            return outcome
        failures, outputs = dict(outcome.failures), []
        for output in outcome.outputs:
            found = self._check(output)
            if isinstance(found, Output):
                outputs.append(found)
            elif found is not None and output.event is None:
                # Nobody knows of which event it came: all of them have failed, and what else came of them is left out.
                return Outcome(dict.fromkeys(range(size), found))
            elif found is not None and output.event is not None:
                failures[output.event] = found
        kept = tuple(output for output in outputs if output.event is None or output.event not in failures)
        return replace(outcome, failures=failures, outputs=kept)
