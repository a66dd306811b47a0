"""The kinds of values that a configuration has: durations, sizes, names, URLs, patterns, as pydantic types.

Each one turns what YAML gives into what the program works with, or refuses it in words that say how to write it, and
describes itself for the JSON Schema. Relative paths are made absolute with the folder in the validation context.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from liberator.config.document import kind_of
from liberator.config.patterns import EVENT_PLACES, TablePattern, TopicTemplate, split_names
from liberator.config.urls import Url, UrlParts, split_url

if TYPE_CHECKING:
    from typing_extensions import LiteralString

FOLDER = "folder"
"""Key of the validation context: the folder that relative paths are relative to."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KIB": 1024,
    "MIB": 1024**2,
    "GIB": 1024**3,
}
_DURATION = r"[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d)?"
_SIZE = r"[0-9]+(?:\.[0-9]+)? ?(?:B|[KMG]B|[KMG]iB)?"
_SLOT = r"[a-z0-9_]{1,63}"
_CONNECTOR_NAME = r"[A-Za-z0-9._-]{1,200}"
_LISTEN = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:\[\]/]*):(?P<port>[0-9]{1,5})")


def refusal(
    code: LiteralString, what: str, fix: str | None = None, *, quotes: bool = False
) -> PydanticCustomError:
    """A fault of a value, with the code, words and remedy that the user will read. quotes: the words show something of
    the value, so they are not for one that may be a secret."""
    return PydanticCustomError(code, "{what}", {"what": what, "fix": fix, "quotes": quotes})


def parse_duration(value: object) -> float:
    """Seconds of ``10s``, ``500ms``, ``1.5h``, ``7d`` or a number of seconds. Raises `PydanticCustomError`."""
    fix = "write a number with ms, s, m, h or d, for example 500ms or 10s"
    if isinstance(value, str) and re.fullmatch(_DURATION, value.strip()):
        number, unit = re.fullmatch(r"([0-9.]+)([a-z]*)", value.strip()).groups()  # type: ignore[union-attr]  # matched
        value = float(number) * _SECONDS[unit or "s"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal("config.duration", "this is no duration", fix)
    if not math.isfinite(value) or value < 0:
        raise refusal("config.duration", "a duration is a number of seconds, zero or more", fix)
    return float(value)


def parse_size(value: object) -> int:
    """Bytes of ``256MiB``, ``1MB``, ``64 KiB`` or a whole number of bytes. Raises `PydanticCustomError`."""
    fix = "write a whole number with B, KB, MB, GB, KiB, MiB or GiB, for example 256MiB"
    if isinstance(value, str) and re.fullmatch(_SIZE, value.strip(), re.IGNORECASE):
        number, unit = re.fullmatch(r"([0-9.]+) ?([A-Za-z]*)", value.strip()).groups()  # type: ignore[union-attr]  # matched
        return int(float(number) * _BYTES[unit.upper()])
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refusal("config.size", "this is no size", fix)
    return value


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise refusal("config.duration", "this duration must be longer than zero", "write for example 10s")
    return seconds


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    AfterValidator(_positive),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "string", "pattern": f"^{_DURATION}$"},
            ]
        }
    ),
]
Delay = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{_DURATION}$"}]}
    ),
]
"""A duration that may be zero."""
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": f"^{_SIZE}$"}]}
    ),
]


def _no_boolean(value: Any) -> Any:
    # pydantic would take true as 1.
    if isinstance(value, bool):
        raise refusal("config.type", "this must be a whole number, not true or false")
    return value


WholeNumber = Annotated[int, BeforeValidator(_no_boolean)]


def default_slot_name(name: str) -> str:
    """Slot and publication of a connector: its name lower-cased, other characters as ``_``, at most 63 bytes."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())[:63]


def _slot(value: str) -> str:
    if not re.fullmatch(_SLOT, value):
        what = f'"{value}" is no slot name: PostgreSQL allows lower-case letters, digits and _, at most 63'
        raise refusal("config.slot_name", what, f"write {default_slot_name(value) or 'shop'}", quotes=True)
    return value


def _connector_name(value: str) -> str:
    if not re.fullmatch(_CONNECTOR_NAME, value):
        what = "a connector's name has 1 to 200 letters, digits, '.', '_' and '-'"
        raise refusal("config.name", what, "write for example shop or shop-orders")
    return value


def _identifier(value: str) -> str:
    if not value or "\0" in value or len(value.encode()) > 63:
        raise refusal("config.name", "a name in PostgreSQL has 1 to 63 bytes", "shorten it")
    return value


SlotName = Annotated[str, AfterValidator(_slot), WithJsonSchema({"type": "string", "pattern": f"^{_SLOT}$"})]
ConnectorName = Annotated[
    str,
    AfterValidator(_connector_name),
    WithJsonSchema({"type": "string", "pattern": f"^{_CONNECTOR_NAME}$"}),
]
Identifier = Annotated[str, AfterValidator(_identifier)]

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


def _names(value: Any) -> Any:
    """A list, or text with commas. An empty one is refused: it reads as nothing and would mean everything."""
    if isinstance(value, str):
        value = split_names(value)
    if isinstance(value, list) and not value:
        raise refusal("config.value", "this list is empty", "name at least one, or leave the key out")
    return value


def _pattern(value: Any) -> TablePattern:
    if isinstance(value, TablePattern):
        return value
    if not isinstance(value, str):
        raise refusal("config.type", f"a table pattern is text, not {kind_of(value)}", "write schema.table")
    try:
        return TablePattern.parse(value)
    except ValueError as error:
        fix = 'write schema.table, a glob such as public.audit_*, or quoted names: "public"."We.ird"'
        raise refusal("config.table_pattern", f"this is no table pattern: {error}", fix) from None


OneTablePattern = Annotated[
    TablePattern, PlainValidator(_pattern), PlainSerializer(str), WithJsonSchema(_TEXT)
]
TablePatterns = Annotated[tuple[OneTablePattern, ...], BeforeValidator(_names), WithJsonSchema(_TEXTS)]
Names = Annotated[tuple[Identifier, ...], BeforeValidator(_names), WithJsonSchema(_TEXTS)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_names), WithJsonSchema(_TEXTS)]


def _template(*places: str) -> Callable[[Any], TopicTemplate]:
    def parse(value: Any) -> TopicTemplate:
        if isinstance(value, TopicTemplate):
            return value
        if not isinstance(value, str):
            raise refusal("config.type", f"a topic is text, not {kind_of(value)}")
        try:
            return TopicTemplate.parse(value, places)
        except ValueError as error:
            raise refusal("config.topic", f"this is no topic: {error}", quotes=True) from None

    return parse


TableTopic = Annotated[
    TopicTemplate,
    PlainValidator(_template("name", "schema", "table", "db", *EVENT_PLACES)),
    PlainSerializer(str),
    WithJsonSchema(_TEXT),
]
OUTBOX_TOPIC = "outbox.event.{aggregatetype}"
"""Where the events of an outbox go unless something else is configured."""

EventTopic = Annotated[
    TopicTemplate,
    PlainValidator(_template("name", *EVENT_PLACES)),
    PlainSerializer(str),
    WithJsonSchema(_TEXT),
]
ConnectorTopic = Annotated[
    TopicTemplate,
    PlainValidator(_template("name")),
    PlainSerializer(str),
    WithJsonSchema(_TEXT),
]


def _setting(value: Any) -> str:
    """A client's setting as the text that librdkafka and Kafka take."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise refusal("config.type", f"a setting is text, a number, true or false, not {kind_of(value)}")


Setting = Annotated[str, BeforeValidator(_setting), WithJsonSchema({"type": ["string", "number", "boolean"]})]


def _folder(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get(FOLDER) or Path.cwd())


def _anchored(value: Path, info: ValidationInfo) -> Path:
    if not value.parts or "\0" in str(value):
        raise refusal("config.path", "this is no path", "write for example schemas")
    return _folder(info) / value


def _deletes(value: Any) -> str:
    value = _text(value)
    if value in ("ignore", "reconcile") or (value.startswith("soft:") and len(value) > len("soft:")):
        return str(value)
    raise refusal(
        "config.value",
        "this is no way to tell deletes",
        "write ignore, reconcile or soft:COLUMN (soft:deleted_at)",
    )


DeletePolicy = Annotated[
    str,
    PlainValidator(_deletes),
    WithJsonSchema({"type": "string", "pattern": "^(ignore|reconcile|soft:.+)$"}),
]


def _after_publish(value: Any) -> str:
    value = _text(value)
    if value in ("keep", "delete") or (value.startswith("mark:") and len(value) > len("mark:")):
        return str(value)
    what, fix = (
        "this is nothing to do with a published row",
        "write keep, delete or mark:COLUMN (mark:published_at)",
    )
    raise refusal("config.value", what, fix)


AfterPublish = Annotated[
    str,
    PlainValidator(_after_publish),
    WithJsonSchema({"type": "string", "pattern": "^(keep|delete|mark:.+)$"}),
]

FolderPath = Annotated[Path, AfterValidator(_anchored), WithJsonSchema({"type": "string", "minLength": 1})]


def file_of(url: str) -> str | None:
    """The path in ``file:PATH`` or ``file:///PATH``; None when it is another kind of URL or names a host."""
    if not url.startswith("file:"):
        return None
    path = url.removeprefix("file:")
    if path.startswith("//"):
        path = path.removeprefix("//")
        return path if path.startswith("/") else None
    return path or None


def _split(value: str) -> UrlParts:
    try:
        return split_url(value)
    except ValueError as error:
        raise refusal("config.url", f"this URL can't be used: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise refusal("config.type", f"this must be text, not {kind_of(value)}")
    return value


POSTGRES_SCHEMES = ("postgresql", "postgres")


def _database_url(value: Any, info: ValidationInfo) -> Url:
    """Of PostgreSQL; where tables are queried, of any database that SQLAlchemy knows. What an outbox needs is judged
    where its capture is known."""
    fix = "write postgresql://USER@HOST:PORT/DATABASE, with :PASSWORD after USER if it needs one"
    value = _text(value)
    scheme = value.partition("://")[0] if "://" in value else ""
    if scheme and info.data.get("mode") not in ("query", "outbox") and scheme not in POSTGRES_SCHEMES:
        raise refusal("config.url", f"mode log reads PostgreSQL, not {scheme}://", fix)
    return _any_database_url(value, info)


def _any_database_url(value: Any, info: ValidationInfo) -> Url:
    """Of any database that SQLAlchemy knows."""
    fix = "write postgresql://USER@HOST:PORT/DATABASE, with :PASSWORD after USER if it needs one"
    if "://" not in _text(value) or value.startswith("://"):
        raise refusal("config.url", "this is no URL of a database", fix)
    if value.partition("://")[0].partition("+")[0] == "sqlite":
        return Url(_sqlite_url(value, info))
    _split(value)
    return Url(value)


def _sqlite_url(value: str, info: ValidationInfo) -> str:
    """``sqlite:///PATH``, ``sqlite:////PATH`` with an absolute one."""
    scheme, _, path = value.partition("://")
    if not path.startswith("/") or not path[1:].partition("?")[0]:
        raise refusal(
            "config.url",
            "this is no file of SQLite",
            "write sqlite:///PATH, or sqlite:////PATH with an absolute one",
        )
    return f"{scheme}:///{_folder(info) / path[1:]}"


def _file_url(value: str, info: ValidationInfo) -> str:
    path = file_of(value)
    if path is None:
        raise refusal(
            "config.url", "this is no path of a file", "write file:PATH, or file:///PATH with an absolute one"
        )
    return f"file:{_folder(info) / path}"


def kind_of_place(url: str) -> Literal["kafka", "local", "file"]:
    """What a URL of ``publish`` names; everything that is no broker keeps nothing but events."""
    if url.startswith("local:"):
        return "local"
    return "kafka" if url.startswith("kafka://") else "file"


def folder_of(url: str) -> str | None:
    """The folder in ``local:DIR``; None when it is another kind of URL, or names none."""
    return url.removeprefix("local:") or None if url.startswith("local:") else None


def _publish_url(value: Any, info: ValidationInfo) -> Url:
    if _text(value) == "-":
        return Url(value)
    if value.startswith("local:"):
        folder = folder_of(value)
        if folder is None or "\0" in folder or folder.startswith("//"):
            raise refusal(
                "config.url", "this is no folder for a local log", "write local:DIR, for example local:events"
            )
        return Url(f"local:{_folder(info) / folder}")
    if value.startswith("file:"):
        return Url(_file_url(value, info))
    if not value.startswith("kafka://"):
        fix = "write kafka://HOST:PORT, local:DIR, file:PATH, or - for standard output"
        raise refusal("config.url", "this is no place to publish to", fix)
    parts = _split(value)
    if parts.user is not None:
        fix = "set sasl.username and sasl.password in publish.options"
        raise refusal("config.url", "a kafka:// URL carries no user and no password", fix)
    if parts.path or parts.query or not all(host for host, _ in parts.hosts):
        fix = "write kafka://HOST:PORT[,HOST:PORT]; settings belong in publish.options"
        raise refusal("config.url", "a kafka:// URL is a list of brokers and nothing else", fix)
    return Url(value)


def _checkpoint_url(value: str, info: ValidationInfo) -> str:
    if value in ("kafka", "local"):
        return value
    if not value.startswith("file:"):
        raise refusal("config.url", "this is no place for checkpoints", "write kafka, local or file:PATH")
    return _file_url(value, info)


def _registry_url(value: Any) -> Url:
    parts = _split(_text(value))
    (host, _), *more = parts.hosts
    if parts.scheme not in ("http", "https") or not host or more:
        fix = "write https://USER:PASSWORD@HOST:PORT"
        raise refusal("config.url", "this is no address of a schema registry", fix)
    if (
        re.search("[#?]", value) or "@" in parts.path
    ):  # a password would end there, and the rest of it be shown
        fix = "percent-encode user and password: / as %2F, ? as %3F, # as %23"
        raise refusal("config.url", "the address of a schema registry has a bare ?, # or @ in it", fix)
    return Url(value)


def _token(value: str) -> str:
    """What a block of YAML has around it is not part of it."""
    token = value.strip()
    if not token or not (token.isascii() and token.isprintable()):
        fix = "a token is one line of letters, digits and punctuation"
        raise refusal("config.value", "this is no token: no header can carry it", fix)
    return token


Token = Annotated[str, AfterValidator(_token)]
DatabaseUrl = Annotated[Url, PlainValidator(_database_url), PlainSerializer(str), WithJsonSchema(_TEXT)]
AnyDatabaseUrl = Annotated[
    Url, PlainValidator(_any_database_url), PlainSerializer(str), WithJsonSchema(_TEXT)
]
PublishUrl = Annotated[Url, PlainValidator(_publish_url), PlainSerializer(str), WithJsonSchema(_TEXT)]
CheckpointUrl = Annotated[str, AfterValidator(_checkpoint_url)]
RegistryUrl = Annotated[Url, PlainValidator(_registry_url), PlainSerializer(str), WithJsonSchema(_TEXT)]


def _listen(value: Any) -> str:
    found = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if not found or int(found["port"]) > 65535:
        fix = "write HOST:PORT, for example 127.0.0.1:9464 or [::1]:9464"
        raise refusal("config.listen", "this is no address to listen on", fix)
    return found[0]


Listen = Annotated[
    str, PlainValidator(_listen), WithJsonSchema({"type": "string", "pattern": ":[0-9]{1,5}$"})
]


def _false_is_none(value: Any) -> Any:
    """``false`` (also as text from the environment) switches a part off, ``true`` takes its defaults."""
    if value is False or (isinstance(value, str) and value.lower() in ("false", "no", "off")):
        return None
    if value is True or (isinstance(value, str) and value.lower() in ("true", "yes", "on")):
        return {}
    return value


FALSE_IS_OFF = BeforeValidator(_false_is_none)

SnapshotMode = Literal["initial", "initial_only", "always", "never", "when_needed"]
