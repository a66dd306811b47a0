"""Did every change arrive? The verdict, by the replay oracle and by the ledger of those who wrote.

Enters: the events that were read back, the shop at rest, and the writers' ledger. Leaves: a `Proof` with every fault that
was found; none: all is proved. Called at the end of the demo's story. Changes nothing, and believes nothing that the
connector says of itself.

1. Replayed by key, each id once, the stream gives each table row by row; each id has one content, each key the order of
   commits (`liberator.testing.oracle`).
2. Every committed transaction is there whole, and no other: each writer has noted what each of its transactions changed.
3. The dead letters are exactly the rows that break their contract: the clerk knows which ones he wrote.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from liberator.demo.load import Changes, Kind, Ledger
from liberator.demo.shop import CONTRACT_TABLE, MISTAKES, TABLES
from liberator.demo.stream import ORIGIN, Event, op_of, table_of
from liberator.testing.oracle import Problem, Replay, read_table

_SHOWN = 5
"""Faults of one kind that a person gets to see."""

_KINDS: dict[str, Kind] = {"c": "insert", "u": "update", "d": "delete"}
_FROM_STREAM = re.compile(r"[^/]+/[^/]+/([0-9A-F]+)/([0-9A-F]+)/([0-9]+)(/[tc])?")
_FROM_SNAPSHOT = re.compile(r"[^/]+/[^/]+/snapshot/([0-9A-F]+)/([0-9A-F]+)/")


@dataclass
class TableProof:
    """rows: in the database. streamed: as the stream gives them. withheld: those that only a dead letter tells of.
    ops: its events by kind, each id once."""

    name: str
    rows: int
    streamed: int
    withheld: int
    ops: Counter[str]
    faults: list[str]


@dataclass
class Proof:
    """transactions, changes: committed by the writers. seen: transactions that came as events; the others were committed
    before the snapshot's place and are in its rows. again: events whose id came before. dead: keys of dead letters."""

    tables: list[TableProof]
    events: int
    again: int
    transactions: int
    changes: int
    seen: int
    dropped: int
    dead: list[str]
    faults: list[str] = field(default_factory=list)


def prove(events: Sequence[Event], dsn: str, ledger: Ledger) -> Proof:
    """Compare all there is to compare. The writers have stopped, and `events` is all that was published."""
    firsts: dict[str, Event] = {}
    for event in events:
        firsts.setdefault(event.id, event)
    unique = list(firsts.values())
    dead = sorted(key_of(event) for event in unique if ORIGIN in event.headers)
    copy = replayed(unique)
    tables = [prove_table(table, unique, copy, dsn) for table in TABLES]
    seen, transaction_faults = check_transactions(unique, ledger)
    return Proof(
        tables=tables,
        events=len(events),
        again=len(events) - len(unique),
        transactions=len(ledger.receipts),
        changes=ledger.changes(),
        seen=seen,
        dropped=len(ledger.dropped),
        dead=dead,
        faults=[
            *(fault for table in tables for fault in table.faults),
            *first_few(check_stream(copy.problems(), replayed(events).problems(), dead)),
            *transaction_faults,
            *check_dead_letters(dead),
        ],
    )


def check_stream(once: Sequence[Problem], again: Sequence[Problem], dead: Sequence[str]) -> list[str]:
    """What the stream must not have done, with each event taken once, and with all redeliveries.

    Only an update tells of a mended row: that is no fault. With redeliveries, values that the server did not send are no
    longer to be found for certain, so of those problems only the ones of the redeliveries themselves count.
    """
    return [
        *(str(each) for each in once if not (each.kind == "unseen" and each.key in dead)),
        *(str(each) for each in again if each.kind in ("content", "behind")),
    ]


def replayed(events: Iterable[Event]) -> Replay:
    """What a reader's copy of the tables holds after all events."""
    replay = Replay()
    for event in across_partitions(events):
        key, value = (part and orjson.loads(part) for part in (event.key, event.value))
        replay.add({"topic": event.topic, "key": key, "value": value, "headers": event.headers})
    return replay


def across_partitions(events: Iterable[Event]) -> Iterator[Event]:
    """All events, each partition's in its own order, and what has no order by itself in that of the commits.

    A row whose key changes goes from one partition to another, and its unsent values with it: the delete must be read first.
    """
    partitions: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        partitions.setdefault((event.topic, event.partition), []).append(event)
    return heapq.merge(*partitions.values(), key=lambda event: place_of(event.id))


def place_of(id: str) -> tuple[int, int, bool]:
    """Commit LSN, number in the transaction (-1: read by a snapshot), and whether it follows from the one before."""
    if found := _FROM_STREAM.fullmatch(id):
        high, low, number, follows = found.groups()
        return _lsn(high, low), int(number), follows is not None
    if found := _FROM_SNAPSHOT.match(id):
        return _lsn(*found.groups()), -1, False
    return 0, -1, False


def _lsn(high: str, low: str) -> int:
    return int(high, 16) << 32 | int(low, 16)


def prove_table(table: str, unique: Iterable[Event], replay: Replay, dsn: str) -> TableProof:
    """One table, row by row. A row that only a dead letter tells of may be missing in the stream, no other."""
    rows = list(read_table(dsn, "public", table))
    withheld = _never_mended() if table == CONTRACT_TABLE else set()
    differences = replay.compare(f"public.{table}", rows)
    missing = {each.key for each in differences if each.kind == "missing"} & withheld
    faults = [str(each) for each in differences if each.kind != "missing" or each.key not in withheld]
    leaked = [f"{table} {key}: breaks its contract and is on the stream" for key in withheld - missing]
    return TableProof(
        name=table,
        rows=len(rows),
        streamed=sum(1 for _ in replay.rows(f"public.{table}")),
        withheld=len(missing),
        ops=Counter(
            op_of(event) for event in unique if table_of(event) == table and ORIGIN not in event.headers
        ),
        faults=[*first_few(faults), *leaked],
    )


def check_transactions(unique: Iterable[Event], ledger: Ledger) -> tuple[int, list[str]]:
    """How many transactions came as events, and what is wrong with them.

    One that was committed before the snapshot's place comes in the snapshot's rows instead. The ledger knows places only
    from before a commit, so shortly before that place both are right; but whole it must be.
    """
    published, start = by_transaction(unique)
    seen, lost, torn = 0, [], []
    for receipt in ledger.receipts:
        found = published.pop(receipt.xid, None)
        if found == receipt.changes:
            seen += 1
        elif found is not None:
            torn.append(receipt.xid)
        elif receipt.changes and receipt.lsn >= start:
            lost.append(receipt.xid)
    dropped = published.keys() & set(ledger.dropped)
    verdicts = {
        "was committed and is not in the stream": lost,
        "is not whole in the stream": torn,
        "was rolled back and yet published": sorted(dropped),
        "was published and is of nobody's making": sorted(published.keys() - dropped),
    }
    return seen, [
        f"transaction {', '.join(first_few(map(str, xids)))}: {what}"
        for what, xids in verdicts.items()
        if xids
    ]


def by_transaction(unique: Iterable[Event]) -> tuple[dict[int, Changes], int]:
    """What each transaction changed, as the stream tells (a key change is one change); and the snapshot's place, its LSN."""
    found: dict[int, Changes] = {}
    start = 0
    for event in unique:
        if event.value is None:
            continue
        value: dict[str, Any] = orjson.loads(event.value)
        if value["op"] == "r":
            start = max(start, place_of(event.id)[0])
        elif value["op"] in _KINDS and "__debezium.oldkey" not in event.headers:
            kind: Kind = "key" if "__debezium.newkey" in event.headers else _KINDS[value["op"]]
            found.setdefault(value["source"]["txId"], Counter())[table_of(event), kind] += 1
    return found, start


def check_dead_letters(dead: Sequence[str]) -> list[str]:
    """The clerk's mistakes, no more and no less."""
    found, expected = Counter(dead), Counter(_key(mistake.id) for mistake in MISTAKES)
    return [
        *(
            f"{CONTRACT_TABLE} {key}: breaks its contract and is no dead letter"
            for key in first_few(expected - found)
        ),
        *(f"{key}: a dead letter for no reason" for key in first_few(found - expected)),
    ]


def key_of(event: Event) -> str:
    """The key as JSON text."""
    return "null" if event.key is None else event.key.decode()


def _never_mended() -> set[str]:
    return {_key(mistake.id) for mistake in MISTAKES if not mistake.mended}


def _key(id: int) -> str:
    return f'{{"id":{id}}}'


def first_few(faults: Iterable[str]) -> list[str]:
    """A few examples, and how many more there are."""
    all_of_them = list(faults)
    more = [f"and {len(all_of_them) - _SHOWN} more like this"] if len(all_of_them) > _SHOWN else []
    return all_of_them[:_SHOWN] + more
