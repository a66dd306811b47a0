"""What a registry has answered, kept in files: an id means one schema for ever, so that nothing in here gets old.

Enters: ids, subjects and schemas. Leaves: the same, also while the registry can't be reached. Called by the client. Each
registry has a folder of its own, named by a hash of its address without user and password.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any


def fingerprint(schema: Any) -> str:
    """Equal for schemas that say the same in the same words, whatever their order."""
    text = json.dumps(schema, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class SchemaCache:
    """Answers of the registry at `address`, below `folder`, which need not exist yet.

    A folder that can't be written or read is as good as an empty one: the cache is an aid, the registry is the truth.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder / hashlib.sha256(address.encode()).hexdigest()[:16]

    def schema(self, schema_id: int) -> Any | None:
        """The schema with this id; None: not known here."""
        return self._read(f"id-{schema_id}")

    def id(self, subject: str, schema: Any) -> int | None:
        """The id under which `schema` was registered as `subject`; None: not known here."""
        found = self._read(_name(subject, schema))
        return found if isinstance(found, int) else None

    def keep_schema(self, schema_id: int, schema: Any) -> None:
        """Remember what an id means."""
        self._write(f"id-{schema_id}", schema)

    def keep_id(self, subject: str, schema: Any, schema_id: int) -> None:
        """Remember what was registered."""
        self._write(_name(subject, schema), schema_id)
        self.keep_schema(schema_id, schema)

    def _read(self, name: str) -> Any | None:
        try:
            return json.loads((self._folder / f"{name}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def _write(self, name: str, content: Any) -> None:
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(dir=self._folder, suffix=".draft")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, ensure_ascii=False)
            Path(draft).replace(self._folder / f"{name}.json")


def _name(subject: str, schema: Any) -> str:
    return f"subject-{hashlib.sha256(subject.encode()).hexdigest()[:16]}-{fingerprint(schema)}"
