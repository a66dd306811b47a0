"""What is done about an error: one table.

Enters: an error. Leaves: a decision with the operator's remedy. Called by the loops, which act on it. Whether an
error may pass by itself is the error's own word (`retryable`); what follows from that is decided here and nowhere
else. Pure: randomness and clock are passed in; it never raises and never waits.
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
    """Wait as `Backoff` says, then try the same again."""

    STOP = "stop"
    """End with the error: somebody has to act first. Nothing that is not durable was acknowledged."""

    DEAD_LETTER = "dead_letter"
    """This event can never pass, its neighbours can: put it aside and go on."""

    END = "end"
    """Nothing is wrong: end as if asked to."""


@dataclass(frozen=True, slots=True)
class Decision:
    """action, and what the operator can do (the error's own advice, else the table's)."""

    action: Action
    remedy: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of the table. code: pattern (``*``); retryable, permanent: what is done about an error that says so."""

    code: str
    retryable: Action
    permanent: Action
    remedy: str


_RETRY, _STOP, _DEAD_LETTER, _END = Action.RETRY, Action.STOP, Action.DEAD_LETTER, Action.END

TABLE: tuple[Rule, ...] = (
    # code                       retryable     permanent     the operator's remedy, where the error has none
    Rule("publish.closed_pipe", _END, _END, "nothing is wrong: the reader of the pipe has left"),
    Rule(
        "publish.too_large",
        _DEAD_LETTER,
        _DEAD_LETTER,
        "raise the topic's max.message.bytes, or drop the column",
    ),
    Rule(
        "publish.fenced",
        _STOP,
        _STOP,
        "another instance of this connector took over; started again, this one stands by",
    ),
    Rule(
        "checkpoint.fenced",
        _STOP,
        _STOP,
        "another instance of this connector took over; started again, this one stands by",
    ),
    Rule("source.*", _RETRY, _STOP, "look at the source database's log"),
    Rule("postgres.*", _RETRY, _STOP, "look up the SQLSTATE in the code, and the source database's log"),
    Rule("publish.*", _RETRY, _STOP, "look at the broker's log, or the file's disk"),
    Rule("consume.*", _RETRY, _STOP, "look at the broker's log, and who may read the topic"),
    Rule("checkpoint.*", _RETRY, _STOP, "compare `liberate checkpoint show` with the database and the slot"),
    Rule("precondition.*", _RETRY, _STOP, "make the precondition true, then start again"),
    Rule("function.*", _RETRY, _DEAD_LETTER, "correct the function, then redrive the dead letters"),
    Rule("contract.*", _STOP, _STOP, "correct the row or the contract, or change schema.on_invalid"),
    Rule("expression.*", _DEAD_LETTER, _DEAD_LETTER, "guard the expression: has(after.x) && ..."),
    Rule("transform.*", _STOP, _STOP, "correct the transform, or the function that it names"),
    Rule("outbox.*", _STOP, _STOP, "correct the outbox table, or source.outbox"),
    Rule("registry.*", _RETRY, _STOP, "look at the schema registry, and who may use it"),
    Rule("plan.*", _STOP, _STOP, "correct the configuration of the table that the error names"),
    Rule("config.*", _STOP, _STOP, "correct the configuration; `liberate validate` shows every fault"),
    Rule(
        "sidecar.*", _RETRY, _STOP, "look at the disk of idempotency.file, and who else uses it or the port"
    ),
    Rule("observe.*", _STOP, _STOP, "choose another observe.listen, or leave it out"),
    Rule("decode.*", _STOP, _STOP, "report it; the position stands in front of the message"),
    Rule("*", _STOP, _STOP, "report it with the log: this is a defect"),
)
"""The first line that fits decides. What no line names stops: nobody has thought about going on after it."""


def decide(error: BaseException) -> Decision:
    """What to do about `error`. One that is not of ours is unknown, and stops."""
    code = error.code if isinstance(error, LiberatorError) else ""
    rule = next(rule for rule in TABLE if fnmatchcase(code, rule.code))
    if not isinstance(error, LiberatorError):
        return Decision(rule.permanent, rule.remedy)
    return Decision(rule.retryable if error.retryable else rule.permanent, error.fix or rule.remedy)


class Backoff:
    """Growing delays with jitter, so that many clients of a lost server do not come back at the same moment.

    initial, max: seconds. factor: by which a delay exceeds the one before. jitter: False: the delays exactly.
    random: gives numbers in [0, 1). tick: gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        initial: float = 0.2,
        max: float = 5.0,
        factor: float = 2.0,
        jitter: bool = True,
        random: Callable[[], float],
        tick: Callable[[], float],
    ) -> None:
        self._initial, self._max, self._factor, self._jitter = initial, max, factor, jitter
        self._random, self._tick = random, tick
        self._delay = initial
        self._since: float | None = None

    def next(self) -> float:
        """The delay before the next attempt, seconds: between half and all of what the attempts so far have earned."""
        if self._since is None:
            self._since = self._tick()
        delay = min(self._max, self._delay)
        self._delay = min(self._max, self._delay * self._factor)
        return delay * (0.5 + self._random() / 2) if self._jitter else delay

    def elapsed(self) -> float:
        """Seconds since the first failure in a row; 0 when the last attempt worked."""
        return 0.0 if self._since is None else self._tick() - self._since

    def reset(self) -> None:
        """It worked: the next failure is a first one."""
        self._delay = self._initial
        self._since = None
