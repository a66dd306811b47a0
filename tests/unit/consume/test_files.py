"""Files as events: in real folders, remembered over restarts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from liberator.change import ConsumedBatch, TopicPartition
from liberator.consume.files.changes import REMEMBERED
from liberator.consume.files.consumer import FileConsumer, Watched
from liberator.consume.files.looking import look_at
from liberator.consume.files.seen import Seen
from liberator.errors import PreconditionError

PATIENCE = 120.0
PLACE = TopicPartition("in.files", 0)


class Nobody:
    """Who does not care which partitions there are."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None: ...

    revoked = lost = assigned


Open = Callable[..., FileConsumer]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "incoming").mkdir()
    return tmp_path / "incoming"


@pytest.fixture
def open_(folder: Path, tmp_path: Path) -> Iterator[Open]:
    with ExitStack() as stack:

        def opened(pattern: str = "*.json", *, once: bool = False, **options: Any) -> FileConsumer:
            watched = Watched(folder, pattern, **{"settle": 0.0, "interval": 0.01, **options})
            consumer = FileConsumer("in", [watched], Seen(tmp_path / "seen.db"), once=once)
            stack.callback(consumer.close)
            consumer.subscribe((), Nobody())
            return consumer

        yield opened


def poll(consumer: FileConsumer, events: int = 1) -> ConsumedBatch:
    """Until there are so many."""
    end, batch = time.monotonic() + PATIENCE, ConsumedBatch()
    while len(batch) < events:
        assert time.monotonic() < end, f"{len(batch)} of {events} events"
        batch.extend(consumer.poll(100, 0.05))
    return batch


def put(file: Path) -> None:
    """It is there at once, and whole: a look that finds it empty would find it changed the next time."""
    whole = file.parent.with_name("whole")
    whole.write_text("{}")
    whole.replace(file)


def keys(batch: ConsumedBatch) -> list[str]:
    return [(key or b"").decode() for key in batch.keys]


def test_an_event_tells_about_a_file_as_object_stores_do(folder: Path, open_: Open) -> None:
    (folder / "für dich.json").write_text("12345")
    about = (folder / "für dich.json").stat()
    batch = poll(open_())
    value, headers = json.loads(batch.values[0] or b""), dict(batch.headers[0])
    etag = f"{about.st_mtime_ns:x}-5"
    assert value == {
        "event": "created",
        "bucket": str(folder),
        "key": "für dich.json",
        "path": str(folder / "für dich.json"),
        "size": 5,
        "modified": value["modified"],
        "etag": etag,
    }
    assert value["modified"].endswith("Z")
    assert headers["id"] == headers["ce_id"] == f"in/f%C3%BCr%20dich.json/{etag}".encode()
    assert headers["ce_type"] == b"liberator.file.created"
    assert headers["ce_subject"] == "für dich.json".encode()
    assert keys(batch) == ["für dich.json"]
    assert (batch.topics, batch.partitions, batch.offsets) == (["in.files"], [0], [0])


def test_what_is_committed_does_not_come_again_and_what_is_not_does(folder: Path, open_: Open) -> None:
    for name in ("a.json", "b.json"):
        (folder / name).write_text("{}")
    first = open_()
    before = poll(first, 2)
    first.commit({PLACE: 1})
    first.close()
    second = open_()
    batch = poll(second)
    assert keys(batch) == [keys(before)[1]]
    assert dict(batch.headers[0])["id"] == dict(before.headers[1])["id"], "the same event"
    second.commit({PLACE: 1})
    second.close()
    assert len(open_(once=True).poll(100, 0.0)) == 0


def test_a_file_that_was_changed_while_nobody_looked_has_changed(folder: Path, open_: Open) -> None:
    (folder / "a.json").write_text("{}")
    first = open_()
    poll(first)
    first.commit({PLACE: 1})
    first.close()
    (folder / "a.json").write_text("longer")
    batch = poll(open_())
    assert json.loads(batch.values[0] or b"")["event"] == "changed"


def test_a_file_that_its_function_takes_away_is_forgotten_after_a_while(
    folder: Path, open_: Open, tmp_path: Path
) -> None:
    (folder / "a.json").write_text("{}")
    consumer = open_()
    poll(consumer)
    (folder / "a.json").unlink()
    put(folder / "b.json")
    poll(consumer)  # the look that found the one has missed the other
    consumer.commit({PLACE: 2})
    consumer.close()
    watched = f"{folder}/*.json"
    for later, left in ((REMEMBERED - 60, ["a.json", "b.json"]), (REMEMBERED + 60, ["b.json"])):
        seen = Seen(tmp_path / "seen.db", now=lambda later=later: time.time() + later)  # type: ignore[misc]
        assert sorted(seen.known(watched)) == left
        seen.close()


def test_hidden_files_links_and_folders_are_left_out(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.json").write_text("{}")
    (folder / "link.json").symlink_to(outside / "secret.json")
    (folder / "linked").symlink_to(outside)
    (folder / "folder.json").mkdir()
    (folder / ".hidden.json").write_text("{}")
    (folder / "deep").mkdir()
    (folder / "deep" / "a.json").write_text("{}")
    (folder / "b.json").write_text("{}")
    assert sorted(look_at(folder, "**/*.json")) == ["b.json", "deep/a.json"]
    assert sorted(look_at(folder, "*.json")) == ["b.json"]
    assert sorted(look_at(folder, "*/*.json")) == ["deep/a.json"]


def test_a_name_that_is_no_text_is_left_out(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.json")).write_text("{}")
    assert look_at(folder, "*.json") == {}


def test_a_folder_that_is_away_for_a_while_brings_nothing_twice(folder: Path, open_: Open) -> None:
    (folder / "a.json").write_text("{}")
    consumer = open_()
    poll(consumer)
    consumer.commit({PLACE: 1})
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(FileNotFoundError):
        look_at(folder, "*.json")
    consumer.poll(100, 0.05)
    folder.with_name("elsewhere").rename(folder)
    put(folder / "b.json")
    assert keys(poll(consumer)) == ["b.json"]


def test_once_needs_the_folder_to_be_there(tmp_path: Path, folder: Path, open_: Open) -> None:
    folder.rmdir()
    with pytest.raises(PreconditionError) as caught:
        open_(once=True)
    assert caught.value.code == "consume.no_folder"


def test_a_second_process_on_the_same_files_is_refused(open_: Open, tmp_path: Path) -> None:
    open_()
    with pytest.raises(PreconditionError) as caught:
        Seen(tmp_path / "seen.db")
    assert caught.value.code == "consume.files_in_use"


def test_paused_files_wait(folder: Path, open_: Open) -> None:
    consumer = open_()
    consumer.poll(1, 0.0)
    consumer.pause([PLACE])
    put(folder / "a.json")
    assert len(consumer.poll(100, 0.1)) == 0
    consumer.resume([PLACE])
    assert keys(poll(consumer)) == ["a.json"]
    assert consumer.lag() == {PLACE: 1}
    consumer.commit({PLACE: 1})
    assert consumer.lag() == {PLACE: 0}
