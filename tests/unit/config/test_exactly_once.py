"""Exactly once behind a stream: refused where no transaction could hold it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from liberator.config import SinkConfig
from liberator.config.guarantee import guarantee

KAFKA = {"url": "kafka://b:9092", "topics": ["orders"]}
ONCE = {"topic": "shipped", "delivery": "exactly_once"}


def sink(**parts: Any) -> SinkConfig:
    config = {
        "connector": "sink",
        "name": "notify",
        "stream": KAFKA,
        "function": {"python": "shipping:notify"},
        "output": ONCE,
        **parts,
    }
    return SinkConfig.model_validate({key: part for key, part in config.items() if part is not None})


def test_it_is_promised_to_readers_of_committed_events() -> None:
    promised = guarantee(sink())
    assert promised.delivery == "at_least_once", "the function may be called again"
    assert any("readers of committed events see once" in words for words in promised.words)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        pytest.param({"stream": {"url": "local:log", "topics": ["a"]}}, "has none", id="local stream"),
        pytest.param(
            {"output": {**ONCE, "url": "kafka://other:9092"}}, "over two brokers", id="other broker"
        ),
        pytest.param({"output": {**ONCE, "url": "local:log"}}, "over two brokers", id="local output"),
        pytest.param({"policy": {"commit": "before"}}, "contradict", id="commit before"),
        pytest.param({"state": {"url": "sqlite:state.db"}}, "its own database", id="state"),
        pytest.param(
            {"stream": None, "trigger": {"on": "schedule", "cron": "0 * * * *"}},
            "there is none",
            id="no stream",
        ),
        pytest.param(
            {"trigger": [{"on": "stream"}, {"on": "file", "path": "in/*"}]}, "no offset in Kafka", id="files"
        ),
    ],
)
def test_what_no_transaction_could_hold_is_refused(parts: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        sink(**parts)
    assert why in str(caught.value)
