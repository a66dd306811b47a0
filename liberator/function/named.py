"""The functions of a connector that others call by their names.

Enters: a name and an event. Leaves: what the function gave. Called through `calls.Calls`: by functions in this process, and
for those in workers by `calls_over`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.calls import DEEPEST, Answer, Calls, depth_of
from liberator.function.steps import Run, Step
from liberator.protocols import Invocations, Outcome


class NamedFunctions:
    """See `Calls`; for several threads. functions: by name; more may be added before the first call."""

    def __init__(self, functions: Mapping[str, Step] | None = None) -> None:
        self.functions: dict[str, Step] = dict(functions or {})

    def call(self, name: str, event: Event, left: float | None) -> Answer:
        """See `Calls`."""
        if name not in self.functions:
            raise _unknown(name, self.functions)
        if depth_of(event) > DEEPEST:
            what = f"function {name}: {DEEPEST} calls are around this one already"
            fix = "look for functions that call each other in a circle, over webhooks too"
            raise FunctionError(what, code="function.call_depth", where=f"functions, {name}", fix=fix)
        run = Run(1, None if left is None else time.monotonic() + left)
        result = self.functions[name].run(event, run)
        return Answer(None if result is event else result.payload, tuple(run.outputs))

    def only(self, names: Collection[str]) -> Calls:
        """These, and no others."""
        return _Some(self, frozenset(names))

    def close(self) -> None:
        """Give the resources of all back."""
        for function in self.functions.values():
            function.close()


@dataclass(frozen=True, slots=True)
class _Some:
    functions: NamedFunctions
    names: frozenset[str]

    def call(self, name: str, event: Event, left: float | None) -> Answer:
        if name not in self.names:
            raise _unknown(name, self.names)
        return self.functions.call(name, event, left)


class CallingInvocations:
    """See `liberator.protocols.Invocations`: of a function that calls others, which end with it."""

    def __init__(self, invocations: Invocations, functions: NamedFunctions) -> None:
        self._functions = functions
        self._invocations = invocations
        self.free = invocations.free
        self.begin = invocations.begin

    def finished(self, timeout: float) -> Sequence[tuple[int, Outcome]]:
        """Those that have ended since the last call."""
        return self._invocations.finished(timeout)

    def close(self, timeout: float) -> None:
        """Give the resources of all back."""
        self._invocations.close(timeout)
        self._functions.close()


def _unknown(name: str, known: Collection[str]) -> FunctionError:
    return FunctionError(
        f"the function calls {name}, which it may not, or which is not there",
        code="function.unknown_call",
        where="functions",
        fix=f"it may call: {', '.join(sorted(known)) or 'none'}; write functions: [{{name: {name}, ...}}]",
    )
