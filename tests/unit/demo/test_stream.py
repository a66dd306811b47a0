"""What the demo's own consumer makes of a file and of events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.demo.stream import ORIGIN, FileStream

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


def read_to_the_end(stream: FileStream) -> list[str]:
    stream.finish()
    end = time.monotonic() + 10
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
    time.sleep(0.3)
    assert stream.counts().events == 1
    with file.open("a") as more:
        more.write(whole[20:])
    assert read_to_the_end(stream) == ["1", "2"]


def test_reads_on_when_a_torn_line_is_cut_and_written_anew(stream: FileStream, file: Path) -> None:
    file.write_text(line("1") + line("2")[:20])
    time.sleep(0.3)
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
    file.write_text(line("1", topic=TOPICS[1], **{ORIGIN: TOPICS[0]}))
    read_to_the_end(stream)
    counts = stream.counts()
    assert counts.dead == {"orders": 1}
    assert not counts.ops
    assert counts.last[0].dead


def test_says_what_it_died_of(stream: FileStream, file: Path) -> None:
    file.write_text("this is no JSON\n")
    with pytest.raises(ValueError):
        read_to_the_end(stream)
