"""Is the outbox in its stream, and does the other stream end in the table? The verdict on the two other ways.

Enters: events as a consumer has read them, and the shop at rest. Leaves: a `WaysProof` with every fault that was found.
Called at the end of the demo's story. Changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
import psycopg

from liberator.demo.proof import first_few, key_of, replayed
from liberator.demo.shop import QUERIED
from liberator.demo.stream import ORIGIN, Event, op_of
from liberator.testing.oracle import read_table

_WRITTEN = "SELECT id::text, aggregateid, type, payload::text FROM public.outbox ORDER BY position"


@dataclass
class WaysProof:
    """told: events in the outbox. again: of its stream, those whose id came before. rows: of the table that was queried;
    ops: the events that queries gave, by kind."""

    told: int
    again: int
    rows: int
    ops: Counter[str]
    faults: list[str]


@dataclass(frozen=True)
class Told:
    """An event of the application. payload: JSON."""

    id: str
    aggregate: str
    type: str
    payload: bytes


def prove_ways(events: Iterable[Event], dsn: str, *, outbox_topic: str, query_topic: str) -> WaysProof:
    """Compare both streams with the tables. The connectors have ended, and `events` is all that they published."""
    all_of_them = list(events)
    of_outbox = [told_by(event) for event in all_of_them if event.topic == outbox_topic]
    of_query = [event for event in all_of_them if event.topic == query_topic]
    written = read_outbox(dsn)
    rows = list(read_table(dsn, "public", QUERIED))
    differences = replayed(of_query).compare(f"public.{QUERIED}", rows)
    return WaysProof(
        told=len(written),
        again=len(of_outbox) - len({told.id for told in of_outbox}),
        rows=len(rows),
        ops=Counter(map(op_of, of_query)),
        faults=[
            *check_outbox(written, of_outbox),
            *first_few(f"by queries: {each}" for each in differences),
            *first_few(f"{key_of(event)}: a dead letter" for event in all_of_them if ORIGIN in event.headers),
        ],
    )


def read_outbox(dsn: str) -> list[Told]:
    """What the application wrote, in its order."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(_WRITTEN).fetchall()
    return [Told(id, aggregate, type, _canonical(payload.encode())) for id, aggregate, type, payload in rows]


def told_by(event: Event) -> Told:
    """What a consumer gets told."""
    aggregate = "" if event.key is None else event.key.decode()
    return Told(event.id, aggregate, event.headers.get("type", ""), _canonical(event.value or b"null"))


def check_outbox(written: Sequence[Told], told: Sequence[Told]) -> list[str]:
    """All that was written, nothing else, and each aggregate's events in the order in which they were written."""
    once = {each.id: each for each in told}.values()  # in the order in which they came first
    verdicts = {
        "is in the outbox and not in its stream": set(written) - set(told),
        "is in the stream, and not like this in the outbox": set(told) - set(written),
    }
    orders = by_aggregate(written), by_aggregate(once)
    disordered = [each for each, ids in orders[0].items() if ids != orders[1].get(each, ids)]
    return [
        *(
            fault
            for what, found in verdicts.items()
            for fault in first_few(f"event {each.id} ({each.type}): {what}" for each in found)
        ),
        *first_few(f"order {each}: its events are not in the order of the outbox" for each in disordered),
    ]


def by_aggregate(events: Iterable[Told]) -> dict[str, list[str]]:
    """The ids of each aggregate's events, in their order."""
    found: dict[str, list[str]] = {}
    for event in events:
        found.setdefault(event.aggregate, []).append(event.id)
    return found


def _canonical(json: bytes) -> bytes:
    return orjson.dumps(orjson.loads(json), option=orjson.OPT_SORT_KEYS)
