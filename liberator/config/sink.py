"""A checked sink connector: every key that its YAML file may have, with its type, default and meaning.

Enters: plain data. Leaves: frozen objects, as in `models`; what contradicts itself is refused. Never reads a file or an
environment. What starts the function is in `trigger`, what it is in `function`, what happens when it fails in `sink_policy`,
and what of it goes together in `sink_triggers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationInfo, model_validator

from liberator.config.callees import CalleeSettings, check_functions
from liberator.config.document import KeyPath
from liberator.config.exactly_once import check_exactly_once
from liberator.config.function import CalledSettings, FunctionSettings, parts_of
from liberator.config.section import (
    MIB,
    ConnectorConfig,
    ObserveSettings,
    Section,
    TopicSettings,
    for_producers,
    or_boolean,
    without_default,
)
from liberator.config.sink_policy import CircuitBreakerSettings, PolicySettings, ScaleSettings
from liberator.config.sink_triggers import check_with_stream, check_without_stream, one_of_a_kind
from liberator.config.sink_values import BrokerUrl, StartAt, Topic, TopicPattern, Topics
from liberator.config.stage import topic_prefix
from liberator.config.state import StateSettings, check_state
from liberator.config.table import check_table
from liberator.config.trigger import TriggerSettings, as_list, one_or_several
from liberator.config.urls import Url
from liberator.config.values import (
    FALSE_IS_OFF,
    FOLDER,
    ConnectorName,
    FolderPath,
    Setting,
    Size,
    folder_of,
    kind_of_place,
    refusal,
)


class StreamSettings(Section):
    """The stream whose events start the function."""

    url: BrokerUrl
    """kafka://HOST:PORT[,HOST:PORT], or local:DIR for the local log in that folder."""
    topics: Topics = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Topics to read. One that does not exist yet is read once it does."""
    pattern: TopicPattern | None = Field(default=None, json_schema_extra=without_default)
    """Instead of topics: a regular expression that a topic's whole name fits. The connector's own outputs and dead
    letters are never meant."""
    start: StartAt = "earliest"
    """Where the group begins in a partition that it has committed nothing of: `earliest`, `latest` (what comes from
    now on), or a time with its zone, as 2026-11-22T08:00:00Z."""
    values: Literal["json", "any"] = "json"
    """What an event's value may be. `json`: JSON or null, anything else is a dead letter that the function never
    sees; `any`: bytes of any kind. JSON behind a schema registry's head is JSON for both."""
    options: dict[str, Setting] = Field(default={}, repr=False)
    """Settings of the Kafka client, by librdkafka's names."""

    @model_validator(mode="after")
    def _names_topics_once(self) -> StreamSettings:
        if bool(self.topics) == bool(self.pattern):
            raise refusal("config.stream", "a stream has either topics or a pattern", "write topics: [NAME]")
        return self


class OutputSettings(Section):
    """Where events go that come of the function: what it returns, and its dead letters."""

    topic: Topic | None = Field(default=None, json_schema_extra=without_default)
    """Topic of what the function returns."""
    url: BrokerUrl | None = Field(default=None, json_schema_extra=without_default)
    """The broker: kafka://HOST:PORT or local:DIR. Default: that of the stream."""
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """`exactly_once`: what comes of events is published in one transaction of Kafka with their offsets, so that readers of
    committed events see each result once. Stream and output are one Kafka; the function itself may be called again."""
    create_topics: Annotated[TopicSettings | None, FALSE_IS_OFF] = Field(
        default=TopicSettings(), json_schema_extra=or_boolean
    )
    """How missing topics are made; false: refuse to publish without them."""
    options: Annotated[dict[str, Setting], AfterValidator(for_producers)] = Field(
        default={"compression.type": "lz4"}, repr=False
    )
    """Settings of the Kafka client that publishes. What of stream.options is about the connection is taken from there
    while both are one broker."""


class ContractSettings(Section):
    """The contracts of what the function returns, and of what a table is made for."""

    dir: FolderPath = Path("schemas")
    """Folder of stored contracts, <dir>/<topic>/<n>.json; the highest n holds. What the function returns and breaks
    one is not published: the invocation has failed."""

    @model_validator(mode="before")
    @classmethod
    def _has_no_registry(cls, given: Any) -> Any:
        if isinstance(given, dict) and "registry" in given:
            what = "a sink registers no schemas: what its function gives is published as plain JSON"
            fix = "leave schema.registry out; streams with schema ids are read without it"
            raise refusal("config.registry", what, fix)
        return given


class SinkLimits(Section):
    """What the connector may use."""

    memory: Size = Field(default=64 * MIB, ge=MIB, json_schema_extra={"default": "64MiB"})
    """Budget for events that wait for the function. Beyond it reading waits."""


class SinkConfig(ConnectorConfig):
    """A sink connector: starts a function on the events of a stream."""

    connector: Literal["sink"]
    """The kind of connector."""
    name: ConnectorName
    """Name of the connector, which is also its consumer group."""
    context: str | None = Field(default=None, min_length=1, json_schema_extra=without_default)
    """The bounded context that it belongs to, for people."""
    stream: StreamSettings | None = Field(default=None, json_schema_extra=without_default)
    """The stream whose events start the function. Without one a schedule, a webhook or files start it."""
    trigger: Annotated[
        tuple[TriggerSettings, ...], BeforeValidator(as_list), AfterValidator(one_of_a_kind)
    ] = Field(default=(TriggerSettings(),), json_schema_extra=one_or_several)
    """When the function starts: one trigger, or a list of which any starts it. Default: on stream."""
    function: FunctionSettings
    """What is called."""
    functions: tuple[CalleeSettings, ...] = Field(
        default=(), validate_default=False, json_schema_extra=without_default
    )
    """Functions that its Python code calls by name: context.call(NAME, ...). Default: none."""
    output: OutputSettings = OutputSettings()
    """Where events go that come of the function."""
    policy: PolicySettings = PolicySettings()
    """What is done when, and what happens when something fails."""
    state: StateSettings | None = Field(default=None, json_schema_extra=without_default)
    """Where the function remembers things from one invocation to the next. Default: nowhere."""
    scale: ScaleSettings = ScaleSettings()
    """How much runs at a time."""
    schema_: ContractSettings = Field(default_factory=ContractSettings, alias="schema")
    """The contracts of what the function returns."""
    observe: Annotated[ObserveSettings | None, FALSE_IS_OFF] = Field(
        default=None, json_schema_extra=or_boolean
    )
    """The connector's own endpoint with health, status and metrics. Default: off."""
    limits: SinkLimits = SinkLimits()
    """What the connector may use."""

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        # So that the folder of contracts is seen from the file's.
        return {**data, "schema": data.get("schema") or {}} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _keeps_its_promises(self, info: ValidationInfo) -> SinkConfig:
        self._folder = Path((info.context or {}).get(FOLDER) or Path.cwd())
        if self.function.table is not None:
            check_table(self)
        if self.functions:
            check_functions(self)
        if self.state is not None:
            check_state(self)
        if self.output.delivery == "exactly_once":
            check_exactly_once(self)
        if self.stream is None:
            check_without_stream(self)
        else:
            check_with_stream(self)
        remedy = self.function.asynchronous
        if remedy is not None and self.keeps_events and self.policy.commit == "after":
            what = "an asynchronous call never says that it is done, so nothing could be committed after it"
            raise refusal("config.commit", what, f"write {remedy}, or policy: {{commit: before}}")
        stream = self.stream
        for key, topic in self.own_topics().items() if stream and self.publish_url == stream.url else ():
            if stream is not None and topic in stream.topics:
                what = f"{key} is a topic that the stream reads: the function would feed itself"
                raise refusal("config.cycle", what, "publish to another topic")
        return self

    def all_functions(self) -> Iterator[tuple[KeyPath, CalledSettings]]:
        """All that it may call, steps too, each with its place."""
        yield from parts_of(self.function)
        for number, function in enumerate(self.functions):
            yield from parts_of(function, ("functions", number))

    @property
    def webhook(self) -> TriggerSettings | None:
        """The trigger on webhook whose answer is the function's; None: there is none."""
        return next((one for one in self.trigger if one.on == "webhook" and one.respond == "result"), None)

    @property
    def intake(self) -> TriggerSettings | None:
        """The trigger on webhook that puts requests into the stream; None: there is none."""
        return next((one for one in self.trigger if one.on == "webhook" and one.respond == "accepted"), None)

    @property
    def intake_topic(self) -> str:
        """Where it puts them."""
        assert self.intake is not None
        assert self.stream is not None
        return self.intake.topic or self.stream.topics[0]

    @property
    def files(self) -> tuple[TriggerSettings, ...]:
        """The triggers on file."""
        return tuple(trigger for trigger in self.trigger if trigger.on == "file")

    @property
    def files_seen(self) -> Path:
        """What remembers which files are done."""
        given = next((trigger.seen for trigger in self.files if trigger.seen is not None), None)
        return given or self.folder / ".liberator" / f"{self.name}.files.db"

    @property
    def wants_answers(self) -> bool:
        """Is what the function answers of use to anybody? Else only whether it has done it."""
        return self.output.topic is not None or self.webhook is not None

    @property
    def keeps_offsets(self) -> bool:
        """Do offsets stand with what the function has changed, and not with the group alone?"""
        return self.function.table is not None or self.state is not None

    @property
    def keeps_events(self) -> bool:
        """Can events wait where they come from, and come again? Those of a webhook and of the clock can't."""
        return self.stream is not None or bool(self.files)

    @property
    def circuit_breaker(self) -> CircuitBreakerSettings | None:
        """When the function is left alone; None: never."""
        asked = "circuit_breaker" in self.policy.model_fields_set
        if not self.keeps_events or not (asked or self.function.is_remote):
            return None
        return self.policy.circuit_breaker

    @property
    def folder(self) -> Path:
        """Of the file that it was read from: modules and programs are found from there."""
        return self._folder

    @property
    def publish_url(self) -> Url | None:
        """The broker that outputs and dead letters go to; None: there is none, and no stream."""
        return self.output.url or (self.stream.url if self.stream else None)

    @property
    def dead_letter_topic(self) -> str:
        """Where events go that are given up."""
        return self.policy.dead_letter_topic.render(name=self.name)

    def own_topics(self) -> Mapping[str, str]:
        """The topics that it publishes to, by key."""
        permanent = self.policy.on_permanent
        topics = {
            "output.topic": self.output.topic,
            "policy.dead_letter_topic": self.dead_letter_topic,
            "policy.on_permanent.topic": permanent.topic if permanent else None,
        }
        return {key: topic for key, topic in topics.items() if topic is not None}

    def reads(self, topic: str) -> bool:
        """Is this a topic of its stream?"""
        if self.stream is None:
            return False
        if self.stream.topics:
            return topic in self.stream.topics
        assert self.stream.pattern is not None
        if topic in self.own_topics().values() or not topic.startswith(self.stage_prefix):
            return False
        return self.stream.pattern.fullmatch(self.without_stage(topic)) is not None

    @property
    def stage_prefix(self) -> str:
        """What all topics of the stage begin with; without a stage nothing."""
        return topic_prefix(self._stage) if self._stage else ""


def folder_of_broker(url: str) -> Path | None:
    """Of the local log; None: it is Kafka."""
    return Path(folder_of(url) or "") if kind_of_place(url) == "local" else None
