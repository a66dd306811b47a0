"""The sink of the demo and its function."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from liberator.change import Event
from liberator.config import SinkConfig, load_all
from liberator.demo.broker import Local
from liberator.demo.connector import Source
from liberator.demo.shipping import Shipping
from liberator.function.context import Context


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder: with #"
    folder.mkdir()
    return folder


@pytest.fixture
def shipping(folder: Path) -> Shipping:
    source = Source(folder, name="shop-1", dsn="", publish="local:events")
    return Shipping(folder, source, Local(folder / "events"))


@pytest.fixture
def ship(shipping: Shipping) -> ModuleType:
    """The copy that the sink runs."""
    spec = importlib.util.spec_from_file_location("ship", shipping.yaml.with_name("ship.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def event(op: str = "u", **row: Any) -> Event:
    value = {"op": op, "before": None, "after": row or None}
    return Event("shop.public.orders", 0, 0, 0, b"{}", json.dumps(value).encode(), (("id", b"e1"),))


def test_its_file_is_one_that_liberate_takes(shipping: Shipping, folder: Path) -> None:
    [config] = load_all([shipping.yaml], {})
    assert isinstance(config, SinkConfig)
    assert config.stream is not None
    assert config.stream.url == f"local:{folder}/events"
    assert config.stream.topics == ("shop-1.public.orders",)
    assert shipping.topics == [config.output.topic, config.dead_letter_topic]
    assert config.name == shipping.name


def test_the_function_chooses_alone_where_there_are_no_expressions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liberator.demo.shipping.has_expressions", lambda: False)
    source = Source(folder, name="shop", dsn="", publish="local:events")
    shipping = Shipping(folder, source, Local(folder / "events"))
    assert "filter" not in shipping.yaml.read_text()
    assert isinstance(load_all([shipping.yaml], {})[0], SinkConfig)


def test_the_function_ships_what_is_paid_and_nothing_else(ship: ModuleType) -> None:
    context = Context("ship", 1)
    ship.ship(
        [
            event(id=1, status="paid", currency="EUR"),
            event(id=2, status="new", currency="EUR"),
            event("d"),
            Event("shop.public.orders", 0, 3, 0, b"{}", None),
        ],
        context,
    )
    [output] = context.outputs
    assert json.loads(output.value or b"") == {"order": 1, "carrier": "post", "paid": "e1"}
    assert output.headers == (("id", b"e1/shipped"),)


def test_the_function_fails_until_there_is_a_carrier(ship: ModuleType, shipping: Shipping) -> None:
    abroad = event(id=1, status="paid", currency="CHF")
    with pytest.raises(LookupError, match="no carrier"):
        ship.ship([abroad], Context("ship", 1))
    shipping.find_a_carrier()
    context = Context("ship", 1)
    ship.ship([abroad], context)
    assert len(context.outputs) == 1
