"""A broker that has not quite become a leader: it refuses the first produce request for a topic, and takes the next.

Enters: the port of a broker. Leaves: one that leads there. Called by fault tests. It knows as much of Kafka's protocol as
it takes to send a request to a partition that does not exist, and to make of the answer that this one has no leader here.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from liberator.testing.servers.process import free_port

_PRODUCE = 0
_FLEXIBLE = 9
"""The version from which on lengths are variable."""

_NOT_LEADER = 6
_NOWHERE = 9999
_SIZE = struct.Struct(">i")
_REQUEST = struct.Struct(">hhi")
"""What it is, its version, and the number under which it is answered."""

_PATIENCE = 2.0
"""Seconds for a next request to follow; a client that has only one under way sends none."""


class _Refused(NamedTuple):
    """A produce request that was sent nowhere, and for which partition it was."""

    version: int
    partition: int


_Change = Callable[[bytearray, dict[int, _Refused]], None]


class LateLeader:
    """port: where it listens. refused: how many requests were."""

    def __init__(self) -> None:
        self.port = free_port()
        self.refused = 0
        self._topic = b""
        self._target = 0
        self._came = 0
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", self.port))

    def refuse_first(self, topic: str) -> None:
        """Of the requests for this topic the first is refused, once another has come, if one does."""
        with self._changed:
            self._topic, self._came, self.refused = topic.encode(), 0, 0

    def before(self, target: int) -> int:
        """Lead to the broker that listens on `target`."""
        self._target = target
        threading.Thread(target=self._accept, daemon=True).start()
        return self.port

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for one
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self._target))
                refused: dict[int, _Refused] = {}
                ways = (client, broker, self._request), (broker, client, self._answer)
                for way in ways:
                    threading.Thread(target=self._pass_on, args=(*way, refused), daemon=True).start()

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, change: _Change, refused: dict[int, _Refused]
    ) -> None:
        stream = source.makefile("rb")
        with contextlib.suppress(OSError), source, sink:
            while (message := _read(stream)) is not None:
                change(message, refused)
                sink.sendall(_SIZE.pack(len(message)) + message)

    def _request(self, message: bytearray, refused: dict[int, _Refused]) -> None:
        kind, version, number = _REQUEST.unpack_from(message)
        if kind != _PRODUCE or not self._topic or self._topic not in message:
            return
        with self._changed:
            self._came += 1
            self._changed.notify_all()
            if self._came > 1:
                return
        place = self._place(message, version)
        refused[number] = _Refused(version, _SIZE.unpack_from(message, place)[0])
        _SIZE.pack_into(message, place, _NOWHERE)

    def _answer(self, message: bytearray, refused: dict[int, _Refused]) -> None:
        (number,) = _SIZE.unpack_from(message)
        if number not in refused:
            return
        asked = refused.pop(number)
        struct.pack_into(">ih", message, self._place(message, asked.version), asked.partition, _NOT_LEADER)
        self.refused += 1
        with self._changed:
            self._changed.wait_for(lambda: self._came > 1, _PATIENCE)

    def _place(self, message: bytearray, version: int) -> int:
        """Where the partition's number stands: behind the topic's name and how many partitions follow."""
        return message.index(self._topic) + len(self._topic) + (1 if version >= _FLEXIBLE else 4)


def _read(stream: BinaryIO) -> bytearray | None:
    head = stream.read(_SIZE.size)
    return bytearray(stream.read(_SIZE.unpack(head)[0])) if len(head) == _SIZE.size else None
