"""The keys of a stream that a sidecar pushes to its application.

Enters: plain data. Leaves: frozen objects; each is also the `SinkConfig` of a sink that calls the application's endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from liberator.config.patterns import TopicTemplate
from liberator.config.section import Section, without_default
from liberator.config.sink import SinkConfig
from liberator.config.sink_values import StartAt, Topics, WebUrl
from liberator.config.values import ConnectorName, ConnectorTopic, Duration, WholeNumber, refusal

if TYPE_CHECKING:
    from liberator.config.sidecar import SidecarConfig

_ENDLESS = 1_000_000_000
"""Attempts: with the longest pause between them it is a thousand years."""

_AT_ONCE = {"on": "stream", "batch_size": 20, "batch_window": 0}
"""Each event is a request of its own, so nothing is won by waiting for more."""


class PushPolicy(Section):
    """What happens when the application does not take an event."""

    timeout: Duration = Field(default=30.0, json_schema_extra={"default": "30s"})
    """How long an answer may take."""
    attempts: WholeNumber | None = Field(default=None, ge=1, json_schema_extra=without_default)
    """How often an event is sent while the application can't be reached or answers 408, 425, 429 or 5xx. Default: until it
    is taken."""
    on_failure: Literal["dead_letter", "stop", "skip"] = "dead_letter"
    """What becomes of an event after its last attempt, and of one that is answered 3xx or 4xx: it goes to the dead letters,
    ends the sidecar, or is left out."""
    dead_letter_topic: ConnectorTopic = Field(
        default=TopicTemplate("{name}.dead-letters"), json_schema_extra={"default": "{name}.dead-letters"}
    )
    """Topic of dead letters. {name} is the group."""
    order: Literal["key", "partition", "none"] = "key"
    """What keeps its order: the events of a key, of a partition, or none. What comes later waits while an event is sent
    again."""


class PushSettings(Section):
    """A stream that is pushed to the application."""

    group: ConnectorName
    """Consumer group: it remembers how far the application is. Sidecars of one group share the events."""
    topics: Topics
    """Topics to read. One that does not exist yet is read once it does."""
    url: WebUrl
    """The application's endpoint, which gets a POST for each event. Any answer 2xx means that it is done."""
    start: StartAt = "earliest"
    """Where the group begins in a partition that it has committed nothing of: `earliest`, `latest` (what comes from now on),
    or a time with its zone, as 2026-11-22T08:00:00Z."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """Headers of every request, such as Authorization."""
    format: Literal["cloudevents", "cloudevents-structured", "raw"] = "cloudevents"
    """`cloudevents`: the value, with CloudEvents' attributes in headers; `cloudevents-structured`: a CloudEvent as the body;
    `raw`: the value alone."""
    sign: str | None = Field(default=None, min_length=8, repr=False, json_schema_extra=without_default)
    """A secret: every request is signed with it, as Standard Webhooks does."""
    requests: WholeNumber = Field(default=8, ge=1, le=100)
    """Most requests at a time."""
    policy: PushPolicy = PushPolicy()
    """What happens when the application does not take an event."""

    @model_validator(mode="after")
    def _does_not_feed_itself(self) -> PushSettings:
        if self.policy.dead_letter_topic.render(name=self.group) in self.topics:
            what = "its dead letters go to a topic that it reads"
            raise refusal("config.cycle", what, "write another policy.dead_letter_topic")
        return self

    def sink(self, sidecar: SidecarConfig) -> SinkConfig:
        """The sink that does it, on the broker of the sidecar."""
        publish, policy = sidecar.publish, self.policy
        retry = {"attempts": policy.attempts or _ENDLESS}
        producing = {name: value for name, value in publish.options.items() if name.startswith("compression")}
        shared = {name: value for name, value in publish.options.items() if name not in producing}
        config = SinkConfig.model_validate(
            {
                "connector": "sink",
                "name": self.group,
                "stream": {
                    "url": publish.url,
                    "topics": list(self.topics),
                    "start": self.start if isinstance(self.start, str) else self.start.isoformat(),
                    "values": "any",
                    "options": shared,
                },
                "trigger": _AT_ONCE,
                "function": {
                    "http": {
                        "url": self.url,
                        "headers": self.headers,
                        "format": self.format,
                        "sign": self.sign,
                        "allow_private": True,
                    }
                },
                "policy": {**policy.model_dump(exclude={"attempts"}), "retry": retry},
                "output": {"create_topics": publish.create_topics or False, "options": producing},
                "scale": {"workers": {"max": self.requests}},
                "limits": {"memory": sidecar.limits.memory},
            }
        )
        config._stage, config._document = sidecar._stage, sidecar._document
        return config
