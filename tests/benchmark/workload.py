"""What is written to the table before a lap: its rows, and how many events they become.

Enters: how many changes. Leaves: SQL. Called by `ground`. No row is changed twice in the same way, so an event is known by
its key and its operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CREATE = """
CREATE TABLE bench (
    id bigint PRIMARY KEY, customer integer NOT NULL, status text NOT NULL, amount numeric(10,2),
    name text, created timestamptz NOT NULL, active boolean, note text) WITH (autovacuum_enabled = false)
"""
"""Nothing but the rows is written while they are measured, and every lap has the same bytes."""

_LOOP = """
DO $$ BEGIN
    FOR lowest IN 1..{rows} BY {transaction} LOOP
        {body}
    END LOOP;
END $$
"""
_INSERT = """
        INSERT INTO bench SELECT g, g % 1000, (ARRAY['new', 'paid', 'sent'])[1 + g % 3], g * 0.01, 'customer ' || g,
            timestamptz '2026-01-01 12:00:00.123456+00' + g * interval '1 s', g % 2 = 0, {note}
            FROM generate_series(lowest, least(lowest + {count} - 1, {rows})) g;
        COMMIT;
"""
# Of each thousand changes 500 are inserts, 300 updates, 200 deletes; each kind in a transaction.
_MIXED = (
    _INSERT.replace("{count}", "{transaction} / 2")
    + """
        UPDATE bench SET status = 'paid', amount = amount + 1
            WHERE id BETWEEN lowest AND lowest + {transaction} * 3 / 10 - 1;
        COMMIT;
        DELETE FROM bench
            WHERE id BETWEEN lowest + {transaction} * 3 / 10 AND lowest + {transaction} / 2 - 1;
        COMMIT;
"""
)
_SHORT = "repeat('note ', 8)"
# Digits that compress about as badly as real text does.
_LONG = "(SELECT string_agg(md5(g::text || i), ' ') FROM generate_series(1, {words}) i)"


@dataclass(frozen=True, slots=True)
class Workload:
    """name: for people. key: of [a-z], in the names of its laps. fill: SQL that writes so many changes, so many at a time.
    records: the events that they become. share: the part of the asked number that is enough, where rows are large."""

    name: str
    key: str
    fill: Callable[[int, int], str]
    records: Callable[[int], int] = lambda changes: changes
    share: float = 1.0

    def changes(self, asked: int, transaction: int) -> int:
        """Whole transactions."""
        return max(1, round(asked * self.share / transaction)) * transaction


def _inserts(note: str) -> Callable[[int, int], str]:
    def fill(rows: int, transaction: int) -> str:
        body = _INSERT.format(rows=rows, count=transaction, note=note)
        return _LOOP.format(rows=rows, transaction=transaction, body=body)

    return fill


def _mixed(rows: int, transaction: int) -> str:
    body = _MIXED.format(rows=rows, transaction=transaction, note=_SHORT)
    return _LOOP.format(rows=rows, transaction=transaction, body=body)


INSERTS = Workload("inserts", "inserts", _inserts(_SHORT))
MIXED = Workload("mixed", "mixed", _mixed, lambda changes: changes + changes // 5)
"""A delete becomes two events: itself and a tombstone."""

ROWS_200 = Workload("200-byte rows", "short", _inserts(_LONG.format(words=4)), share=0.25)
ROWS_2000 = Workload("2 kB rows", "long", _inserts(_LONG.format(words=57)), share=0.1)

WORKLOADS = {
    "inserts": INSERTS,
    "mixed": MIXED,
    "200": ROWS_200,
    "2000": ROWS_2000,
}
"""By their name on the command line, in the order of the report."""
