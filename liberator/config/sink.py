"""A checked sink connector: every key that its YAML file may have, with its type, default and meaning.

Enters: plain data. Leaves: frozen objects, as in `models`; what contradicts itself is refused. Never reads a file or an
environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationInfo, model_validator

from liberator.config.patterns import TopicTemplate
from liberator.config.schedule import Schedule, schedule
from liberator.config.section import (
    MIB,
    ConnectorConfig,
    ObserveSettings,
    Section,
    TopicSettings,
    or_boolean,
    with_compression,
    without_default,
)
from liberator.config.sink_values import (
    BrokerUrl,
    Command,
    Filter,
    FunctionName,
    GatewayUrl,
    HookPath,
    HookSecret,
    IdStore,
    PythonTarget,
    StartAt,
    Topic,
    TopicPattern,
    Topics,
    WebUrl,
    is_loopback,
)
from liberator.config.stage import topic_prefix
from liberator.config.urls import Url
from liberator.config.values import (
    FALSE_IS_OFF,
    FOLDER,
    ConnectorName,
    ConnectorTopic,
    Delay,
    Duration,
    FolderPath,
    Listen,
    Setting,
    Size,
    WholeNumber,
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
    """Instead of topics: a regular expression that a topic's whole name fits. The connector's own outputs and dead letters
    are never meant."""
    start: StartAt = "earliest"
    """Where the group begins in a partition that it has committed nothing of: `earliest`, `latest` (what comes from now on),
    or a time with its zone, as 2026-11-22T08:00:00Z."""
    values: Literal["json", "any"] = "json"
    """What an event's value may be. `json`: JSON or null, anything else is a dead letter that the function never sees;
    `any`: bytes of any kind."""
    options: dict[str, Setting] = Field(default={}, repr=False)
    """Settings of the Kafka client, by librdkafka's names."""

    @model_validator(mode="after")
    def _names_topics_once(self) -> StreamSettings:
        if bool(self.topics) == bool(self.pattern):
            raise refusal("config.stream", "a stream has either topics or a pattern", "write topics: [NAME]")
        return self


def _as_secrets(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _text_or_texts(schema: dict[str, Any]) -> None:
    one = schema.pop("items")
    del schema["type"]
    del schema["default"]
    schema["anyOf"] = [one, {"type": "array", "items": one, "minItems": 1}]


class TriggerSettings(Section):
    """When the function starts on what the stream holds."""

    on: Literal["stream", "lag", "schedule", "webhook"] = "stream"
    """What starts it: `stream`, the events themselves; `lag`, so many of them; `schedule`, the time; `webhook`, a request
    that somebody posts, without a stream. On lag and on schedule everything is done that the stream holds."""
    batch_size: WholeNumber = Field(default=100, ge=1, le=1_000_000)
    """Most events of an invocation; so many are enough to start."""
    batch_window: Delay = Field(default=0.5, json_schema_extra={"default": "500ms"})
    """An event waits at most so long for others; 0: not at all."""
    batch_bytes: Size = Field(default=MIB, ge=1, json_schema_extra={"default": "1MiB"})
    """Bytes of an invocation's events, about; so many are enough to start. One event may be larger."""
    threshold: WholeNumber = Field(default=1000, ge=1)
    """On lag: so many events that are not done start it."""
    max_wait: Duration = Field(default=60.0, json_schema_extra={"default": "1m"})
    """On lag: so does an event that has waited for so long."""
    poll_interval: Duration = Field(default=10.0, json_schema_extra={"default": "10s"})
    """On lag: time between two looks how far behind the group is."""
    cron: str | None = Field(default=None, json_schema_extra=without_default)
    """On schedule: minute, hour, day of month, month, day of week, as Debian's cron reads them: "*/5 * * * *"."""
    timezone: str = "UTC"
    """On schedule: the zone that cron is meant in, as Europe/Berlin. When clocks change, a job of a fixed time neither falls
    out nor runs twice."""
    listen: Listen = "127.0.0.1:8080"
    """On webhook: HOST:PORT that requests are posted to. Port 0 lets the system choose."""
    path: HookPath = "/"
    """On webhook: the path that they are posted to; on any other there is nothing."""
    secret: Annotated[tuple[HookSecret, ...], BeforeValidator(_as_secrets)] = Field(
        default=(), repr=False, json_schema_extra=_text_or_texts
    )
    """On webhook: the secret that requests are signed with, as Standard Webhooks does; during a rotation a list of those
    that are good. Without one nobody is asked who he is, so only this machine may post."""
    respond: Literal["result"] = "result"
    """On webhook: `result` answers with what the function gives, when it has ended."""
    largest: Size = Field(default=MIB, ge=1, json_schema_extra={"default": "1MiB"})
    """On webhook: bytes that a body may have."""
    filter: Filter | None = Field(default=None, json_schema_extra=without_default)
    """A condition in CEL over after, before, op, key, value, headers, topic and id: events that it turns down are done
    without the function. Where an event is a bare value, after is that. Of a delete, before is tested in place of after
    if it has what the condition asks for, else the event passes; a tombstone passes."""

    _schedule: Schedule | None = PrivateAttr(None)

    @property
    def schedule(self) -> Schedule | None:
        """When it starts; None: on something else."""
        return self._schedule

    @model_validator(mode="after")
    def _has_what_belongs_to_it(self) -> TriggerSettings:
        for key in self.model_fields_set:
            if self.on not in _BELONGS.get(key, (self.on,)):
                what = f"{key} does not belong to a trigger on {self.on}"
                raise refusal("config.trigger", what, f"it belongs to one on {_BELONGS[key][0]}")
        if self.on == "schedule":
            if self.cron is None:
                raise refusal("config.trigger", "a schedule has no cron", 'write cron: "*/5 * * * *"')
            self._schedule = schedule(self.cron, self.timezone)
        if self.on == "webhook" and not self.secret and not is_loopback(self.listen):
            what = "other machines can post to this address, and nothing tells who they are"
            raise refusal("config.trigger", what, "write secret: ${HOOK_SECRET}, or listen: 127.0.0.1:8080")
        return self


_BELONGS = {
    "batch_window": ("stream",),
    "filter": ("stream",),
    "threshold": ("lag",),
    "max_wait": ("lag",),
    "poll_interval": ("lag",),
    "cron": ("schedule",),
    "timezone": ("schedule",),
    "listen": ("webhook",),
    "path": ("webhook",),
    "secret": ("webhook",),
    "respond": ("webhook",),
    "largest": ("webhook",),
}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _one_or_several(schema: dict[str, Any]) -> None:
    one = schema.pop("items")
    del schema["type"]
    del schema["default"]
    schema["anyOf"] = [one, {"type": "array", "items": one, "minItems": 1}]


def _one_of_a_kind(triggers: tuple[TriggerSettings, ...]) -> tuple[TriggerSettings, ...]:
    if not triggers:
        raise refusal("config.trigger", "nothing would ever start the function", "leave trigger out")
    for kind in ("stream", "lag", "webhook"):
        if sum(trigger.on == kind for trigger in triggers) > 1:
            raise refusal("config.trigger", f"there are two triggers on {kind}", "keep one of them")
    return triggers


class HttpSettings(Section):
    """An HTTP endpoint that is called with events."""

    url: WebUrl
    """The endpoint: https://HOST/PATH."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Headers of every request, such as Authorization."""
    format: Literal["cloudevents", "cloudevents-structured", "cloudevents-batch", "raw"] = "cloudevents"
    """`cloudevents` and `cloudevents-structured`: a request for each event, as CloudEvents 1.0; `cloudevents-batch`: one for
    all; `raw`: a request for each event with its value as it is."""
    sign: str | None = Field(default=None, min_length=8, repr=False, json_schema_extra=without_default)
    """A secret: every request is signed with it, as Standard Webhooks does."""
    allow_private: bool = False
    """Let the endpoint be a host of a private network, or this one."""


class LambdaSettings(Section):
    """A function on AWS Lambda. Credentials are found as boto3 finds them."""

    name: str = Field(min_length=1)
    """Its name or ARN."""
    region: str | None = Field(default=None, min_length=1, json_schema_extra=without_default)
    """Default: as boto3 finds it."""
    invocation: Literal["sync", "async"] = "sync"
    """`sync` waits for the answer; `async` takes Lambda's word that it has the events, so it needs policy.commit: before."""
    endpoint: WebUrl | None = Field(default=None, json_schema_extra=without_default)
    """Another endpoint than AWS's own."""


class OpenFaasSettings(Section):
    """A function behind an OpenFaaS gateway."""

    gateway: GatewayUrl
    """The gateway: http://HOST:8080. It may be in a private network."""
    function: FunctionName
    """Name of the function, with its namespace if it is not in the default one: notify.staging."""
    async_: bool = Field(default=False, alias="async")
    """Have the gateway queue the calls: its 202 says that it has them, and nothing says that they are done, so it needs
    policy.commit: before."""
    format: Literal["cloudevents", "cloudevents-structured", "cloudevents-batch", "raw"] = "cloudevents"
    """As for http. `cloudevents` gives the function the plain value as its body, and what CloudEvents add in headers; `raw`
    the value without those."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Headers of every request."""
    user: str = Field(default="admin", pattern="^[^:]+$")
    """User for basic authentication, if there is a password."""
    password: str | None = Field(default=None, min_length=1, repr=False, json_schema_extra=without_default)
    """Password for basic authentication: ${FAAS_PASSWORD}, or ${file:/var/secrets/basic-auth-password}."""


KINDS = ("python", "http", "openfaas", "aws_lambda", "command")


class FunctionSettings(Section):
    """What is called: exactly one kind."""

    python: PythonTarget | None = Field(default=None, json_schema_extra=without_default)
    """MODULE:FUNCTION, found from the folder of this file; it runs in worker processes."""
    in_process: bool = False
    """Run a Python function in the connector's own process: faster, for code that is trusted to end and not to crash; its
    time-out can't be enforced."""
    http: HttpSettings | None = Field(default=None, json_schema_extra=without_default)
    """An HTTP endpoint."""
    openfaas: OpenFaasSettings | None = Field(default=None, json_schema_extra=without_default)
    """A function behind an OpenFaaS gateway."""
    aws_lambda: LambdaSettings | None = Field(default=None, json_schema_extra=without_default)
    """A function on AWS Lambda."""
    command: Command | None = Field(default=None, json_schema_extra=without_default)
    """A program with its arguments, run for each invocation in the folder of this file: events as lines of JSON on its
    standard input, outputs on its standard output."""

    @property
    def kind(self) -> str:
        """Which kind it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def asynchronous(self) -> str | None:
        """What would make calls say that they are done that never do; None: they do."""
        if self.aws_lambda is not None and self.aws_lambda.invocation == "async":
            return "invocation: sync"
        return "async: false" if self.openfaas is not None and self.openfaas.async_ else None

    @model_validator(mode="after")
    def _is_one(self) -> FunctionSettings:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            what = f"a function is of one kind, not {len(given)}"
            raise refusal("config.function", what, f"write one of {', '.join(KINDS)}")
        if self.in_process and self.python is None:
            raise refusal(
                "config.function", "only a Python function can run in_process", "leave in_process out"
            )
        return self


class OutputSettings(Section):
    """Where events go that come of the function: what it returns, and its dead letters."""

    topic: Topic | None = Field(default=None, json_schema_extra=without_default)
    """Topic of what the function returns."""
    url: BrokerUrl | None = Field(default=None, json_schema_extra=without_default)
    """The broker: kafka://HOST:PORT or local:DIR. Default: that of the stream."""
    create_topics: Annotated[TopicSettings | None, FALSE_IS_OFF] = Field(
        default=TopicSettings(), json_schema_extra=or_boolean
    )
    """How missing topics are made; false: refuse to publish without them."""
    options: Annotated[dict[str, Setting], AfterValidator(with_compression)] = Field(
        default={"compression.type": "lz4"}, repr=False
    )
    """Settings of the Kafka client that publishes. What of stream.options is about the connection is taken from there while
    both are one broker."""


class RetrySettings(Section):
    """How often a failed invocation is tried again, and when."""

    attempts: WholeNumber = Field(default=5, ge=1)
    """In all."""
    initial: Delay = Field(default=0.2, json_schema_extra={"default": "200ms"})
    """Wait before the second attempt."""
    max: Delay = Field(default=30.0, json_schema_extra={"default": "30s"})
    """Longest wait."""
    factor: float = Field(default=2.0, ge=1.0)
    """By which the wait grows."""
    jitter: bool = True
    """Wait at random between half of it and all."""


class PermanentSettings(Section):
    """What becomes of an event whose error says that it will never work."""

    topic: Topic
    """Topic that it is published to, as an event of its own with what went wrong in its headers."""


class IdempotencySettings(Section):
    """What the function has done is remembered, so that an event that comes again does not start it again."""

    store: IdStore
    """Where: sqlite:PATH, or postgresql://... for members on several machines (table liberator_done, made when missing)."""
    ttl: Duration = Field(default=7 * 86400.0, json_schema_extra={"default": "7d"})
    """For how long an event is remembered."""


class PolicySettings(Section):
    """What is done when, and what happens when something fails."""

    commit: Literal["after", "before"] = "after"
    """`after`: offsets move when events are done, so none is lost and some may come again; `before`: at most once."""
    timeout: Duration = Field(default=30.0, json_schema_extra={"default": "30s"})
    """How long an invocation may take."""
    max_age: Duration | None = Field(default=None, json_schema_extra=without_default)
    """Events that are older are not tried, and go where on_failure says. Default: none is too old."""
    retry: RetrySettings = RetrySettings()
    """How often a failed invocation is tried again, and when."""
    on_failure: Literal["dead_letter", "stop", "skip"] = "dead_letter"
    """What becomes of an event after its last attempt: it goes to the dead letters, ends the connector, or is left out."""
    on_permanent: PermanentSettings | None = Field(default=None, json_schema_extra=without_default)
    """Where an event goes whose error says that it will never work. Default: where on_failure says."""
    bisect: bool = True
    """Split a batch that keeps failing, to find the events that fail."""
    dead_letter_topic: ConnectorTopic = Field(
        default=TopicTemplate("{name}.dead-letters"), json_schema_extra={"default": "{name}.dead-letters"}
    )
    """Topic of dead letters. Knows {name}."""
    idempotency: IdempotencySettings | None = Field(default=None, json_schema_extra=without_default)
    """Remember what was done, by event id. Default: an event that comes again starts the function again."""
    order: Literal["key", "partition", "none"] = "key"
    """What keeps its order: the events of a key, of a partition, or none."""


class WorkerSettings(Section):
    """Invocations at a time."""

    min: WholeNumber = Field(default=0, ge=0, le=1_000)
    """Worker processes that are kept warm; 0: the first event starts one."""
    max: WholeNumber = Field(default=8, ge=1, le=1_000)
    """Most invocations at a time."""

    @model_validator(mode="after")
    def _min_is_less(self) -> WorkerSettings:
        if self.min > self.max:
            raise refusal("config.value", "min is more than max", "raise max")
        return self


class ScaleSettings(Section):
    """How much runs at a time."""

    workers: WorkerSettings = WorkerSettings()
    """Invocations at a time."""
    idle_timeout: Duration = Field(default=300.0, json_schema_extra={"default": "5m"})
    """A worker process beyond the least ends after so long without work."""
    memory: Size = Field(default=256 * MIB, ge=32 * MIB, json_schema_extra={"default": "256MiB"})
    """Memory that each worker process may have."""


class ContractSettings(Section):
    """The contracts of what the function returns."""

    dir: FolderPath = Path("schemas")
    """Folder of stored contracts, <dir>/<topic>/<n>.json; the highest n holds. What breaks one is not published: the
    invocation has failed."""


class SinkLimits(Section):
    """What the connector may use."""

    memory: Size = Field(default=64 * MIB, ge=MIB, json_schema_extra={"default": "64MiB"})
    """Budget for events that wait for the function. Beyond it reading waits."""


_ABOUT_EVENTS = ("commit", "max_age", "on_permanent", "bisect", "dead_letter_topic", "idempotency", "order")
"""Keys of the policy."""


def check_without_stream(config: SinkConfig) -> None:
    """What needs a stream is refused where there is none."""
    for trigger in config.trigger:
        if trigger.on not in ("schedule", "webhook"):
            fix = "add stream: {url: ..., topics: [...]}, or a trigger on schedule or webhook"
            raise refusal("config.stream", f"a trigger on {trigger.on} needs a stream", fix)
        if about := trigger.model_fields_set & {"batch_size", "batch_bytes"}:
            what = f"trigger.{min(about)} is about the events of a stream, and there is none"
            raise refusal("config.stream", what, "leave it out, or add a stream")
    if config.webhook is not None:
        _check_webhook(config)
    for key in _ABOUT_EVENTS:
        if key == "idempotency" and config.webhook is not None:
            continue
        if key in config.policy.model_fields_set:
            what = f"policy.{key} is about the events of a stream, and there is none"
            raise refusal("config.stream", what, "leave it out, or add a stream")
    if config.output.topic is not None and config.output.url is None:
        fix = "add output.url: kafka://HOST:PORT, or local:DIR"
        raise refusal(
            "config.output", "output.topic has no broker: there is no stream whose it could be", fix
        )


def _check_webhook(config: SinkConfig) -> None:
    """What an answer can't keep is refused."""
    if len(config.trigger) > 1:
        fix = "write a connector for each"
        raise refusal("config.trigger", "a webhook stands alone: requests wait for their answers", fix)
    remedy = config.function.asynchronous
    if remedy is not None:
        what = "an asynchronous call never says that it is done, so nothing could be answered"
        raise refusal("config.trigger", what, f"write {remedy}")
    for key in config.policy.model_fields_set & {"retry", "on_failure"}:
        what = f"policy.{key} is not for a webhook: who posts an event keeps it, is told, and posts it again"
        raise refusal("config.trigger", what, "leave it out")


class SinkConfig(ConnectorConfig):
    """A sink connector: starts a function on the events of a stream."""

    connector: Literal["sink"]
    """The kind of connector."""
    name: ConnectorName
    """Name of the connector, which is also its consumer group."""
    context: str | None = Field(default=None, min_length=1, json_schema_extra=without_default)
    """The bounded context that it belongs to, for people."""
    stream: StreamSettings | None = Field(default=None, json_schema_extra=without_default)
    """The stream whose events start the function. Without one a schedule or a webhook starts it."""
    trigger: Annotated[
        tuple[TriggerSettings, ...], BeforeValidator(_as_list), AfterValidator(_one_of_a_kind)
    ] = Field(default=(TriggerSettings(),), json_schema_extra=_one_or_several)
    """When the function starts: one trigger, or a list of which any starts it. Default: on stream."""
    function: FunctionSettings
    """What is called."""
    output: OutputSettings = OutputSettings()
    """Where events go that come of the function."""
    policy: PolicySettings = PolicySettings()
    """What is done when, and what happens when something fails."""
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
        if self.stream is None:
            check_without_stream(self)
            return self
        if self.webhook is not None:
            what = "a webhook is answered by the function, so there is no stream in between"
            fix = "leave stream out; or take events with a sidecar, which puts them into one"
            raise refusal("config.trigger", what, fix)
        remedy = self.function.asynchronous
        if remedy is not None and self.policy.commit == "after":
            what = "an asynchronous call never says that it is done, so nothing could be committed after it"
            raise refusal("config.commit", what, f"write {remedy}, or policy: {{commit: before}}")
        for key, topic in self.own_topics().items() if self.publish_url == self.stream.url else ():
            if topic in self.stream.topics:
                what = f"{key} is a topic that the stream reads: the function would feed itself"
                raise refusal("config.cycle", what, "publish to another topic")
        return self

    @property
    def webhook(self) -> TriggerSettings | None:
        """The trigger on webhook; None: something else starts it."""
        return next((trigger for trigger in self.trigger if trigger.on == "webhook"), None)

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
