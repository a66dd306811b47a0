"""`liberate --source URL`: options, variables, files of defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import URL, Build, Liberate


def test_runs_a_trial_without_a_name(liberate: Liberate, build: Build) -> None:
    assert liberate("--source", URL, "--mode", "log").code == 0
    (name, (config,), named) = build.calls[0]
    assert name == "run_source"
    assert named == {"once": False, "max_events": None, "trial": True}
    assert config.source.url == URL
    assert config.source.log.slot.startswith("liberator_trial_")


def test_runs_a_durable_connector_with_a_name(liberate: Liberate, build: Build) -> None:
    liberate("--source", URL, "--name", "shop", "--once", "--max-events", "7")
    assert build.calls[0][2] == {"once": True, "max_events": 7, "trial": False}
    assert build.config.source.log.slot == "shop"


def test_gives_back_the_exit_code_of_the_run(liberate: Liberate, build: Build) -> None:
    build.answers["run_source"] = 3
    assert liberate("--source", URL).code == 3


def test_takes_every_option(liberate: Liberate, build: Build, tmp_path: Path) -> None:
    (tmp_path / "defaults.yaml").write_text("source: {log: {heartbeat: 3s}}\n")
    arguments = [
        *("--source", URL, "--mode", "log", "--table", "public.a", "--table", "b", "--exclude", "c.*"),
        *("--publish", "kafka://b:9092", "--name", "shop", "--topic", "{table}", "--envelope", "debezium"),
        *("--snapshot", "never", "--slot", "s", "--publication", "p", "--set", "types.json=embed"),
        *("--set", "limits.memory=64MiB", "--config", str(tmp_path / "defaults.yaml"), "--stage", "test"),
    ]
    assert liberate(*arguments).code == 0
    config = build.config
    assert [str(pattern) for pattern in config.source.tables] == ["public.a", "b"]
    assert [str(pattern) for pattern in config.source.exclude] == ["c.*"]
    assert (config.name, config.source.log.slot, config.source.log.publication) == (
        "test.shop",
        "test_s",
        ("test_p",),
    )
    assert (config.publish.url, config.publish.topic.text) == ("kafka://b:9092", "test.{table}")
    assert (config.source.log.snapshot, config.source.log.heartbeat) == ("never", 3.0)
    assert (config.types.json_, config.limits.memory) == ("embed", 64 * 1024 * 1024)


def test_every_option_is_a_variable_too(
    liberate: Liberate, build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "defaults.yaml").write_text("source: {log: {heartbeat: 3s}}\n")
    variables = {
        "SOURCE": URL,
        "MODE": "log",
        "TABLE": 'public.a  "My Schema"."b c"',
        "EXCLUDE": "c.*",
        "PUBLISH": "kafka://b:9092",
        "NAME": "shop",
        "TOPIC": "{table}",
        "ENVELOPE": "debezium",
        "SNAPSHOT": "never",
        "SLOT": "s",
        "PUBLICATION": "p",
        "SET": "types.json=embed\nsource.log.heartbeat_query=SELECT 1\n",
        "CONFIG": str(tmp_path / "defaults.yaml"),
        "ONCE": "true",
        "MAX_EVENTS": "5",
        "STAGE": "test",
        "LOG_LEVEL": "error",
        "LOG_FORMAT": "json",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"LIBERATE_{name}", value)
    assert liberate().code == 0
    config = build.config
    assert [str(pattern) for pattern in config.source.tables] == ["public.a", '"My Schema"."b c"']
    assert (config.name, config.source.log.slot, config.publish.topic.text) == (
        "test.shop",
        "test_s",
        "test.{table}",
    )
    assert (config.types.json_, config.source.log.heartbeat_query) == ("embed", "SELECT 1")
    assert config.source.log.heartbeat == 3.0
    assert build.calls[0][2] == {"once": True, "max_events": 5, "trial": False}


def test_an_option_wins_over_its_variable(
    liberate: Liberate, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBERATE_SOURCE", "postgresql://other")
    monkeypatch.setenv("LIBERATE_ONCE", "1")
    liberate("--source", URL)
    assert build.config.source.url == URL
    assert build.calls[0][2]["once"] is True


def test_the_source_may_come_from_the_file_of_defaults(liberate: Liberate, build: Build, shop: Path) -> None:
    assert liberate("--config", shop, "--once").code == 0
    assert build.config.name == "shop"
    assert build.calls[0][2] == {"once": True, "max_events": None, "trial": False}


def test_a_wrong_option_is_found_before_anything_is_built(liberate: Liberate, build: Build) -> None:
    result = liberate(
        "--source", URL, "--slot", "My-Slot", "--snapshot", "initail", "--mode", "log", "--envelope", "flatt"
    )
    assert result.code == 2
    assert build.calls == []
    assert result.err.count("error [") == 3
    assert "where: --slot: source.log.slot" in result.err
    assert "where: --snapshot: source.log.snapshot" in result.err
    assert "where: --envelope: format.envelope" in result.err
