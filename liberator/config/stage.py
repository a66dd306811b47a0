"""The same files in test, staging and production: a stage's name goes before everything that connectors share.

Enters: a `Document` as it is written. Leaves: the document with the names of the stage in it. This is the one place
that decides what a stage changes: connector name (so checkpoint and consumer group too), topics, slot, publication. A
sink's pattern is compared with what follows the stage in a topic.
"""

from __future__ import annotations

import re
from typing import Any

from liberator.config.document import Document
from liberator.config.patterns import split_names
from liberator.config.values import OUTBOX_TOPIC, default_slot_name
from liberator.errors import ConfigError

_STAGE = re.compile(r"[A-Za-z0-9._-]{1,50}")
_TOPICS = (
    (("publish",), "topic"),
    (("publish",), "dead_letter_topic"),
    (("source", "log"), "message_topic"),
    (("schema",), "change_topic"),
    (("output",), "topic"),
    (("policy",), "dead_letter_topic"),
    (("policy", "on_permanent"), "topic"),
)


def check_stage(stage: str) -> None:
    """Raises `ConfigError` for a name that no topic could begin with."""
    if not _STAGE.fullmatch(stage):
        raise ConfigError(
            "a stage is named with 1 to 50 letters, digits, '.', '_' and '-'",
            code="config.stage",
            where="--stage",
            fix="write for example --stage test",
        )


def topic_prefix(stage: str) -> str:
    """What every topic of the stage begins with."""
    return f"{stage}."


def apply_stage(document: Document, stage: str) -> None:
    """Put `stage` before the names in `document`; a name that is left to its default follows the connector's."""
    name = document.data.get("name")
    if not isinstance(name, str):
        return
    for path, key in _TOPICS:
        section = document.get(path)
        if isinstance(section, dict) and isinstance(section.get(key), str):
            section[key] = topic_prefix(stage) + section[key].replace("{name}", name)
    _routes(document, stage)
    if document.get(("source", "mode")) == "outbox" or document.data.get("connector") == "sidecar":
        _outbox_topic(document, stage)
    stream = document.get(("stream",))
    if isinstance(stream, dict):
        _stream_topics(stream, stage)
    trigger = document.data.get("trigger")
    for one in trigger if isinstance(trigger, list) else [trigger]:
        if isinstance(one, dict) and isinstance(one.get("topic"), str):
            one["topic"] = topic_prefix(stage) + one["topic"]
    pushed = document.data.get("push")
    for push in pushed if isinstance(pushed, list) else ():
        if isinstance(push, dict):
            _push(push, stage)
    document.data["name"] = topic_prefix(stage) + name
    log = document.get(("source", "log"))
    if not isinstance(log, dict):
        return
    prefix = f"{default_slot_name(stage)}_"
    if isinstance(log.get("slot"), str):
        log["slot"] = prefix + log["slot"]
    publication = log.get("publication")
    if isinstance(publication, str):
        publication = split_names(publication)
    if isinstance(publication, list):
        log["publication"] = [prefix + item if isinstance(item, str) else item for item in publication]


def _stream_topics(stream: dict[str, Any], stage: str) -> None:
    topics = stream.get("topics")
    if isinstance(topics, str):
        topics = split_names(topics)
    if isinstance(topics, list):
        stream["topics"] = [topic_prefix(stage) + one if isinstance(one, str) else one for one in topics]


def _push(push: dict[str, Any], stage: str) -> None:
    """Its group is its name."""
    group, policy = push.get("group"), push.get("policy")
    _stream_topics(push, stage)
    if isinstance(policy, dict) and isinstance(policy.get("dead_letter_topic"), str):
        policy["dead_letter_topic"] = topic_prefix(stage) + policy["dead_letter_topic"].replace(
            "{name}", str(group)
        )
    if isinstance(group, str):
        push["group"] = topic_prefix(stage) + group


def _routes(document: Document, stage: str) -> None:
    steps = document.get(("transform",))
    for step in steps if isinstance(steps, list) else ():
        route = step.get("route") if isinstance(step, dict) else None
        if isinstance(route, dict) and isinstance(route.get("topic"), str):
            route["topic"] = topic_prefix(stage) + route["topic"]


def _outbox_topic(document: Document, stage: str) -> None:
    """The default topic of an outbox does not follow the connector's name."""
    publish = document.data.get("publish")
    if publish is None:
        publish = document.data["publish"] = {}
    if isinstance(publish, dict) and publish.get("topic") is None:
        publish["topic"] = topic_prefix(stage) + OUTBOX_TOPIC
