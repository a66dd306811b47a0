"""Choreography: functions that are started by what others publish, and one id to follow them by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.sink import Record, Sink

SHIP = """
def ship(events, context):
    note(events, context)
    for event in events:
        if event.value["n"] == 3 and not (Path(__file__).parent / "carrier").exists():
            raise ValueError("no carrier")
        context.publish({"shipped": event.value["n"]}, key=event.key, cause=event)
"""
BILL = """
def bill(events, context):
    note(events, context)
    return [{"billed": event.value["shipped"]} for event in events]
"""


@pytest.fixture
def billing(sink: Sink, tmp_path: Path) -> Iterator[Sink]:
    """A second sink, which is started by what the first one publishes."""
    made = Sink(tmp_path / "billing", f"{sink.name}.billing", sink.broker)
    yield made
    made.close()


def chain(topic: list[Record], correlation: str) -> list[Record]:
    """What belongs to a chain, in a topic."""
    return [
        record
        for record in topic
        if (b"correlation", correlation.encode())
        in [(name.encode(), value) for name, value in record.headers]
    ]


def test_a_chain_over_two_functions_is_found_by_one_id_through_a_dead_letter_too(
    sink: Sink, billing: Sink, unique: str
) -> None:
    sink.write(
        f"""
        stream: {{topics: [{unique}.paid]}}
        function: {{python: "functions:ship"}}
        output: {{topic: {unique}.shipped}}
        policy: {{retry: {{attempts: 1}}}}
        """,
        SHIP,
    )
    billing.write(
        f"""
        stream: {{topics: [{unique}.shipped]}}
        trigger: {{batch_size: 1}}
        function: {{python: "functions:bill"}}
        output: {{topic: {unique}.billed}}
        """,
        BILL,
    )
    sink.broker.create(f"{unique}.paid", 1)
    sink.broker.append(
        f"{unique}.paid", [Record(b"k%d" % n, b'{"n":%d}' % n, (("id", b"order/%d" % n),)) for n in range(5)]
    )
    sink.run()
    billing.run()
    assert chain(sink.broker.read(f"{unique}.shipped"), "order/3") == []
    (sink.folder / "carrier").touch()
    sink.call("dlq redrive", "--all", "--yes")
    sink.run()
    billing.run()
    for n in range(5):
        [shipped] = chain(sink.broker.read(f"{unique}.shipped"), f"order/{n}")
        [billed] = chain(sink.broker.read(f"{unique}.billed"), f"order/{n}")
        assert (shipped.value, billed.value) == (b'{"shipped":%d}' % n, b'{"billed":%d}' % n)
        assert shipped.header("causation") == f"order/{n}"
        assert billed.header("causation") == shipped.header("id") == f"order/{n}/{sink.name}/0"
