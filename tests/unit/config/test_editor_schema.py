"""The JSON Schema for editors, the sample connectors and the reference agree with the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from liberator.config import connector_schema, load, load_all
from liberator.config.document import read_file, show_path
from liberator.config.editor_schema import Described
from liberator.config.fields import Fields
from liberator.config.load import FIELDS
from liberator.config.models import SourceConfig
from liberator.config.section import ConnectorConfig
from liberator.config.sidecar import SidecarConfig
from liberator.config.sidecar_file import SIDECAR_FIELDS
from liberator.config.sink import SinkConfig

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "connectors").glob("*.yaml"))
ENV = {
    "SHOP_DSN": "postgresql://db/shop",
    "SHOP_URL": "sqlite:///shop.db",
    "LEGACY_DSN": "mysql+pymysql://db/shop",
    "SHIPPING_URL": "https://shipping.example/events",
    "FAAS_PASSWORD": "a password",
    "HOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
MINIMAL = {"name": "shop", "source": {"url": "postgresql://db"}}


def test_the_committed_schema_is_up_to_date() -> None:
    committed = json.loads((ROOT / "schemas" / "connector.schema.json").read_text())
    assert committed == connector_schema(), "run: python -m liberator.config > schemas/connector.schema.json"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(connector_schema())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: str(path.name))
def test_sample_connectors_are_valid(path: Path) -> None:
    for document in read_file(path)[0]:
        jsonschema.Draft202012Validator(connector_schema()).validate(document.data)
    assert load_all([path], ENV)


def test_there_are_sample_connectors() -> None:
    assert [path.name for path in SAMPLES] == [
        "mariadb-query.yaml",
        "outbox-log.yaml",
        "outbox-message.yaml",
        "outbox-poll.yaml",
        "postgres-log.yaml",
        "postgres-query.yaml",
        "sidecar.yaml",
        "sink-calls.yaml",
        "sink-command.yaml",
        "sink-file.yaml",
        "sink-http.yaml",
        "sink-lambda.yaml",
        "sink-openfaas.yaml",
        "sink-python.yaml",
        "sink-schedule.yaml",
        "sink-steps.yaml",
        "sink-table.yaml",
        "sink-webhook.yaml",
    ]


def test_the_sample_shows_the_defaults(tmp_path: Path) -> None:
    plain = tmp_path / "shop.yaml"
    plain.write_text("name: shop\nsource: {url: '${SHOP_DSN}'}\n")
    (sample,) = load(ROOT / "connectors" / "postgres-log.yaml", ENV)
    (default,) = load(plain, ENV)
    shown, expected = sample.model_dump(), default.model_dump()
    for dump in (shown, expected):
        del dump["publish"]["url"], dump["checkpoint"], dump["observe"], dump["schema_"]["dir"]
        del dump["source"]["query"]["key_file"], dump["schema_"]["registry_cache"]
    assert shown == expected


@pytest.mark.parametrize(
    "change",
    [
        {"name": 5},
        {"name": "a b"},
        {"nmae": "x"},
        {"source": {}},
        {"source": {"url": "postgresql://db", "log": {"slot": "My-Slot"}}},
        {"source": {"url": "postgresql://db", "log": {"snapshot": "initail"}}},
        {"source": {"url": "postgresql://db", "log": {"heartbeat": "soon"}}},
        {"publish": {"create_topics": 5}},
        {"publish": {"options": {"a": []}}},
        {"limits": {"memory": "lots"}},
    ],
)
def test_an_editor_sees_what_is_wrong(change: dict[str, Any]) -> None:
    assert not jsonschema.Draft202012Validator(connector_schema()).is_valid({**MINIMAL, **change})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"source": {"url": "${X}", "tables": "a,b", "log": {"snapshot": "${MODE:-never}", "heartbeat": 5}}},
        {
            "source": {
                "url": "x",
                "tables": ["a"],
                "log": {"failover": "${F}", "heartbeat": "1.5h", "slot": "${S}"},
            }
        },
        {
            "publish": {
                "create_topics": False,
                "key": {"a": "id", "b": ["x", "y"]},
                "options": {"acks": 1, "b": True},
            }
        },
        {"observe": False},
        {"observe": {}},
        {"observe": {"listen": "0.0.0.0:9464"}},
        {"limits": {"memory": 1048576}},
    ],
)
def test_an_editor_takes_what_is_right(change: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(connector_schema()).validate({**MINIMAL, **change})


@pytest.mark.parametrize("kind", [SourceConfig, SidecarConfig, SinkConfig], ids=["source", "sidecar", "sink"])
def test_every_key_has_a_description(kind: type[ConnectorConfig]) -> None:
    schema = kind.model_json_schema(schema_generator=Described)
    sections = {kind.__name__: schema, **schema["$defs"]}
    assert len(sections) > 5
    keys = [
        (name, key, told) for name, section in sections.items() for key, told in section["properties"].items()
    ]
    assert [(name, key) for name, key, told in keys if not told.get("description")] == []


@pytest.mark.parametrize(
    ("fields", "heading"),
    [(FIELDS, "## Keys\n"), (SIDECAR_FIELDS, "## Keys of a sidecar\n")],
    ids=["source", "sidecar"],
)
def test_the_reference_names_every_key(fields: Fields, heading: str) -> None:
    whole = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    reference = whole.partition(heading)[2].partition("\n## ")[0]
    assert [show_path(path) for path, _ in fields if f"`{show_path(path)}`" not in reference] == []
