"""Addresses and options of Kafka clients, as a user writes them: librdkafka's names, whichever client is used.

Enters: ``publish.url`` and ``publish.options`` (strings). Leaves: bootstrap servers, and each client's own
settings. Called by everything that connects to Kafka. Never connects, and never lets an option weaken a
promise: what would lose or reorder events is refused.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from liberator.errors import ConfigError

Client = Literal["auto", "confluent", "kafka-python"]
Installed = Literal["confluent", "kafka-python"]

DEFAULT_PORT = 9092

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?")

_OURS = {
    "bootstrap.servers": "publish.url says where the brokers are",
    "metadata.broker.list": "publish.url says where the brokers are",
    "message.timeout.ms": "an event is never given up",
    "delivery.timeout.ms": "an event is never given up",
    "message.send.max.retries": "an event is never given up",
    "retries": "an event is never given up",
    "enable.gapless.guarantee": "order depends on it",
    "partitioner": "events go where Java's client would send them",
    "transactional.id": "the checkpoint's writer is known by it",
    "group.id": "nothing here consumes in a group",
    "isolation.level": "a position is read as it was committed",
    "enable.auto.commit": "nothing here consumes in a group",
}
_FIXED = {"acks": ("all", "-1"), "request.required.acks": ("all", "-1"), "enable.idempotence": ("true",)}
_MOST_IN_FLIGHT = 5
"""More requests in flight than this, and a broker no longer guarantees order after a retry."""


class _Translation(NamedTuple):
    name: str
    convert: Callable[[str], Any] = str


def _checks_names(algorithm: str) -> bool:
    return algorithm.lower() == "https"


def _compression(name: str) -> str | None:
    return None if name == "none" else name


_BOTH = {
    "client.id": _Translation("client_id"),
    "client.dns.lookup": _Translation("client_dns_lookup"),
    "security.protocol": _Translation("security_protocol", str.upper),
    "sasl.mechanism": _Translation("sasl_mechanism"),
    "sasl.mechanisms": _Translation("sasl_mechanism"),
    "sasl.username": _Translation("sasl_plain_username"),
    "sasl.password": _Translation("sasl_plain_password"),
    "sasl.kerberos.service.name": _Translation("sasl_kerberos_service_name"),
    "ssl.ca.location": _Translation("ssl_cafile"),
    "ssl.certificate.location": _Translation("ssl_certfile"),
    "ssl.key.location": _Translation("ssl_keyfile"),
    "ssl.key.password": _Translation("ssl_password"),
    "ssl.crl.location": _Translation("ssl_crlfile"),
    "ssl.endpoint.identification.algorithm": _Translation("ssl_check_hostname", _checks_names),
    "request.timeout.ms": _Translation("request_timeout_ms", int),
    "socket.timeout.ms": _Translation("request_timeout_ms", int),
    "retry.backoff.ms": _Translation("retry_backoff_ms", int),
    "reconnect.backoff.ms": _Translation("reconnect_backoff_ms", int),
    "reconnect.backoff.max.ms": _Translation("reconnect_backoff_max_ms", int),
    "connections.max.idle.ms": _Translation("connections_max_idle_ms", int),
    "metadata.max.age.ms": _Translation("metadata_max_age_ms", int),
    "topic.metadata.refresh.interval.ms": _Translation("metadata_max_age_ms", int),
    "receive.message.max.bytes": _Translation("receive_message_max_bytes", int),
    "socket.receive.buffer.bytes": _Translation("receive_buffer_bytes", int),
    "socket.send.buffer.bytes": _Translation("send_buffer_bytes", int),
    "max.in.flight": _Translation("max_in_flight_requests_per_connection", int),
    "max.in.flight.requests.per.connection": _Translation("max_in_flight_requests_per_connection", int),
}
_PRODUCER = {
    "compression.type": _Translation("compression_type", _compression),
    "compression.codec": _Translation("compression_type", _compression),
    "linger.ms": _Translation("linger_ms", float),
    "queue.buffering.max.ms": _Translation("linger_ms", float),
    "batch.size": _Translation("batch_size", int),
    "transaction.timeout.ms": _Translation("transaction_timeout_ms", int),
}
_MESSAGE_MAX_BYTES = "message.max.bytes"

TRANSLATED = tuple(sorted({*_BOTH, *_PRODUCER, *_FIXED, _MESSAGE_MAX_BYTES}))
"""Every option that kafka-python understands; confluent-kafka takes all of librdkafka's."""


def bootstrap_servers(url: str) -> str:
    """``kafka://host:port[,host:port]`` -> ``host:port,host:port``. Raises `ConfigError`."""
    if not url.startswith("kafka://"):
        raise _bad_url("the URL of a Kafka cluster begins with kafka://")
    servers = url.removeprefix("kafka://").rstrip("/")
    if "@" in servers:
        raise _bad_url("user and password don't belong into the URL: set sasl.username and sasl.password")
    return ",".join(map(_server, servers.split(",")))


def _server(server: str) -> str:
    match = _HOST.fullmatch(server.strip())
    port = int(match["port"] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise _bad_url(f"{server.strip()!r} is not host:port")
    return f"{match['host']}:{port}"


def _bad_url(what: str) -> ConfigError:
    return ConfigError(
        what, code="publish.url", where="publish.url", fix="write kafka://host:9092,otherhost:9092"
    )


def choose(client: Client) -> Installed:
    """The client to use: with ``auto`` confluent-kafka if it is installed, else kafka-python."""
    installed = importlib.util.find_spec("confluent_kafka") is not None
    if client == "auto":
        return "confluent" if installed else "kafka-python"
    if client == "confluent" and not installed:
        raise ConfigError(
            "confluent-kafka is not installed",
            code="publish.client_missing",
            fix="pip install 'liberator[fast]', or use kafka-python",
        )
    return client


def largest_event(options: Mapping[str, str], most: int) -> int:
    """``message.max.bytes``: the size beyond which an event is not even tried; at most `most`."""
    asked: int = _converted(_MESSAGE_MAX_BYTES, options.get(_MESSAGE_MAX_BYTES, str(most)), int)
    return min(asked, most)


def for_confluent(options: Mapping[str, str]) -> dict[str, Any]:
    """Checked options for librdkafka, which knows (and checks) its own names."""
    refuse_weakening(options)
    return {
        name: value for name, value in options.items() if name not in _FIXED and name != _MESSAGE_MAX_BYTES
    }


def for_kafka_python(options: Mapping[str, str], *, producer: bool) -> dict[str, Any]:
    """Checked and translated options for kafka-python: a producer's, or what every one of its clients takes."""
    refuse_weakening(options)
    translated = {}
    for name, value in options.items():
        translation = _BOTH.get(name) or _PRODUCER.get(name)
        if translation is None and name not in _FIXED and name != _MESSAGE_MAX_BYTES:
            raise ConfigError(
                f"kafka-python has no option like {name}",
                code="publish.option",
                where=f"publish.options.{name}",
                fix="remove it, or install confluent-kafka (pip install 'liberator[fast]'), which has",
            )
        if translation is not None and (producer or name in _BOTH):
            translated[translation.name] = _converted(name, value, translation.convert)
    return translated


def _converted(name: str, value: str, convert: Callable[[str], Any]) -> Any:
    try:
        return convert(str(value))
    except ValueError:
        raise _refused(name, "is not a number", "write a whole number") from None


def refuse_weakening(options: Mapping[str, str]) -> None:
    """Raises `ConfigError` for an option of a producer that would break a promise, whichever client is used."""
    for name, value in options.items():
        if name in _OURS:
            raise _refused(name, f"can't be set: {_OURS[name]}", "remove it")
        if name in _FIXED and str(value).lower() not in _FIXED[name]:
            raise _refused(
                name, "can't be weakened: an event counts as published when it is safe", "remove it"
            )
        if name.startswith("max.in.flight") and _converted(name, value, int) > _MOST_IN_FLIGHT:
            raise _refused(
                name, "can't be above 5: order would not survive a retry", "remove it, or lower it"
            )


def _refused(name: str, why: str, fix: str) -> ConfigError:
    return ConfigError(
        f"the option {name} {why}", code="publish.option", where=f"publish.options.{name}", fix=fix
    )
