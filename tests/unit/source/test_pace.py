"""When a reader lets messages gather: only while very many come, and then for a part of the time."""

from __future__ import annotations

from liberator.source.pace import Pace


def rests(pace: Pace, per_millisecond: int, milliseconds: int) -> int:
    """How often it rests while so many messages come every millisecond."""
    began, count = 100.0, 0
    for millisecond in range(milliseconds):
        pace.count(per_millisecond)
        count += pace.rest(began + millisecond / 1000)
    return count


def test_a_reader_of_few_messages_never_rests() -> None:
    assert rests(Pace(), per_millisecond=19, milliseconds=1000) == 0


def test_a_reader_of_very_many_rests_a_third_of_the_time() -> None:
    assert 300 <= rests(Pace(), per_millisecond=100, milliseconds=1000) <= 334


def test_the_messages_of_one_transaction_are_no_rush() -> None:
    pace = Pace()
    pace.rest(100.0)
    pace.count(30)
    assert not pace.rest(100.0001)


def test_there_is_no_rest_after_the_rush() -> None:
    pace = Pace()
    rests(pace, per_millisecond=100, milliseconds=100)
    pace.rest(100.2)
    assert not pace.rest(100.3)
