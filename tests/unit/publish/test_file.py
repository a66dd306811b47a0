"""Files: synced before a state counts, never torn, never shared."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from liberator.errors import PublishError
from liberator.publish.file import FilePublisher
from liberator.testing.conformance.publisher import Outlet, PublisherConformance, batch_of, numbers
from liberator.testing.publisher import Published
from tests.unit.publish.ndjson_reader import read


class FileOutlet(Outlet):
    topic = "shop.public.orders"

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> FilePublisher:
        return FilePublisher(self.path)

    def published(self) -> list[Published]:
        return read(self.path.read_bytes().splitlines())


class TestFilePublisher(PublisherConformance):
    @pytest.fixture
    def outlet(self, tmp_path: Path) -> FileOutlet:
        return FileOutlet(tmp_path / "deep" / "er" / "events.ndjson")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.ndjson"


def test_a_state_waits_for_the_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[None] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(real(descriptor)))
    monkeypatch.setattr("liberator.publish.file._SYNC_INTERVAL", 3_600.0)
    publisher = FilePublisher(path)
    publisher.publish(batch_of("t", range(3)), {"slot": b"1"})
    assert publisher.durable() is None
    assert synced == []
    monkeypatch.setattr("liberator.publish.file._SYNC_INTERVAL", 0.0)
    assert publisher.durable() == {"slot": b"1"}
    assert len(synced) == 1
    publisher.close()


def test_many_small_batches_share_a_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[None] = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(real(descriptor)))
    publisher = FilePublisher(path)
    started = time.monotonic()
    for number in range(500):
        publisher.publish(batch_of("t", [number]), {"slot": b"%d" % number})
        publisher.durable()
    assert publisher.flush(60)
    assert publisher.durable() == {"slot": b"499"}
    assert len(synced) <= 2 + (time.monotonic() - started) / 0.1
    publisher.close()


def test_a_large_backlog_is_synced_early(path: Path) -> None:
    publisher = FilePublisher(path)
    publisher.publish(batch_of("t", range(90), padding=100_000), {"slot": b"1"})
    assert publisher.durable() == {"slot": b"1"}
    publisher.close()


def test_a_torn_last_line_is_cut(path: Path) -> None:
    publisher = FilePublisher(path)
    publisher.publish(batch_of("t", range(3)), None)
    publisher.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2 - 1].replace(b"\n", b" "))
    publisher = FilePublisher(path)
    assert path.read_bytes() == whole
    publisher.publish(batch_of("t", range(3, 5)), None)
    publisher.close()
    assert numbers(read(path.read_bytes().splitlines())) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("torn", [b"x", b"x" * 300_000, b"\0" * (1 << 16)])
def test_a_torn_line_of_any_length_is_cut(path: Path, torn: bytes) -> None:
    path.write_bytes(b"whole\n" + torn)
    FilePublisher(path).close()
    assert path.read_bytes() == b"whole\n"


def test_a_file_that_is_one_torn_line_becomes_empty(path: Path) -> None:
    path.write_bytes(b"torn" * 50_000)
    FilePublisher(path).close()
    assert path.read_bytes() == b""


def test_a_second_process_is_refused(path: Path) -> None:
    program = (
        "import sys\n"
        "from liberator.publish.file import FilePublisher\n"
        f"publisher = FilePublisher({str(path)!r})\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(PublishError) as refused:
            FilePublisher(path)
        assert refused.value.code == "publish.file_in_use"
        assert refused.value.where == str(path)
        other.communicate()
    FilePublisher(path).close()


def test_a_full_disk_leaves_no_half_batch_and_passes(path: Path) -> None:
    publisher = FilePublisher(path)
    publisher.publish(batch_of("t", range(10)), {"slot": b"1"})
    size = path.stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1_000, limits[1]))
    try:
        with pytest.raises(PublishError) as full:
            publisher.publish(batch_of("t", range(10, 100)), {"slot": b"2"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (full.value.code, full.value.retryable) == ("publish.file_full", True)
    assert path.stat().st_size == size
    publisher.publish(batch_of("t", range(10, 100)), {"slot": b"2"})
    assert publisher.flush(60)
    assert publisher.durable() == {"slot": b"2"}
    publisher.close()
    assert numbers(read(path.read_bytes().splitlines())) == list(range(100))


def test_no_room_on_the_disk_is_retryable() -> None:
    publisher = FilePublisher("/dev/full")
    with pytest.raises(PublishError) as full:
        publisher.publish(batch_of("t", range(1)), None)
    assert (full.value.code, full.value.retryable) == ("publish.file_full", True)
    publisher.close()


def test_a_failed_sync_is_never_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = FilePublisher(path)
    publisher.publish(batch_of("t", range(3)), {"slot": b"1"})

    def broken_disk(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken_disk)
        with pytest.raises(PublishError, match="could not be synced"):
            publisher.flush(1)
    with pytest.raises(PublishError, match="could not be synced"):
        publisher.flush(1)
    with pytest.raises(PublishError, match="could not be synced"):
        publisher.publish(batch_of("t", range(3)), None)
    publisher.close()


def test_a_file_that_was_moved_away_is_noticed(path: Path) -> None:
    publisher = FilePublisher(path)
    publisher.publish(batch_of("t", range(3)), {"slot": b"1"})
    path.rename(path.with_suffix(".old"))
    with pytest.raises(PublishError) as gone:
        publisher.flush(1)
    assert gone.value.code == "publish.file_gone"
    publisher.close()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError) as refused:
        FilePublisher(tmp_path / "file" / "events.ndjson")
    assert refused.value.code == "publish.file_failed"


def test_a_device_takes_events_without_syncing() -> None:
    publisher = FilePublisher("/dev/null")
    publisher.publish(batch_of("t", range(3)), {"slot": b"1"})
    assert publisher.flush(60)
    assert publisher.durable() == {"slot": b"1"}
    publisher.close()


def test_what_was_synced_survives_kill_9(path: Path) -> None:
    program = (
        "import itertools, os, signal\n"
        "from liberator.publish.file import FilePublisher\n"
        "from liberator.testing.conformance.publisher import batch_of\n"
        f"publisher = FilePublisher({str(path)!r})\n"
        "for start in itertools.count(step=10):\n"
        "    publisher.publish(batch_of('t', range(start, start + 10)), {'slot': b'%d' % (start + 9)})\n"
        "    state = publisher.durable()\n"
        "    if state:\n"
        "        print(state['slot'].decode(), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False)
    assert killed.returncode == -9
    durable = int(killed.stdout)
    publisher = FilePublisher(path)
    publisher.close()
    assert numbers(read(path.read_bytes().splitlines()))[: durable + 1] == list(range(durable + 1))
