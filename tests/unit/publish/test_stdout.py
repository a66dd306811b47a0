"""Standard output: a reader that stops reading, and one that goes away."""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liberator.errors import PublishError
from liberator.publish.stdout import StdoutPublisher
from liberator.testing.conformance.publisher import StallingConformance, StallingOutlet, batch_of
from liberator.testing.publisher import Published
from tests.unit.publish.ndjson_reader import read


class PipeOutlet(StallingOutlet):
    """A pipe with a reader that can be told to pause."""

    topic = "shop.public.orders"
    memory = 1 << 20

    def __init__(self) -> None:
        self._reading_end, self._writing_end = os.pipe()
        self._received = bytearray()
        self._may_read = threading.Event()
        self._may_read.set()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def open(self) -> StdoutPublisher:
        return StdoutPublisher(os.fdopen(self._writing_end, "wb", closefd=False))

    def published(self) -> list[Published]:
        self.end()
        return read(bytes(self._received).splitlines())

    def stall(self) -> None:
        self._may_read.clear()

    def go_on(self) -> None:
        self._may_read.set()

    def end(self) -> None:
        if self._writing_end >= 0:
            os.close(self._writing_end)
            self._writing_end = -1
        self._may_read.set()
        self._reader.join()

    def _read(self) -> None:
        while True:
            select.select([self._reading_end], [], [])
            self._may_read.wait()
            block = os.read(self._reading_end, 1 << 16)
            if not block:
                os.close(self._reading_end)
                return
            self._received += block


class TestStdoutPublisher(StallingConformance):
    @pytest.fixture
    def outlet(self) -> Iterator[PipeOutlet]:
        outlet = PipeOutlet()
        yield outlet
        outlet.end()


def test_a_slow_reader_holds_up_nobody_longer_than_asked() -> None:
    reading_end, writing_end = os.pipe()
    with os.fdopen(writing_end, "wb") as stream:
        publisher = StdoutPublisher(stream)
        publisher.publish(batch_of("t", range(1_000), padding=10_000), {"slot": b"1"})
        stop = threading.Event()

        def read_slowly() -> None:
            while not stop.wait(0.02):
                os.read(reading_end, 4096)

        reader = threading.Thread(target=read_slowly)
        reader.start()
        started = time.monotonic()
        assert not publisher.ready(0.3)
        assert time.monotonic() - started < 30, "all of it takes the reader fifty seconds"
        stop.set()
        reader.join()
    os.close(reading_end)


def test_a_closed_pipe_acknowledges_nothing_of_its_batch() -> None:
    reading_end, writing_end = os.pipe()
    with os.fdopen(writing_end, "wb") as stream:
        publisher = StdoutPublisher(stream)
        publisher.publish(batch_of("t", range(3)), {"slot": b"1"})
        os.close(reading_end)
        with pytest.raises(PublishError) as refused:
            publisher.publish(batch_of("t", range(3)), {"slot": b"2"})
        assert refused.value.code == "publish.closed_pipe"
        assert not refused.value.retryable
        assert publisher.durable() == {"slot": b"1"}


def test_a_closed_pipe_stays_closed() -> None:
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with os.fdopen(writing_end, "wb") as stream:
        publisher = StdoutPublisher(stream)
        for _ in range(2):
            with pytest.raises(PublishError, match="closed the pipe"):
                publisher.publish(batch_of("t", range(3)), None)


def test_a_reader_that_leaves_is_seen_though_nothing_comes() -> None:
    reading_end, writing_end = os.pipe()
    with os.fdopen(writing_end, "wb") as stream:
        publisher = StdoutPublisher(stream)
        publisher.publish(batch_of("t", range(3)), {"slot": b"1"})
        assert publisher.ready(0)
        os.close(reading_end)
        with pytest.raises(PublishError) as seen:
            publisher.ready(0)
        assert seen.value.code == "publish.closed_pipe"
        assert publisher.durable() == {"slot": b"1"}


def test_a_reader_that_leaves_after_the_last_line_has_taken_it() -> None:
    reading_end, writing_end = os.pipe()
    with os.fdopen(writing_end, "wb") as stream:
        publisher = StdoutPublisher(stream)
        publisher.publish(batch_of("t", range(3)), {"slot": b"1"})
        os.close(reading_end)
        assert publisher.flush(0)
        assert publisher.durable() == {"slot": b"1"}


def test_nothing_is_printed_about_the_pipe_when_python_ends() -> None:
    program = (
        "import sys\n"
        "from liberator.errors import PublishError\n"
        "from liberator.publish.stdout import StdoutPublisher\n"
        "from liberator.testing.conformance.publisher import batch_of\n"
        "publisher = StdoutPublisher(sys.stdout.buffer)\n"
        "try:\n"
        "    while publisher.ready(5):\n"
        "        publisher.publish(batch_of('t', range(1000)), None)\n"
        "except PublishError as error:\n"
        "    sys.exit(0 if error.code == 'publish.closed_pipe' else 1)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(120) == 0


def test_what_was_printed_before_comes_first(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream:
        stream.write(b"first\n")
        StdoutPublisher(stream).publish(batch_of("t", range(1)), None)
    assert (tmp_path / "out").read_bytes().startswith(b'first\n{"topic"')


def test_any_binary_stream_will_do() -> None:
    stream = io.BytesIO()
    publisher = StdoutPublisher(stream)
    publisher.publish(batch_of("t", range(2)), {"slot": b"1"})
    assert publisher.durable() == {"slot": b"1"}
    assert len(stream.getvalue().splitlines()) == 2


def test_a_full_disk_behind_standard_output_is_an_error() -> None:
    with Path("/dev/full").open("wb", buffering=0) as stream:
        publisher = StdoutPublisher(stream)
        with pytest.raises(PublishError, match="No space left") as failed:
            publisher.publish(batch_of("t", range(1)), {"slot": b"1"})
        assert failed.value.code == "publish.stdout_failed"
