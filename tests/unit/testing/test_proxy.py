"""The proxy of the fault tests: each kind of bad weather, and its end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from liberator.testing.proxy import Proxy
from liberator.testing.servers.process import free_port, wait_until

PATIENCE = 60.0
"""Seconds until something that must happen counts as missing."""


class Echo:
    """A server that sends back what it gets, and says nothing else."""

    def __init__(self) -> None:
        self.heard = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._taking = threading.Thread(target=self._take, daemon=True)
        self._taking.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._taking.join()
        self._listener.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=self._listener.accept()[:1], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                self.heard += len(data)
                connection.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as connection:
        assert said(connection, b"hello") == b"hello"
        yield connection


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), PATIENCE)


def said(connection: socket.socket, data: bytes, *, within: float = PATIENCE) -> bytes:
    """What comes back of `data`."""
    connection.settimeout(within)
    connection.sendall(data)
    return heard(connection, len(data))


def heard(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (data := connection.recv(size - len(got))):
        got += data
    return got


def test_carries_every_byte_both_ways_and_counts_them(proxy: Proxy, client: socket.socket) -> None:
    data = bytes(range(256)) * 4000
    threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
    assert heard(client, len(data)) == data
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b"", "the end of one side is the end of the other"
    assert proxy.carried == {"to_server": len(data) + 5, "to_client": len(data) + 5}
    assert proxy.connections == 1


def test_the_last_words_of_a_server_that_leaves_arrive() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Proxy("127.0.0.1", listener.getsockname()[1]) as proxy,
        connected(proxy) as client,
    ):
        server, _ = listener.accept()
        with server:
            server.sendall(b"x" * 60_000)
        time.sleep(0.1)
        assert heard(client, 60_001) == b"x" * 60_000


def test_names_the_same_url_through_itself(proxy: Proxy) -> None:
    assert proxy.url("postgresql://me:pass@db:5432/shop?a=b") == (
        f"postgresql://me:pass@127.0.0.1:{proxy.port}/shop?a=b"
    )
    assert proxy.url("kafka://broker:9092") == f"kafka://127.0.0.1:{proxy.port}"


def test_latency_delays_and_keeps_the_order(proxy: Proxy, client: socket.socket) -> None:
    proxy.slow(0.1, jitter=0.05)
    started = time.monotonic()
    sent = b"".join(b"%04d" % number for number in range(200))
    for start in range(0, len(sent), 40):
        client.sendall(sent[start : start + 40])
        time.sleep(0.002)
    assert heard(client, len(sent)) == sent
    assert time.monotonic() - started >= 0.1
    proxy.calm()

    def is_quick() -> bool:
        started = time.monotonic()
        assert said(client, b"quick") == b"quick"
        return time.monotonic() - started < 0.05

    assert wait_until(is_quick, timeout=PATIENCE)


def test_a_narrow_line_takes_its_time(proxy: Proxy, client: socket.socket) -> None:
    proxy.slow(bandwidth=200_000)
    started = time.monotonic()
    assert said(client, b"x" * 100_000) == b"x" * 100_000
    assert time.monotonic() - started > 0.4


def test_a_reset_is_a_reset_and_the_next_connection_works(proxy: Proxy, client: socket.socket) -> None:
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connected(proxy) as another:
        assert said(another, b"again") == b"again"
    assert proxy.connections == 2


def test_resets_again_and_again_until_it_is_calm(proxy: Proxy) -> None:
    proxy.reset_every(0.05)
    for _ in range(3):
        with pytest.raises(ConnectionResetError), connected(proxy) as connection:
            connection.recv(1)
    proxy.calm()
    with connected(proxy) as connection:
        time.sleep(0.15)
        assert said(connection, b"still") == b"still"


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_what_is_held_arrives_afterwards(
    direction: str, proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    proxy.hold("to_client" if direction == "to_client" else "to_server")
    with pytest.raises(TimeoutError):
        said(client, b"later", within=0.2)
    arrived = 5 if direction == "to_server" else 10
    assert wait_until(lambda: echo.heard == arrived, timeout=PATIENCE)
    proxy.calm()
    client.settimeout(PATIENCE)
    assert heard(client, 5) == b"later"


def test_lets_so_much_of_each_connection_through_and_holds_the_rest(
    proxy: Proxy, client: socket.socket
) -> None:
    proxy.let_through(100_000, "to_client")
    data = b"x" * 300_000
    client.sendall(data)
    assert wait_until(lambda: proxy.carried["to_client"] >= 5 + 100_000, timeout=PATIENCE)
    passed = proxy.carried["to_client"] - 5
    assert passed < 100_000 + 16_384
    assert heard(client, passed) == data[:passed]
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with connected(proxy) as another:
        assert said(another, b"of its own") == b"of its own"
    proxy.let_through(50_000, "to_client")
    client.settimeout(PATIENCE)
    assert heard(client, 50_000) == data[:50_000]
    proxy.calm()
    rest = len(data) - passed - 50_000
    assert heard(client, rest) == data[:rest]


def test_a_black_hole_swallows_and_takes_new_connections_silently(
    proxy: Proxy, client: socket.socket, echo: Echo
) -> None:
    proxy.swallow()
    with pytest.raises(TimeoutError):
        said(client, b"lost", within=0.2)
    with connected(proxy) as another, pytest.raises(TimeoutError):
        said(another, b"lost", within=0.2)
    assert echo.heard == 5
    proxy.calm()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connected(proxy) as another:
        assert said(another, b"found") == b"found"


def test_a_black_hole_may_be_one_way(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.swallow("to_client")
    with pytest.raises(TimeoutError):
        said(client, b"heard", within=0.2)
    assert wait_until(lambda: echo.heard == 10, timeout=PATIENCE)


def test_an_outage_resets_and_refuses_until_it_ends(proxy: Proxy, client: socket.socket) -> None:
    proxy.down()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    assert proxy.open_connections == 0
    proxy.up()
    with connected(proxy) as another:
        assert said(another, b"back") == b"back"


def test_flaps_between_down_and_up(proxy: Proxy) -> None:
    proxy.flap(on=0.1, off=0.1)
    seen: set[str] = set()
    end = time.monotonic() + PATIENCE
    while len(seen) < 2 and time.monotonic() < end:
        try:
            connected(proxy).close()
            seen.add("up")
        except ConnectionRefusedError:
            seen.add("down")
        time.sleep(0.02)
    proxy.calm()
    assert seen == {"up", "down"}
    with connected(proxy) as connection:
        time.sleep(0.25)
        assert said(connection, b"stays") == b"stays"


def test_a_server_that_is_gone_resets_the_connection() -> None:
    with (
        Proxy("127.0.0.1", free_port()) as lost,
        pytest.raises(ConnectionResetError),
        connected(lost) as client,
    ):
        client.recv(1)


def test_closing_twice_is_closing_once(echo: Echo) -> None:
    proxy = Proxy("127.0.0.1", echo.port).start()
    with connected(proxy) as connection:
        said(connection, b"hello")
        proxy.close()
        proxy.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    never_started = Proxy("127.0.0.1", echo.port)
    never_started.close()


def test_lost_packets_hold_up_what_follows_and_lose_nothing(proxy: Proxy, client: socket.socket) -> None:
    proxy.lose(0.2, timeout=0.001)
    sent = bytes(range(256)) * 400
    began = time.monotonic()
    assert said(client, sent) == sent
    assert proxy.lost > 0
    assert time.monotonic() - began >= 0.001
    proxy.calm()
    lost = proxy.lost
    assert said(client, sent) == sent
    assert proxy.lost == lost
