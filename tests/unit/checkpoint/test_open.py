"""Which checkpoint a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.checkpoint import open_checkpoint
from liberator.checkpoint.kafka import KafkaCheckpoint
from liberator.checkpoint.local import LocalCheckpoint
from liberator.checkpoint.sqlite import SqliteCheckpoint
from liberator.errors import ConfigError


def test_a_file(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(f"file:{tmp_path}/shop.db", "shop")
    assert isinstance(checkpoint, SqliteCheckpoint)
    checkpoint.save({"slot": b"1"}, checkpoint.acquire())
    checkpoint.close()
    assert (tmp_path / "shop.db").exists()


def test_a_local_log_where_the_events_go(tmp_path: Path) -> None:
    checkpoint = open_checkpoint("local", "shop", local_folder=tmp_path / "log")
    assert isinstance(checkpoint, LocalCheckpoint)
    checkpoint.close()
    with pytest.raises(ConfigError) as refused:
        open_checkpoint("local", "shop")
    assert refused.value.code == "checkpoint.url"


@pytest.mark.parametrize(
    ("url", "kafka_url"),
    [("kafka", "kafka://127.0.0.1:9"), ("kafka://127.0.0.1:9", None), ("kafka://127.0.0.1:9", "-")],
)
def test_a_topic_where_the_events_go_or_elsewhere(url: str, kafka_url: str | None) -> None:
    checkpoint = open_checkpoint(url, "shop", kafka_url=kafka_url, options={"client.id": "x"})
    assert isinstance(checkpoint, KafkaCheckpoint)
    checkpoint.close()


@pytest.mark.parametrize("url", ["kafka", "redis://localhost", "", "shop.db"])
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        open_checkpoint(url, "shop")
    assert (refused.value.code, refused.value.where) == ("checkpoint.url", "checkpoint.url")
