"""The text of a connector file with the reasons for what stands in it. Pure: made for ``liberate init``, read by people.

Enters: names, a mode, and advice for each table. Leaves: YAML that ``liberate validate`` takes. No name that a database has
can end a comment or a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from textwrap import wrap

from liberator.source.query.advice import Advice

_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]*", re.ASCII)
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_.+-]*(:[A-Za-z0-9_]+)?|[0-9]+[smhd]", re.ASCII)
_WORDS_OF_YAML = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


@dataclass(frozen=True, slots=True)
class Described:
    """A table: as a pattern that means it, what is known of its size, and how to read it."""

    pattern: str
    size: str
    advice: Advice


@dataclass(frozen=True, slots=True)
class ConnectorFile:
    """server: product and version. url: how the database is reached, without its password. publish:
    None: a Kafka of this machine unless the environment says otherwise. because: why this mode, and not
    the log. excluded: pattern and reason. notes: for mode log. late: must rows be waited for that are committed late?
    path: where it will stand; None: under the connector's name."""

    name: str
    server: str
    url: str
    publish: str | None
    because: Sequence[str]
    queried: Sequence[Described] | None = None
    tables: Sequence[str] = ()
    excluded: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    late: bool = False
    path: str | None = None

    @property
    def variable(self) -> str:
        """The environment variable for the URL."""
        return f"{self._prefix}_DSN"

    @property
    def _prefix(self) -> str:
        return re.sub(r"[^A-Z0-9]", "_", self.name.upper()).lstrip("0123456789_") or "SOURCE"

    def text(self) -> str:
        """The file."""
        return "\n".join(line.rstrip() for line in self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _comment(f"{self.server} -> events. Look it over, then run it with")
        yield "#"
        yield f"#   export {self.variable}={quote(_shown(self.url))}"
        path = quote(self.path or f"{self.name}.yaml")
        yield f"#   liberate validate {path}"
        yield f"#   liberate run {path}"
        yield "#"
        yield from _comment(
            "Every key is explained in docs/reference/configuration.md, how to choose in docs/guide/choosing.md."
        )
        yield from ("", "connector: source", f"name: {_value(self.name)}", "", "source:")
        yield f"  url: ${{{self.variable}}}"
        for reason in self.because:
            yield from _comment(reason, "  ")
        yield f"  mode: {'log' if self.queried is None else 'query'}"
        yield from self._selection()
        if self.queried is None:
            for note in self.notes:
                yield from _comment(note, "  ")
            yield from (
                "  log:",
                "    snapshot: initial             # the rows that are there, then every change",
            )
        else:
            yield from self._query(self.queried)
        publish = self.publish or f"${{{self._prefix}_BROKER:-kafka://localhost:9092}}"
        yield from (
            "",
            "publish:",
            f"  url: {_key(publish)}       # kafka://HOST:PORT | local:DIR | file:PATH | -",
        )

    def _selection(self) -> Iterator[str]:
        if self.tables:
            yield f"  tables: [{', '.join(map(_value, self.tables))}]"
        if self.excluded:
            for pattern, reason in self.excluded:
                yield from _comment(f"{_shown(pattern)}: {reason}", "  ")
            yield f"  exclude: [{', '.join(_value(pattern) for pattern, _ in self.excluded)}]"

    def _query(self, queried: Sequence[Described]) -> Iterator[str]:
        yield "  query:"
        if self.late:
            yield from _comment(
                "How long the longest transaction takes from writing a row to its commit: what is committed later than"
                " that behind others is missed.",
                "    ",
            )
            yield "    delay: 10s"
        yield "    tables:"
        for table in queried:
            advice = table.advice
            yield from _comment(f"{_sentence([table.size])} {_sentence(advice.why)}", "      ")
            yield from _comment(f"Not seen: {'; '.join(advice.unseen)}.", "      ")
            for hint in advice.hints:
                yield from _comment(_sentence([hint]), "      ")
            settings = ", ".join(f"{key}: {_value(value)}" for key, value in advice.settings.items())
            yield f"      {_key(table.pattern)}: {{{settings}}}"


def pattern_of(schema: str | None, table: str) -> str:
    """What means exactly this table in a configuration."""
    return ".".join(_part(name) for name in (schema, table) if name is not None)


def _part(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _key(text: str) -> str:
    """A key of a mapping, or a value that may hold places to be filled in from the environment."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in quoted)


def _value(text: str) -> str:
    """A value that is meant as it is."""
    return _key(text.replace("${", "$${"))


def _shown(text: str) -> str:
    """A name in a comment."""
    return text if text.isprintable() else json.dumps(text)


def _comment(text: str, indent: str = "") -> Iterator[str]:
    shown = " ".join(_shown(word) for word in text.split(" "))
    for line in wrap(shown, _WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False):
        yield f"{indent}# {line}"


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
