"""What the keys of an outbox owe to each other."""

from __future__ import annotations

import pytest

from .conftest import Faults, Load

OUTBOX = "name: shop\nsource: {url: postgresql://db/shop, mode: outbox}\n"


def test_the_events_of_an_outbox_go_to_topics_of_their_own(loaded: Load) -> None:
    assert loaded(OUTBOX).publish.topic.text == "outbox.event.{aggregatetype}"
    assert loaded(OUTBOX + "publish: {url: 'file:x'}\n").publish.topic.text == "outbox.event.{aggregatetype}"
    assert loaded(OUTBOX + "publish: {topic: '{type}'}\n").publish.topic.text == "{type}"


def test_a_stage_stands_before_the_topics_of_an_outbox_too(loaded: Load) -> None:
    assert loaded(OUTBOX, stage="test").publish.topic.text == "test.outbox.event.{aggregatetype}"
    assert loaded(OUTBOX + "publish: {topic: '{type}'}\n", stage="test").publish.topic.text == "test.{type}"


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        (
            "source: {url: postgresql://db, mode: outbox, log: {messages: [a]}}\n",
            "config.outbox",
            "source.log.messages",
        ),
        (
            "source: {url: postgresql://db, mode: outbox, log: {transaction_topic: true}}\n",
            "config.outbox",
            "source.log.transaction_topic",
        ),
        ("source: {url: postgresql://db, mode: outbox, exclude: [a]}\n", "config.outbox", "source.exclude"),
        ("source: {url: 'sqlite:///x.db', mode: outbox}\n", "config.url", "source.url"),
        (
            "source: {url: postgresql://db, mode: outbox, outbox: {table: 'public.*'}}\n",
            "config.table_pattern",
            "source.outbox.table",
        ),
        (
            "source: {url: postgresql://db, mode: outbox, outbox: {headers: [a, id]}}\n",
            "config.value",
            "source.outbox.headers",
        ),
        (
            "source: {url: postgresql://db}\npublish: {topic: 'a.{aggregatetype}'}\n",
            "config.topic",
            "publish.topic",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(faults: Faults, text: str, code: str, where: str) -> None:
    (fault,) = faults("name: shop\n" + text)
    assert (fault.code, str(fault.where).rpartition(": ")[2]) == (code, where)
