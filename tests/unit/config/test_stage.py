"""`--stage`: the same file in test and production."""

from __future__ import annotations

import pytest

from liberator.config import from_options
from liberator.errors import ConfigError

from .conftest import Faults, Load

NAMES = {"name": "test.shop", "schema": "public", "table": "orders"}


def test_what_is_left_to_its_default_follows_the_name(loaded: Load) -> None:
    config = loaded("name: shop\nsource: {url: postgresql://db/shop}\n", stage="test")
    assert config.name == "test.shop"
    assert config.source.log.slot == "test_shop"
    assert config.source.log.publication == ("test_shop",)
    assert config.publish.topic.render(**NAMES) == "test.shop.public.orders"
    assert config.publish.dead_letter_topic.render(name=config.name) == "test.shop.dead-letters"
    assert config.checkpoint.url.endswith("/.liberator/test.shop.db")


def test_what_is_written_gets_the_stage_in_front(loaded: Load) -> None:
    config = loaded(
        """
        name: shop
        source: {url: postgresql://db/shop, log: {slot: s, publication: "a,b", message_topic: "m.{name}"}}
        publish: {topic: "cdc.{name}.{table}", dead_letter_topic: dead}
        """,
        stage="Test-1",
    )
    assert config.source.log.slot == "test_1_s"
    assert config.source.log.publication == ("test_1_a", "test_1_b")
    assert config.publish.topic.render(**NAMES) == "Test-1.cdc.shop.orders"
    assert config.publish.dead_letter_topic.text == "Test-1.dead"
    assert config.source.log.message_topic.text == "Test-1.m.shop"


def test_the_template_that_is_the_default_means_the_same_when_it_is_written(loaded: Load) -> None:
    text = "name: shop\nsource: {url: postgresql://db/shop}\npublish: {topic: '{name}.{schema}.{table}'}\n"
    assert loaded(text, stage="test").publish.topic.render(**NAMES) == "test.shop.public.orders"


def test_contracts_are_found_under_the_name_without_the_stage(loaded: Load) -> None:
    text = "name: shop\nsource: {url: postgresql://db/shop}\n"
    assert loaded(text, stage="test").without_stage("test.shop.public.orders") == "shop.public.orders"
    assert loaded(text).without_stage("test.shop.public.orders") == "test.shop.public.orders"


def test_a_one_liner_has_a_stage_too() -> None:
    config = from_options({"source": "postgresql://db", "name": "shop", "stage": "test"}, {})
    assert config.name == "test.shop"


def test_a_slot_that_becomes_too_long_is_refused(faults: Faults) -> None:
    text = f"name: shop\nsource: {{url: postgresql://db, log: {{slot: {'x' * 60}}}}}\n"
    (fault,) = faults(text, stage="test")
    assert fault.code == "config.slot_name"


def test_faults_are_still_told_when_there_is_a_stage(faults: Faults) -> None:
    found = faults("name: [a]\nsource: {url: postgresql://db, log: 5}\npublish: {topic: [x]}\n", stage="test")
    assert [fault.code for fault in found] == ["config.type", "config.type", "config.type"]


@pytest.mark.parametrize("stage", ["a b", "x" * 51, "a/b"])
def test_a_stage_that_no_topic_could_begin_with_is_refused(stage: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_options({"source": "postgresql://db", "stage": stage}, {})
    assert caught.value.code == "config.stage"
