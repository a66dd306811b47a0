"""What the commands about dead letters do: list them, show one, publish them again, give them up.

Enters: a checked configuration and what is wanted. Leaves: rows for a listing, one at a time; each of a redrive or discard
when it is durable. Each call makes its own connections and gives them back.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liberator.build.deadletter_rules import judge_of
from liberator.build.topics import kafka_topics, local_topics
from liberator.change import Event, TopicPartition
from liberator.content import payload, schema_id
from liberator.deadletter.box import Box
from liberator.deadletter.ledger import Ledger, Wanted
from liberator.deadletter.letter import Letter, LetterId
from liberator.deadletter.redrive import Discard, Redrive, Result
from liberator.errors import ConfigError, DeadLetterError
from liberator.letters import TRANSFORMATION

if TYPE_CHECKING:
    from liberator.config import SinkConfig, SourceConfig
    from liberator.config.section import TopicSettings

_KEY_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters of a connector are meant. ids: these; none: all that the others let through. topic, error: globs.
    since: milliseconds since the Unix epoch."""

    ids: tuple[LetterId, ...] = ()
    topic: str = "*"
    error: str = "*"
    since: int | None = None


def dlq_list(
    config: SourceConfig | SinkConfig, filters: Filters, *, done: bool = False
) -> Iterator[dict[str, Any]]:
    """One row a dead letter, in the order of their places. done: those too that were redriven or discarded."""
    with _open(config) as (box, topic):
        ledger = Ledger(box, topic, complete=False)
        ledger.look()
        for letter in ledger.letters(_wanted(config, filters, done=done)):
            yield {
                "id": str(letter.id),
                "when": _time(letter.given_up_ms),
                "connector": letter.connector,
                "topic": letter.topic,
                "error": letter.error,
                "rule": letter.rule,
                "path": letter.path,
                "attempts": letter.said.get("__connect.errors.attempts"),
                "state": ledger.state(letter.id) or "pending",
                "key": _key(letter),
            }


def dlq_events(config: SinkConfig, filters: Filters) -> Iterator[Event]:
    """The events that wait in the dead letters of a sink, where they were, byte for byte. Raises `DeadLetterError`."""
    with _open(config) as (box, topic):
        ledger = Ledger(box, topic, complete=False)
        ledger.look()
        missing = set(filters.ids)
        for letter in ledger.letters(_wanted(config, filters, done=bool(filters.ids))):
            missing.discard(letter.id)
            place, offset = letter.origin or (TopicPartition(letter.topic, 0), letter.id.offset)
            yield Event(*place, offset, letter.timestamp, letter.key, letter.value, letter.headers)
        if missing:
            raise _unknown(min(missing), topic)


def dlq_show(config: SourceConfig | SinkConfig, id: LetterId, *, value: bool = False) -> dict[str, Any]:
    """Everything about one. value: what the event holds, too. Raises `DeadLetterError`."""
    with _open(config) as (box, topic):
        found = Ledger(box, topic, complete=False).find(id)
    if found is None:
        raise _unknown(id, topic)
    letter, mark = found
    row: dict[str, Any] = {
        "id": str(letter.id),
        "state": mark.outcome if mark else "pending",
        "topic": letter.topic,
        "key": _key(letter),
        "event": letter.event_id,
        "when": _time(letter.given_up_ms),
        "error": letter.error,
        "message": letter.message,
        "rule": letter.rule,
        "path": letter.path,
        "read_at": None
        if letter.origin is None
        else f"partition {letter.origin[0].partition}, offset {letter.origin[1]}",
        "attempts": letter.said.get("__connect.errors.attempts"),
        "stage": letter.stage,
        "connector": letter.connector,
        "headers": {name: _text(content) for name, content in letter.headers},
        "value_bytes": None if letter.value is None else len(letter.value),
        "stacktrace": letter.said.get("__connect.errors.exception.stacktrace"),
    }
    if mark is not None:
        row |= {"done_at": _time(mark.at), "done_because": mark.note or None}
    else:
        row["what_to_do"] = advice(letter)
    return row | ({"value": _text(payload(letter.value))} if value else {})


def dlq_redrive(
    config: SourceConfig | SinkConfig,
    filters: Filters,
    *,
    validate: bool = True,
    force: bool = False,
    dry_run: bool = False,
) -> Iterator[dict[str, Any]]:
    """Publish letters to the topics that they were meant for; one row a letter. Raises `DeadLetterError`, `ConfigError`."""
    _refuse_another_broker(config)
    with _open(config) as (box, topic):
        ledger = Ledger(box, topic, complete=True)
        redrive = Redrive(box, ledger, judge_of(config, validate=validate), force=force, dry_run=dry_run)
        wanted = _wanted(config, filters, done=bool(filters.ids))
        yield from _told(redrive.run(wanted), filters, topic)


def dlq_discard(
    config: SourceConfig | SinkConfig, filters: Filters, reason: str, *, dry_run: bool = False
) -> Iterator[dict[str, Any]]:
    """Give letters up; one row a letter. Raises `DeadLetterError`."""
    with _open(config) as (box, topic):
        discard = Discard(box, Ledger(box, topic, complete=True), reason, dry_run=dry_run)
        yield from _told(discard.run(_wanted(config, filters, done=False)), filters, topic)


def _told(results: Iterator[Result], filters: Filters, topic: str) -> Iterator[dict[str, Any]]:
    missing = set(filters.ids)
    for result in results:
        missing.discard(result.letter.id)
        yield {
            "id": str(result.letter.id),
            "outcome": result.fate,
            "topic": result.letter.topic,
            "why": result.why or None,
            "checked": result.checked or None,
            "key": _key(result.letter),
        }
    if missing:
        raise _unknown(min(missing), topic)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a connector's dead letters are. url: the broker. folder: of a local log; None: it is Kafka. made: how missing
    topics are made; None: they are refused."""

    url: str
    folder: Path | None
    topic: str
    options: Mapping[str, str]
    made: TopicSettings | None


def _home(config: SourceConfig | SinkConfig) -> _Home:
    from liberator.config import SinkConfig

    return _home_of_sink(config) if isinstance(config, SinkConfig) else _home_of_source(config)


def _home_of_source(config: SourceConfig) -> _Home:
    publish = config.publish
    if publish.kind not in ("kafka", "local"):
        raise ConfigError(
            f"{config.name} publishes to {publish.kind}: its dead letters are lines among its events",
            code="config.not_supported",
            where=config.where("publish", "url"),
            fix="look for the topic of dead letters there; the commands need kafka:// or local:",
        )
    folder = publish.path if publish.kind == "local" else None
    topic = publish.dead_letter_topic.render(name=config.name, db="")
    return _Home(publish.url, folder, topic, publish.options, publish.create_topics)


def _home_of_sink(config: SinkConfig) -> _Home:
    from liberator.build.dispatching import publishing_options
    from liberator.config.sink import folder_of_broker

    url, output = config.publish_url, config.output
    if config.files and config.stream is None:
        raise ConfigError(
            f"the dead letters of {config.name} are about files, which are in no topic to be published to again",
            code="config.stream",
            where=config.where("name"),
            fix=f"read {config.dead_letter_topic} with any consumer; a file that is touched starts the function again",
        )
    if url is None or config.stream is None:
        raise ConfigError(
            f"{config.name} has no stream, so there are no events that it could have given up",
            code="config.stream",
            where=config.where("name"),
            fix="name the file of a connector with a stream",
        )
    return _Home(
        url,
        folder_of_broker(url),
        config.dead_letter_topic,
        publishing_options(config, url),
        output.create_topics,
    )


def _refuse_another_broker(config: SourceConfig | SinkConfig) -> None:
    """An event and its mark are written together, so they must be of one broker."""
    from liberator.config import SinkConfig

    if isinstance(config, SinkConfig) and config.stream and config.publish_url != config.stream.url:
        raise ConfigError(
            f"the dead letters of {config.name} are in another broker than its stream",
            code="config.not_supported",
            where=config.where("output", "url"),
            fix="publish them to their topics by other means, then discard them here",
        )


@contextmanager
def _open(config: SourceConfig | SinkConfig) -> Iterator[tuple[Box, str]]:
    """The broker that a connector's dead letters are in, and their topic."""
    home = _home(config)
    with closing(make_box(home.url, home.folder, home.options, home.made)) as box:
        yield box, home.topic


def make_box(
    url: str, folder: Path | None, options: Mapping[str, str], made: TopicSettings | None = None
) -> Box:
    """A broker, to be read without a group. folder: of a local log; None: it is Kafka. made: how missing topics are made;
    None: they are refused. Raises `DeadLetterError`, `ConfigError`."""
    if folder is None:
        from liberator.deadletter.kafka import KafkaBox

        return KafkaBox(url, options=options, create_topics=kafka_topics(made))
    from liberator.deadletter.local import LocalBox

    return LocalBox(folder, **local_topics(made))


def _wanted(config: SourceConfig | SinkConfig, filters: Filters, *, done: bool) -> Wanted:
    ids = frozenset(filters.ids) or None
    return Wanted(config.name, ids, filters.topic, filters.error, filters.since, done)


def _unknown(id: LetterId, topic: str) -> DeadLetterError:
    return DeadLetterError(
        f"there is no dead letter {id} that could be meant",
        code="dead_letter.unknown",
        where=f"topic {topic}",
        fix="`liberate dlq list --all` shows all that this connector has, and what became of them",
    )


# For people


def advice(letter: Letter) -> str:
    """What can be done about a letter, in words."""
    if letter.lacks is not None:
        return (
            f"its {letter.lacks} did not fit, so it can't be redriven: raise max.message.bytes of its topic, have the "
            "rows read again (`liberate checkpoint reset FILE --read TABLE`), then discard it"
        )
    if letter.stage == TRANSFORMATION:
        return (
            "correct the transform, have the rows read again (`liberate checkpoint reset FILE --read TABLE`), then discard "
            "it; --no-validate publishes it as it stands here, without what the transform would have made of it"
        )
    if letter.error.endswith("ContractError") and schema_id(letter.value) is not None:
        return (
            "it begins with the id of a schema that it breaks: store a contract that allows it (schema.dir, the next "
            "version), have the rows read again (`liberate checkpoint reset FILE --read TABLE`), then discard it; "
            "--no-validate publishes it with the id that it has"
        )
    if letter.error.endswith("ContractError"):
        return (
            "store a contract that allows it (schema.dir, the next version), then redrive it; or correct the row where "
            "it comes from, which makes an event of its own, and discard it"
        )
    if letter.error.endswith("PublishError"):
        return "raise max.message.bytes of its topic, then redrive it"
    return (
        "correct what failed, then redrive it: it goes to its topic again, where all readers get it a second time, with the "
        "same id; or discard it"
    )


def _key(letter: Letter) -> str | None:
    text = _text(payload(letter.key))
    return text if text is None or len(text) <= _KEY_SHOWN else f"{text[:_KEY_SHOWN]}..."


def _text(content: bytes | None) -> str | None:
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(content).decode()


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds")
