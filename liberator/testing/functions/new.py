"""A new function's project: a commented connector, the function, the contract of what it gives, sample events, a test.

Enters: a name, a folder. Leaves: files, which are those of `project` with the name filled in. Called by ``liberate function
new``.
"""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path

from liberator.errors import ConfigError

_FILES = {
    "sink.yaml": "{name}.yaml",
    "function.py": "{module}.py",
    "test_function.py": "test_{module}.py",
    "events.ndjson": "events.ndjson",
    "contract.json": "schemas/{name}.done/1.json",
}
"""Template -> where it goes."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


def write_project(name: str, folder: Path) -> list[Path]:
    """Write it; the paths of its files. folder: is made; one that holds something is refused. Raises `ConfigError`."""
    if not _NAME.fullmatch(name) or not re.search("[A-Za-z]", name):
        raise ConfigError(
            f'"{name[:60]}" is no name of a connector',
            code="config.name",
            where="NAME",
            fix="write letters, digits, '.', '_' and '-', as notify-shipping",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            "something is there already, and nothing is overwritten",
            code="config.folder",
            where=str(folder),
            fix="choose another --folder",
        )
    written = []
    for template, place in _FILES.items():
        path = folder / place.format(name=name, module=module_of(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        text = files("liberator.testing.functions.project").joinpath(template).read_text(encoding="utf-8")
        path.write_text(
            text.replace("__NAME__", name).replace("__MODULE__", module_of(name)), encoding="utf-8"
        )
        written.append(path)
    return written


def module_of(name: str) -> str:
    """A Python module's name, made of a connector's."""
    module = re.sub(r"\W", "_", name)
    return f"{module}_function" if keyword.iskeyword(module) or module[0].isdigit() else module
