"""Everything that is wrong with a configuration, at once and in words for people.

Enters: pydantic's list of errors, paths and a `Document`. Leaves: `ConfigError` objects with code, place and remedy;
`ConfigErrors` carries them all to the command line. Never quotes a value that came from the environment or a file, nor
one under a name that speaks of a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from liberator.config.document import Document, KeyPath, kind_of, show_path
from liberator.config.secrets import redact
from liberator.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from liberator.config.fields import Fields


class ConfigErrors(ConfigError):
    """One or more faults of a configuration. `faults` holds them in the order in which they stand in the files."""

    def __init__(self, faults: Sequence[ConfigError]) -> None:
        first = faults[0]
        if len(faults) == 1:
            super().__init__(first.what, code=first.code, where=first.where, fix=first.fix)
        else:
            super().__init__(f"{len(faults)} faults in the configuration", fix="see each fault")
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return self.block()

    def block(self) -> str:
        """All faults as readable blocks."""
        return "\n".join(redact(ConfigError.block(fault)) for fault in self.faults)


_KINDS = {
    "string_type": "text",
    "path_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of usable size",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "dict_type": "a mapping of keys",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "string_too_short": "text of at least {min_length} characters",
}


def explain(
    error: ValidationError, document: Document, fields: Fields
) -> Iterator[tuple[KeyPath, ConfigError]]:
    """The faults that pydantic found, with the path of each."""
    for detail in error.errors(include_url=False):
        path = document.written(tuple(part for part in detail["loc"] if part != "[key]"))
        yield path, _explain_one(detail, path, document, fields)


def _explain_one(detail: ErrorDetails, path: KeyPath, document: Document, fields: Fields) -> ConfigError:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind.startswith("config."):
        what, fix = context["what"], context["fix"]
        if context["quotes"] and document.hides(path):
            what, fix = f"the value that is filled in for {show_path(path)} does not fit", None
        return document.fault(path, kind.removeprefix("config."), what, fix)
    if kind == "missing":
        return document.fault(path, "missing", f"{show_path(path)} is missing", _example(path))
    if kind == "extra_forbidden":
        return unknown_key(document, path, fields)
    if kind == "literal_error":
        return _not_one_of(document, path, detail["input"], fields.choices(path))
    if kind in _KINDS:
        return _wrong_kind(document, path, detail["input"], _KINDS[kind])
    if kind in _BOUNDS:
        what = f"{show_path(path)} must be {_BOUNDS[kind].format(**context)}"
        return document.fault(path, "value", what)
    return document.fault(path, "value", redact(detail["msg"]))


def unknown_key(document: Document, path: KeyPath, fields: Fields) -> ConfigError:
    """A key that does not exist: the nearest one that does, here or in another section."""
    key = str(path[-1])
    here = fields.keys(path[:-1])
    near = difflib.get_close_matches(key, here, n=1, cutoff=0.6)
    elsewhere = fields.places_of(key)
    if near:
        fix = f'did you mean "{near[0]}"?'
    elif elsewhere:
        fix = f"it belongs at {' or '.join(map(show_path, elsewhere))}"
    else:
        fix = f"known here: {', '.join(here)}"
    return document.fault(path, "unknown_key", f'unknown key "{key}"', fix)


def _not_one_of(document: Document, path: KeyPath, value: object, choices: Sequence[str]) -> ConfigError:
    given = "this" if document.hides(path) or not isinstance(value, str) else f'"{value}"'
    near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.6)
    what = f"{given} is none of {', '.join(choices)}"
    return document.fault(
        path, "value", what, f'did you mean "{near[0]}"?' if near else f"write one of {', '.join(choices)}"
    )


def _wrong_kind(document: Document, path: KeyPath, value: object, wanted: str) -> ConfigError:
    fix = None
    if wanted == "text" and isinstance(value, bool | int | float):
        fix = "put it in quotes"
    elif wanted == "a list":
        fix = "write [a, b], or one `- a` a line"
    elif wanted == "a mapping of keys":
        fix = "write its keys below it, indented"
    return document.fault(
        path, "type", f"{show_path(path) or 'this'} must be {wanted}, not {kind_of(value)}", fix
    )


def _example(path: KeyPath) -> str | None:
    examples: dict[KeyPath, str] = {
        ("name",): "name: shop",
        ("source",): "source: {url: postgresql://USER@HOST/DATABASE}",
        ("source", "url"): "url: postgresql://USER@HOST/DATABASE",
    }
    return f"add `{examples[path]}`" if path in examples else None


def in_order(faults: Iterable[tuple[KeyPath, ConfigError]], document: Document) -> list[ConfigError]:
    """Faults as they stand in the file, from top to bottom; one for each key at most, as a second follows from the
    first."""
    by_path: dict[KeyPath, ConfigError] = {}
    for path, fault in faults:
        if not any(path[:length] in by_path for length in range(1, len(path) + 1)):
            by_path[path] = fault
    return [by_path[path] for path in sorted(by_path, key=lambda path: document.mark(path).line or 0)]
