"""A sink, run again over a part of its stream: into its own group while nobody is at work there, or into a new one.

Enters: a checked `SinkConfig`, and what part of the stream is meant. Leaves: ranges, one row a partition; the function
called for what is in them. Called by ``liberate replay``.

Its own group is moved back first. Then the connector runs as ever until the ranges are done, and the group is moved to where
it stood before. So a replay that is killed loses nothing: the group stands inside of a range, and goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from liberator.build.dispatching import Replay, Until
from liberator.build.places import Place, make_group, offsets_of
from liberator.build.sink import SinkConnector
from liberator.change import TopicPartition
from liberator.consume.group import Group
from liberator.consume.ranges import ranges
from liberator.errors import ConfigError, LiberatorError, PreconditionError

if TYPE_CHECKING:
    from liberator.config import SinkConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """begin, end: of what is done again; end None: where the group stands, of a new one where the stream ends. new_group:
    its name. again: also what is remembered as done."""

    begin: Place
    end: Place | None = None
    new_group: str | None = None
    again: bool = False


class Replaying:
    """A replay, looked at before it is run. Raises `ConfigError`, `ConsumeError`, `PreconditionError`."""

    def __init__(self, config: SinkConfig, part: Part) -> None:
        if config.stream is None:
            raise ConfigError(
                f"{config.name} has no stream, so there is nothing that it could do again",
                code="config.stream",
                where=config.where("name"),
                fix="name the file of a connector with a stream",
            )
        if config.function.table is not None:
            raise ConfigError(
                f"{config.name} keeps a table, whose rows would become what they were",
                code="config.group",
                where=config.where("function", "table"),
                fix="redrive its dead letters; to write all of it anew, empty the table, delete the connector's rows of"
                " liberator_offsets, and start it",
            )
        if config.state is not None:
            raise ConfigError(
                f"{config.name} has a state, which would count these events twice",
                code="config.group",
                where=config.where("state"),
                fix="redrive its dead letters; to do all of it anew, delete the connector's rows of liberator_state and"
                " liberator_offsets, and start it",
            )
        self._config = config
        self._part = part
        self.group = config.stage_prefix + part.new_group if part.new_group else config.name
        if self.group == config.name and part.new_group:
            raise ConfigError(
                f"{part.new_group} is the connector's own group",
                code="config.group",
                where="--new-group",
                fix="leave --new-group out, or choose another name",
            )
        with closing(make_group(config, self.group)) as group:
            self._look(group)

    def _look(self, group: Group) -> None:
        stream, part = self._config.stream, self._part
        assert stream is not None
        bounds = group.bounds(stream.topics or self._config.reads)
        self._stood = group.committed(list(bounds))
        if part.new_group and self._stood:
            raise PreconditionError(
                f"group {self.group} is not new: it has committed offsets of this stream",
                code="precondition.group_exists",
                where=f"group {self.group}",
                fix="choose another name; a group that nobody needs is deleted with Kafka's own kafka-consumer-groups",
            )
        self.ranges = ranges(
            bounds,
            offsets_of(group, bounds, part.begin),
            {} if part.end is None else offsets_of(group, bounds, part.end),
            None if part.new_group else self._stood,
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """What would be done: one row a partition."""
        for at, found in self.ranges.items():
            yield {
                "group": self.group,
                "topic": at.topic,
                "partition": at.partition,
                "from": found.start,
                "to": found.end,
                "events": found.end - found.start,
                "gone": found.gone,
                "group_stands_at": self._stood.get(at),
            }

    def run(self) -> dict[str, Any]:
        """Do it, until it is done or stopped by a signal. Raises the `LiberatorError` that ends it."""
        self._move({at: found.start for at, found in self.ranges.items()})
        # Its endpoint may be in use: by the connector, beside which this may run.
        config = self._config.model_copy(update={"observe": None})
        replay = Replay(self.group, self.ranges, self._part.again)
        connector = SinkConnector(config, Until(once=True, replay=replay))
        try:
            connector.run()
        except LiberatorError:
            log.warning("the replay has not come to its end; %s", self._what_is_left())
            raise
        if connector.stopped:
            log.warning("the replay was stopped; %s", self._what_is_left())
        else:
            self._go_back()
        counts = connector.telemetry.snapshot()
        return {
            "group": self.group,
            "complete": not connector.stopped,
            "events": connector.telemetry.finished,
            "dead_letters": counts["dead_letters"]["total"],
        }

    def _what_is_left(self) -> str:
        if self._part.new_group:
            return f"group {self.group} keeps its place"
        return f"group {self.group} stands inside of the range: `liberate run` goes on from there"

    def _go_back(self) -> None:
        """To where the group stood, if that was further."""
        further = {
            at: stood
            for at, stood in self._stood.items()
            if at in self.ranges and stood > self.ranges[at].end
        }
        try:
            self._move(further)
        except PreconditionError as error:
            log.warning("%s has begun to work meanwhile, and does what follows the range again", error.where)

    def _move(self, offsets: Mapping[TopicPartition, int]) -> None:
        if offsets:
            with closing(make_group(self._config, self.group)) as group:
                group.move(offsets)
