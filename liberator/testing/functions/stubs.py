"""What stands for a function that others call, while one is tried out.

Enters: a value, or what makes one of an event. Leaves: a step. Made for `Rehearsal`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liberator.change import Event
from liberator.errors import FunctionError
from liberator.function.steps import Run, Step, with_value


@dataclass(frozen=True, slots=True)
class Stub:
    """See `liberator.function.steps.Step`. given: called with the event where that is possible; an error that it raises is
    the function's. None: it gives nothing."""

    name: str
    given: Any

    def run(self, event: Event, run: Run) -> Event:
        """See `Step`."""
        value = self._value(event)
        return event if value is None else with_value(event, json.dumps(value, ensure_ascii=False).encode())

    def _value(self, event: Event) -> Any:
        if not callable(self.given):
            return self.given
        try:
            return self.given(event)
        except FunctionError:
            raise
        except Exception as error:
            what = f"function {self.name}: {type(error).__name__}: {error}"
            raise FunctionError(what, code="function.raised", where="functions", retryable=True) from error

    def close(self) -> None:
        """See `Step`."""


def stubs_of(given: Mapping[str, Any]) -> dict[str, Step]:
    """By name."""
    return {name: Stub(name, one) for name, one in given.items()}
