"""What the demo gives `liberate run` to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.config import load
from liberator.demo.connector import Source, _environ


@pytest.mark.parametrize("publish", ["kafka://127.0.0.1:9092", "file:/tmp/a folder: with #/events.ndjson"])
def test_its_file_is_one_that_liberate_takes(tmp_path: Path, publish: str) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    connector = Source(folder, name="shop-1", dsn="postgresql://localhost/shop", publish=publish)
    [config] = load(connector.yaml, {"SHOP_DSN": "postgresql://localhost/shop"})
    assert config.name == "shop-1"
    assert config.publish.url == publish
    assert config.checkpoint.url == f"file:{folder}/shop-1.db"
    assert config.schema_.dir == connector.contracts
    assert config.observe is not None


def test_names_the_topics_as_the_connector_does(tmp_path: Path) -> None:
    connector = Source(tmp_path, name="shop", dsn="", publish="file:x")
    assert connector.topics(["orders"]) == ["shop.public.orders", "shop.dead-letters"]


def test_no_variable_of_the_users_changes_what_it_does() -> None:
    ours = {"LIBERATE_ONCE": "1", "LIBERATE_SOURCE": "postgresql://elsewhere/", "HOME": "/home/me"}
    assert _environ(ours, "postgresql://localhost/shop") == {
        "HOME": "/home/me",
        "SHOP_DSN": "postgresql://localhost/shop",
    }


def test_answers_nothing_while_it_does_not_run(tmp_path: Path) -> None:
    connector = Source(tmp_path, name="shop", dsn="", publish="file:x")
    assert connector.status() is None
    assert not connector.is_streaming()
    connector.close()
