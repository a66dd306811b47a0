"""A connector file in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from liberator.config import ConfigErrors, SourceConfig, load, redact
from liberator.errors import ConfigError

Write = Callable[[str], Path]
Load = Callable[..., SourceConfig]
Faults = Callable[..., list[ConfigError]]


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_forms", set())
    monkeypatch.setattr(redact, "_pattern", None)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "shop.yaml"
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    return write


@pytest.fixture
def loaded(write: Write) -> Load:
    """The one connector of this YAML."""

    def loaded(text: str, stage: str | None = None, **env: str) -> SourceConfig:
        (config,) = load(write(text), env, stage=stage)
        return config

    return loaded


@pytest.fixture
def faults(write: Write) -> Faults:
    """What is wrong with this YAML."""

    def faults(text: str, stage: str | None = None, **env: str) -> list[ConfigError]:
        with pytest.raises(ConfigErrors) as caught:
            load(write(text), env, stage=stage)
        return list(caught.value.faults)

    return faults
