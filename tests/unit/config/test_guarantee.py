"""What a sink promises, as it is configured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from liberator.config import SinkConfig, load_together
from liberator.config.guarantee import Guarantee, guarantee

Promise = Callable[..., Guarantee]

STREAM = "stream: {url: 'local:events', topics: [orders]}"
LAMBDA = "{aws_lambda: {name: notify, invocation: async}}"


@pytest.fixture
def promise(write: Callable[[str], Path]) -> Promise:
    """Of a sink with this YAML beside its function."""

    def promise(more: str = "", *, stream: str = STREAM, function: str = "{python: 'a:b'}") -> Guarantee:
        parts = ["connector: sink", "name: notify", stream, f"function: {function}", more]
        (config,) = load_together([write("\n".join(parts))], {})
        assert isinstance(config, SinkConfig)
        return guarantee(config)

    return promise


def test_offsets_that_move_after_the_work_lose_nothing(promise: Promise) -> None:
    it = promise()
    assert (it.delivery, it.order) == ("at_least_once", "key")
    assert "after a crash or a rebalance the function gets some events again, with the same id" in it.words


def test_offsets_that_move_before_the_work_repeat_nothing(promise: Promise) -> None:
    it = promise("policy: {commit: before}")
    assert it.delivery == "at_most_once"
    tried_again = "a call that fails is tried again, with the same events, as long as the connector runs"
    assert tried_again in it.words
    assert tried_again not in promise("policy: {commit: before, retry: {attempts: 1}}").words


def test_of_a_call_that_is_queued_nobody_hears_the_end(promise: Promise) -> None:
    assert promise("policy: {commit: before}", function=LAMBDA).delivery == "handed_over"


def test_remembered_events_start_nothing_again_but_for_a_moment(promise: Promise) -> None:
    it = promise("policy: {idempotency: {store: 'sqlite:done.db', ttl: 36h}}")
    assert it.delivery == "at_least_once"
    assert any("comes again within 1.5 days does not start the function again, unless" in w for w in it.words)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("{retry: {attempts: 3}}", "after 3 attempts is kept in notify.dead-letters"),
        ("{on_failure: stop, retry: {attempts: 1}}", "after one attempt ends the connector"),
        ("{on_failure: skip}", "after 5 attempts is left out: it is lost"),
    ],
)
def test_says_what_becomes_of_an_event_that_fails(promise: Promise, policy: str, words: str) -> None:
    assert any(words in sentence for sentence in promise(f"policy: {policy}").words)


def test_a_time_out_that_nobody_enforces_is_no_promise(promise: Promise) -> None:
    words = promise(function="{python: 'a:b', in_process: true}").words
    assert words[-1].endswith("is not ended by policy.timeout")


@pytest.mark.parametrize(
    ("function", "more", "promised"),
    [
        ("{http: {url: 'https://x'}}", "", True),
        ("{http: {url: 'https://x'}}", "policy: {circuit_breaker: false}", False),
        ("{python: 'a:b'}", "", False),
        ("{python: 'a:b'}", "policy: {circuit_breaker: {}}", True),
    ],
    ids=["elsewhere", "elsewhere, off", "here", "here, asked for"],
)
def test_a_function_elsewhere_is_left_alone_when_it_is_away(
    promise: Promise, function: str, more: str, promised: bool
) -> None:
    words = promise(more, function=function).words
    assert any("it is left alone" in sentence for sentence in words) == promised


@pytest.mark.parametrize(
    ("trigger", "delivery"),
    [("{on: schedule, cron: '0 3 * * *'}", "by_the_clock"), ("{on: webhook}", "by_the_sender")],
)
def test_without_a_stream_there_is_no_event_of_ours_to_lose(
    promise: Promise, trigger: str, delivery: str
) -> None:
    it = promise(f"trigger: {trigger}", stream="")
    assert (it.delivery, it.order) == (delivery, None)
