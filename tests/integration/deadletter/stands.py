"""A dead-letter topic and an original one, in each technology: written and read past the code under test."""

from __future__ import annotations

import abc
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer

from liberator.change import ConsumedBatch, ReadHeaders, TopicPartition
from liberator.deadletter.box import Box
from liberator.deadletter.kafka import KafkaBox
from liberator.deadletter.ledger import Ledger, Wanted
from liberator.deadletter.letter import Letter, LetterId
from liberator.deadletter.local import LocalBox
from liberator.deadletter.redrive import Discard, Judge, Redrive
from liberator.kafka import Client, TopicSettings
from liberator.letters import diagnostics
from liberator.locallog import LocalLog
from liberator.locallog.record import pack
from tests.integration.publish import topics

RULE = "/status: is none of the 3 values that the contract lists (enum, at /properties/status/enum)"


class Found(NamedTuple):
    """A record as a reader of committed records gets it."""

    key: bytes | None
    value: bytes | None
    headers: ReadHeaders


class Ended(NamedTuple):
    """A command that has ended: its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Any]:
        """Its lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class Stand(abc.ABC):
    """Where the tests play. topic: where events belong. dead: the dead-letter topic."""

    def __init__(self, name: str) -> None:
        self.topic = f"{name}.orders"
        self.dead = f"{name}.dead-letters"
        self._boxes: list[Box] = []

    def box(self) -> Box:
        """A new one, as another command would make it."""
        self._boxes.append(self._make())
        return self._boxes[-1]

    @abc.abstractmethod
    def _make(self) -> Box:
        pass

    @abc.abstractmethod
    def append_all(self, topic: str, records: Sequence[Found]) -> None:
        """Add records to the first partition, durable and committed when this returns."""

    def append(self, topic: str, key: bytes | None, value: bytes | None, headers: ReadHeaders = ()) -> None:
        """Add a record."""
        self.append_all(topic, [Found(key, value, headers)])

    @abc.abstractmethod
    def records(self, topic: str) -> list[Found]:
        """All committed records of the first partition; nothing where there is no topic."""

    def event(self, id: str, key: bytes | None = b"k", value: bytes | None = b"{}") -> None:
        """An event on the original topic."""
        self.append(self.topic, key, value, (("id", id.encode()),))

    def letter(
        self,
        id: str | None,
        key: bytes | None = b"k",
        value: bytes | None = b"{}",
        *,
        own: ReadHeaders = (),
        origin: int = -1,
        connector: str = "shop",
        more: ReadHeaders = (),
        message: str = RULE,
    ) -> None:
        """A dead letter. origin: the offset at which a sink read it, in the first partition."""
        headers = own if id is None else (("id", id.encode()), *own)
        why = self._why(origin, connector, message)
        self.append(self.dead, key, value, (*headers, *why, *more))

    def letters(self, ids: Iterable[str], keys: int) -> None:
        """Many of them at once, on so many keys."""
        why = self._why(-1, "shop", RULE)
        found = [
            Found(b"%d" % (number % keys), b"{}", (("id", id.encode()), *why))
            for number, id in enumerate(ids)
        ]
        self.append_all(self.dead, found)

    def _why(self, origin: int, connector: str, message: str) -> ReadHeaders:
        return diagnostics(
            topic=self.topic,
            connector=connector,
            stage="VALUE_CONVERTER",
            error="liberator.ContractError",
            message=message,
            now_ms=1_700_000_000_000,
            partition=-1 if origin < 0 else 0,
            offset=origin,
        )

    def ids(self) -> list[str]:
        """The events on the original topic."""
        found = [dict(record.headers).get("id") for record in self.records(self.topic)]
        return [(id or b"-").decode() for id in found]

    def redrive(
        self,
        *ids: str,
        box: Box | None = None,
        judge: Judge = lambda letter: None,
        force: bool = False,
        dry_run: bool = False,
    ) -> list[tuple[str, str]]:
        """(id of the letter, what became of it)."""
        used = box or self.box()
        ledger = Ledger(used, self.dead, complete=True)
        chosen = frozenset(map(LetterId.parse, ids)) or None
        results = Redrive(used, ledger, judge, force=force, dry_run=dry_run).run(
            Wanted("shop", chosen, done=bool(ids))
        )
        return [(str(result.letter.id), result.fate) for result in results]

    def discard(self, *ids: str, reason: str = "no") -> list[tuple[str, str]]:
        box = self.box()
        chosen = frozenset(map(LetterId.parse, ids)) or None
        results = Discard(box, Ledger(box, self.dead, complete=True), reason).run(Wanted("shop", chosen))
        return [(str(result.letter.id), result.fate) for result in results]

    def pending(self, **wanted: object) -> list[Letter]:
        ledger = Ledger(self.box(), self.dead, complete=False)
        ledger.look()
        return list(ledger.letters(Wanted("shop", **wanted)))  # type: ignore[arg-type]  # the tests' own keywords

    def close(self) -> None:
        for box in self._boxes:
            box.close()


class LocalStand(Stand):
    """In a local log."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name)
        self.folder = folder
        self._log = LocalLog(folder)
        self._log.create_topic(self.dead)

    def _make(self) -> Box:
        return LocalBox(self.folder, partitions=1, settings={})

    def append_all(self, topic: str, records: Sequence[Found]) -> None:
        self._log.create_topic(topic)
        count = len(records)
        with self._log.transaction() as transaction:
            transaction.append(
                [topic] * count,
                [0] * count,
                [it.key for it in records],
                [it.value for it in records],
                [pack(it.headers) for it in records],
            )

    def records(self, topic: str) -> list[Found]:
        batch = ConsumedBatch()
        for at, bounds in self._log.bounds([topic]).items():
            self._log.read(at, bounds.first, 100_000, 1 << 30, batch)
        return list(map(Found, batch.keys, batch.values, batch.headers))

    def close(self) -> None:
        super().close()
        self._log.close()


class KafkaStand(Stand):
    """In Kafka, through one of the clients."""

    def __init__(self, bootstrap: str, client: Client, name: str) -> None:
        super().__init__(name)
        self.bootstrap = bootstrap
        self.client = client
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        topics.create(bootstrap, self.dead)
        self._made = {self.dead}

    def _make(self) -> Box:
        return KafkaBox(
            f"kafka://{self.bootstrap}", options={}, create_topics=TopicSettings(1), client=self.client
        )

    def append_all(self, topic: str, records: Sequence[Found]) -> None:
        if topic not in self._made and not topics.partitions_of(self.bootstrap, topic):
            topics.create(self.bootstrap, topic)
        self._made.add(topic)
        for it in records:
            self._producer.produce(topic, it.value, it.key, 0, headers=list(it.headers))
        assert self._producer.flush(60) == 0

    def records(self, topic: str) -> list[Found]:
        box = self._make()
        try:
            bounds = box.bounds(topic)
            pieces: Sequence[ConsumedBatch] = (
                list(box.read(TopicPartition(topic, 0), *bounds[0])) if bounds else []
            )
        finally:
            box.close()
        return [found for it in pieces for found in map(Found, it.keys, it.values, it.headers)]
