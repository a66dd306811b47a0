"""Names with room in them: table patterns and topic templates.

Enters: text of a configuration. Leaves: objects that match tables and make topic names. No I/O: what tables there are
is the caller's to know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import translate

from liberator.errors import ConfigError

_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"|(?P<plain>[^".]+)')
_NAME = re.compile(r'(?:[^,"]|"(?:[^"]|"")*")+')
_WORD = re.compile(r'(?:[^\s,"]|"(?:[^"]|"")*")+')
_GLOB = re.compile(r"[*?\[]")
_TOPIC_LIMIT = 249
EVENT_PLACES = ("aggregatetype", "type")
"""Places of a topic that each event of an outbox fills itself."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_ILLEGAL_IN_TOPIC = re.compile(r"[^A-Za-z0-9._-]")


def split_names(text: str, *, words: bool = False) -> list[str]:
    """Comma-separated names; commas inside double quotes belong to the name. words: white space separates too."""
    return [part.strip() for part in (_WORD if words else _NAME).findall(text) if part.strip()]


@dataclass(frozen=True, slots=True)
class TablePattern:
    """``schema.table``, ``table`` or globs of them (``audit_*``, ``*.orders``), matched with case.

    A part in double quotes is taken literally, so that names may hold dots, stars and quotes (doubled):
    ``"public"."We.ird"``. schema None: the default schema. exact: without globs, so it names one table.
    """

    text: str
    schema: str | None
    table: str
    exact: bool
    _schema: re.Pattern[str] | None = field(repr=False, compare=False)
    _table: re.Pattern[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> TablePattern:
        """Raises `ValueError` that says how to write it."""
        parts = list(_split_pattern(text))
        if len(parts) > 2:
            raise ValueError("it has more than two parts; put a name that holds a dot in double quotes")
        schema = parts[0] if len(parts) == 2 else None
        table = parts[-1]
        return cls(
            text=text.strip(),
            schema=schema.text if schema else None,
            table=table.text,
            exact=not any(part.glob for part in parts),
            _schema=schema.compiled() if schema else None,
            _table=table.compiled(),
        )

    def matches(self, schema: str, table: str, default_schema: str = "public") -> bool:
        """Does it mean this table? default_schema: the schema of a pattern that names none."""
        in_schema = self._schema.match(schema) if self._schema else schema == default_schema
        return bool(in_schema and self._table.match(table))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    glob: bool

    def compiled(self) -> re.Pattern[str]:
        return re.compile(translate(self.text) if self.glob else rf"(?s:{re.escape(self.text)})\Z")


def _split_pattern(text: str) -> Iterator[_Part]:
    rest = text.strip()
    while True:
        found = _PART.match(rest)
        if not found:
            raise ValueError("write schema.table; names with dots or quotes stand in double quotes")
        if found["quoted"] is not None:
            yield _Part(_checked(found["quoted"].replace('""', '"')), glob=False)
        else:
            plain = _checked(found["plain"].strip())
            yield _Part(plain, glob=bool(_GLOB.search(plain)))
        rest = rest[found.end() :].lstrip()
        if not rest:
            return
        if not rest.startswith("."):
            raise ValueError(
                "only a dot may stand between schema and table; quote a name with odd characters whole"
            )
        rest = rest[1:].lstrip()


def _checked(name: str) -> str:
    if not name or "\0" in name:
        raise ValueError("a name in it is empty")
    return name


@dataclass(frozen=True, slots=True)
class TopicTemplate:
    """A topic with places for names: ``{name}.{schema}.{table}``."""

    text: str

    @classmethod
    def parse(cls, text: str, allowed: tuple[str, ...] = ("name", "schema", "table", "db")) -> TopicTemplate:
        """Raises `ValueError` that says what is wrong: an unknown place, or a character no topic may have."""
        for name in _PLACEHOLDER.findall(text):
            if name not in allowed:
                known = ", ".join(f"{{{place}}}" for place in allowed)
                raise ValueError(f"it has no {{{name}}} to offer; it knows {known}")
        literal = _PLACEHOLDER.sub("", text)
        illegal = _ILLEGAL_IN_TOPIC.search(literal)
        if illegal:
            raise ValueError(
                f"{illegal[0]!r} is not allowed in a topic; use letters, digits, '.', '_' and '-'"
            )
        if not text or text in (".", "..") or len(literal) > _TOPIC_LIMIT:
            raise ValueError(f"a topic has 1 to {_TOPIC_LIMIT} characters and is neither '.' nor '..'")
        return cls(text)

    @property
    def places(self) -> frozenset[str]:
        """The names that it has room for."""
        return frozenset(_PLACEHOLDER.findall(self.text))

    def render(self, *, name: str, schema: str = "", table: str = "", db: str = "", **event: str) -> str:
        """The topic for these names; characters that no topic may have become ``_``. event: of an outbox, its places.

        Raises `ConfigError` when it is longer than Kafka allows.
        """
        parts = {"name": name, "schema": schema, "table": table, "db": db, **event}
        topic = _PLACEHOLDER.sub(lambda found: _ILLEGAL_IN_TOPIC.sub("_", parts[found[1]]), self.text)
        if len(topic) > _TOPIC_LIMIT or topic in ("", ".", ".."):
            raise ConfigError(
                f"the topic {topic[:60]}... would have {len(topic)} characters; {_TOPIC_LIMIT} are allowed",
                code="config.topic",
                fix="choose a shorter template, for example without {schema}",
            )
        return topic

    def __str__(self) -> str:
        return self.text


def fits_in_topic(name: str) -> bool:
    """Can it stand in a topic as it is?"""
    return bool(name) and not _ILLEGAL_IN_TOPIC.search(name)
