"""What starts the function of a sink connector.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `sink`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from liberator.config.schedule import Schedule, schedule
from liberator.config.section import MIB, Section, without_default
from liberator.config.sink_values import Filter, HookPath, HookSecret, is_loopback
from liberator.config.values import Delay, Duration, Listen, Size, WholeNumber, refusal


def _as_secrets(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def one_or_several(schema: dict[str, Any]) -> None:
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
        default=(), repr=False, json_schema_extra=one_or_several
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


def as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def one_of_a_kind(triggers: tuple[TriggerSettings, ...]) -> tuple[TriggerSettings, ...]:
    if not triggers:
        raise refusal("config.trigger", "nothing would ever start the function", "leave trigger out")
    for kind in ("stream", "lag", "webhook"):
        if sum(trigger.on == kind for trigger in triggers) > 1:
            raise refusal("config.trigger", f"there are two triggers on {kind}", "keep one of them")
    return triggers
