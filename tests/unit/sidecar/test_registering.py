"""Schemas that are registered while requests wait: who asks, who hears the same answer, and what is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from liberator.errors import ContractError
from liberator.plan.outbox import Entry, OutboxNames, OutboxSettings
from liberator.plan.outbox_wire import EventWire
from liberator.sidecar.answer import Refused
from liberator.sidecar.judge import Judge
from liberator.sidecar.registering import Registering


class Registry:
    """Counts what it is asked; fails as long as it is told to. reached: the first question has arrived; answer: it may be
    answered."""

    def __init__(self, code: str | None = None, *, retryable: bool = True) -> None:
        self.code, self.retryable = code, retryable
        self.asked: list[str] = []
        self.reached, self.answer = threading.Event(), threading.Event()
        self.answer.set()

    def __call__(self, subject: str, schema: dict[str, Any]) -> int:
        self.asked.append(subject)
        self.reached.set()
        assert self.answer.wait(30)
        if self.code is not None:
            raise ContractError("no", code=self.code, retryable=self.retryable)
        return 7


def judge(ids: Callable[[str, dict[str, Any]], int]) -> Judge:
    settings = OutboxSettings(OutboxNames(), lambda kind, type: f"t.{kind}", lambda topic, type: None)
    return Judge(settings, "shop", lambda: 0, EventWire(ids, "topic_record_name").prefix)


def entry(payload: bytes = b"{}", type: bytes = b"Paid") -> Entry:
    return Entry(b"1", b"order", b"7", type, payload, "text")


class Moments:
    """A clock that goes on by one each time that it is looked at."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.looks


def test_who_waited_while_the_registry_was_away_hears_the_same_and_asks_no_more() -> None:
    registry, clock = Registry("registry.unreachable"), Moments()
    registry.answer.clear()
    registering = Registering(registry, clock)
    heard: list[str] = []

    def ask(subject: str) -> None:
        with pytest.raises(ContractError) as caught:
            registering(subject, {})
        heard.append(caught.value.code)

    threads = [threading.Thread(target=ask, args=(subject,)) for subject in ("a", "b")]
    threads[0].start()
    assert registry.reached.wait(30)
    threads[1].start()
    while clock.looks < 2:  # both have come, and the second one waits
        time.sleep(0.001)
    registry.answer.set()
    for thread in threads:
        thread.join()
    assert heard == ["registry.unreachable"] * 2
    assert registry.asked == ["a"]
    registry.code = None
    assert registering("b", {}) == 7, "who comes later asks"


@pytest.mark.parametrize(
    ("code", "retryable", "status"),
    [
        ("registry.unreachable", True, 503),
        ("registry.incompatible", False, 422),
        ("registry.not_registered", False, 422),
    ],
)
def test_an_event_whose_schema_has_no_id_is_refused_with_the_reason(
    code: str, retryable: bool, status: int
) -> None:
    with pytest.raises(Refused) as caught:
        judge(Registry(code, retryable=retryable)).judge(entry())
    assert caught.value.answer.status == status
    assert (caught.value.answer.retry_after is not None) == retryable


def test_what_an_operator_must_mend_is_not_the_events_fault() -> None:
    with pytest.raises(ContractError, match="no"):
        judge(Registry("registry.unauthorized", retryable=False)).judge(entry())


def test_a_schema_is_asked_for_once_and_its_id_makes_no_other_event() -> None:
    registry = Registry()
    wired = judge(registry)
    first, second = wired.judge(entry()), wired.judge(entry())
    assert first.event.values == [b"\0\0\0\0\x07{}"]
    assert registry.asked == ["t.order-Paid"]
    assert first.digest == second.digest == judge(lambda subject, schema: 8).judge(entry()).digest
    assert first.digest != wired.judge(entry(b"[]")).digest
