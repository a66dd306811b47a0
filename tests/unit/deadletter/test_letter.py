"""What a dead letter says, and what is said about one."""

from __future__ import annotations

import pytest

from liberator.change import ConsumedBatch, PlacedRecord
from liberator.contract.violation import Violation
from liberator.deadletter.letter import Letter, LetterId, Mark, letters_of, marks_of, record_of
from liberator.letters import diagnostics


def batch(*records: PlacedRecord) -> ConsumedBatch:
    count = len(records)
    return ConsumedBatch(
        [it.topic for it in records],
        [it.partition for it in records],
        list(range(count)),
        [9] * count,
        [it.key for it in records],
        [it.value for it in records],
        [it.headers for it in records],
    )


def letter(message: str, partition: int = -1, offset: int = -1) -> Letter:
    why = diagnostics(
        topic="orders",
        connector="shop",
        stage="s",
        error="liberator.E",
        message=message,
        now_ms=5,
        partition=partition,
        offset=offset,
    )
    (found,) = letters_of(batch(PlacedRecord("dead", 0, b"k", b"v", (("id", b"a"), *why))))
    return found


@pytest.mark.parametrize("text", ["", "1", "0:", ":1", "0:1:2", "a:1", "-1:0", "0:1 "])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PARTITION:OFFSET"):
        LetterId.parse(text)


def test_an_id_reads_as_it_is_written() -> None:
    assert LetterId.parse(str(LetterId(3, 17))) == LetterId(3, 17)


@pytest.mark.parametrize(
    "violation",
    [
        Violation("/status", "enum", "/properties/status/enum", "is none of the 3 values"),
        Violation("/a", "conversion", "", "is no number (or is it)"),
        Violation("", "required", "/required", "lacks id"),
        Violation(
            "/unit price (EUR)", "maximum", "/properties/unit price (EUR)/maximum", "is greater than 10"
        ),
        Violation("/unit price", "conversion", "", "is no timestamp"),
        Violation("", "on_change", "", "no contract is for it yet (the newest is version 1)"),
    ],
)
def test_rule_and_path_are_told_from_the_words_of_a_violation(violation: Violation) -> None:
    found = letter(str(violation))
    assert (found.path, found.rule) == (violation.path or "the row", violation.rule)


def test_other_words_have_neither() -> None:
    found = letter("KeyError: 'total' (function.failed)")
    assert (found.path, found.rule) == (None, None)


def test_only_an_event_that_was_read_has_a_place() -> None:
    assert letter("m").origin is None
    assert letter("m", partition=2, offset=7).origin == (("orders", 2), 7)


def test_a_mark_says_what_became_of_which_letter() -> None:
    mark = Mark(LetterId(0, 4), "discarded", "it's “gone”")
    record = record_of(mark, "dead", letter("m"))
    assert (record.topic, record.partition) == ("dead", 0)
    assert list(marks_of(batch(record))) == [Mark(mark.letter, mark.outcome, mark.note, 9)]
    assert list(letters_of(batch(record))) == []


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[]", b'{"letter": "x", "note": ""}', b'{"letter": "0:1"}']
)
def test_a_record_that_only_looks_like_a_mark_is_none(value: bytes | None) -> None:
    record = PlacedRecord("dead", 0, None, value, (("__liberator.mark", b"redriven"),))
    assert list(marks_of(batch(record))) == []
