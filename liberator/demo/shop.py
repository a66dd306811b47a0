"""The legacy shop: its tables and rows, its contract, and a clerk who breaks that.

Enters: the URL of an empty database. Leaves: tables with rows (`shop.sql`), the contract that the demo stores, and rows
that break it. Called by the demo's story. Never looks at the stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

TABLES = ("customers", "products", "orders", "order_items", "payments", "audit_log")
"""In the order in which people read of them; all in the schema ``public``."""

SEEDED = {"customers": 3000, "orders": 6000}
"""Rows of `shop.sql` that the writers pick from."""

CONTRACT_TABLE = "customers"
CONTRACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A customer of the shop, as its readers need it",
    "type": "object",
    "required": ["id", "cust_no", "name", "country"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "cust_no": {"type": "string", "pattern": "^[CX][0-9]{6} $"},
        "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
        "email": {"type": ["string", "null"], "pattern": "^[^@]+@[^@]+$"},
    },
}
"""Stricter than the table: `country` must be two capital letters, an e-mail address must hold one ``@``."""


def create(dsn: str) -> None:
    """Make and fill the tables."""
    script = Path(__file__).with_name("shop.sql").read_bytes()
    with psycopg.connect(dsn) as connection:
        connection.execute(script)


def store_contract(folder: Path, topic: str) -> Path:
    """Keep the contract of the customers as version 1 of `topic`; its file."""
    path = folder / topic / "1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(CONTRACT, indent=2) + "\n")
    return path


@dataclass(frozen=True)
class Mistake:
    """A customer that breaks the contract. mended: by a later update, so the row reaches its stream after all."""

    id: int
    country: str
    mended: bool


MISTAKES = (Mistake(900_001, "??", mended=False), Mistake(900_002, "de", mended=True))
"""Ids far beyond what the writers touch, so that exactly these events go to the dead letters."""


AGGREGATE = "order"
"""What the events of the outbox are about."""

QUERIED = "products"
"""The table that is read by queries too: its rows change their keys, so some are gone."""

PARCELS = range(900_001, 900_011)
"""Orders that are paid as they are placed, all in one transaction; also far beyond what the writers touch."""

ABROAD = 900_005
"""The one of them that is in a currency for which there is no carrier, so that the function fails on it."""


def row_counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows of each table now."""
    counts = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM public.{table}" for table in TABLES)
    return dict(connection.execute(counts.encode()).fetchall())
