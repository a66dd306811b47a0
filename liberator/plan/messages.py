"""Logical messages -> events.

Enters: messages whose prefix is to be published. Leaves: events in an `EncodedBatch`. Called by the log's executor, which
knows the ids.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from liberator.change import EncodedBatch
from liberator.codec.envelope import LogForm, TableForm, Transaction
from liberator.postgres.pgoutput import LogicalMessage


class Messages:
    """topic: of the events. form: of messages, which belong to no table. now_us: microseconds since the Unix epoch."""

    def __init__(self, topic: str, form: TableForm, now_us: Callable[[], int]) -> None:
        self._topic = topic
        self._form = form
        self._now_us = now_us
        self._logged: LogForm | None = None

    def add(self, out: EncodedBatch, message: LogicalMessage, id: bytes, transaction: Transaction) -> None:
        """Append the event. transaction: the one under way; a message outside of transactions comes after it."""
        form = self._of(transaction) if message.transactional else self._alone(message, transaction)
        prefix = json.dumps(message.prefix, ensure_ascii=False).encode()
        content = b'"%b"' % base64.b64encode(message.content)
        key = b'{"prefix":%b}' % prefix
        value, headers = form.message(prefix, content, message.lsn, key, id)
        out.add(self._topic, key, value, id, headers)

    def _of(self, transaction: Transaction) -> LogForm:
        form = self._logged
        if form is None or form.number != transaction.number:
            form = self._logged = self._form.logged(transaction)
        return form

    def _alone(self, message: LogicalMessage, last: Transaction) -> LogForm:
        now = Transaction(message.lsn, self._now_us(), None, last.commit_lsn or None, -1)
        return self._form.logged(now)
