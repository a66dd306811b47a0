"""What a sink connector does when a function fails, and how much of it runs at a time.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `sink`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from liberator.config.patterns import TopicTemplate
from liberator.config.section import MIB, Section, or_boolean, without_default
from liberator.config.sink_values import IdStore, Topic
from liberator.config.values import FALSE_IS_OFF, ConnectorTopic, Delay, Duration, Size, WholeNumber, refusal


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


class CircuitBreakerSettings(Section):
    """When a function is left alone that fails every time. What it failed on waits, and is not given up."""

    failures: WholeNumber = Field(default=5, ge=1)
    """So many calls in a row that fail. Failures that may be about the events count when other events fail, too."""
    pause: Delay = Field(default=1.0, gt=0, json_schema_extra={"default": "1s"})
    """How long it is left alone before a single call is tried; twice as long each time that fails."""
    max: Delay = Field(default=60.0, gt=0, json_schema_extra={"default": "1m"})
    """Longest pause."""


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
    circuit_breaker: Annotated[CircuitBreakerSettings | None, FALSE_IS_OFF] = Field(
        default=CircuitBreakerSettings(), json_schema_extra=or_boolean
    )
    """When a function is left alone that fails every time; false: never. Functions that run here, Python and programs, are
    left alone only if this is written."""
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
    lag_per_worker: WholeNumber = Field(default=1_000, ge=1)
    """Worker processes: with so many events that are not done one works, with twice as many two, up to max. 1: as many as
    there is work for at a time. What is called elsewhere, or without a stream, does not wait for it."""
    idle_timeout: Duration = Field(default=300.0, json_schema_extra={"default": "5m"})
    """A worker process beyond the least ends after so long without work."""
    memory: Size = Field(default=256 * MIB, ge=32 * MIB, json_schema_extra={"default": "256MiB"})
    """Memory that each worker process may have."""
