"""What is done of a stream, kept in the database of the rows that it made: table ``liberator_offsets``.

Enters: partitions, offsets. Leaves: what the table says. Called by ``writer``. Saved in the transaction of the rows,
so both are there or neither is. ``refused`` names events before ``next_offset`` that were given up and whose dead
letters may not be durable yet: they come again after a crash, and are given up again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from liberator.change import TopicPartition
from liberator.function.table import database

NAME = "liberator_offsets"


@dataclass(frozen=True, slots=True)
class Done:
    """Of a partition. next: everything before this offset is done, refused: but for these, with the reason."""

    next: int = 0
    refused: Mapping[int, str] = field(default_factory=dict)


class OffsetTable:
    """connector: whose offsets. schema: of the database; None: its default."""

    def __init__(self, connector: str, schema: str | None) -> None:
        self._connector = connector
        self.table = sa.Table(
            NAME,
            sa.MetaData(),
            sa.Column("connector", sa.String(200), primary_key=True),
            sa.Column("topic", sa.String(249), primary_key=True),
            sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("next_offset", sa.BigInteger, nullable=False),
            sa.Column("refused", sa.Text),
            schema=schema,
        )

    def make(self, engine: sa.Engine) -> None:
        """Make the table if it is missing. Raises SQLAlchemy's errors."""
        database.make(engine, self.table)

    def load(
        self, connection: sa.Connection, partitions: Collection[TopicPartition], *, lock: bool = False
    ) -> dict[TopicPartition, Done]:
        """Of these partitions, those that it knows. lock: until the end of the transaction nobody else changes
        them."""
        c = self.table.c
        topics = {partition.topic for partition in partitions}
        query = (
            sa.select(c.topic, c.partition, c.next_offset, c.refused)
            .where(c.connector == self._connector, c.topic.in_(topics))
            .order_by(c.topic, c.partition)
        )
        if lock:
            query = query.where(c.partition.in_({partition.partition for partition in partitions}))
            query = query.with_for_update()
        found = {}
        for topic, number, next, refused in connection.execute(query):
            if (place := TopicPartition(topic, number)) in partitions:
                reasons = {int(offset): why for offset, why in json.loads(refused or "{}").items()}
                found[place] = Done(next, reasons)
        return found

    def save(
        self,
        connection: sa.Connection,
        done: Mapping[TopicPartition, Done],
        known: Collection[TopicPartition],
    ) -> None:
        """known: those that `load` has found. Of others a second writer of the same moment is refused by the key. Raises
        SQLAlchemy's `IntegrityError` then."""
        c = self.table.c
        for place, now in done.items():
            refused = (
                json.dumps({str(offset): why for offset, why in now.refused.items()}) if now.refused else None
            )
            values = {"next_offset": now.next, "refused": refused}
            if place in known:
                at = (c.connector == self._connector, c.topic == place.topic, c.partition == place.partition)
                connection.execute(sa.update(self.table).where(*at).values(values))
            else:
                named = {"connector": self._connector, "topic": place.topic, "partition": place.partition}
                connection.execute(sa.insert(self.table).values({**named, **values}))
