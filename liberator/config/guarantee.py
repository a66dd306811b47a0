"""What a sink really promises, as it is configured: in one word for programs, in sentences for people.

Enters: a checked `SinkConfig`. Leaves: a `Guarantee`. Shown by ``liberate status`` and the endpoint. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from liberator.config.sink import SinkConfig

Delivery = Literal[
    "exactly_once", "at_least_once", "at_most_once", "handed_over", "by_the_sender", "by_the_clock"
]
"""exactly_once: each event takes effect once, durable with its offset. at_least_once: no event is lost, some come again.
at_most_once: none comes again after a crash, some may be lost. handed_over: as at_most_once, and nobody hears whether the
function did it. by_the_sender: of a webhook, who has the event until it is answered. by_the_clock: of a schedule without a
stream, where there is no event to lose."""

_ORDER = {
    "key": "events of one key are done one after the other, in their order; those of different keys beside each other",
    "partition": "events of one partition are done one after the other, in their order",
    "none": "there is no order: any two events may be done at the same time, and overtake each other",
}


@dataclass(frozen=True, slots=True)
class Guarantee:
    """delivery: how often the function is started by an event. order: what keeps its order, None: there are no events of a
    stream. words: the sentences."""

    delivery: Delivery
    order: str | None
    words: tuple[str, ...]

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {"delivery": self.delivery, "order": self.order, "words": list(self.words)}


def guarantee(config: SinkConfig) -> Guarantee:
    """What `config` promises."""
    if not config.keeps_events:
        delivery: Delivery = "by_the_clock" if config.webhook is None else "by_the_sender"
        return Guarantee(delivery, None, tuple(_without_stream(config)))
    if config.function.table is not None:
        return Guarantee("exactly_once", "partition", tuple(_in_a_table(config)))
    if config.policy.commit == "after":
        delivery = "at_least_once"
    else:
        delivery = "at_most_once" if config.function.asynchronous is None else "handed_over"
    order = "partition" if config.state else config.policy.order
    return Guarantee(delivery, order, tuple(_with_stream(config, delivery)))


def _without_stream(config: SinkConfig) -> Iterator[str]:
    if config.webhook is None:
        yield (
            "the function is called at its times; those that pass while it runs, or while the connector does not, are not "
            "made up for"
        )
        return
    yield "an event is its sender's until it is answered 200: the function has done it, and what it gave is durable"
    if config.policy.idempotency is not None:
        yield f"posted again within {_days(config)}, it does not start the function again"


def _with_stream(config: SinkConfig, delivery: Delivery) -> Iterator[str]:
    policy = config.policy
    if config.output.delivery == "exactly_once":
        yield "readers of committed events see once what the function gives: it is in one transaction with the offsets"
    if delivery == "at_least_once":
        moves = "an offset moves" if config.stream is not None else "a file counts as done"
        yield f"no event is lost: {moves} when the function has done its event, and what it gave is durable"
        if policy.idempotency is None:
            yield "after a crash or a rebalance the function gets some events again, with the same id"
        else:
            yield (
                f"an event that comes again within {_days(config)} does not start the function again, unless it was "
                "killed after the function ended and before that was remembered"
            )
    elif delivery == "at_most_once":
        yield "an offset moves before its event is done: what the function had at a crash is lost, and does not come again"
        if policy.retry.attempts > 1:
            yield "a call that fails is tried again, with the same events, as long as the connector runs"
    else:
        yield "an event is done when the call is queued: whether the function does it, nobody hears"
    if config.state is not None:
        yield "its state changes with the offsets: what comes again finds the state of before"
    yield _ORDER["partition" if config.state else policy.order]
    yield _given_up(config)
    if config.circuit_breaker is not None:
        yield "while the function fails every time it is left alone, and no event is given up"
    if config.function.in_process:
        yield "the function runs in the connector's own process: a call that hangs is not ended by policy.timeout"


def _in_a_table(config: SinkConfig) -> Iterator[str]:
    yield "each event takes effect once: rows and offsets change in one transaction, and what comes again is left out"
    yield _ORDER["partition"]
    yield f"a row that the database refuses {_refused(config)}; while the database is away, everything waits"


def _given_up(config: SinkConfig) -> str:
    attempts = config.policy.retry.attempts
    times = f"{attempts} attempts" if attempts > 1 else "one attempt"
    return f"an event that still fails after {times} {_refused(config)}"


def _refused(config: SinkConfig) -> str:
    return {
        "dead_letter": f"is kept in {config.dead_letter_topic}",
        "stop": "ends the connector, which starts again with it",
        "skip": "is left out: it is lost, but for the log",
    }[config.policy.on_failure]


def _days(config: SinkConfig) -> str:
    assert config.policy.idempotency is not None
    seconds = config.policy.idempotency.ttl
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} seconds"
