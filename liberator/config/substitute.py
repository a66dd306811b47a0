"""`${...}` in values: filled in from the environment and from files, and remembered as secrets.

Enters: a `Document` and an environment. Leaves: the document with its values filled in, and a fault for each one that
can't be. What is filled in is not looked at again, so a secret may contain ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liberator.config.document import Document, KeyPath
from liberator.config.secrets import Redactor, speaks_of_a_secret
from liberator.errors import ConfigError

_PLACE = re.compile(r"\$\$\{|\$\{(?P<body>[^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-.*)?", re.DOTALL)
_FILE = "file:"
_LARGEST_FILE = 1024 * 1024


def substitute(
    document: Document, env: Mapping[str, str], redactor: Redactor
) -> list[tuple[KeyPath, ConfigError]]:
    """Fill in every value of `document`, in place. Returns the faults with the paths they stand at."""
    work = _Substitution(document, env, redactor)
    document.data = work.walk(document.data, ())
    return work.faults


class _Substitution:
    def __init__(self, document: Document, env: Mapping[str, str], redactor: Redactor) -> None:
        self._document = document
        self._env = env
        self._redactor = redactor
        self.faults: list[tuple[KeyPath, ConfigError]] = []

    def walk(self, value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: self.walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, (*path, index)) for index, item in enumerate(value)]
        return self._text(value, path) if isinstance(value, str) else value

    def _text(self, value: str, path: KeyPath) -> str:
        pieces: list[str] = []
        text = _PLACE.sub(lambda found: self._fill(found, path, pieces), value)
        if pieces:
            self._document.substituted.add(path)
            self._redactor.remember_substituted(text, pieces)
        if any(isinstance(key, str) and speaks_of_a_secret(key) for key in path[-1:]):
            self._redactor.remember(text)
        self._redactor.remember_url(text)
        return text

    def _fill(self, found: re.Match[str], path: KeyPath, pieces: list[str]) -> str:
        if found[0] == "$${":
            return "${"
        body = found["body"]
        try:
            if body is None:
                raise _Unfilled(
                    "env", "`${` is not closed, or holds another one", "write ${NAME}; $${ for a bare ${"
                )
            if body.startswith(_FILE):
                piece = _read_secret(self._document.folder / body.removeprefix(_FILE).strip())
            else:
                known = self._variable(body)
                if known is None:
                    return body.partition(":-")[2]
                piece = known
        except _Unfilled as problem:
            self.faults.append((path, self._document.fault(path, *problem.args)))
            return found[0]
        pieces.append(piece)
        return piece

    def _variable(self, body: str) -> str | None:
        """The variable's value, or None when the default holds: that stands in the YAML, so it is no secret."""
        found = _VARIABLE.fullmatch(body)
        if not found:
            fix = "write ${NAME}, ${NAME:-default} or ${file:PATH}; $${ for a bare ${"
            raise _Unfilled("env", "`${...}` does not hold the name of a variable", fix)
        value = self._env.get(found["name"])
        if value or (value is not None and found["default"] is None):
            return value
        if found["default"] is None:
            name = found["name"]
            fix = f"export {name}=..., or give a default: ${{{name}:-default}}"
            raise _Unfilled("env", f"the environment variable {name} is not set", fix)
        return None


class _Unfilled(Exception):
    """code, what, fix"""


def _read_secret(path: Path) -> str:
    """The text of a file without the newline at its end."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise _Unfilled(
            "file", f"can't read the file {path}: {reason}", "create it, or correct the path"
        ) from None
    except ValueError:
        raise _Unfilled("file", "this is no path of a file", "write ${file:PATH}") from None
    if len(raw) > _LARGEST_FILE:
        raise _Unfilled("file", f"the file {path} is larger than 1 MiB", "name the file of one secret")
    try:
        return raw.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _Unfilled("file", f"the file {path} is not UTF-8", "save it as UTF-8 text") from None
