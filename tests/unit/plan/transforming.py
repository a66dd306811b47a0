"""Transforms as a configuration has them, and what a plain reading of the guide makes of a row."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from liberator.build.transforms import transforms
from liberator.config import SourceConfig, load
from liberator.plan.shaping import Transforms

StepData = dict[str, Any]


def config_of(folder: Path, *steps: StepData) -> SourceConfig:
    """A connector with these transforms."""
    path = folder / "shop.yaml"
    source = {"url": "postgresql://h/d"}
    path.write_text(json.dumps({"connector": "source", "name": "shop", "source": source, "transform": steps}))
    [config] = load(path, {})
    return config


def transforms_of(folder: Path, *steps: StepData) -> Transforms:
    """The same, ready for a plan."""
    return transforms(config_of(folder, *steps))


def plainly(row: dict[str, Any], steps: list[StepData]) -> dict[str, Any]:
    """The reference: one step after the other on parsed JSON."""
    for step in steps:
        [(kind, said)] = step.items()
        row = _STEPS[kind](row, said)
    return row


def _drop(row: dict[str, Any], said: StepData) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in said["columns"]}


def _rename(row: dict[str, Any], said: StepData) -> dict[str, Any]:
    return {said["columns"].get(name, name): value for name, value in row.items()}


def _mask(row: dict[str, Any], said: StepData) -> dict[str, Any]:
    return {
        name: _masked(value, said) if name in said["column"] and value is not None else value
        for name, value in row.items()
    }


def _masked(value: Any, said: StepData) -> Any:
    way = said["with"]
    if way == "sha256":
        text = value if isinstance(value, str) else json.dumps(value)
        return hashlib.sha256((said["salt"] + text).encode()).hexdigest()
    if way == "truncate:2":
        return value[:2]
    return {"redact": "***", "null": None}[way]


def _cast(row: dict[str, Any], said: StepData) -> dict[str, Any]:
    return {
        name: json.dumps(value) if name in said["columns"] and isinstance(value, int) else value
        for name, value in row.items()
    }


_STEPS = {"drop_columns": _drop, "rename": _rename, "mask": _mask, "cast": _cast}
