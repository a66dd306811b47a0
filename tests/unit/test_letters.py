"""The headers of a dead letter: all that are promised, after the event's own, and told apart from those again."""

from __future__ import annotations

from liberator.letters import diagnostics, shortened, split

PROMISED = [
    "topic",
    "partition",
    "offset",
    "connector.name",
    "stage",
    "exception.class.name",
    "exception.message",
    "exception.stacktrace",
    "attempts",
    "timestamp",
]
WHY = diagnostics(
    topic="orders",
    connector="shop",
    stage="VALUE_CONVERTER",
    error="liberator.ContractError",
    message="/status: " + "x" * 500,
    stacktrace="Traceback",
    now_ms=5,
)


def test_all_headers_that_are_promised_are_there() -> None:
    assert [name for name, _ in WHY] == [f"__connect.errors.{name}" for name in PROMISED]


def test_an_event_that_was_never_in_a_topic_has_no_partition_and_no_offset() -> None:
    said = dict(WHY)
    assert (said["__connect.errors.partition"], said["__connect.errors.offset"]) == (b"-1", b"-1")


def test_the_events_own_headers_come_back_as_they_were() -> None:
    own = (("id", b"1"), ("trace", None), ("trace", b"\xff"))
    found = split((*own, *WHY))
    assert found is not None
    assert found.own == own
    assert found.said["__connect.errors.topic"] == "orders"


def test_an_event_that_was_a_dead_letter_before_keeps_what_was_said_then() -> None:
    own = (("id", b"1"), *WHY)
    found = split((*own, *diagnostics(topic="b", connector="c", stage="s", error="e", message="m", now_ms=6)))
    assert found is not None
    assert found.own == own
    assert found.said["__connect.errors.topic"] == "b"


def test_what_has_no_such_headers_is_no_dead_letter() -> None:
    assert split((("id", b"1"),)) is None


def test_short_diagnostics_keep_everything_but_the_stack_trace_and_long_words() -> None:
    short = dict(shortened(WHY))
    assert list(short) == [name for name, _ in WHY]
    assert short["__connect.errors.exception.stacktrace"] == b""
    assert len(short["__connect.errors.exception.message"] or b"") == 200
