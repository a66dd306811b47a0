"""The files of the other two connectors."""

from __future__ import annotations

from pathlib import Path

from liberator.config import SourceConfig, load
from liberator.demo.broker import Local
from liberator.demo.connector import Source, slot_of
from liberator.demo.ways import Ways

SHOP = {"SHOP_DSN": "postgresql://localhost/shop"}


def test_their_files_are_such_that_liberate_takes(tmp_path: Path) -> None:
    folder = tmp_path / "a folder: with #"
    folder.mkdir()
    ways = Ways(folder, name="shop-1", dsn="", broker=Local(folder / "events"))
    [outbox], [query] = (load(each.yaml, SHOP) for each in ways.connectors)
    assert (outbox.source.mode, query.source.mode) == ("outbox", "query")
    assert outbox.source.log.slot == ways.slot == "shop_1_outbox"
    assert outbox.publish.url == query.publish.url == f"local:{folder}/events"
    assert ways.topics == [
        "shop-1-outbox.order",
        "shop-1-query.public.products",
        "shop-1-outbox.dead-letters",
        "shop-1-query.dead-letters",
    ]


def test_the_first_connector_leaves_the_outbox_alone(tmp_path: Path) -> None:
    source = Source(tmp_path, name="shop-1", dsn="", publish="file:x")
    config: SourceConfig = load(source.yaml, SHOP)[0]
    assert [str(pattern) for pattern in config.source.exclude] == ["public.outbox"]
    assert config.source.log.slot == source.slot == slot_of("shop-1")
