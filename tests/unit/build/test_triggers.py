"""When a sink's function starts, as its configuration says."""

from __future__ import annotations

from typing import Any

import pytest

from liberator.build.dispatching import Until, make_trigger
from liberator.change import Event
from liberator.config import SinkConfig
from liberator.dispatch.backlog import Backlog


def starts_at_once(function: dict[str, Any], **trigger: Any) -> bool:
    """Does one event start the function, without waiting for others?"""
    config = SinkConfig.model_validate(
        {
            "connector": "sink",
            "name": "notify",
            "stream": {"url": "kafka://b:9092", "topics": ["orders"]},
            "function": function,
            "trigger": trigger,
        }
    )
    backlog = Backlog("key")
    backlog.add([Event("orders", 0, 0, 0, b"k", b"{}")], 0.0)
    return make_trigger(config, Until()).due(backlog, 0.0)


HTTP = {"url": "https://example.com/hook"}


@pytest.mark.parametrize(
    ("function", "trigger", "expected"),
    [
        pytest.param({"http": HTTP}, {}, True, id="http"),
        pytest.param({"openfaas": {"gateway": "http://g:8080", "function": "f"}}, {}, True, id="openfaas"),
        pytest.param({"http": {**HTTP, "format": "cloudevents-batch"}}, {}, False, id="a request for all"),
        pytest.param({"http": HTTP}, {"batch_window": "1s"}, False, id="asked for"),
        pytest.param({"python": "shipping:notify"}, {}, False, id="python"),
    ],
)
def test_an_event_waits_for_no_others_where_it_is_a_call_of_its_own(
    function: dict[str, Any], trigger: dict[str, Any], expected: bool
) -> None:
    assert starts_at_once(function, **trigger) is expected
