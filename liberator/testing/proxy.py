"""A TCP proxy with bad weather: what a network does to a connector, made to order.

Enters: the address of a server. Leaves: a port on 127.0.0.1 that leads there, with latency, a narrow line, resets, black
holes and outages that a test turns on and off while everything runs. Called by fault tests, from any thread; the proxy
works in a thread of its own. It knows no protocol, and changes no byte that it lets through.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

from liberator.testing.servers.process import free_port

Direction = Literal["to_server", "to_client"]

_T = TypeVar("_T")
_InTheAir = asyncio.Queue[tuple[float, bytes]]
"""When it arrives, and what."""

_CHUNK = 16 * 1024
_SEGMENT = 1460
"""Bytes that one packet of Ethernet carries."""

_IN_THE_AIR = 64
"""Chunks of a connection that are under way before its sender is held up."""

_NO_LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER with which closing a socket sends a reset."""


@dataclass(slots=True)
class _Weather:
    latency: float = 0.0
    jitter: float = 0.0
    bandwidth: float = math.inf
    loss: float = 0.0
    timeout: float = 0.2


class _Ration:
    """What each connection may carry in one direction, in bytes, and what it has. Made in the proxy's thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.passed: Counter[_Link] = Counter()
        self.replaced = asyncio.Event()


class Proxy:
    """Leads from a port of 127.0.0.1 to ``host:port``. All that is said of time is in seconds.

    Use it as a context manager, or `start` and `close` it. Faults add up until `calm` ends them all.
    """

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self.port = free_port()
        """Where it listens, also again after an outage."""
        self.connections = 0
        """Connections taken so far."""
        self.carried: dict[Direction, int] = {"to_server": 0, "to_client": 0}
        """Bytes let through so far."""
        self.lost = 0
        """Packets lost so far."""
        self._server = (host, port)
        self._chance = random.Random(seed)
        self._weather = _Weather()
        self._passing: dict[Direction, asyncio.Event] = {}
        self._rations: dict[Direction, _Ration] = {}
        self._swallowed: set[Direction] = set()
        self._links: set[_Link] = set()
        self._listener: asyncio.AbstractServer | None = None
        self._plan: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    # -- life

    def start(self) -> Proxy:
        """Listen."""
        self._thread.start()
        self._do(self._open())
        return self

    def close(self) -> None:
        """Reset all connections and stop listening. Idempotent."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def __enter__(self) -> Proxy:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def url(self, url: str) -> str:
        """The same URL, through this proxy."""
        parts = urlsplit(url)
        user, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    @property
    def open_connections(self) -> int:
        """Connections that go through it now."""
        return len(self._links)

    # -- weather

    def slow(self, latency: float = 0.0, *, jitter: float = 0.0, bandwidth: float = math.inf) -> None:
        """Every byte takes `latency`, give or take `jitter`, one way; `bandwidth`: bytes a second, of each
        connection and direction."""
        self._weather.latency, self._weather.jitter, self._weather.bandwidth = latency, jitter, bandwidth

    def lose(self, share: float, *, timeout: float = 0.2) -> None:
        """A line that loses this share of all packets, less than 1, as it looks through TCP: nothing is missing, but all
        that follows on the connection waits until the packet was sent again, after `timeout`, and after twice as long each
        time that it is lost again."""
        self._weather.loss, self._weather.timeout = share, timeout

    def reset(self) -> int:
        """Reset all connections (RST) now; how many there were."""
        return self._do(self._reset())

    def reset_every(self, seconds: float) -> None:
        """Reset all connections again and again."""
        self._follow(self._reset_every(seconds))

    def hold(self, *directions: Direction) -> None:
        """Let nothing pass, and lose nothing: what is held arrives after `calm`. No direction named: both."""
        for direction in directions or self._passing:
            self._call(self._passing[direction].clear)

    def let_through(self, size: int, direction: Direction) -> None:
        """Every connection carries `size` more bytes in that direction, give or take a chunk (16 KiB): what comes after them
        comes after `calm`, or another `let_through`, however fast or slow everybody is."""
        self._call(lambda: self._ration(_Ration(size), direction))

    def swallow(self, *directions: Direction) -> None:
        """A black hole: what comes is taken and thrown away, on new connections too, and nobody is told. A connection
        that lost something never carries anything again. No direction named: both."""
        self._call(lambda: self._swallowed.update(directions or self._passing))

    def down(self) -> None:
        """An outage: connections are reset, and new ones refused, until `up` or `calm`."""
        self._do(self._down())

    def up(self) -> None:
        """The end of an outage."""
        self._do(self._up())

    def flap(self, on: float, off: float) -> None:
        """Down and up, again and again: `on` seconds of every period it leads through, `off` it is down."""
        self._follow(self._flap(on, off))

    def calm(self) -> None:
        """The end of all faults. Connections that a black hole has harmed are reset."""
        self._do(self._calm())

    # -- in the proxy's thread

    async def _open(self) -> None:
        self._passing = {"to_server": asyncio.Event(), "to_client": asyncio.Event()}
        for passing in self._passing.values():
            passing.set()
        await self._up()

    async def _end(self) -> None:
        self._drop_plan()
        await self._down()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _up(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_CHUNK)

    async def _down(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        await self._reset()

    async def _reset(self) -> int:
        links = tuple(self._links)
        for link in links:
            link.reset()
        self._links.clear()
        return len(links)

    async def _reset_every(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._reset()

    async def _flap(self, on: float, off: float) -> None:
        while True:
            await self._down()
            await asyncio.sleep(off)
            await self._up()
            await asyncio.sleep(on)

    async def _calm(self) -> None:
        self._drop_plan()
        self._weather = _Weather()
        for direction in tuple(self._rations):
            self._ration(None, direction)
        self._swallowed.clear()
        for link in [link for link in self._links if link.harmed]:
            link.reset()
            self._links.discard(link)
        for passing in self._passing.values():
            passing.set()
        await self._up()

    def _ration(self, ration: _Ration | None, direction: Direction) -> None:
        if direction in self._rations:
            self._rations.pop(direction).replaced.set()
        if ration is not None:
            self._rations[direction] = ration

    def _drop_plan(self) -> None:
        if self._plan is not None:
            self._plan.cancel()
            self._plan = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        self.connections += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            server_reader, link.server = await asyncio.open_connection(*self._server, limit=_CHUNK)
            await _together(
                *self._carry(link, "to_server", reader, link.server),
                *self._carry(link, "to_client", server_reader, writer),
            )
            link.close()
        except (OSError, asyncio.CancelledError):  # cancelled by `close`, and nobody waits for this task
            link.reset()
        finally:
            self._links.discard(link)

    def _carry(
        self, link: _Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[Coroutine[Any, Any, None], Coroutine[Any, Any, None]]:
        """All bytes of one direction, each when its time has come; the last one empty, for the end."""
        in_the_air: _InTheAir = asyncio.Queue(_IN_THE_AIR)
        return self._take(reader, in_the_air), self._deliver(link, direction, in_the_air, writer)

    async def _take(self, reader: asyncio.StreamReader, in_the_air: _InTheAir) -> None:
        due, data = 0.0, b"-"
        while data:
            data = await reader.read(_CHUNK)
            due = max(due, self._loop.time() + self._delay() + self._resending(len(data)))
            await in_the_air.put((due, data))

    async def _deliver(
        self, link: _Link, direction: Direction, in_the_air: _InTheAir, writer: asyncio.StreamWriter
    ) -> None:
        data = b"-"
        while data:
            due, data = await in_the_air.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await self._passing[direction].wait()
            while (ration := self._rations.get(direction)) and ration.passed[link] >= ration.size:
                await ration.replaced.wait()
            if link.harmed or direction in self._swallowed:
                link.harmed = True
            elif data:
                writer.write(data)
                await writer.drain()
                self.carried[direction] += len(data)
                if direction in self._rations:
                    self._rations[direction].passed[link] += len(data)
                await asyncio.sleep(len(data) / self._weather.bandwidth)
            else:
                writer.write_eof()

    def _delay(self) -> float:
        weather = self._weather
        return max(0.0, weather.latency + weather.jitter * self._chance.uniform(-1, 1))

    def _resending(self, size: int) -> float:
        """Seconds until all packets of so many bytes have got through."""
        weather, longest = self._weather, 0.0
        for _ in range(math.ceil(size / _SEGMENT)):
            waited, timeout = 0.0, weather.timeout
            while self._chance.random() < weather.loss:
                self.lost += 1
                waited, timeout = waited + timeout, 2 * timeout
            longest = max(longest, waited)
        return longest

    # -- between the threads

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _call(self, work: Callable[[], object]) -> None:
        async def call() -> None:
            work()

        self._do(call())

    def _follow(self, plan: Coroutine[Any, Any, None]) -> None:
        def begin() -> None:
            self._drop_plan()
            self._plan = self._loop.create_task(plan)

        self._call(begin)


class _Link:
    """One connection from a client through to the server. harmed: something of it was thrown away."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.harmed = False

    def reset(self) -> None:
        """End it with a reset on both sides."""
        for writer in (self.client, self.server):
            if writer is not None and not writer.is_closing():
                connection: socket.socket = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                writer.transport.abort()

    def close(self) -> None:
        """End it once all that was written has left."""
        for writer in (self.client, self.server):
            if writer is not None:
                writer.close()


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run them side by side until all are done, or one has failed. Raises what that one raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
