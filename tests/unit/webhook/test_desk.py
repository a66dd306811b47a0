"""Requests that wait: each gets one answer, whatever happens."""

from __future__ import annotations

from liberator.change import ConsumedBatch, TopicPartition, events_of
from liberator.errors import FunctionError
from liberator.protocols import Output
from liberator.webhook.desk import Desk, Posted, Verdict

PLACE = TopicPartition("hook", 0)


def posted(id: bytes = b"e1") -> Posted:
    return Posted(b"{}", (("id", id),), 1_700_000_000_000)


def known(one: Posted) -> Verdict | None:
    """What it is answered, if that is known."""
    return one.verdict


def read(desk: Desk) -> ConsumedBatch:
    return desk.poll(10, 0.0)


def test_an_event_that_is_done_is_answered_with_what_came_of_it() -> None:
    desk, one, output = Desk("hook"), posted(), Output(None, None, b"1")
    assert desk.submit(one)
    [event] = events_of(read(desk))
    assert (event.id, event.topic, event.raw_value) == ("e1", "hook", b"{}")
    desk.given(event, [output])
    assert known(one) is None, "what came of it is not durable yet"
    desk.done([event])
    assert known(one) == Verdict(None, [output])


def test_events_that_end_in_another_order_get_their_own_answers() -> None:
    desk, first, second = Desk("hook"), posted(b"e1"), posted(b"e2")
    assert desk.submit(first)
    assert desk.submit(second)
    one, two = events_of(read(desk))
    error = FunctionError("no", code="function.raised")
    desk.failed(two, error)
    assert known(first) is None
    assert known(second) == Verdict(error)
    desk.done([one])
    assert known(first) == Verdict()


def test_whoever_still_waits_at_the_end_is_told_to_come_again() -> None:
    desk, begun, waiting = Desk("hook"), posted(b"e1"), posted(b"e2")
    closed: list[bool] = []
    desk.closing = lambda: closed.append(begun.verdict is not None)
    desk.submit(begun)
    read(desk)
    desk.submit(waiting)
    desk.pause({PLACE})
    assert known(waiting), "at once: it is not begun"
    assert known(begun) is None
    desk.close()
    for one in (begun, waiting):
        verdict = known(one)
        assert verdict is not None
        assert verdict.error is not None
        assert (verdict.error.code, verdict.error.retryable) == ("function.unavailable", True)
    assert closed == [True], "the address is given up when everybody is answered"
    assert not desk.submit(posted())


def test_no_more_wait_than_can_be_served() -> None:
    desk = Desk("hook", most=2)
    assert [desk.submit(posted()) for _ in range(3)] == [True, True, False]


def test_an_event_that_nobody_waits_for_any_more_is_not_begun() -> None:
    desk, gone = Desk("hook"), posted(b"e1")
    desk.submit(gone)
    assert gone.wait(0.0) is None
    desk.submit(posted(b"e2"))
    assert [event.id for event in events_of(read(desk))] == ["e2"]


def test_a_desk_that_was_paused_takes_events_again() -> None:
    desk = Desk("hook")
    desk.pause({PLACE})
    assert not desk.submit(posted())
    desk.resume({PLACE})
    assert desk.submit(posted())
    assert len(read(desk)) == 1
