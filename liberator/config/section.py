"""What the sections of all connectors share: how a mapping of the YAML becomes an object, and the keys that sources and
sinks both have.

Enters: plain data. Leaves: frozen objects. Called by `models` and `sink`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from liberator.config.document import Document, KeyPath
from liberator.config.stage import topic_prefix
from liberator.config.values import ConnectorName, Listen, Setting, WholeNumber, refusal
from liberator.errors import ConfigError
from liberator.kafka.options import refuse_weakening

MIB = 1024 * 1024


def without_default(schema: dict[str, Any]) -> None:
    """For defaults that the description tells better than a value could."""
    schema.pop("default", None)


def for_producers(options: dict[str, str]) -> dict[str, str]:
    """With compression unless they choose one. Those that would weaken a promise are refused."""
    try:
        refuse_weakening(options)
    except ConfigError as error:
        raise refusal("config.option", error.what, error.fix) from None
    known = {"compression.type", "compression.codec"}
    return options if known & options.keys() else {"compression.type": "lz4", **options}


def or_boolean(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "boolean"})


class Section(BaseModel):
    """A mapping of the YAML. A key without a value means its default.

    What a key means is told by the docstring below it, which `editor_schema` reads. A section is built at its first use.
    Both for every section at every start took long.
    """

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


class TopicSettings(Section):
    """How missing topics are made."""

    partitions: WholeNumber = 6
    """Partitions of a new topic; -1 takes the broker's default."""
    replication: WholeNumber = -1
    """Copies of each partition; -1 takes the broker's default."""
    config: dict[str, Setting] = {"cleanup.policy": "delete"}
    """Further settings of a new topic, by Kafka's names."""

    @model_validator(mode="after")
    def _numbers_make_sense(self) -> TopicSettings:
        for number in (self.partitions, self.replication):
            if number != -1 and number < 1:
                raise refusal(
                    "config.value", "partitions and replication are 1 or more, or -1 for the broker's default"
                )
        return self


class ObserveSettings(Section):
    """The connector's own endpoint."""

    listen: Listen = "127.0.0.1:9464"
    """HOST:PORT of /metrics, /health/live, /health/ready and /status. Port 0 lets the system choose."""


class ConnectorConfig(Section):
    """What every connector has."""

    connector: str
    name: ConnectorName

    _document: Document | None = PrivateAttr(None)
    _stage: str | None = PrivateAttr(None)

    @property
    def file(self) -> Path | None:
        """The file that it was read from; None: it was given as options."""
        mark = self._document.marks[()] if self._document else None
        return Path(mark.origin) if mark and mark.line is not None else None

    @property
    def folder(self) -> Path:
        """What relative paths are relative to."""
        return self._document.folder if self._document else Path.cwd()

    def without_stage(self, topic: str) -> str:
        """The topic as it is called without ``--stage``: stored contracts are the same in every stage."""
        return topic.removeprefix(topic_prefix(self._stage)) if self._stage else topic

    def where(self, *path: str | int) -> str:
        """Where a key is written, for messages: ``shop.yaml:12: source.log.slot``."""
        keys: KeyPath = path
        return self._document.where(keys) if self._document else ".".join(map(str, keys))
