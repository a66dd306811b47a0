"""What the keys of an outbox owe to each other.

Enters: a `Document`. Leaves: faults with their places. Called by `load`, before the single keys are checked, so every value
may still be of any kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from liberator.config.document import Document, KeyPath
from liberator.config.patterns import EVENT_PLACES, TablePattern, split_names
from liberator.config.values import POSTGRES_SCHEMES
from liberator.errors import ConfigError

_TAKEN = ("id", "type")
"""Headers that every event of an outbox has already."""

_ROWS_ONLY = {
    ("source", "tables"): "source.outbox.table names the one table of an outbox",
    ("source", "exclude"): "source.outbox.table names the one table of an outbox",
    ("source", "log", "messages"): "an outbox publishes its own events only",
    ("source", "log", "transaction_topic"): "an outbox publishes its own events only",
}


def outbox_faults(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """What does not go together."""
    if document.get(("source", "mode")) == "outbox":
        yield from _of_outbox(document)
        return
    topic = document.get(("publish", "topic"))
    for place in EVENT_PLACES if isinstance(topic, str) else ():
        if f"{{{place}}}" in topic:
            what = f"only the events of an outbox have {{{place}}} to offer"
            fix = "use {name}, {schema}, {table} and {db}, or mode outbox"
            yield ("publish", "topic"), document.fault(("publish", "topic"), "topic", what, fix)


def _of_outbox(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    for path, why in _ROWS_ONLY.items():
        if document.get(path) not in (None, False, [], ""):
            yield path, document.fault(path, "outbox", f"{why}, so this has no meaning here", "leave it out")
    polled = document.get(("source", "outbox", "capture")) == "poll"
    delivery: KeyPath = ("publish", "delivery")
    if polled and document.get(delivery) == "exactly_once":
        what = "a polled outbox publishes events again when it is killed between publishing and remembering"
        fix = "leave delivery out, or use capture log"
        yield delivery, document.fault(delivery, "delivery", what, fix)
    if polled:
        yield from _of_kept(document)
    url = document.get(("source", "url"))
    if (
        not polled
        and isinstance(url, str)
        and "://" in url
        and url.partition("://")[0] not in POSTGRES_SCHEMES
    ):
        what = "the log and its messages are read from PostgreSQL"
        fix = "write postgresql://USER@HOST:PORT/DATABASE"
        yield ("source", "url"), document.fault(("source", "url"), "url", what, fix)
    table: KeyPath = ("source", "outbox", "table")
    if isinstance(pattern := document.get(table), str) and not _names_one(pattern):
        yield table, document.fault(table, "table_pattern", "an outbox is one table", "write schema.table")
    headers: KeyPath = ("source", "outbox", "headers")
    for name in _names(document.get(headers)):
        if name in _TAKEN:
            what = f"every event has the header {name} already"
            yield headers, document.fault(headers, "value", what, "leave it out, or rename the column")


def _of_kept(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """Rows that stay are told by the greatest one so far, which must not hide what is committed late."""
    path: KeyPath = ("source", "outbox", "after_publish")
    if document.get(path) != "keep":
        return
    if document.get(("source", "outbox", "order_column")) is None:
        what, fix = (
            "rows that stay are told by their order",
            "add order_column, a column that grows with every row",
        )
        yield path, document.fault(path, "outbox", what, fix)
    backend = str(document.get(("source", "url"))).partition("://")[0].partition("+")[0]
    # PostgreSQL tells what is committed late, SQLite has one writer at a time.
    if backend not in (*POSTGRES_SCHEMES, "sqlite") and document.get(("source", "query", "delay")) is None:
        what = "this database does not tell what is committed late, and rows that stay would hide it"
        fix = "set source.query.delay to what the longest transaction takes; or delete or mark rows"
        yield path, document.fault(path, "outbox", what, fix)


def _names_one(text: str) -> bool:
    try:
        return TablePattern.parse(text).exact
    except ValueError:
        return True  # said by the key itself


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return split_names(value)
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
