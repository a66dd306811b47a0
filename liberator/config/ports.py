"""Which addresses connectors listen at, and whether two of them mean the same one.

Enters: checked connectors. Leaves: a fault for every address that is taken already. Called by `load`, for what runs side by
side on one machine. What another program has is known only when they listen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from liberator.config.document import KeyPath
from liberator.config.models import SourceConfig
from liberator.config.sidecar import SidecarConfig
from liberator.config.sink import SinkConfig
from liberator.errors import ConfigError

_Any = SourceConfig | SinkConfig | SidecarConfig
_Place = tuple[str, KeyPath]
"""HOST:PORT, and the key that says it."""

_EVERYWHERE = ("0.0.0.0", "::", "")  # recognized, not listened at
_HERE = {"localhost": "127.0.0.1"}


def clashes(configs: Sequence[_Any]) -> Iterator[ConfigError]:
    """A fault for every address that an earlier connector, or another key of the same one, has."""
    taken: list[tuple[str, str]] = []
    for config in configs:
        for listen, path in _listens(config):
            where = config.where(*path)
            owner = next((known for other, known in taken if _meet(listen, other)), None)
            if owner is None:
                taken.append((listen, where))
                continue
            yield ConfigError(
                f"the endpoint {listen} is used twice, first at {owner}",
                code="config.same_listen",
                where=where,
                fix="give each of them a port of its own",
            )


def _listens(config: _Any) -> Iterator[_Place]:
    if config.observe is not None:
        yield config.observe.listen, ("observe", "listen")
    if isinstance(config, SidecarConfig):
        yield config.listen, ("listen",)
    if not isinstance(config, SinkConfig):
        return
    for number, trigger in enumerate(config.trigger):
        if trigger.on == "webhook":
            place: KeyPath = (number,) if len(config.trigger) > 1 else ()
            yield trigger.listen, ("trigger", *place, "listen")
    yield from _callbacks(config)


def _callbacks(config: SinkConfig) -> Iterator[_Place]:
    """Where results of queued calls are posted."""
    for path, function in config.all_functions():
        if function.openfaas is not None and function.openfaas.callback is not None:
            yield function.openfaas.callback.listen, (*path, "openfaas", "callback", "listen")


def _meet(one: str, other: str) -> bool:
    """Do they mean one port of one machine? Port 0 is another one each time."""
    (host, port), (other_host, other_port) = _split(one), _split(other)
    if port != other_port or port == "0":
        return False
    return host == other_host or host in _EVERYWHERE or other_host in _EVERYWHERE


def _split(listen: str) -> tuple[str, str]:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return _HERE.get(host, host), port
