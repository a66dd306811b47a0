"""A checked sidecar: every key that its YAML file may have, with its type, default and meaning.

Enters: plain data. Leaves: frozen objects, as in `models`. Never reads a file or an environment.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from liberator.config.patterns import TopicTemplate
from liberator.config.push import PushSettings
from liberator.config.registry import RegistryKeys
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
from liberator.config.sink_values import BrokerUrl
from liberator.config.values import (
    FALSE_IS_OFF,
    OUTBOX_TOPIC,
    ConnectorName,
    Duration,
    EventTopic,
    FolderPath,
    Listen,
    Names,
    Setting,
    Size,
    folder_of,
    kind_of_place,
    refusal,
)


class SidecarEvents(Section):
    """What is taken of a request."""

    headers: Names = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Headers of the request, or attributes of the CloudEvent, that become headers of the event, such as traceparent.
    Default: none but those that the request itself calls Event-Header-NAME."""
    tombstones: bool = False
    """A request without a body publishes a null value, which makes compacted topics forget the key. Otherwise it is
    refused."""
    timeout: Duration = Field(default=10.0, json_schema_extra={"default": "10s"})
    """How long a request waits until its event is durable; then the answer is 503."""


class SidecarIdempotency(Section):
    """How long an event that is sent again is known by its id."""

    ttl: Duration = Field(default=86400.0, json_schema_extra={"default": "1d"})
    """For so long at least, across restarts."""
    file: FolderPath = Field(default=Path(), validate_default=False, json_schema_extra=without_default)
    """SQLite file that remembers the ids. Default: .liberator/<name>.ids.db."""


class SidecarSchema(RegistryKeys):
    """The contracts of payloads."""

    dir: FolderPath = Path("schemas")
    """Folder of stored contracts, <dir>/<topic>/<type>/<n>.json; the highest n holds. A type without one is not checked."""
    subjects: Literal["topic_name", "record_name", "topic_record_name"] = "topic_record_name"
    """Under which subjects the schemas of values are registered: `<topic>-<type>`, `<type>` (`record_name`), or
    `<topic>-value` (`topic_name`)."""


class SidecarPublish(Section):
    """Where events go."""

    url: BrokerUrl
    """kafka://HOST:PORT[,HOST:PORT], or local:DIR for the local log in that folder."""
    topic: EventTopic = Field(
        default=TopicTemplate(OUTBOX_TOPIC), json_schema_extra={"default": OUTBOX_TOPIC}
    )
    """Topic of each event. Knows {aggregatetype}, {type} and {name}."""
    create_topics: Annotated[TopicSettings | None, FALSE_IS_OFF] = Field(
        default=TopicSettings(), json_schema_extra=or_boolean
    )
    """How missing topics are made; false: an event for a topic that is missing is refused."""
    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """exactly_once: also what was being published when the sidecar was killed is not published twice, for those who read
    committed events (`isolation.level=read_committed`). at_least_once: it may be, with the same id."""
    options: Annotated[dict[str, Setting], AfterValidator(for_producers)] = Field(
        default={"compression.type": "lz4"}, repr=False
    )
    """Settings of the Kafka client, by librdkafka's names. compression.type stays lz4 unless it is given here."""

    @property
    def kind(self) -> Literal["kafka", "local"]:
        """What kind of place `url` names."""
        return "local" if kind_of_place(self.url) == "local" else "kafka"

    @property
    def path(self) -> Path:
        """The local log: where it is, absolute."""
        return Path(folder_of(self.url) or "")


class SidecarLimits(Section):
    """What the sidecar may use."""

    memory: Size = Field(default=64 * MIB, ge=MIB, json_schema_extra={"default": "64MiB"})
    """Budget for events that wait to become durable. Beyond it requests are answered 503."""
    event: Size = Field(default=1_000_000, ge=1, json_schema_extra={"default": "1MB"})
    """Bytes of a request's body. Keep it below max.message.bytes of the topics."""


class SidecarConfig(ConnectorConfig):
    """A sidecar: takes an application's events by HTTP and publishes them, and pushes streams to it."""

    connector: Literal["sidecar"]
    """The kind of connector."""
    name: ConnectorName
    """Name of the sidecar. Two that run at the same time have names of their own."""
    listen: Listen = "127.0.0.1:9470"
    """HOST:PORT that requests are taken at. Port 0 lets the system choose."""
    allow_remote: bool = False
    """Let other machines reach it. There is no password: whoever reaches it may publish."""
    events: SidecarEvents = SidecarEvents()
    """What is taken of a request."""
    idempotency: SidecarIdempotency = Field(default_factory=SidecarIdempotency)
    """How long an event that is sent again is known by its id."""
    schema_: SidecarSchema = Field(default_factory=SidecarSchema, alias="schema")
    """The contracts of payloads."""
    publish: SidecarPublish
    """Where events go."""
    push: tuple[PushSettings, ...] = Field(
        default=(), validate_default=False, json_schema_extra=without_default
    )
    """Streams that are pushed to the application. Default: none."""
    observe: Annotated[ObserveSettings | None, FALSE_IS_OFF] = Field(
        default=None, json_schema_extra=or_boolean
    )
    """A second endpoint with health, status and metrics, which may be reachable from elsewhere. The same pages are at
    `listen`. Default: off."""
    limits: SidecarLimits = SidecarLimits()
    """What the sidecar may use."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """What follows from other keys, and so that folders are seen from the file's."""
        if not isinstance(data, dict):
            return data
        filled = {**data, "schema": data.get("schema") or {}}
        idempotency = data.get("idempotency") or {}
        if isinstance(idempotency, dict) and idempotency.get("file") is None:
            filled["idempotency"] = {**idempotency, "file": f".liberator/{data.get('name')}.ids.db"}
        return filled

    @model_validator(mode="after")
    def _keeps_its_promises(self) -> SidecarConfig:
        groups = [push.group for push in self.push]
        if len(set(groups)) < len(groups):
            what = "two streams have one group"
            raise refusal(
                "config.same_name", what, "give each a group of its own, or write all topics into one"
            )
        if not self.allow_remote and not is_loopback(self.listen):
            what = "other machines could reach this address, and there is no password"
            raise refusal("config.listen", what, "listen at 127.0.0.1, or set allow_remote: true")
        if self.schema_.registry is not None and self.publish.kind != "kafka":
            what = "events carry the ids of their schemas on Kafka only"
            raise refusal("config.registry", what, "publish to kafka://, or leave schema.registry out")
        return self


def is_loopback(listen: str) -> bool:
    """Can only this machine reach it? Names other than localhost are not looked up."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
