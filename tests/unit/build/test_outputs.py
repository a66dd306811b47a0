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
    assert batch.headers == [(("a", b"b"),)]


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
