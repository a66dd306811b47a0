"""Contracts as files: ``<dir>/<topic>/<n>.json``, of which the highest `n` holds. Those of the events of an outbox lie a
folder deeper, by their type: ``<dir>/<topic>/<type>/<n>.json``.

Enters: a topic. Leaves: its contract, checked as a whole, or a `ContractError` with file and place. Called when a
connector is built and when a contract is written. Versions are only ever added: a file that is there is never
changed, so that readers see a whole contract or none.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from liberator.contract.document import Document
from liberator.errors import ContractError

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class ContractStore:
    """The contracts under one folder, which need not exist yet."""

    def __init__(self, folder: Path | str) -> None:
        self._folder = Path(folder)

    def load(self, topic: str, type: str | None = None) -> tuple[int, dict[str, Any]] | None:
        """The contract that holds for `topic`, with its version; None: there is none. Raises `ContractError`.

        type: of an event of an outbox, whose contract holds for this type only.
        """
        folder = self._folder_of(topic, type)
        newest = None if folder is None else max(self._versions(folder), default=None)
        return (newest, _read(folder / f"{newest}.json")) if folder and newest else None

    def newest(self, topic: str) -> int | None:
        """The number of the version that holds, which is not read; None: there is none. Raises `ContractError`."""
        return max(self._versions(self._topic_folder(topic)), default=None)

    def topics(self) -> list[str]:
        """The topics that have a contract, in order. Folders of other names are not looked at."""
        try:
            folders = [path for path in self._folder.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self._folder, error) from error
        names = [folder.name for folder in folders if _TOPIC.fullmatch(folder.name)]
        return sorted(name for name in names if self._versions(self._topic_folder(name)))

    def event_types(self) -> list[tuple[str, str]]:
        """(topic, type) of the events of outboxes that have a contract, in order."""
        try:
            folders = sorted(path for path in self._folder.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self._folder, error) from error
        topics = [folder.name for folder in folders if _TOPIC.fullmatch(folder.name)]
        return [
            (topic, unquote(type.name))
            for topic in topics
            for type in sorted(self._topic_folder(topic).iterdir())
            if type.is_dir() and self._versions(type)
        ]

    def versions(self, topic: str, type: str | None = None) -> dict[int, dict[str, Any]]:
        """All contracts of `topic` by version, the oldest first. type: as in `load`. Raises `ContractError`."""
        folder = self._folder_of(topic, type)
        numbers = [] if folder is None else sorted(self._versions(folder))
        return {number: _read(folder / f"{number}.json") for number in numbers} if folder else {}

    def path(self, topic: str, version: int) -> Path:
        """The file of a version, which need not be there."""
        return self._topic_folder(topic) / f"{version}.json"

    def write(self, topic: str, schema: dict[str, Any]) -> Path:
        """Keep `schema` as the next version; when it is what already holds, nothing is written. Its file.

        Raises `ContractError` for a contract that could not be loaded again, or that cannot be written.
        """
        Document(schema, f"the new contract of {topic}")
        text = json.dumps(schema, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        while True:
            held = self.load(topic)
            if held and _canonical(held[1]) == _canonical(schema):
                return self._topic_folder(topic) / f"{held[0]}.json"
            path = self._topic_folder(topic) / f"{held[0] + 1 if held else 1}.json"
            try:
                _create(path, text)
            except FileExistsError:
                continue  # somebody else wrote this version meanwhile: look at theirs first
            except OSError as error:
                raise _unusable(path, error) from error
            return path

    def _folder_of(self, topic: str, type: str | None) -> Path | None:
        """None: no folder can be called so."""
        folder = self._topic_folder(topic)
        if type is None:
            return folder
        name = folder_of_type(type)
        if name is None:
            return None
        _refuse_outside(self._folder, folder / name)
        return folder / name

    def _topic_folder(self, topic: str) -> Path:
        """The folder of a topic; never outside the store, by whatever name or link."""
        if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
            raise ContractError(
                f"{topic!r} is not the name of a topic",
                code="contract.bad_topic",
                where=str(self._folder),
                fix="Use letters, digits, '.', '_' and '-', at most 249.",
            )
        folder = self._folder / topic
        _refuse_outside(self._folder, folder)
        return folder

    def _versions(self, folder: Path) -> list[int]:
        try:
            files = [
                path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith(".")
            ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(folder, error) from error
        for path in files:
            _refuse_outside(self._folder, path)
            if not _VERSION.fullmatch(path.stem):
                raise ContractError(
                    f"{path.name} is not the name of a version",
                    code="contract.bad_version",
                    where=str(path),
                    fix="Name contracts 1.json, 2.json and so on; the highest holds.",
                )
        return [int(path.stem) for path in files]


def folder_of_type(type: str) -> str | None:
    """The name of the folder of an event type: the type itself, other characters than letters, digits, ``.``, ``_``, ``-``
    percent-encoded. None: it would be too long, or empty."""
    name = quote(type, safe="").replace("~", "%7E")
    if name in (".", ".."):
        name = name.replace(".", "%2E")
    return name if 0 < len(name) <= 249 else None


def _refuse_outside(folder: Path, path: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ContractError(
            "a link leads out of the folder of contracts",
            code="contract.outside",
            where=str(path),
            fix="Keep the contract itself in the folder.",
        )


def _read(path: Path) -> dict[str, Any]:
    """A contract from its file, checked."""
    try:
        schema = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_distinct)
    except OSError as error:
        raise _unusable(path, error) from error
    except json.JSONDecodeError as error:
        raise _no_json(f"{path}, line {error.lineno}, column {error.colno}", error.msg) from None
    except (ValueError, RecursionError) as error:
        raise _no_json(str(path), str(error)) from None
    if not isinstance(schema, dict):
        raise _no_json(str(path), "a contract is a JSON object")
    Document(schema, str(path))
    return schema


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} stands twice in one object")
    return found


def _create(path: Path, text: str) -> None:
    """Write a file that was not there, whole or not at all. Raises `FileExistsError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".draft")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o644)
        os.link(draft, path)
    finally:
        Path(draft).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _canonical(schema: dict[str, Any]) -> str:
    return json.dumps(schema, sort_keys=True)


def _unusable(path: Path, error: OSError) -> ContractError:
    return ContractError(
        f"cannot use the file: {error.strerror}",
        code="contract.file",
        where=str(path),
        fix="Check that the path exists and who may read and write it.",
    )


def _no_json(where: str, message: str) -> ContractError:
    return ContractError(
        f"the contract is not JSON: {message}",
        code="contract.invalid_json",
        where=where,
        fix="Correct the file.",
    )
