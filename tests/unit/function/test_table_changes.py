"""What an event does to the rows of a table."""

from __future__ import annotations

import pytest

from liberator.change import Event
from liberator.function.table.changes import Change, change_of
from tests.unit.function.headed import headed

KEY = b'{"id":1}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b'{"before":null,"after":{"id":1,"total":"9.90"},"op":"c"}',
            Change(key=(1,), values={"id": 1, "total": "9.90"}),
        ),
        (b'{"before":null,"after":null,"op":"d"}', Change(gone=(1,))),
        (None, Change(gone=(1,))),
    ],
    ids=["row", "delete", "tombstone"],
)
def test_json_behind_the_head_of_a_registry_is_the_same_change(value: bytes | None, expected: Change) -> None:
    plain = Event("orders", 0, 0, 0, KEY, value)
    [registered] = headed([plain])
    assert change_of(registered, ("id",)) == change_of(plain, ("id",)) == expected
