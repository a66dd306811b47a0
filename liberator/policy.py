"""What is done about an error: one table. Whether it may pass by itself is the error's own word (`retryable`).

Pure: randomness and clock are passed in. Called by the loops; never raises, never waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from liberator.errors import LiberatorError


class Action(Enum):
    """What to do now."""

    RETRY = "retry"
    STOP = "stop"
    END = "end"
    """Nothing is wrong: end as if asked to."""


@dataclass(frozen=True, slots=True)
class Decision:
    """action, and the operator's remedy."""

    action: Action
    remedy: str | None


_TABLE: tuple[tuple[str, Action, str | None], ...] = (
    # code (pattern)            what to do      the operator's remedy, where the error has none
    ("publish.closed_pipe", Action.END, "the reader of the pipe has left"),
    ("checkpoint.fenced", Action.STOP, "another instance of this connector took over; stop one of them"),
    ("decode.*", Action.STOP, "report it; the position stands in front of the message"),
    ("contract.*", Action.STOP, "correct the row or the contract, or change schema.on_invalid"),
)


def decide(error: LiberatorError) -> Decision:
    """The first line of the table that fits; without one retryable errors are retried and all others stop."""
    for pattern, action, remedy in _TABLE:
        if fnmatchcase(error.code, pattern):
            return Decision(action, error.fix or remedy)
    return Decision(Action.RETRY if error.retryable else Action.STOP, error.fix)


class Backoff:
    """Growing delays with jitter. initial, max: seconds; random: a number in [0, 1); tick: monotonic seconds."""

    def __init__(
        self,
        *,
        initial: float = 0.2,
        max: float = 5.0,
        factor: float = 2.0,
        random: Callable[[], float],
        tick: Callable[[], float],
    ) -> None:
        self._initial, self._max, self._factor = initial, max, factor
        self._random, self._tick = random, tick
        self._attempts = 0
        self._since: float | None = None

    def next(self) -> float:
        """The delay before the next attempt, seconds: between half and all of what the attempts so far have earned."""
        if self._since is None:
            self._since = self._tick()
        delay = min(self._max, self._initial * self._factor ** min(self._attempts, 32))
        self._attempts += 1
        return delay * (0.5 + self._random() / 2)

    def elapsed(self) -> float:
        """Seconds since the first failure in a row."""
        return 0.0 if self._since is None else self._tick() - self._since

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self._attempts = 0
        self._since = None
