"""A function in a test: a sink's file or a Python function, and events. Called by tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liberator.change import Event
from liberator.errors import ConfigError
from liberator.function.named import NamedFunctions
from liberator.function.python import PythonFunction
from liberator.function.threads import ThreadInvocations
from liberator.testing.functions.events import TOPIC
from liberator.testing.functions.rehearsal import FunctionRun, Rehearsal
from liberator.testing.functions.sources import events_from
from liberator.testing.functions.stubs import stubs_of

if TYPE_CHECKING:
    from liberator.config import SinkConfig

Events = Iterable[Event] | str | Path
"""Themselves, or where they are recorded: see `liberator.testing.functions.sources`."""


def run_function(
    target: Callable[..., Any] | str | Path,
    events: Events,
    *,
    name: str | None = None,
    folder: str | Path | None = None,
    batch_size: int = 100,
    attempts: int = 1,
    contracts: str | Path | None = None,
    calls: Mapping[str, Any] | None = None,
) -> FunctionRun:
    """Run a function on events, and tell what became of each of them.

    target: the YAML file of a sink, which is run as it says: filter, batches, attempts, contracts (`name` picks one of
    several); or a Python function, itself or as ``module:function`` found from `folder` (default: the current one), in
    batches of `batch_size` and with so many `attempts`. What that one publishes without a topic goes to ``output``, and
    is held to the contracts in the folder `contracts`.
    events: themselves, or where they are recorded: a file, ``stream``, ``dead-letters``, ``kafka://...``, ``local:...``, of
    which the first 1,000 are taken. Those of topic ``test``, as `event` and `change` make them, are given to a sink as if
    they were of the first topic of its stream.
    calls: what stands for functions that it calls by name (``context.call``): values, or what makes one of an event, as
    ``{"stock": {"left": 3}}`` or ``{"stock": lambda event: ...}``. Of a sink's file the others are really called.

    Raises `ConfigError`, and `FunctionError` for what ends a connector whatever the event.
    """
    if isinstance(target, str | Path) and str(target).endswith((".yaml", ".yml")):
        config = _sink(Path(target), name)
        with closing(Rehearsal(config, stubs=calls)) as rehearsal:
            return rehearsal.run(_of_the_stream(config, _given(config, events)))
    base = Path(folder or Path.cwd()).resolve()
    named = None if calls is None else NamedFunctions(stubs_of(calls))
    function = PythonFunction(str(target) if isinstance(target, Path) else target, base, named)
    given = _given(_made(base, [TOPIC]), events)
    topics = list(dict.fromkeys(event.topic for event in given)) or [TOPIC]
    config = _made(base, topics, batch_size=batch_size, attempts=attempts, contracts=contracts)
    with closing(Rehearsal(config, lambda: ThreadInvocations(function, most=1))) as rehearsal:
        return rehearsal.run(given)


def _given(config: SinkConfig, events: Events) -> list[Event]:
    return events_from(config, str(events))[0] if isinstance(events, str | Path) else list(events)


def _of_the_stream(config: SinkConfig, events: Sequence[Event]) -> list[Event]:
    """Those that name no topic of their own, as events of the stream's first."""
    topics = config.stream.topics if config.stream else ()
    if not topics or TOPIC in topics:
        return list(events)
    return [
        Event(topics[0], it.partition, it.offset, it.timestamp, it.raw_key, it.raw_value, it.raw_headers)
        if it.topic == TOPIC
        else it
        for it in events
    ]


def _sink(path: Path, name: str | None) -> SinkConfig:
    from liberator.config import SinkConfig, load_together

    found = [
        config
        for config in load_together([path])
        if isinstance(config, SinkConfig) and name in (None, config.name)
    ]
    if len(found) != 1:
        raise ConfigError(
            f"{path} holds {len(found)} sinks that could be meant",
            code="config.sink",
            where=str(path),
            fix="name one: run_function(..., name=NAME)",
        )
    return found[0]


def _made(
    folder: Path,
    topics: Sequence[str],
    *,
    batch_size: int = 100,
    attempts: int = 1,
    contracts: str | Path | None = None,
) -> SinkConfig:
    """A sink around a Python function. Its stream is never opened."""
    from liberator.config import SinkConfig
    from liberator.config.values import FOLDER

    fields: dict[str, Any] = {
        "connector": "sink",
        "name": "function-test",
        "stream": {"url": "local:nowhere", "topics": list(topics), "values": "any"},
        "trigger": {"batch_size": batch_size},
        "function": {"python": "function:under_test"},
        "output": {"topic": "output"},
        "policy": {"retry": {"attempts": attempts}},
    }
    if contracts is not None:
        fields["schema"] = {"dir": str(contracts)}
    return SinkConfig.model_validate(fields, context={FOLDER: folder})
