"""Publishing into the local log: the suite of all publishers, and what is the local log's own."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.change import EncodedBatch, Record
from liberator.checkpoint.local import LocalCheckpoint
from liberator.errors import PublishError
from liberator.locallog import LocalLog, LocalLogFailure
from liberator.publish.local import LocalPublisher
from liberator.testing.conformance.publisher import (
    Outlet,
    OwningConformance,
    OwningOutlet,
    TimekeepingConformance,
    assert_ordered_by_key,
    batch_of,
    numbers,
)
from liberator.testing.publisher import Published
from tests.unit.kafka.test_kafka_rules import VECTORS
from tests.unit.locallog.events import read


class LocalOutlet(Outlet):
    topic = "shop.public.orders"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = LocalLog(folder)
        self._open: list[LocalPublisher] = []

    def open(
        self,
        *,
        partitions: int | None = 6,
        settings: dict[str, str] | None = None,
        exactly_once: str | None = None,
        memory: int = 64 << 20,
    ) -> LocalPublisher:
        publisher = LocalPublisher(
            self.folder,
            partitions=partitions,
            settings=settings,
            dead_letter_topic="shop.dead-letters",
            exactly_once=exactly_once,
            memory=memory,
        )
        self._open.append(publisher)
        return publisher

    def published(self, topic: str | None = None) -> list[Published]:
        topic = topic or self.topic
        known = self.log.topic(topic)
        events = []
        for partition in range(len(known.partitions) if known else 0):
            batch = read(self.log, topic, partition)
            columns = zip(batch.keys, batch.values, batch.headers, batch.timestamps, strict=True)
            for key, value, headers, timestamp in columns:
                named = {name: content or b"" for name, content in headers}
                events.append(Published(topic, key, value, named, partition, timestamp))
        return events

    def close(self) -> None:
        for publisher in self._open:
            publisher.close()
        self.log.close()


@pytest.fixture
def outlet(tmp_path: Path) -> Iterator[LocalOutlet]:
    outlet = LocalOutlet(tmp_path / "log")
    yield outlet
    outlet.close()


class TestLocalPublisher(TimekeepingConformance):
    @pytest.fixture
    def outlet(self, outlet: LocalOutlet) -> LocalOutlet:
        return outlet


# Partitions and topics


def test_chooses_the_partitions_that_java_would_choose(outlet: LocalOutlet) -> None:
    batch = EncodedBatch(string_keys=True)
    for number, (key, _, _, _) in enumerate(VECTORS):
        batch.add(outlet.topic, key, b"{}", b"id/%d" % number)
    outlet.open(partitions=12).publish(batch, None)
    arrived = {event.key: event.partition for event in outlet.published()}
    assert arrived == {key: of_12 for key, _, _, of_12 in VECTORS}


def test_events_without_a_key_are_spread_batch_by_batch(outlet: LocalOutlet) -> None:
    publisher = outlet.open(partitions=3)
    for start in range(0, 30, 5):
        batch = EncodedBatch()
        for number in range(start, start + 5):
            batch.add(outlet.topic, None, b'{"n":%d}' % number, b"id/%d" % number)
        publisher.publish(batch, None)
    found = outlet.published()
    for partition in range(3):
        mine = numbers(event for event in found if event.partition == partition)
        assert len(mine) == 10
        assert mine[:5] == list(range(mine[0], mine[0] + 5))


def test_control_records_come_behind_their_batch(outlet: LocalOutlet) -> None:
    batch = batch_of(outlet.topic, range(3))
    batch.control.append(Record("heartbeat", b"{}", b'{"n":1}', b"hb/1"))
    batch.control.append(Record(outlet.topic, b'{"id":0}', b'{"n":9}', b"c/1", (("kind", b"marker"),)))
    outlet.open(partitions=1).publish(batch, None)
    assert [event.id for event in outlet.published("heartbeat")] == [b"hb/1"]
    last = outlet.published()[-1]
    assert last.headers == {"id": b"c/1", "kind": b"marker"}


def test_a_missing_topic_is_refused_if_it_may_not_be_made(outlet: LocalOutlet) -> None:
    publisher = outlet.open(partitions=None)
    for _ in range(2):
        with pytest.raises(PublishError) as refused:
            publisher.publish(batch_of(outlet.topic, range(3)), None)
        assert (refused.value.code, refused.value.retryable) == ("publish.unknown_topic", False)
    outlet.log.create_topic(outlet.topic, 2)
    again = outlet.open(partitions=None)
    again.publish(batch_of(outlet.topic, range(3)), None)
    assert {event.partition for event in outlet.published()} <= {0, 1}


def test_dead_letters_are_never_compacted(outlet: LocalOutlet) -> None:
    publisher = outlet.open(settings={"cleanup.policy": "compact", "retention.ms": "1000"})
    publisher.publish(batch_of("shop.dead-letters", range(1)), None)
    publisher.publish(batch_of(outlet.topic, range(1)), None)
    topics = outlet.log.topics()
    assert topics[outlet.topic].settings.compact
    assert not topics["shop.dead-letters"].settings.compact
    assert topics["shop.dead-letters"].settings.retention_ms == 1_000


@pytest.mark.parametrize(
    ("topic", "key", "code"),
    [
        ("orders", None, "publish.record_refused"),
        ("or ders", b"1", "publish.topic_name"),
    ],
)
def test_what_kafka_refuses_is_refused_and_nothing_more_accepted(
    outlet: LocalOutlet, topic: str, key: bytes | None, code: str
) -> None:
    publisher = outlet.open(settings={"cleanup.policy": "compact"})
    batch = batch_of(outlet.topic, range(3))
    batch.add(topic, key, b"{}", b"id/9")
    with pytest.raises(PublishError) as refused:
        publisher.publish(batch, {"slot": b"1"})
    assert refused.value.code == code
    with pytest.raises(PublishError):
        publisher.publish(batch_of(outlet.topic, range(3)), None)
    assert publisher.durable() is None
    assert outlet.published() == []


def test_who_is_busy_for_too_long_is_waited_for_again(
    outlet: LocalOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = outlet.open()
    publisher.publish(batch_of(outlet.topic, range(3)), {"slot": b"1"})
    monkeypatch.setattr(publisher._log.file, "_patience", 0.05)
    with outlet.log.transaction(), pytest.raises(PublishError) as refused:
        publisher.publish(batch_of(outlet.topic, range(3, 6)), {"slot": b"2"})
    assert (refused.value.code, refused.value.retryable) == ("publish.busy", True)
    assert publisher.durable() == {"slot": b"1"}
    publisher.publish(batch_of(outlet.topic, range(3, 6)), {"slot": b"2"})
    assert publisher.durable() == {"slot": b"2"}
    assert_ordered_by_key(outlet.published(), 6)


# Exactly once


class ExactlyOnceOutlet(OwningOutlet):
    """The same, for connector shop."""

    topic = LocalOutlet.topic

    def __init__(self, folder: Path) -> None:
        self.plain = LocalOutlet(folder)

    def open(self) -> LocalPublisher:
        publisher = self.plain.open(exactly_once="shop", memory=1 << 20)
        publisher.take_over()
        return publisher

    def published(self) -> list[Published]:
        return self.plain.published()

    def saved(self) -> dict[str, bytes]:
        return dict(LocalCheckpoint(self.plain.folder, "shop").load())


class TestExactlyOnce(OwningConformance, TimekeepingConformance):
    @pytest.fixture
    def outlet(self, tmp_path: Path) -> Iterator[ExactlyOnceOutlet]:
        outlet = ExactlyOnceOutlet(tmp_path / "log")
        yield outlet
        outlet.plain.close()


@pytest.mark.parametrize("exactly_once", [None, "shop"])
def test_a_batch_is_written_though_cleaning_has_to_wait(
    exactly_once: str | None, outlet: LocalOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be sent again."""
    publisher = outlet.open(exactly_once=exactly_once)
    if exactly_once:
        publisher.take_over()

    def busy() -> None:
        raise LocalLogFailure("busy", "another process writes", retryable=True)

    monkeypatch.setattr(publisher._log, "clean_when_due", busy)
    for number in range(2):
        publisher.publish(batch_of(outlet.topic, [number]), {"slot": b"%d" % number})
        assert publisher.durable() == {"slot": b"%d" % number}
    assert sorted(numbers(outlet.published())) == [0, 1]


def test_a_log_that_turns_out_damaged_when_it_is_cleaned_stops_behind_the_batch(
    outlet: LocalOutlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = outlet.open()

    def damaged() -> None:
        raise LocalLogFailure("corrupt", "the local log is damaged")

    monkeypatch.setattr(publisher._log, "clean_when_due", damaged)
    for _ in range(2):
        with pytest.raises(PublishError, match="damaged"):
            publisher.publish(batch_of(outlet.topic, [0]), {"slot": b"1"})
    assert publisher.durable() == {"slot": b"1"}
    assert numbers(outlet.published()) == [0]


def test_connectors_of_other_names_are_not_fenced(outlet: LocalOutlet) -> None:
    publishers = [outlet.open(exactly_once=name) for name in ("shop", "other")]
    for number, publisher in enumerate(publishers):
        publisher.take_over()
        publisher.publish(batch_of(outlet.topic, [number]), {"slot": b"1"})
    for number, publisher in enumerate(publishers, 2):
        publisher.publish(batch_of(outlet.topic, [number]), {"slot": b"2"})
    assert_ordered_by_key(outlet.published(), 4)


_PUBLISH_UNTIL_KILLED = """
import itertools
from liberator.publish.local import LocalPublisher
from liberator.testing.conformance.publisher import batch_of
publisher = LocalPublisher({folder!r}, partitions=3, exactly_once="shop")
begin = int(publisher.take_over().get("slot", b"0"))
for start in itertools.count(begin, 20):
    publisher.publish(batch_of({topic!r}, range(start, start + 7)), None)
    publisher.publish(batch_of({topic!r}, range(start + 7, start + 20)), {{"slot": b"%d" % (start + 20)}})
    print(publisher.durable()["slot"].decode(), flush=True)
"""


def test_through_kills_every_event_comes_exactly_once(outlet: LocalOutlet) -> None:
    program = _PUBLISH_UNTIL_KILLED.format(folder=str(outlet.folder), topic=outlet.topic)
    durable = 0
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline()
            time.sleep(random.uniform(0.01, 0.2))
            process.send_signal(signal.SIGKILL)
            told = [int(line) for line in process.stdout.read().splitlines() if line.isdigit()]
        durable = max([durable, *told])
        found = numbers(outlet.published())
        assert sorted(found) == list(range(len(found))), "an event is missing, or came twice"
        assert len(found) % 20 == 0, "a part of a batch is there"
        assert len(found) >= durable, "what was durable is gone"
    assert durable > 0


_PUBLISH_A_HUNDRED = """
import time
from liberator.publish.local import LocalPublisher
from liberator.testing.conformance.publisher import batch_of
publisher = LocalPublisher({folder!r}, partitions=3)
longest = 0.0
for start in range(0, 1000, 10):
    began = time.monotonic()
    publisher.publish(batch_of({topic!r}, range(start, start + 10)), None)
    longest = max(longest, time.monotonic() - began)
print(longest)
"""


def test_several_processes_write_at_once_and_each_in_its_order(outlet: LocalOutlet) -> None:
    topics = [f"from-{number}" for number in range(3)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _PUBLISH_A_HUNDRED.format(folder=str(outlet.folder), topic=topic)],
            stdout=subprocess.PIPE,
        )
        for topic in topics
    ]
    longest = [float(writer.communicate(timeout=240)[0]) for writer in writers]
    for topic in topics:
        assert_ordered_by_key(outlet.published(topic), 1_000)
    assert max(longest) < 60
