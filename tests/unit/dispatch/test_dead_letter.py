"""The dead letter of an event that a function could not do: the event byte for byte, and why."""

from __future__ import annotations

import pytest

from liberator.change import Event, ReadHeaders
from liberator.config.secrets import MASK, Redactor
from liberator.dispatch.dead_letter import dead_letter, dead_letters_of
from liberator.dispatch.settle import GivenUp
from liberator.errors import FunctionError, PermanentError
from liberator.letters import split


def letter(headers: ReadHeaders, error: FunctionError | None = None) -> ReadHeaders:
    """The headers of the dead letter as a reader gets them: a publisher puts the id first."""
    event = Event("orders", 3, 7, 1_000, b"\xffkey", b"\xc3", headers)
    batch = dead_letter(GivenUp(event, error or PermanentError("no"), 2), "dead", "shipping", 5)
    assert (batch.topics, batch.keys, batch.values) == (["dead"], [b"\xffkey"], [b"\xc3"])
    return (("id", batch.ids[0]), *(batch.headers[0] or ()))


def test_it_says_where_the_event_was_what_happened_and_how_often() -> None:
    """D79"""
    found = split(letter((("id", b"a"),), PermanentError("no such customer")))
    assert found is not None
    said = {name.removeprefix("__connect.errors."): text for name, text in found.said.items()}
    stack = said.pop("exception.stacktrace")
    assert said == {
        "topic": "orders",
        "partition": "3",
        "offset": "7",
        "connector.name": "shipping",
        "stage": "TASK_PUT",
        "exception.class.name": "liberator.PermanentError",
        "exception.message": "no such customer (function.permanent)",
        "attempts": "2",
        "timestamp": "5",
    }
    assert "no such customer" in stack


def test_it_says_nothing_that_is_a_secret_of_the_configuration() -> None:
    """D86: a function may put what it was given into its error, and into what that came of."""
    redactor = Redactor()
    redactor.remember("s3cr3t-of-ours")
    error = PermanentError("login with s3cr3t-of-ours failed")
    error.__cause__ = ValueError("Authorization: Bearer s3cr3t-of-ours")
    event = Event("orders", 0, 0, 0, None, b"{}", ())
    batch = dead_letters_of("shipping", lambda: 5, redactor)(GivenUp(event, error, 1), "dead")
    said = b"".join(value or b"" for _, value in batch.headers[0] or ())
    assert b"s3cr3t" not in said
    assert said.count(MASK.encode()) >= 3, "message, stack trace, and its cause"


@pytest.mark.parametrize(
    "headers",
    [
        (("id", b"a"),),
        (("id", b"a"), ("trace", b"\xff"), ("trace", None)),
        (("trace", b"1"), ("id", b"a")),
        (("id", b"a"), ("id", b"b")),
        (("id", b"\xff"),),
        (("trace", None),),
        (),
    ],
)
def test_the_events_headers_come_back_as_they_were(headers: ReadHeaders) -> None:
    found = split(letter(headers))
    assert found is not None
    assert found.own == headers


def test_however_much_a_function_says_the_letter_stays_small() -> None:
    said = letter((), FunctionError("x" * 1_000_000))
    assert sum(len(value or b"") for _, value in said) < 20_000
