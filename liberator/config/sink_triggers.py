"""Which triggers, and which keys of the policy, go together in a sink: with a stream and without one.

Enters: a sink whose sections are checked. Leaves: nothing, or a refusal. Called by `sink`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from liberator.config.trigger import TriggerSettings
from liberator.config.values import refusal

if TYPE_CHECKING:
    from liberator.config.sink import SinkConfig

_ABOUT_EVENTS = (
    "commit",
    "max_age",
    "on_permanent",
    "bisect",
    "dead_letter_topic",
    "idempotency",
    "circuit_breaker",
    "order",
)
"""Keys of the policy."""


def one_of_a_kind(triggers: tuple[TriggerSettings, ...]) -> tuple[TriggerSettings, ...]:
    """Of what there can be several: schedules, and files."""
    if not triggers:
        raise refusal("config.trigger", "nothing would ever start the function", "leave trigger out")
    for kind in ("stream", "lag", "webhook"):
        if sum(trigger.on == kind for trigger in triggers) > 1:
            raise refusal("config.trigger", f"there are two triggers on {kind}", "keep one of them")
    if len({trigger.seen for trigger in triggers if trigger.on == "file"}) > 1:
        what = "the triggers on file name several places that remember what is done"
        raise refusal("config.trigger", what, "write one seen for all of them, or none")
    return triggers


def check_with_stream(config: SinkConfig) -> None:
    """What does not go with a stream is refused."""
    kinds = {trigger.on for trigger in config.trigger}
    if "file" in kinds and kinds & {"lag", "schedule"}:
        what = "a file starts the function at once, and the stream would start it only at times"
        raise refusal("config.trigger", what, "write a connector for each")
    filters = {one.filter.text for one in config.trigger if one.filter and one.on != "file"}
    if len(filters) > 1:
        what = "the triggers have different filters, and all of them start the function on the same events"
        raise refusal("config.trigger", what, "keep one of the filters, or write a connector for each")
    if config.webhook is not None:
        what = "a webhook is answered by the function, so there is no stream in between"
        fix = "write respond: accepted, which puts requests into the stream; or leave stream out"
        raise refusal("config.trigger", what, fix)
    if config.intake is not None:
        _check_intake(config, config.intake)


def _check_intake(config: SinkConfig, trigger: TriggerSettings) -> None:
    """There has to be one topic that requests are put into."""
    assert config.stream is not None
    topics = config.stream.topics
    if not topics:
        what = "requests are put into a topic, and the stream has a pattern only"
        raise refusal("config.trigger", what, "write stream.topics")
    if trigger.topic is None and len(topics) > 1:
        what = "which of the stream's topics are requests put into?"
        raise refusal("config.trigger", what, "write topic: NAME in the trigger on webhook")
    if trigger.topic is not None and trigger.topic not in topics:
        what = "requests would be put into a topic that the stream does not read"
        raise refusal("config.trigger", what, "write one of stream.topics")


def check_without_stream(config: SinkConfig) -> None:
    """What needs a stream is refused where there is none."""
    if config.intake is not None:
        what = "respond: accepted puts requests into a stream, and there is none"
        fix = "add stream: {url: ..., topics: [NAME]}, or write respond: result"
        raise refusal("config.stream", what, fix)
    for trigger in config.trigger:
        if trigger.on in ("stream", "lag"):
            fix = "add stream: {url: ..., topics: [...]}, or a trigger on schedule, webhook or file"
            raise refusal("config.stream", f"a trigger on {trigger.on} needs a stream", fix)
        about = trigger.model_fields_set & {"batch_size", "batch_bytes", "filter"}
        if about and trigger.on == "schedule":
            what = f"trigger.{min(about)} is about the events of a stream, and there is none"
            raise refusal("config.stream", what, "leave it out, or add a stream")
    if config.webhook is not None:
        _check_webhook(config)
    if config.files:
        _check_files(config)
    else:
        _check_no_events(config)
    if config.output.topic is not None and config.output.url is None:
        fix = "add output.url: kafka://HOST:PORT, or local:DIR"
        raise refusal(
            "config.output", "output.topic has no broker: there is no stream whose it could be", fix
        )


def _check_no_events(config: SinkConfig) -> None:
    for key in _ABOUT_EVENTS:
        if key == "idempotency" and config.webhook is not None:
            continue
        if key in config.policy.model_fields_set:
            what = f"policy.{key} is about the events of a stream, and there is none"
            raise refusal("config.stream", what, "leave it out, or add a stream")


def _check_files(config: SinkConfig) -> None:
    """What is given up has to go somewhere."""
    policy = config.policy
    if config.output.url is None and (policy.on_failure == "dead_letter" or policy.on_permanent is not None):
        what = "there is no broker for the dead letters of files that the function fails for"
        fix = "add output.url: kafka://HOST:PORT or local:DIR, or write policy: {on_failure: stop}, or skip"
        raise refusal("config.output", what, fix)


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
