"""What starts the function of a sink connector.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `sink`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationInfo, model_validator

from liberator.config.schedule import Schedule, schedule
from liberator.config.section import MIB, Section, without_default
from liberator.config.sink_values import Filter, HookSecret, Topic, files_of, hook_path, is_loopback
from liberator.config.values import (
    FOLDER,
    Delay,
    Duration,
    FolderPath,
    Listen,
    Size,
    WholeNumber,
    refusal,
)


def _as_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def one_or_several(schema: dict[str, Any]) -> None:
    one = schema.pop("items")
    del schema["type"]
    del schema["default"]
    schema["anyOf"] = [one, {"type": "array", "items": one, "minItems": 1}]


class TriggerSettings(Section):
    """When the function starts on what the stream holds."""

    on: Literal["stream", "lag", "schedule", "webhook", "file"] = "stream"
    """What starts it: `stream`, the events themselves; `lag`, so many of them; `schedule`, the time; `webhook`, a request
    that somebody posts; `file`, one that appears or changes. On lag and on schedule everything is done that the stream
    holds."""
    batch_size: WholeNumber = Field(default=100, ge=1, le=1_000_000)
    """Most events of an invocation; so many are enough to start."""
    batch_window: Delay = Field(default=0.5, json_schema_extra={"default": "500ms"})
    """An event waits at most so long for others; 0: not at all, which is the default where every event is a call of its own
    (HTTP and OpenFaaS, unless the format is cloudevents-batch)."""
    batch_bytes: Size = Field(default=MIB, ge=1, json_schema_extra={"default": "1MiB"})
    """Bytes of an invocation's events, about; so many are enough to start. One event may be larger."""
    threshold: WholeNumber = Field(default=1000, ge=1)
    """On lag: so many events that are not done start it."""
    max_wait: Duration = Field(default=60.0, json_schema_extra={"default": "1m"})
    """On lag: so does an event that has waited for so long."""
    poll_interval: Duration | None = Field(default=None, json_schema_extra=without_default)
    """On lag: time between two looks how far behind the group is; default: 10s. On file: between two looks at the folder;
    default: 1s."""
    cron: str | None = Field(default=None, json_schema_extra=without_default)
    """On schedule: minute, hour, day of month, month, day of week, as Debian's cron reads them: "*/5 * * * *". Six fields
    begin with the second: "*/10 * * * * *"."""
    timezone: str = "UTC"
    """On schedule: the zone that cron is meant in, as Europe/Berlin. When clocks change, a job of a fixed time neither falls
    out nor runs twice."""
    listen: Listen = "127.0.0.1:8080"
    """On webhook: HOST:PORT that requests are posted to. Port 0 lets the system choose."""
    path: str | None = Field(default=None, min_length=1, json_schema_extra=without_default)
    """On webhook: the path that they are posted to, default /; on any other there is nothing. On file: the files, as a glob
    from the folder of this file: "incoming/*.json", or "incoming/**/*.json" for folders below it, too."""
    secret: Annotated[tuple[HookSecret, ...], BeforeValidator(_as_several)] = Field(
        default=(), repr=False, json_schema_extra=one_or_several
    )
    """On webhook: the secret that requests are signed with, as Standard Webhooks does; during a rotation a list of those
    that are good. Without one nobody is asked who he is, so only this machine may post."""
    respond: Literal["result", "accepted"] = "result"
    """On webhook: `result` answers with what the function gives, when it has ended, without a stream; `accepted` answers 202
    as soon as the event is durable in the stream, whose function does it later."""
    topic: Topic | None = Field(default=None, json_schema_extra=without_default)
    """On webhook with respond: accepted: which of the stream's topics events are put into. Default: the only one."""
    largest: Size = Field(default=MIB, ge=1, json_schema_extra={"default": "1MiB"})
    """On webhook: bytes that a body may have."""
    events: Annotated[tuple[Literal["created", "changed"], ...], BeforeValidator(_as_several)] = Field(
        default=("created", "changed"), min_length=1
    )
    """On file: what starts it. What is there at the first start counts as created."""
    settle: Delay = Field(default=1.0, json_schema_extra={"default": "1s"})
    """On file: a file is taken when size and time have not changed for so long, so that none is taken that is still being
    written; 0: at once, for files that are renamed into the folder."""
    seen: FolderPath | None = Field(default=None, json_schema_extra=without_default)
    """On file: what remembers which files are done, a SQLite file. Default: .liberator/<name>.files.db."""
    filter: Filter | None = Field(default=None, json_schema_extra=without_default)
    """A condition in CEL over after, before, op, key, value, headers, topic and id: events that it turns down are done
    without the function. Where an event is a bare value, as that of a file is, after is that. Of a delete, before is tested
    in place of after if it has what the condition asks for, else the event passes; a tombstone passes."""

    _schedule: Schedule | None = PrivateAttr(None)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def schedule(self) -> Schedule | None:
        """When it starts; None: on something else."""
        return self._schedule

    @property
    def looks_every(self) -> float:
        """Seconds between two looks, how far behind the group is or at a folder."""
        return self.poll_interval or (1.0 if self.on == "file" else 10.0)

    @property
    def files(self) -> tuple[Path, str]:
        """On file: the folder, and the glob below it."""
        return files_of(self.path or "", self._folder)

    @model_validator(mode="after")
    def _has_what_belongs_to_it(self, info: ValidationInfo) -> TriggerSettings:
        self._folder = Path((info.context or {}).get(FOLDER) or Path.cwd())
        for key in self.model_fields_set:
            if self.on not in _BELONGS.get(key, (self.on,)):
                what = f"{key} does not belong to a trigger on {self.on}"
                raise refusal("config.trigger", what, f"it belongs to one on {' or '.join(_BELONGS[key])}")
        if self.on == "schedule":
            if self.cron is None:
                raise refusal("config.trigger", "a schedule has no cron", 'write cron: "*/5 * * * *"')
            self._schedule = schedule(self.cron, self.timezone)
        if self.on == "webhook":
            self._is_a_webhook()
        if self.on == "file":
            if self.path is None:
                raise refusal("config.trigger", "which files start it?", 'write path: "incoming/*.json"')
            files_of(self.path, self._folder)
        return self

    def _is_a_webhook(self) -> None:
        hook_path(self.path or "/")
        if not self.secret and not is_loopback(self.listen):
            what = "other machines can post to this address, and nothing tells who they are"
            raise refusal("config.trigger", what, "write secret: ${HOOK_SECRET}, or listen: 127.0.0.1:8080")
        if self.topic is not None and self.respond != "accepted":
            what = "topic is for respond: accepted, which puts requests there"
            raise refusal("config.trigger", what, "leave topic out")


OF_THE_STREAM = ("stream", "lag", "schedule")
"""Triggers that start the function on what the stream holds."""

_BELONGS = {
    "batch_size": (*OF_THE_STREAM, "file"),
    "batch_bytes": (*OF_THE_STREAM, "file"),
    "batch_window": ("stream",),
    "threshold": ("lag",),
    "max_wait": ("lag",),
    "poll_interval": ("lag", "file"),
    "cron": ("schedule",),
    "timezone": ("schedule",),
    "path": ("webhook", "file"),
    **dict.fromkeys(("listen", "secret", "respond", "topic", "largest"), ("webhook",)),
    **dict.fromkeys(("events", "settle", "seen"), ("file",)),
}


def as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value
