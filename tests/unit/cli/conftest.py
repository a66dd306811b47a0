"""`liberate` called in this process, with `liberator.build` answering as each test says."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from liberator.cli import main
from liberator.config import redact

URL = "postgresql://me:hunter2@db/shop"


@dataclass
class Result:
    """What a call left behind."""

    code: int
    out: str
    err: str


Liberate = Callable[..., Result]


@pytest.fixture
def liberate(capsys: pytest.CaptureFixture[str]) -> Liberate:
    def liberate(*arguments: str | Path) -> Result:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return liberate


@dataclass
class Build:
    """Stands where `liberator.build` is imported: notes the calls and gives the answers of the test."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def function(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append((name, arguments, named))
            answer = self.answers.get(name)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    @property
    def config(self) -> Any:
        """The connector of the last call."""
        return self.calls[-1][1][0]


_FUNCTIONS = (
    "run_source",
    "checkpoint_show",
    "checkpoint_adopt",
    "checkpoint_reset",
    "slot_list",
    "slot_create",
    "slot_drop",
    "derive_schemas",
    "check_schemas",
    "diff_schemas",
    "register_schemas",
    "status",
)


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Build:
    lists = ("slot_list", "checkpoint_show", *(name for name in _FUNCTIONS if name.endswith("_schemas")))
    build = Build(answers={"run_source": 0, **{name: [] for name in lists}})
    module = ModuleType("liberator.build")
    for name in _FUNCTIONS:
        setattr(module, name, build.function(name))
    monkeypatch.setitem(sys.modules, "liberator.build", module)
    return build


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No secrets, variables, log handlers or folder of other tests."""
    monkeypatch.setattr(redact, "_forms", set())
    monkeypatch.setattr(redact, "_pattern", None)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LIBERATE_")]:
        monkeypatch.delenv(name)
    root, package = logging.getLogger(), logging.getLogger("liberator")
    before = root.handlers[:], root.level, package.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], level, package_level = before
    root.setLevel(level)
    package.setLevel(package_level)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A valid connector file."""
    path = tmp_path / "shop.yaml"
    path.write_text(f"name: shop\nsource: {{url: '{URL}'}}\n")
    return path


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A file with two connectors."""
    path = tmp_path / "two.yaml"
    path.write_text(
        "".join(
            f"---\nname: {name}\nsource: {{url: '{URL}'}}\npublish: {{url: 'file:{name}.ndjson'}}\n"
            for name in ("one", "two")
        )
    )
    return path
