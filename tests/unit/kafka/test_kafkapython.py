"""What kafka-python's producer says about a failure, brought to our table."""

from __future__ import annotations

import kafka.errors
import pytest

from liberator.kafka.kafkapython import _failure_of

_LAST = "at least one previous transactional or idempotent request has failed"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (kafka.errors.ProducerFencedError(), "publish.fenced"),
        (kafka.errors.KafkaError(_LAST, kafka.errors.ProducerFencedError()), "publish.fenced"),
        (
            kafka.errors.KafkaError(_LAST, kafka.errors.KafkaError("state: [Error 90] Fenced")),
            "publish.fenced",
        ),
        (kafka.errors.KafkaError("error state: [Error 53] Denied"), "publish.transaction_denied"),
    ],
)
def test_the_reason_in_the_plainest_error_is_what_counts(error: BaseException, code: str) -> None:
    assert _failure_of(error).verdict.code == code


@pytest.mark.parametrize(
    "words", [_LAST, "Failed to append record because it was part of a batch with invalid records"]
)
def test_an_error_without_a_reason_leaves_room_for_one_that_has_it(words: str) -> None:
    failure = _failure_of(kafka.errors.KafkaError(words))
    assert (failure.key, failure.verdict.action, failure.detail) == ("sequence", "wait", words)


def test_a_group_that_goes_on_without_a_member_is_no_unexpected_error() -> None:
    error = kafka.errors.CommitFailedError("consumer group metadata mismatch: IllegalGenerationError")
    assert _failure_of(kafka.errors.KafkaError(_LAST, error)).key == "lost"
