"""The steps of ``transform``, checked: what becomes of rows before they are events.

Enters: plain data. Leaves: frozen objects with compiled expressions and patterns. Called as a part of `models`. Which tables
and columns there are is known only to the database, so that is checked when it is connected to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from liberator.config.document import Document, KeyPath, kind_of
from liberator.config.patterns import TablePattern, TopicTemplate, fits_in_topic
from liberator.config.section import Section
from liberator.config.values import Identifier, Names, OneTablePattern, refusal
from liberator.errors import ConfigError
from liberator.expression import Expression, condition

_EVERYTHING = TablePattern.parse("*.*")
_GROUP = re.compile(r"\$(?:\{([0-9]+)\}|([0-9]))")
_WAY = r"sha256|redact|null|truncate:[0-9]{1,9}"
_FUNCTION = r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*"
_TEXT = {"type": "string", "minLength": 1}


def _expression(value: Any) -> Expression:
    if isinstance(value, Expression):
        return value
    if not isinstance(value, str):
        raise refusal("config.type", f"an expression is text, not {kind_of(value)}", "put it in quotes")
    try:
        return condition(value)
    except ConfigError as error:
        raise refusal("config.expression", error.what, error.fix, quotes=True) from None


Where = Annotated[
    Expression,
    PlainValidator(_expression),
    PlainSerializer(lambda expression: expression.text),
    WithJsonSchema(_TEXT),
]


def _regex(value: Any) -> re.Pattern[str]:
    if isinstance(value, re.Pattern):
        return value
    if not isinstance(value, str) or not value:
        raise refusal("config.type", "this must be a regular expression", "write for example public.(.*)")
    try:
        return re.compile(value)
    except re.error as error:
        place = "" if error.pos is None else f" at character {error.pos + 1}"
        raise refusal(
            "config.regex", f"this is no regular expression: {error.msg}{place}", quotes=True
        ) from None


Regex = Annotated[
    re.Pattern[str],
    PlainValidator(_regex),
    PlainSerializer(lambda regex: regex.pattern),
    WithJsonSchema(_TEXT),
]


def _way(value: str) -> str:
    if not re.fullmatch(_WAY, value):
        what = "this is no way to mask a value"
        raise refusal("config.value", what, "write sha256, redact, null or truncate:N (truncate:3)")
    return value


Way = Annotated[str, AfterValidator(_way), WithJsonSchema({"type": "string", "pattern": f"^({_WAY})$"})]


def _null_is_a_word(data: Any) -> Any:
    """``with: null`` means the mask of that name."""
    if isinstance(data, dict) and "with" in data and data["with"] is None:
        return {**data, "with": "null"}
    return data


class _OfColumns(Section):
    table: OneTablePattern
    """The table, as schema.table, or a glob of tables."""
    if_present: bool = False
    """It is no fault when the one table that is named has no such column, because it is gone or is to come."""


class DropColumnsStep(_OfColumns):
    """Leave columns out of events."""

    columns: Names
    """The columns to leave out."""


class RenameStep(_OfColumns):
    """Give columns other names in events."""

    columns: dict[Identifier, Identifier] = Field(min_length=1)
    """Name in the table: name in events."""


class MaskStep(_OfColumns):
    """Keep what columns hold out of events, logs, dead letters and everything else. NULL stays null."""

    column: Names
    """The column, or several."""
    with_: Way = Field(alias="with")
    """`sha256` puts the SHA-256 of the salt and the value in its place, in hexadecimal, so that equal values stay equal;
    `redact` puts ***; `null` nothing; `truncate:N` the first N characters of text."""
    salt: str | None = Field(default=None, min_length=1, repr=False)
    """With sha256: a secret that goes before the value. Without it short values would be found by trying."""

    _null = model_validator(mode="before")(_null_is_a_word)

    @model_validator(mode="after")
    def _salt_belongs_to_sha256(self) -> MaskStep:
        if self.with_ == "sha256" and self.salt is None:
            what = "without a salt, who guesses a value can tell that it is this one"
            raise refusal("config.missing", what, 'add salt: "${SALT}"')
        if self.with_ != "sha256" and self.salt is not None:
            raise refusal("config.value", "a salt belongs to sha256 only", "leave salt out")
        return self


class CastStep(_OfColumns):
    """Publish columns as another kind of JSON value, as far as nothing is lost; rows that would lose something go where
    rows go that break their contract."""

    columns: dict[Identifier, Literal["string", "number", "integer", "boolean"]] = Field(min_length=1)
    """Column: kind of value."""


class KeyStep(_OfColumns):
    """Choose the columns that make the key of events."""

    columns: Names
    """The columns, in the order of the key."""


class FilterStep(Section):
    """Publish only what a condition holds for."""

    table: OneTablePattern = Field(default=_EVERYTHING, json_schema_extra={"default": "*.*"})
    """The table, as schema.table, or a glob of tables. Default: all."""
    where: Where
    """A condition in CEL about `after`, `before`, `op` and `key`: after.status != 'draft'."""
    leaving: Literal["delete", "drop"] | None = None
    """What becomes of an update after which a row fits no more: `delete` publishes that it is gone, `drop` nothing. Default:
    delete for a condition about `after` alone, which says which rows belong to the stream; drop for one that speaks of `op`,
    `before` or `key`, and so of single events."""

    @property
    def rows(self) -> bool:
        """Does it say which rows belong to the stream?"""
        if self.leaving is not None:
            return self.leaving == "delete"
        return not any(self.where.mentions(name) != frozenset() for name in ("op", "before", "key"))


class RouteStep(Section):
    """Choose the topic of tables."""

    match: Regex
    """Regular expression for schema.table, as a whole. The last route that matches counts."""
    topic: str = Field(min_length=1)
    """The topic, with $1 for what the first group of `match` found."""

    @model_validator(mode="after")
    def _topic_fits(self) -> RouteStep:
        groups = self.match.groups
        for found in _GROUP.finditer(self.topic):
            if int(found[1] or found[2]) > groups:
                what = f"match has {groups} group{'' if groups == 1 else 's'}, so there is no {found[0]}"
                raise refusal("config.topic", what, "put the part of match that is meant in parentheses")
        literal = _GROUP.sub("", self.topic)
        if literal and not fits_in_topic(literal):
            fix = "use letters, digits, '.', '_', '-' and $1"
            raise refusal("config.topic", "the topic holds a character that no topic may have", fix)
        return self

    def render(self, found: re.Match[str]) -> str:
        """The topic for what `match` found; characters that no topic may have become ``_``. Raises `ConfigError` when it is
        no topic."""
        topic = _GROUP.sub(lambda place: _in_topic(found[int(place[1] or place[2])] or ""), self.topic)
        return TopicTemplate(topic).render(name="")


def _in_topic(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def _function_name(value: str) -> str:
    if not re.fullmatch(_FUNCTION, value):
        raise refusal("config.value", "this is no name of a function", "write module:function")
    return value


FunctionName = Annotated[
    str, AfterValidator(_function_name), WithJsonSchema({"type": "string", "pattern": f"^{_FUNCTION}$"})
]


class PythonStep(Section):
    """Give events to a function of your own, one by one."""

    function: FunctionName
    """module:function; modules are looked for in the folder of the YAML file first."""
    table: OneTablePattern = Field(default=_EVERYTHING, json_schema_extra={"default": "*.*"})
    """The table, as schema.table, or a glob of tables. Default: all."""


def _function_alone(value: Any) -> Any:
    return {"function": value} if isinstance(value, str) else value


def _or_text(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string", "minLength": 1})


class TransformStep(Section):
    """One step; exactly one of these."""

    drop_columns: DropColumnsStep | None = None
    """Leave columns out of events."""
    rename: RenameStep | None = None
    """Give columns other names in events."""
    mask: MaskStep | None = None
    """Keep what columns hold out of events, logs, dead letters and everything else."""
    cast: CastStep | None = None
    """Publish columns as another kind of JSON value."""
    key: KeyStep | None = None
    """Choose the columns that make the key of events."""
    filter: FilterStep | None = None
    """Publish only what a condition holds for."""
    route: RouteStep | None = None
    """Choose the topic of tables."""
    python: Annotated[PythonStep | None, BeforeValidator(_function_alone)] = Field(
        default=None, json_schema_extra=_or_text
    )
    """Give events to a function of your own: module:function, or a mapping with function and table. Only route and python
    may follow it."""

    @model_validator(mode="after")
    def _is_one(self) -> TransformStep:
        if len(self.model_fields_set) != 1:
            names = ", ".join(type(self).model_fields)
            raise refusal("config.value", "a step is exactly one transform", f"write one of {names}")
        return self


_AFTER_PYTHON = ("python", "route")


def transform_faults(document: Document) -> Iterator[tuple[KeyPath, ConfigError]]:
    """What steps owe to each other, and to the mode."""
    steps = document.get(("transform",))
    if not isinstance(steps, list) or not steps:
        return
    path: KeyPath = ("transform",)
    if document.get(("source", "mode")) == "outbox":
        what = "the events of an outbox are published as the application wrote them, so there is nothing to transform"
        fix = "leave transform out; publish.topic chooses the topic by {aggregatetype} and {type}"
        yield path, document.fault(path, "outbox", what, fix)
        return
    seen = False
    for index, step in enumerate(steps):
        kinds = list(step) if isinstance(step, dict) else []
        if seen and any(kind not in _AFTER_PYTHON for kind in kinds):
            place: KeyPath = (*path, index)
            what = (
                "after a function the columns are no longer known, so nothing but route and python may follow"
            )
            yield place, document.fault(place, "value", what, "put it before python")
        seen = seen or "python" in kinds
