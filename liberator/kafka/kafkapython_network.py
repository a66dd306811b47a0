"""How kafka-python connects, with what it keeps to itself: why a broker does not let us in.

Enters: a client class of the library and its settings. Leaves: a connected client, or a `KafkaFailure` with the
reason. Called by everything that uses kafka-python. The library tries for ever where a password or a certificate is
refused, and only logs the reason: its network layer is extended here, at the points it offers, to end that.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import kafka.errors
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from liberator.kafka.errors import KafkaFailure, Key

DIRECT = "direct://"
"""The ``proxy_url`` of `_ClosingSocket`: the library looks for a kind of socket by its scheme."""

_WRAPPED = re.compile(r"\[Error (\d+)\]")
"""The broker's error number in an exception that has no number of its own."""

_HANG_UPS = 3
"""Logins in a row that end with a hang-up before that counts as a refusal: one may be a broker that shuts down."""

_KINDS: tuple[tuple[type[BaseException], Key], ...] = (
    (kafka.errors.KafkaTimeoutError, "timeout"),
    (kafka.errors.KafkaProtocolError, "listener"),
    (kafka.errors.RetriableError, "unreachable"),
    (kafka.errors.IllegalStateError, "sequence"),
    (kafka.errors.TransactionAbortedError, "sequence"),
    (kafka.errors.CommitFailedError, "lost"),
    (OSError, "unreachable"),
)

# Its errors reach us as exceptions; its log would repeat them at every attempt, and at debug it shows keys and values.
if logging.getLogger("kafka").level == logging.NOTSET:
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


def failure_of(error: BaseException) -> KafkaFailure:
    """An exception of kafka-python as a key of the table."""
    words = _words(error)
    if isinstance(error, kafka.errors.BrokerResponseError) and error.errno is not None:
        return KafkaFailure(error.errno, words)
    if "Handshake failed: [SSL" in words:
        return KafkaFailure("listener" if "EOF" in words else "tls", words)
    if (wrapped := _WRAPPED.search(words)) and type(error) is kafka.errors.KafkaError:
        return KafkaFailure(int(wrapped[1]), words)
    key: Key = next((key for kind, key in _KINDS if isinstance(error, kind)), type(error).__name__)
    return KafkaFailure(key, words)


def _words(error: BaseException) -> str:
    # Some messages quote whole requests, and with them what a person should not see in a log.
    return str(error.args[0])[:200] if error.args and isinstance(error.args[0], str) else type(error).__name__


def connected(kind: Callable[..., Any], settings: Mapping[str, Any]) -> tuple[Any, Network]:
    """A connected client of the library, and its network. Raises `KafkaFailure`, leaving no thread or socket behind."""
    networks: list[Network] = []

    def make(**configs: Any) -> KafkaNetClient:
        selector = NetworkSelector(**configs)
        networks.append(Network(selector, **configs))
        return KafkaNetClient(net=selector, manager=networks[-1], **configs)

    try:
        return kind(**settings, kafka_client=make), networks[-1]
    except kafka.errors.KafkaError as error:
        for network in networks:
            network.end()
        refusal = next((network.refusal for network in networks if network.refusal is not None), None)
        raise refusal or failure_of(error) from error


class Network(KafkaConnectionManager):  # type: ignore[misc]  # the library has no type hints
    """The library's connections. refusal: why a broker does not let us in; then there is no connection any more."""

    def __init__(self, net: NetworkSelector, /, **configs: Any) -> None:
        self.refusal: KafkaFailure | None = None
        self._sasl = str(configs.get("security_protocol")).startswith("SASL")
        self._hang_ups = 0
        super().__init__(net, **configs)

    def get_connection(self, node_id: Any, **settings: Any) -> Any:
        """As the library's, noticing how it ends."""
        connection = super().get_connection(node_id, **settings)
        if not connection.init_future.is_done:
            connection.init_future.add_callback(self._let_in)
            connection.init_future.add_errback(self._failed, connection)
        return connection

    def end(self) -> None:
        """Close what the library's own `close` may have left behind: connections, sockets, thread. Idempotent."""
        self.close()
        self._net.close()
        for connected in _SOCKETS.pop(self._net, ()):
            connected.close()

    def _let_in(self, _: object) -> None:
        self._hang_ups = 0

    def _failed(self, connection: Any, error: BaseException) -> None:
        failure = failure_of(error)
        if self._sasl and connection.broker_version is not None and failure.key == "unreachable":
            # A broker hangs up right after it has refused a login, and the library then drops what it said.
            self._hang_ups += 1
            if self._hang_ups >= _HANG_UPS:
                failure = KafkaFailure("login", "the broker hangs up during the login")
        if failure.verdict.action == "stop" and self.refusal is None:
            self.refusal = failure
            self.close()


_SOCKETS: WeakKeyDictionary[NetworkSelector, list[socket.socket]] = WeakKeyDictionary()
"""Connected sockets by network: a client that is closed while its thread works forgets some of them."""


class _ClosingSocket(KafkaNetSocket):  # type: ignore[misc]  # the library has no type hints
    """Closes a socket that could not be connected; the library leaves one behind at every attempt of an outage."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: socket.socket, *where: Any, **limits: Any) -> socket.socket:
        try:
            connected: socket.socket = await super().sock_connect(net, sock, *where, **limits)
        except BaseException:
            sock.close()
            raise
        others = [other for other in _SOCKETS.get(net, ()) if other.fileno() >= 0]
        _SOCKETS[net] = [*others, connected]
        return connected
