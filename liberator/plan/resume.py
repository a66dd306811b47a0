"""A transaction of the log that was published in part: where it was cut, and what of it is still to come.

Enters: the delta of an interrupted run (exactly once publishes a transaction that is too large for one of Kafka's in
several). Leaves: batches without the events that are published already. Called by executors. No I/O.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from liberator.change import EncodedBatch, Record, State
from liberator.errors import CheckpointError
from liberator.postgres.lsn import format_lsn, parse_lsn

PARTITION = "transaction"
"""Of the checkpoint."""

_VERSION = 1

_OUTSIDE = b"/m"
"""How the id of a logical message outside of transactions ends."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Of the transaction that commits at `commit_lsn`, the first `changes` and `messages` are published."""

    commit_lsn: int
    changes: int
    messages: int

    def encode(self) -> bytes:
        """As saved."""
        fields = {
            "v": _VERSION,
            "commit_lsn": format_lsn(self.commit_lsn),
            "changes": self.changes,
            "messages": self.messages,
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def of(cls, state: State) -> Cut | None:
        """Where a transaction was cut by the run that saved `state`, if it was. Raises `CheckpointError`."""
        if not (data := state.get(PARTITION)):
            return None
        try:
            fields = json.loads(data)
            if fields["v"] == _VERSION:
                return cls(parse_lsn(fields["commit_lsn"]), int(fields["changes"]), int(fields["messages"]))
        except (KeyError, TypeError, ValueError):
            pass
        raise CheckpointError(
            "the checkpoint does not say where a transaction was cut in a way that this version understands",
            code="checkpoint.corrupt",
            where=f"partition {PARTITION}",
            fix="run the version of liberator that wrote it, or start again with `liberate checkpoint reset`",
        )

    def drop_published(self, batch: EncodedBatch, id_prefix: bytes) -> None:
        """Leave out what is published already: events of the transaction whose ids begin with `id_prefix`."""
        published = [index for index, id in enumerate(batch.ids) if self._is_published(id, id_prefix)]
        for column in batch.columns():
            for index in reversed(published):
                del column[index]
        batch.control[:] = [record for record in batch.control if not self._has_gone(record, id_prefix)]
        for record in batch.control:
            if record.before is not None:
                record.before -= sum(index < record.before for index in published)

    def _has_gone(self, record: Record, id_prefix: bytes) -> bool:
        """The mark of the transaction's begin went out with its first events, the word of a change with the row after it."""
        if record.before is not None:
            return self._is_published(record.id, id_prefix)
        return record.id == id_prefix + b"begin"

    def _is_published(self, id: bytes, id_prefix: bytes) -> bool:
        if id.endswith(_OUTSIDE):
            # A message outside of transactions comes before all that commits after it.
            return parse_lsn(b"/".join(id.split(b"/")[-3:-1]).decode()) < self.commit_lsn
        if not id.startswith(id_prefix):
            return False
        place = id[len(id_prefix) :].partition(b"/")[0]
        if place.startswith(b"m"):
            return int(place[1:]) < self.messages
        return int(place) < self.changes


class Cuts:
    """An executor's book of cuts. cut: where the run before has left a transaction, until that has come again."""

    def __init__(self) -> None:
        self.cut: Cut | None = None
        self._saved = False

    def restart(self, state: State) -> None:
        """The stream begins anew at `state`. Raises `CheckpointError`."""
        self.cut = Cut.of(state)
        self._saved = self.cut is not None

    def passed(self, commit_lsn: int) -> None:
        """A transaction that commits there has begun: one that was cut before it has come whole."""
        if self.cut is not None and commit_lsn > self.cut.commit_lsn:
            self.cut = None

    def history(self, history: State) -> State:
        """With the word that no transaction is cut any more, where that is still to be saved."""
        if not self._saved:
            return history
        self._saved = False
        return {**history, PARTITION: b""}

    def at(self, commit_lsn: int, changes: int, messages: int) -> State:
        """What may be saved inside of a transaction of which so much has come. See `Encoder.inside`."""
        self._saved = True
        if self.cut is not None and self.cut.commit_lsn == commit_lsn:
            changes, messages = max(changes, self.cut.changes), max(messages, self.cut.messages)
        return {PARTITION: Cut(commit_lsn, changes, messages).encode()}
