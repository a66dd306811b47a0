"""The kinds of values that only sinks have: brokers to read from, topics, patterns, times, functions.

As in `values`: each one turns what YAML gives into what the program works with, or refuses it in words that say how to
write it.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

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
from liberator.config.patterns import split_names
from liberator.config.urls import Url, split_url
from liberator.config.values import FOLDER, POSTGRES_SCHEMES, PublishUrl, Setting, refusal
from liberator.errors import ConfigError
from liberator.expression import Expression, condition
from liberator.signature import secret_of

_TOPIC = r"[A-Za-z0-9._-]{1,249}"
_PYTHON = r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*"
_TEXT = {"type": "string", "minLength": 1}


def _broker(url: Url) -> Url:
    if not url.startswith(("kafka://", "local:")):
        raise refusal(
            "config.url", "this is no place to read events from", "write kafka://HOST:PORT or local:DIR"
        )
    return url


BrokerUrl = Annotated[PublishUrl, AfterValidator(_broker)]


def _topic(value: Any) -> str:
    if not isinstance(value, str):
        raise refusal("config.type", f"a topic is text, not {kind_of(value)}")
    if not re.fullmatch(_TOPIC, value) or value in (".", ".."):
        raise refusal(
            "config.topic",
            f"\"{value[:60]}\" is no topic: they have 1 to 249 letters, digits, '.', '_' and '-'",
            quotes=True,
        )
    return value


Topic = Annotated[str, PlainValidator(_topic), WithJsonSchema({"type": "string", "pattern": f"^{_TOPIC}$"})]


def _topics(value: Any) -> Any:
    if isinstance(value, str):
        value = split_names(value)
    if isinstance(value, list) and not value:
        raise refusal("config.value", "this list is empty", "name at least one topic, or write a pattern")
    return value


Topics = Annotated[
    tuple[Topic, ...],
    BeforeValidator(_topics),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]


def _pattern(value: Any) -> re.Pattern[str]:
    if not isinstance(value, str) or not value:
        raise refusal("config.type", f"a pattern is text, not {kind_of(value)}")
    try:
        return re.compile(value)
    except re.error as error:
        raise refusal(
            "config.topic_pattern",
            f"this is no regular expression: {error}",
            r'write for example "^shop\\..*"',
            quotes=True,
        ) from None


TopicPattern = Annotated[
    re.Pattern[str],
    PlainValidator(_pattern),
    PlainSerializer(lambda pattern: pattern.pattern),
    WithJsonSchema(_TEXT),
]


def _start(value: Any) -> Any:
    if value in ("earliest", "latest"):
        return value
    what = "this is no place to start at"
    fix = "write earliest, latest, or a time with its zone: 2026-11-22T08:00:00Z"
    if not isinstance(value, str):
        raise refusal("config.value", what, fix)
    try:
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", value.strip()))
    except ValueError:
        raise refusal("config.value", what, fix) from None
    if moment.tzinfo is None:
        raise refusal("config.value", "this time has no zone", fix)
    return moment


StartAt = Annotated[
    datetime | str,
    PlainValidator(_start),
    WithJsonSchema({"type": "string", "pattern": "^(earliest|latest|[0-9]{4}-.+)$"}),
]


def _python(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_PYTHON, value):
        fix = 'write MODULE:FUNCTION, for example "functions.shipping:notify"'
        raise refusal("config.function", "this names no Python function", fix)
    return value


PythonTarget = Annotated[
    str, PlainValidator(_python), WithJsonSchema({"type": "string", "pattern": f"^{_PYTHON}$"})
]


def _web_url(value: Any) -> Url:
    fix = "write https://HOST/PATH"
    if not isinstance(value, str):
        raise refusal("config.type", f"a URL is text, not {kind_of(value)}", fix)
    try:
        parts = split_url(value)
    except ValueError as error:
        raise refusal("config.url", f"this URL can't be used: {error}", fix) from None
    if parts.scheme not in ("http", "https") or not parts.hosts[0][0]:
        raise refusal("config.url", "this is no URL of an HTTP endpoint", fix)
    if parts.user is not None:
        raise refusal("config.url", "a URL carries no user and no password here", "set a header in headers")
    return Url(value)


WebUrl = Annotated[Url, PlainValidator(_web_url), PlainSerializer(str), WithJsonSchema(_TEXT)]


def _allow_private(value: Any) -> bool | tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        value = split_names(value)
    fix = "write true, false, or the networks that are meant: [10.1.0.0/16]"
    if not isinstance(value, list | tuple):
        raise refusal("config.type", f"this is {kind_of(value)}, not yes, no, or networks", fix)
    try:
        return tuple(ipaddress.ip_network(str(one)) for one in value)
    except ValueError as error:
        raise refusal("config.value", f"this is no network: {error}", fix) from None


AllowPrivate = Annotated[
    bool | tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
    PlainValidator(_allow_private),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _gateway_url(value: Any) -> Url:
    url = _web_url(value)
    if "?" in url or "#" in url:
        raise refusal(
            "config.url", "this is no address of a gateway: names follow it", "write http://HOST:8080"
        )
    return url


GatewayUrl = Annotated[Url, PlainValidator(_gateway_url), PlainSerializer(str), WithJsonSchema(_TEXT)]


def hook_path(value: str) -> str:
    """The path of a URL."""
    if not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", value):
        raise refusal("config.trigger", "this is no path of a URL", "write for example /hook")
    return value


def files_of(path: str, folder: Path) -> tuple[Path, str]:
    """The folder that a glob begins in, seen from `folder`, and the glob below it."""
    parts = Path(path).parts
    if "\0" in path or not parts or path.endswith("/") or parts[-1] in (".", ".."):
        raise refusal("config.trigger", "this names no files", 'write path: "incoming/*.json"')
    fixed = next((n for n, part in enumerate(parts[:-1]) if glob.has_magic(part)), len(parts) - 1)
    if ".." in parts[fixed:]:
        raise refusal("config.trigger", "a glob leads nowhere but down", 'write path: "incoming/**/*.json"')
    return Path(os.path.normpath(folder.joinpath(*parts[:fixed]))), "/".join(parts[fixed:])


def _hook_secret(value: Any) -> str:
    fix = "write ${HOOK_SECRET}: whsec_ and base64, as Standard Webhooks has it, or at least 16 characters"
    if not isinstance(value, str) or len(value) < 16:
        raise refusal("config.trigger", "this is no secret that could be kept", fix)
    try:
        secret_of(value)
    except ValueError:
        raise refusal("config.trigger", "what follows whsec_ is no base64", fix) from None
    return value


HookSecret = Annotated[str, PlainValidator(_hook_secret), WithJsonSchema({"type": "string", "minLength": 1})]


def is_loopback(listen: str) -> bool:
    """Is HOST:PORT an address that only this machine reaches?"""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _function_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(_FUNCTION, value):
        fix = "write its name, for example notify or notify.staging"
        raise refusal("config.function", "this names no function of a gateway", fix)
    return value


_FUNCTION = "[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
FunctionName = Annotated[
    str, PlainValidator(_function_name), WithJsonSchema({"type": "string", "pattern": f"^{_FUNCTION}$"})
]


def _command(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise _no_command(f"this command can't be read: {error}") from None
    if not value or not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise _no_command("a command is a program with its arguments, as a list of texts")
    return tuple(value)


def _no_command(what: str) -> PydanticCustomError:
    return refusal("config.function", what, 'write command: ["./notify.sh", "--quiet"]')


def _id_store(value: Any, info: ValidationInfo) -> Url:
    fix = "write sqlite:PATH, or postgresql://USER@HOST/DATABASE"
    if not isinstance(value, str):
        raise refusal("config.type", f"a store is text, not {kind_of(value)}", fix)
    if value.startswith("sqlite:"):
        path = value.removeprefix("sqlite:").removeprefix("///")
        if not path.strip("/"):
            raise refusal("config.url", "this is no file of SQLite", fix)
        return Url(f"sqlite:{Path((info.context or {}).get(FOLDER) or Path.cwd()) / path}")
    try:
        scheme = split_url(value).scheme
    except ValueError as error:
        raise refusal("config.url", f"this URL can't be used: {error}", fix) from None
    if scheme not in POSTGRES_SCHEMES:
        raise refusal("config.url", "ids are kept in SQLite or PostgreSQL", fix)
    return Url(value)


IdStore = Annotated[Url, PlainValidator(_id_store), PlainSerializer(str), WithJsonSchema(_TEXT)]

FILTER_VARIABLES = ("after", "before", "op", "key", "value", "headers", "topic", "id")
"""What a filter speaks of."""


STEP_VARIABLES = ("value", "key", "headers", "topic", "id")
"""What a choice of steps speaks of."""


def _filter(value: Any) -> Expression:
    return _condition(value, FILTER_VARIABLES)


def _step_condition(value: Any) -> Expression:
    return _condition(value, STEP_VARIABLES)


def _condition(value: Any, variables: tuple[str, ...]) -> Expression:
    if isinstance(value, Expression):
        return value
    if not isinstance(value, str):
        raise refusal("config.type", f"an expression is text, not {kind_of(value)}")
    try:
        return condition(value, variables)
    except ConfigError as error:
        raise refusal("config.expression", f"this is no condition: {error}", error.fix, quotes=True) from None


Filter = Annotated[
    Expression,
    PlainValidator(_filter),
    PlainSerializer(lambda expression: expression.text),
    WithJsonSchema(_TEXT),
]

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"


def _environment(variables: dict[str, Setting]) -> dict[str, str]:
    for name in variables:
        if not re.fullmatch(_VARIABLE, name):
            raise refusal(
                "config.value", f'"{name[:60]}" is no name of a variable', "write NAME: value", quotes=True
            )
    return {name: str(value) for name, value in variables.items()}


Environment = Annotated[dict[str, Setting], AfterValidator(_environment)]

StepCondition = Annotated[
    Expression,
    PlainValidator(_step_condition),
    PlainSerializer(lambda expression: expression.text),
    WithJsonSchema(_TEXT),
]

Command = Annotated[
    tuple[str, ...],
    PlainValidator(_command),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
