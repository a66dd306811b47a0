"""What keys there are: the tree of the models, for did-you-mean, the JSON Schema and the reference.

Enters: a `Section` class. Leaves: paths, choices and field descriptions. Reads classes only, never a configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from liberator.config.document import KeyPath
from liberator.config.section import Section


class Fields:
    """The keys of a connector."""

    def __init__(self, root: type[Section]) -> None:
        self._same: dict[KeyPath, KeyPath] = {}
        self._fields = dict(self._walk(root, (), {}))

    def __iter__(self) -> Iterator[tuple[KeyPath, FieldInfo]]:
        """Every key with its field, sections before what is in them."""
        return iter(self._fields.items())

    def keys(self, path: KeyPath) -> list[str]:
        """The keys that the mapping at `path` may have."""
        return [str(known[-1]) for known in self._fields if known[:-1] == self._known(path)]

    def choices(self, path: KeyPath) -> tuple[str, ...]:
        """The values that the key at `path` may have, where they are a list."""
        known = self._known(path)
        field = self._fields.get(known) or self._fields[known[:-1]]  # else it is a key of the user's own
        return _literals(field.annotation)

    def places_of(self, key: str) -> list[KeyPath]:
        """The paths at which a key of this name exists."""
        return [path for path in self._fields if path[-1] == key]

    def _known(self, path: KeyPath) -> KeyPath:
        """The path without places in lists, since the sections of a list have the same keys; and of sections within sections
        of their kind, such as steps of steps, only the outermost."""
        known: KeyPath = ()
        for key in path:
            if isinstance(key, str):
                known = (*known, key)
                known = self._same.get(known, known)
        return known

    def _walk(
        self, section: type[Section], above: KeyPath, around: Mapping[type[Section], KeyPath]
    ) -> Iterator[tuple[KeyPath, FieldInfo]]:
        for name, info in section.model_fields.items():
            path = (*above, info.alias or name)
            yield path, info
            inner = _section_in(info.annotation)
            same = next(
                (known for outer, known in around.items() if inner and issubclass(outer, inner)), None
            )
            if same is not None:
                self._same[path] = same
            elif inner:
                yield from self._walk(inner, path, {**around, inner: path})


def _literals(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next(filter(None, map(_literals, get_args(annotation))), ())


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)
