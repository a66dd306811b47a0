"""What becomes of events before a function sees them.

Enters: events as they were read. Leaves: those that it sees, those that are done without it, and those that are given up
untried. What sifts is made by who wires a sink; called by the loop, with all events of a poll at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liberator.change import Event
from liberator.errors import FunctionError


@dataclass(frozen=True, slots=True)
class Sifted:
    """wanted: in their order. unwanted: nothing is to be done for them. refused: the function must not see them, and why."""

    wanted: Sequence[Event]
    unwanted: Sequence[Event] = ()
    refused: Sequence[tuple[Event, FunctionError]] = ()
