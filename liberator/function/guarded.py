"""A function that others call, with a circuit breaker of its own: while it is away, who calls it is told so at once, and
no event is given up for it.

Enters: events, from several threads. Leaves: an `Outcome`. Between `steps.Calling` and the function.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from liberator.change import Event
from liberator.function.circuit import Circuit
from liberator.function.context import Context
from liberator.function.threads import Callee
from liberator.protocols import Outcome


class GuardedFunction:
    """See `liberator.function.threads.Callee`."""

    def __init__(self, function: Callee, circuit: Circuit) -> None:
        self.name = function.name
        self._function = function
        self._circuit = circuit
        self._lock = threading.Lock()
        self._probes = 0

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Call it, unless it is left alone."""
        with self._lock:
            if not self._circuit.allows(self._probes, 1):
                return Outcome(dict.fromkeys(range(len(events)), self._circuit.held()))
            probe = self._circuit.begins()
            self._probes += probe
        try:
            outcome = self._function.call(events, context)
        finally:
            with self._lock:
                self._probes -= probe
        with self._lock:
            if self._circuit.judge(events, outcome, context.attempt, probe=probe):
                return outcome
            held = {index: self._circuit.held(error) for index, error in outcome.failures.items()}
        return Outcome(held, outcome.outputs)

    def close(self) -> None:
        """Give its resources back."""
        self._function.close()
