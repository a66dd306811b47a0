"""What the demo's own consumer makes of a file and of events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.change import EncodedBatch
from liberator.demo.stream import ORIGIN, REASON, FileStream, Glance, LocalStream, Stream
from liberator.errors import ConsumeError
from liberator.publish.local import LocalPublisher
from liberator.testing.servers.process import wait_until

TOPICS = ["shop.public.orders", "shop.dead-letters"]


def line(id: str, op: str | None = "c", topic: str = TOPICS[0], **headers: str) -> str:
    value = None if op is None else {"op": op, "after": {"id": 1}}
    event = {
        "topic": topic,
        "key": {"id": 1},
        "value": value,
        "headers": {"id": id, **headers},
        "position": id,
    }
    return json.dumps(event) + "\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.ndjson"


@pytest.fixture
def stream(file: Path) -> Iterator[FileStream]:
    reader = FileStream(file, TOPICS)
    reader.start()
    yield reader
    reader.close()


def read_to_the_end(stream: Stream) -> list[str]:
    stream.finish()
    end = time.monotonic() + 120
    while not stream.finished:
        stream.counts()
        assert time.monotonic() < end
        time.sleep(0.01)
    return [event.id for event in stream.events]


def test_reads_a_file_that_is_made_later(stream: FileStream, file: Path) -> None:
    file.write_text(line("1") + line("2"))
    assert read_to_the_end(stream) == ["1", "2"]


def test_reads_no_line_before_it_is_whole(stream: FileStream, file: Path) -> None:
    whole = line("2")
    file.write_text(line("1") + whole[:20])
    assert wait_until(lambda: stream.counts().events == 1, timeout=120)
    time.sleep(0.3)
    assert stream.counts().events == 1
    with file.open("a") as more:
        more.write(whole[20:])
    assert read_to_the_end(stream) == ["1", "2"]


def test_reads_on_when_a_torn_line_is_cut_and_written_anew(stream: FileStream, file: Path) -> None:
    file.write_text(line("1") + line("2")[:20])
    assert wait_until(lambda: stream.counts().events == 1, timeout=120)
    file.write_text(line("1") + line("3"))
    assert read_to_the_end(stream) == ["1", "3"]


def test_leaves_other_topics_alone(stream: FileStream, file: Path) -> None:
    file.write_text(line("1", topic="billing.public.orders") + line("2"))
    assert read_to_the_end(stream) == ["2"]


def test_counts_an_id_once_and_tells_how_many_came_again(stream: FileStream, file: Path) -> None:
    file.write_text(line("1") + line("2", "u") + line("2", "u") + line("2/t", None))
    read_to_the_end(stream)
    counts = stream.counts()
    assert counts.events == 4
    assert counts.again == 1
    assert counts.ops == {("orders", "c"): 1, ("orders", "u"): 1, ("orders", "tombstone"): 1}


def test_counts_a_dead_letter_for_the_table_that_it_was_meant_for(stream: FileStream, file: Path) -> None:
    """Once, however often it comes."""
    dead = line("1", topic=TOPICS[1], **{ORIGIN: TOPICS[0], REASON: "/total: is no number"})
    file.write_text(dead + dead)
    read_to_the_end(stream)
    counts = stream.counts()
    assert counts.dead == (Glance("orders", "c", '{"id":1}', "/total: is no number"),)
    assert not counts.ops
    assert counts.last == counts.dead


def test_passes_over_what_tells_the_fate_of_a_dead_letter(stream: FileStream, file: Path) -> None:
    file.write_text(line("1", None, topic=TOPICS[1], **{"__liberator.mark": "redriven"}) + line("2"))
    assert read_to_the_end(stream) == ["2"]


def test_shows_events_from_all_over_what_has_come_at_once(stream: FileStream, file: Path) -> None:
    file.write_text("".join(line(str(n), "cu"[n // 50]) for n in range(100)))
    read_to_the_end(stream)
    assert [glance.op for glance in stream.counts().last] == ["c", "c", "u", "u"]


def test_says_what_it_died_of(stream: FileStream, file: Path) -> None:
    file.write_text("this is no JSON\n")
    with pytest.raises(ValueError):
        read_to_the_end(stream)


class Log:
    """A local log that events are published into."""

    def __init__(self, folder: Path) -> None:
        self.stream = LocalStream(folder, TOPICS)
        self._publisher = LocalPublisher(folder, partitions=3)

    def publish(self, *ids: int, topic: str = TOPICS[0]) -> None:
        batch = EncodedBatch()
        for id in ids:
            batch.add(topic, b'{"id":%d}' % id, b'{"op":"c"}', b"%d" % id)
        self._publisher.publish(batch, None)

    def close(self) -> None:
        self.stream.close()
        self._publisher.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    it = Log(tmp_path / "log")
    yield it
    it.close()


def test_reads_all_partitions_of_a_local_log_while_they_are_written(log: Log) -> None:
    log.stream.start()
    log.publish(*range(1500))
    log.publish(7000, topic=TOPICS[1])
    log.publish(8000, topic="billing.public.orders")
    log.publish(*range(1500, 2500))
    assert sorted(map(int, read_to_the_end(log.stream))) == [*range(2500), 7000]
    assert {event.partition for event in log.stream.events} == {0, 1, 2}
    event = next(event for event in log.stream.events if event.id == "42")
    assert (event.topic, event.key, event.value) == (TOPICS[0], b'{"id":42}', b'{"op":"c"}')


def test_reads_each_partition_of_a_local_log_in_its_order(log: Log) -> None:
    log.stream.start()
    for first in range(0, 1000, 100):
        log.publish(*range(first, first + 100))
    read_to_the_end(log.stream)
    for partition in range(3):
        ids = [int(event.id) for event in log.stream.events if event.partition == partition]
        assert ids == sorted(ids)


def test_says_that_a_local_log_can_not_be_opened(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("not a folder")
    stream = LocalStream(tmp_path / "log", TOPICS)
    stream.start()
    with pytest.raises(ConsumeError):
        read_to_the_end(stream)
    stream.close()
