"""Which of two events is the newer one, by their ids."""

from __future__ import annotations

import pytest

from liberator.deadletter import order


def is_newer(one: str | None, than: str | None) -> bool | None:
    return order.is_newer(order.place_of(one), order.place_of(than))


STREAM = "7/shop/16/B374D848/3"
SNAPSHOT = '7/shop/snapshot/16/B374D848/public.orders/{"id":1}'


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("7/shop/10/0/0", "7/shop/9/0/9"),
        ("7/shop/0/A0/0", "7/shop/0/9F/0"),
        ("7/shop/0/1/10", "7/shop/0/1/9"),
        (f"{STREAM}/t", STREAM),
        (f"{STREAM}/c", f"{STREAM}/t"),
        (STREAM, SNAPSHOT),
        (SNAPSHOT, "7/shop/16/B374D847/3"),
        ("7/shop/snapshot/0/2/public.t/1", "7/shop/snapshot/0/1/public.t/1"),
        ("7/other_slot/0/2/0", "7/shop/0/1/0"),
    ],
)
def test_places_in_the_log_are_compared_as_numbers(newer: str, older: str) -> None:
    assert is_newer(newer, older) is True
    assert is_newer(older, newer) is False


def test_an_event_is_not_newer_than_itself() -> None:
    assert is_newer(STREAM, STREAM) is False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (STREAM, "8/shop/16/B374D848/3"),
        (STREAM, "shop/public.orders/1/77"),
        ("2f0e5b6c", "2f0e5b6d"),
        (STREAM, None),
        (None, None),
    ],
)
def test_ids_of_other_kinds_or_servers_do_not_tell(one: str | None, other: str | None) -> None:
    assert is_newer(one, other) is None
