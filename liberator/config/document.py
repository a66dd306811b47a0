"""YAML text -> plain data in which every value still knows the line it stands on.

Enters: bytes of a file, or the text of one ``--set`` value. Leaves: `Document` objects and a fault for everything that
is no clear YAML: other encodings, tabs, duplicate keys, tags, aliases that contain themselves. Scalars are read by the
rules of YAML 1.2, so that ``on``, ``no`` and ``12:30`` stay text. Knows nothing of connectors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from liberator.config.secrets import speaks_of_a_secret
from liberator.errors import ConfigError

KeyPath = tuple[str | int, ...]

_MOST_VALUES = 100_000
_TAG = "tag:yaml.org,2002:"
_STEP = re.compile(r"""(?P<dot>\.)?(?P<key>[^\s.\[\]"']+)|\[(?P<q>["'])(?P<quoted>.+?)(?P=q)\]""")
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Mark(NamedTuple):
    """Where something is written: a file with a line (from 1), or an option's name."""

    origin: str
    line: int | None = None

    def __str__(self) -> str:
        return self.origin if self.line is None else f"{self.origin}:{self.line}"


@dataclass
class Document:
    """One connector as it is written. folder: what relative paths in it are relative to.

    marks: where each value is written. substituted: values that hold something from the environment or a file, which
    no message may quote.
    """

    data: dict[str, Any]
    marks: dict[KeyPath, Mark]
    folder: Path
    substituted: set[KeyPath] = field(default_factory=set)

    @property
    def kind(self) -> Any:
        """What it says that it is: sink, sidecar; None: nothing, so a source."""
        return self.data.get("connector")

    def mark(self, path: KeyPath) -> Mark:
        """Where `path` is written; of something missing, where it would belong."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks[path]

    def where(self, path: KeyPath) -> str:
        """``shop.yaml:12: source.log.slot``."""
        return f"{self.mark(path)}: {show_path(path)}" if path else str(self.mark(path))

    def fault(self, path: KeyPath, code: str, what: str, fix: str | None = None) -> ConfigError:
        """A fault at `path`."""
        return ConfigError(what, code=f"config.{code}", where=self.where(path), fix=fix)

    def hides(self, path: KeyPath) -> bool:
        """May the value at `path` not be quoted? It was filled in, or is kept under a name that speaks of a secret."""
        filled_in = any(
            place[: len(path)] == path or path[: len(place)] == place for place in self.substituted
        )
        return filled_in or any(isinstance(key, str) and speaks_of_a_secret(key) for key in path)

    def written(self, path: KeyPath) -> KeyPath:
        """`path` without the index of what stands alone where a list may stand: ``trigger[0].cron`` is trigger.cron."""
        value: Any = self.data
        found: list[str | int] = []
        for key in path:
            if key == 0 and not isinstance(value, list):
                continue
            found.append(key)
            try:
                value = value[key]
            except (LookupError, TypeError):  # not there, or nothing that holds others
                value = None
        return tuple(found)

    def get(self, path: KeyPath) -> Any:
        """The value at `path`, None where there is none."""
        value: Any = self.data
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
        return value


def show_path(path: KeyPath) -> str:
    """``source.tables[0]``, ``publish.options["compression.type"]``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key):
            text += f".{key}" if text else key
        else:
            text += f'["{key}"]'
    return text


def parse_path(text: str) -> KeyPath:
    """The other way round, for ``--set``: ``source.log.slot``, ``publish.options["compression.type"]``. Raises
    `ValueError`."""
    path: list[str] = []
    rest = text.strip()
    while rest:
        found = _STEP.match(rest)
        if not found or (found["dot"] is None and found["quoted"] is None and path):
            raise ValueError("write keys with dots between them, as in source.log.slot")
        path.append(found["key"] if found["key"] is not None else found["quoted"])
        rest = rest[found.end() :]
    if not path:
        raise ValueError("the path is empty")
    return tuple(path)


def read_file(path: Path) -> tuple[list[Document], list[ConfigError]]:
    """The documents of a YAML file, and what is wrong with its text."""
    origin = str(path)
    try:
        text = _decode(path.read_bytes(), origin)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return [], [ConfigError(f"can't read {origin}: {reason}", code="config.file", where=origin)]
    except ConfigError as error:
        return [], [error]
    documents, faults = _read_text(text, origin, path.absolute().parent)
    if not documents and not faults:
        fix = "start from connectors/postgres-log.yaml"
        faults.append(ConfigError(f"{origin} holds no connector", code="config.empty", where=origin, fix=fix))
    return documents, faults


def parse_value(text: str, origin: str) -> Any:
    """One value written as YAML, as on the right of ``--set PATH=VALUE``. Raises `ConfigError`."""
    builder = _Builder(origin, with_lines=False)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise _yaml_fault(error, origin, with_line=False) from None
    value = None if node is None else builder.build(node, ())
    if builder.faults:
        raise builder.faults[0]
    return value


def _decode(raw: bytes, origin: str) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _encoding_fault(f"{origin} is written in UTF-16", origin)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _encoding_fault(f"{origin} is not UTF-8", f"{origin}:{line}") from None


def _encoding_fault(what: str, where: str) -> ConfigError:
    return ConfigError(what, code="config.encoding", where=where, fix="save the file as UTF-8")


def _read_text(text: str, origin: str, folder: Path) -> tuple[list[Document], list[ConfigError]]:
    documents: list[Document] = []
    faults: list[ConfigError] = []
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            if node is None or node.tag == f"{_TAG}null":
                continue
            builder = _Builder(origin)
            data = builder.build(node, ())
            faults += builder.faults
            if isinstance(data, dict):
                builder.marks[()] = Mark(origin, node.start_mark.line + 1)
                documents.append(Document(data, builder.marks, folder))
            elif not builder.faults:
                faults.append(
                    ConfigError(
                        f"a connector is a mapping of keys, not {kind_of(data)}",
                        code="config.type",
                        where=f"{origin}:{node.start_mark.line + 1}",
                        fix="write keys with values: `name: shop`",
                    )
                )
    except yaml.YAMLError as error:
        faults.append(_yaml_fault(error, origin))
    return documents, faults


def kind_of(value: object) -> str:
    """What a YAML value is, in words."""
    names: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        dict: "a mapping",
    }
    return "nothing" if value is None else names.get(type(value), "a list")


def _yaml_fault(error: yaml.YAMLError, origin: str, with_line: bool = True) -> ConfigError:
    """Only the parser's own words: its excerpt of the text could show a secret."""
    where, what, fix = origin, "not readable as YAML", None
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        if mark and with_line:
            where = f"{origin}:{mark.line + 1}:{mark.column + 1}"
        what += ": " + ", ".join(filter(None, (error.context, error.problem)))
    elif isinstance(error, yaml.reader.ReaderError):
        what += ": it contains a control character"
    if "'\\t'" in what or "tab" in what:
        fix = "indent with blanks; YAML allows no tabs there"
    elif "expected" in what:
        fix = "check the indentation, and put text that holds ': ' or '{' in quotes"
    return ConfigError(what, code="config.yaml", where=where, fix=fix)


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as YAML 1.2's core schema does."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own name, filled below


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(rf"(?:{_pattern})\Z"), _first)


class _Builder:
    """Nodes -> data, marks and faults."""

    def __init__(self, origin: str, with_lines: bool = True) -> None:
        self.origin = origin
        self.with_lines = with_lines
        self.marks: dict[KeyPath, Mark] = {}
        self.faults: list[ConfigError] = []
        self._open: set[int] = set()
        self._values = 0

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        """The data of `node`, which stands at `path`."""
        self._values += 1
        if self._values > _MOST_VALUES:
            return self._refuse_size(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            return self._refuse(node, path, "alias", "this alias stands inside what it names")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, path)
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Any:
        kind = node.tag.removeprefix(_TAG)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return node.value.lower() == "true"
            if kind == "int":
                return _whole_number(node.value)
            if kind == "float":
                return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            return self._refuse(node, path, "type", "this is no number of a usable size")
        if kind != "str":
            return self._refuse(
                node, path, "tag", f"the tag {node.tag} is not understood here", "leave it out"
            )
        return node.value

    def _sequence(self, node: yaml.SequenceNode, path: KeyPath) -> Any:
        if node.tag != f"{_TAG}seq":
            return self._refuse(
                node, path, "tag", f"the tag {node.tag} is not understood here", "leave it out"
            )
        items = []
        for index, child in enumerate(node.value):
            place = (*path, index)
            self.marks[place] = self._mark(child)
            items.append(self.build(child, place))
        return items

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Any:
        if node.tag != f"{_TAG}map":
            return self._refuse(
                node, path, "tag", f"the tag {node.tag} is not understood here", "leave it out"
            )
        data: dict[str, Any] = {}
        for key, child in self._entries(node, path):
            place = (*path, key.value)
            self.marks[place] = self._mark(key)
            data[key.value] = self.build(child, place)
        return data

    def _entries(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys with values; a key that is no text, or was there already, becomes a fault."""
        seen: dict[str, yaml.Node] = {}
        entries: Iterable[tuple[yaml.Node, yaml.Node]] = node.value
        for key, child in entries:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, path, "key", "a key must be text, not a list or mapping")
            elif key.value in seen:
                first = seen[key.value].start_mark.line + 1
                fix = "keep one of the two"
                what = f'the key "{key.value}" stands here twice, first in line {first}'
                self._refuse(key, (*path, key.value), "duplicate_key", what, fix)
            else:
                seen[key.value] = key
                yield key, child

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.origin, node.start_mark.line + 1 if self.with_lines else None)

    def _refuse(self, node: yaml.Node, path: KeyPath, code: str, what: str, fix: str | None = None) -> None:
        where = f"{self._mark(node)}: {show_path(path)}" if path else str(self._mark(node))
        self.faults.append(ConfigError(what, code=f"config.{code}", where=where, fix=fix))

    def _refuse_size(self, node: yaml.Node) -> None:
        if not any(fault.code == "config.size" for fault in self.faults):
            self._refuse(node, (), "size", f"more than {_MOST_VALUES} values: this is no configuration")


def _whole_number(text: str) -> int:
    if text.startswith("0o"):
        return int(text[2:], 8)
    return int(text, 16) if text.startswith("0x") else int(text)
