"""Dead letters published again and given up: what is on the topics afterwards, in Kafka and in a local log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from liberator.change import ConsumedBatch, ReadHeaders
from liberator.deadletter import redrive
from liberator.deadletter.ledger import Ledger, Wanted
from liberator.deadletter.letter import LetterId
from liberator.errors import DeadLetterError
from tests.integration.deadletter.stands import Found, KafkaStand, Stand


def log(lsn: int, n: int = 0, part: str = "") -> str:
    """The id of an event of the log."""
    return f"7/shop/0/{lsn:X}/{n}{part}"


def test_the_event_goes_to_its_topic_byte_for_byte_and_the_letter_is_done(stand: Stand) -> None:
    own: ReadHeaders = (("trace", b"\xff"), ("trace", None), ("empty", b""))
    stand.letter(log(1), b"\xffkey", b"\xc3 no text", own=own)
    assert stand.redrive("0:0") == [("0:0", "redriven")]
    if isinstance(stand, KafkaStand) and stand.client == "kafka-python":  # it can't write one that is null
        own = (("trace", b"\xff"), ("trace", b""), ("empty", b""))
    headers = (("id", log(1).encode()), *own)
    assert stand.records(stand.topic) == [Found(b"\xffkey", b"\xc3 no text", headers)]
    assert stand.pending() == []


def test_a_tombstone_and_an_event_without_a_key_come_as_they_were(stand: Stand) -> None:
    stand.letter(log(1), b"k", None)
    stand.letter(log(2), None, b"{}")
    assert [fate for _, fate in stand.redrive()] == ["redriven", "redriven"]
    assert [(found.key, found.value) for found in stand.records(stand.topic)] == [(b"k", None), (None, b"{}")]


def test_what_was_redriven_is_not_redriven_twice(stand: Stand) -> None:
    stand.letter(log(1))
    stand.redrive()
    assert stand.redrive() == []
    assert stand.redrive("0:0", force=True) == [("0:0", "refused")]
    assert stand.ids() == [log(1)]


def test_letters_of_one_key_are_published_in_their_order_whatever_the_order_of_their_names(
    stand: Stand,
) -> None:
    for lsn in (1, 2, 3):
        stand.letter(log(lsn))
    stand.redrive("0:2", "0:0", "0:1")
    assert stand.ids() == [log(1), log(2), log(3)]


def test_an_old_row_is_not_put_behind_a_newer_one_of_its_key(stand: Stand) -> None:
    stand.letter(log(5))
    stand.event(log(9))
    stand.event(log(3), b"other")
    assert stand.redrive("0:0") == [("0:0", "refused")]
    assert stand.ids() == [log(9), log(3)]
    assert [str(letter.id) for letter in stand.pending()] == ["0:0"]
    assert stand.redrive("0:0", force=True) == [("0:0", "redriven")]
    assert stand.ids() == [log(9), log(3), log(5)]


@pytest.mark.parametrize(
    "older",
    [log(4), log(5, 0), "7/shop/snapshot/0/5/public.orders/1"],
    ids=["earlier transaction", "earlier in the transaction", "snapshot"],
)
def test_an_older_event_that_came_later_does_no_harm(stand: Stand, older: str) -> None:
    stand.letter(log(5, 1))
    stand.event(older)
    assert stand.redrive() == [("0:0", "redriven")]


@pytest.mark.parametrize("id", ["shop/public.orders/1/77", "2f0e5b6c"], ids=["query", "outbox"])
def test_what_has_no_place_in_the_log_is_told_by_when_it_came(stand: Stand, id: str) -> None:
    stand.event(f"{id}-before", b"other")
    stand.letter(id)
    stand.letter(f"{id}-b", b"b")
    stand.event(f"{id}-after")
    assert stand.redrive() == [("0:0", "refused"), ("0:1", "redriven")]


def test_an_older_letter_that_was_redriven_before_is_not_newer(stand: Stand) -> None:
    """By time alone it would look like that."""
    stand.letter("first")
    stand.letter("second")
    assert stand.redrive("0:0") == [("0:0", "redriven")]
    assert stand.redrive("0:1") == [("0:1", "redriven")]
    assert stand.ids() == ["first", "second"]


def test_a_newer_letter_that_was_redriven_before_is_newer(stand: Stand) -> None:
    stand.letter("first")
    stand.letter("second")
    assert stand.redrive("0:1") == [("0:1", "redriven")]
    assert stand.redrive("0:0") == [("0:0", "refused")]


def test_an_event_that_is_on_its_topic_already_is_not_published_again(stand: Stand) -> None:
    stand.letter(log(5))
    stand.event(log(5))
    assert stand.redrive() == [("0:0", "already there")]
    assert stand.ids() == [log(5)]
    assert stand.pending() == []


def test_several_letters_of_one_event_are_published_once(stand: Stand) -> None:
    """A connector that was killed may have written its dead letter again."""
    stand.letter(log(5))
    stand.letter(log(5))
    assert stand.redrive() == [("0:0", "redriven"), ("0:1", "already there")]
    assert stand.ids() == [log(5)]
    assert stand.pending() == []


def test_a_letter_of_a_sink_goes_behind_the_event_that_it_is_of(stand: Stand) -> None:
    stand.event("a")
    stand.event("b", b"other")
    stand.letter("a", origin=0)
    assert stand.redrive() == [("0:0", "redriven")]
    assert stand.ids() == ["a", "b", "a"]


def test_a_letter_of_a_sink_is_old_when_its_key_has_a_later_event(stand: Stand) -> None:
    stand.event("a")
    stand.event("b")
    stand.letter("a", origin=0)
    assert stand.redrive() == [("0:0", "refused")]


def test_what_the_letter_lacks_is_never_published_as_a_tombstone(stand: Stand) -> None:
    stand.letter(log(1), value=None, more=(("__liberator.value.bytes", b"2000000"),))
    assert stand.redrive("0:0", force=True) == [("0:0", "refused")]
    assert stand.ids() == []


def test_what_the_judge_turns_down_stays_and_the_others_go(stand: Stand) -> None:
    stand.letter(log(1), b"a")
    stand.letter(log(2), b"b")
    fates = stand.redrive(judge=lambda letter: "no" if letter.key == b"a" else None)
    assert fates == [("0:0", "refused"), ("0:1", "redriven")]
    assert [letter.key for letter in stand.pending()] == [b"a"]


def test_a_dry_run_tells_the_same_and_writes_nothing(stand: Stand) -> None:
    stand.letter(log(1), b"a")
    stand.letter(log(2), b"b")
    stand.event(log(9), b"b")
    before = stand.records(stand.dead)
    assert stand.redrive(dry_run=True) == [("0:0", "redriven"), ("0:1", "refused")]
    assert (stand.ids(), stand.records(stand.dead)) == ([log(9)], before)


def test_letters_of_other_connectors_in_the_same_topic_are_theirs(stand: Stand) -> None:
    stand.letter(log(1), connector="other")
    stand.letter(log(2))
    assert stand.redrive() == [("0:1", "redriven")]


def test_what_is_discarded_is_done_and_can_still_be_redriven_by_name(stand: Stand) -> None:
    stand.letter(log(1))
    assert stand.discard("0:0", reason="corrected") == [("0:0", "discarded")]
    assert stand.pending() == []
    assert stand.redrive() == []
    ledger = Ledger(stand.box(), stand.dead, complete=False)
    found = ledger.find(LetterId(0, 0))
    assert found is not None
    assert found[1] is not None
    assert (found[1].outcome, found[1].note) == ("discarded", "corrected")
    assert stand.redrive("0:0") == [("0:0", "redriven")]
    assert stand.redrive("0:0") == [("0:0", "refused")]


def test_rounds_go_on_where_the_one_before_ended(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive, "ROUND", 3)
    for number in range(10):
        stand.letter(log(number), b"%d" % (number % 2))
    assert [fate for _, fate in stand.redrive()] == ["redriven"] * 10
    assert stand.ids() == [log(number) for number in range(10)]


def test_letters_are_found_by_topic_error_rule_and_time(stand: Stand) -> None:
    stand.letter(log(1))
    stand.letter(log(2), message="nothing of a contract")
    assert len(stand.pending(topic="*.orders", error="ContractError")) == 2
    assert [letter.rule for letter in stand.pending(error="enum")] == ["enum"]
    assert stand.pending(topic="other") == []
    assert stand.pending(since=1_700_000_000_001) == []
    assert len(stand.pending(since=1_700_000_000_000)) == 2


def test_a_newer_event_that_comes_at_the_last_moment_is_not_overtaken(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running source publishes between the look at the topic and the writing."""
    stand.letter(log(5))
    stand.letter(log(6), b"other")
    box = stand.box()
    write = box.write

    def late(events: object, marks: object, seen: object, overtaken: Callable[[ConsumedBatch], bool]) -> bool:
        if stand.ids() == []:
            stand.event(log(9))
        return write(events, marks, seen, overtaken)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(box, "write", late)
    assert stand.redrive(box=box) == [("0:0", "refused"), ("0:1", "redriven")]
    assert stand.ids() == [log(9), log(6)]


def test_of_two_at_once_only_one_publishes(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins when the first has decided, and has not written yet."""
    stand.letter(log(5))
    box = stand.box()
    write = box.write
    second: list[tuple[str, str]] = []

    def late(events: object, marks: object, seen: object, overtaken: Callable[[ConsumedBatch], bool]) -> bool:
        if not second:
            second.extend(stand.redrive())
        return write(events, marks, seen, overtaken)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(box, "write", late)
    if isinstance(stand, KafkaStand):
        with pytest.raises(DeadLetterError) as refused:
            stand.redrive(box=box)
        assert refused.value.code == "dead_letter.fenced"
    else:
        assert stand.redrive(box=box) == []
    assert second == [("0:0", "redriven")]
    assert stand.ids() == [log(5)]


def test_records_of_others_in_the_topic_are_passed_over(stand: Stand) -> None:
    stand.append(stand.dead, b"k", b"no letter")
    stand.append(stand.dead, None, b"{broken", (("__liberator.mark", b"redriven"),))
    stand.letter(log(1))
    assert stand.redrive() == [("0:2", "redriven")]


def test_a_topic_that_is_not_there_has_no_letters(stand: Stand) -> None:
    ledger = Ledger(stand.box(), f"{stand.dead}.not", complete=False)
    ledger.look()
    assert list(ledger.letters(Wanted("shop"))) == []
    assert ledger.find(LetterId(0, 0)) is None
