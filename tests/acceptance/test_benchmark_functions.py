"""The benchmark of functions, with few events."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.testing.servers import Kafka
from tests.benchmark.functions import compare, fill


def test_measures_both_sides_over_the_same_events(
    kafka: Kafka, tmp_path: Path, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(kafka.bootstrap, unique, 5_000)
    assert compare(kafka.bootstrap, unique, tmp_path, "counting", 5_000, 1) > 0
    assert "bare consumer" in capsys.readouterr().out
