"""The place of an event in its transaction, and the marks where transactions begin and end.

Enters: transactions and the tables of their events. Leaves: JSON for ``transaction``, records for the transaction topic.
Called by the log's executor, where such metadata is asked for. No I/O.
"""

from __future__ import annotations

import json

from liberator.change import Record
from liberator.codec.envelope import Transaction


class TransactionMetadata:
    """topic: of the marks."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._id = ""
        self._counts: dict[str, int] = {}

    def begin(self, transaction: Transaction, prefix: bytes) -> Record:
        """The mark of its begin. prefix: of the ids of its events."""
        self._id = f"{transaction.xid}:{transaction.commit_lsn}"
        self._counts = {}
        return self._mark("BEGIN", transaction, prefix, None)

    def end(self, transaction: Transaction, prefix: bytes) -> Record:
        """The mark of its end."""
        return self._mark("END", transaction, prefix, self._counts)

    def event(self, table: str) -> bytes:
        """The ``transaction`` field of one more event. table: ``schema.table``."""
        count = self._counts[table] = self._counts.get(table, 0) + 1
        document = {
            "id": self._id,
            "total_order": sum(self._counts.values()),
            "data_collection_order": count,
        }
        return json.dumps(document, separators=(",", ":")).encode()

    def _mark(
        self, status: str, transaction: Transaction, prefix: bytes, counts: dict[str, int] | None
    ) -> Record:
        document = {
            "status": status,
            "id": self._id,
            "ts_ms": transaction.committed_us // 1000,
            "event_count": None if counts is None else sum(counts.values()),
            "data_collections": None
            if counts is None
            else [{"data_collection": name, "event_count": count} for name, count in counts.items()],
        }
        key = json.dumps({"id": self._id}, separators=(",", ":")).encode()
        value = json.dumps(document, separators=(",", ":")).encode()
        return Record(self._topic, key, value, b"%b%b" % (prefix, status.lower().encode()))
