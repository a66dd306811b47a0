"""The ids and topics of what a function gives."""

from __future__ import annotations

from typing import Any

import pytest

from liberator.build.outputs import Outputs
from liberator.change import Event
from liberator.config import SinkConfig
from liberator.errors import FunctionError
from liberator.protocols import Output


def outputs(**more: Any) -> Outputs:
    plain = {
        "connector": "sink",
        "name": "notify",
        "stream": {"url": "kafka://b", "topics": ["orders"]},
        "function": {"python": "a:b"},
        "output": {"topic": "out"},
    }
    return Outputs(SinkConfig.model_validate({**plain, **more}))


def events(*numbers: int) -> list[Event]:
    return [Event("orders", 0, n, 0, None, b"1", (("id", b"e%d" % n),)) for n in numbers]


def ids(given: list[Event], *made: Output) -> list[bytes]:
    return outputs().encode(made, given).ids


ONE = Output("out", None, b"1")


def test_the_same_batch_gives_the_same_ids_and_another_one_others() -> None:
    first = ids(events(1, 2), ONE, ONE)
    assert first == ids(events(1, 2), ONE, ONE)
    assert len({*first, *ids(events(1, 3), ONE, ONE), *ids(events(1), ONE, ONE)}) == 6


def test_an_output_of_one_event_is_named_after_it_whatever_else_is_in_the_batch() -> None:
    of_second = Output("out", None, b"1", event=1)
    assert (
        ids(events(1, 2), of_second) == [b"e2/notify/0"] == ids(events(2), Output("out", None, b"1", event=0))
    )


def test_an_id_of_its_own_is_kept_and_stands_there_once() -> None:
    batch = outputs().encode([Output("out", None, b"1", (("id", b"mine"), ("a", b"b")))], events(1))
    assert batch.ids == [b"mine"]
    assert batch.headers[0] is not None
    assert [header for header in batch.headers[0] if header[0] in ("id", "a")] == [("a", b"b")]


def test_what_names_no_topic_goes_to_the_configured_one() -> None:
    checked = outputs().check(Output(None, b"k", b"1"))
    assert checked == Output("out", b"k", b"1")


@pytest.mark.parametrize(
    ("output", "more", "code"),
    [
        (Output("orders", None, b"1"), {}, "function.cycle"),
        (Output(None, None, b"1"), {"output": {}}, "function.no_output"),
    ],
)
def test_what_no_other_event_would_change_ends_the_connector(
    output: Output, more: dict[str, Any], code: str
) -> None:
    with pytest.raises(FunctionError) as caught:
        outputs(**more).check(output)
    assert caught.value.code == code


def test_an_answer_that_nobody_asked_for_is_left_out() -> None:
    silent = outputs(output={}, function={"http": {"url": "https://h/"}})
    assert silent.check(Output(None, None, b'{"ok": true}')) is None


def test_a_topic_that_can_not_be_is_a_failure() -> None:
    found = outputs().check(Output("a b", None, b"1"))
    assert isinstance(found, FunctionError)
    assert found.code == "function.output"


def told(given: list[Event], *made: Output) -> list[dict[str, list[str]]]:
    """Of each output its chains and its causes."""
    batch = outputs().encode(made, given)
    return [
        {
            name: [value.decode() for header, value in headers or () if header == name]
            for name in ("correlation", "causation")
        }
        for headers in batch.headers
    ]


def test_what_comes_of_an_event_names_it_and_begins_a_chain_with_it() -> None:
    assert told(events(7), ONE) == [{"correlation": ["e7"], "causation": ["e7"]}]


def test_a_chain_goes_on_under_its_first_id() -> None:
    second = Event(
        "orders", 0, 1, 0, None, b"1", (("id", b"e1/a/0"), ("correlation", b"e1"), ("causation", b"e1"))
    )
    assert told([second], ONE) == [{"correlation": ["e1"], "causation": ["e1/a/0"]}]


def test_of_a_batch_all_events_may_be_the_cause_unless_the_function_says_which() -> None:
    said = Output("out", None, b"1", event=1)
    assert told(events(1, 2), ONE, said) == [
        {"correlation": ["e1", "e2"], "causation": ["e1", "e2"]},
        {"correlation": ["e2"], "causation": ["e2"]},
    ]


def test_of_a_large_batch_nothing_is_said_but_what_is_known_and_that_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = Output("out", None, b"1", event=20)
    with caplog.at_level("INFO"):
        assert told(events(*range(21)), ONE, said, ONE) == [
            {"correlation": [], "causation": []},
            {"correlation": ["e20"], "causation": ["e20"]},
            {"correlation": [], "causation": []},
        ]
    assert [record.message for record in caplog.records if "cause=event" in record.message][1:] == []


def test_headers_of_its_own_win() -> None:
    own = Output("out", None, b"1", (("correlation", b"order-7"),))
    assert told(events(7), own) == [{"correlation": ["order-7"], "causation": ["e7"]}]
