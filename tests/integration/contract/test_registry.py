"""The registry's client against a real registry, and its rules of compatibility beside ours."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator

from liberator.cli import main
from liberator.contract.compatibility import compatible
from liberator.contract.registry.client import RegistryClient
from liberator.contract.registry.http import RegistrySettings
from liberator.contract.registry.wire import decode, encode
from liberator.errors import ContractError
from liberator.testing.servers import ApicurioServer, Registry
from tests.unit.contract.test_compatibility import ACCEPTED, REFUSED

FIRST: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Ü☃",
    "type": "object",
    "properties": {"a": {"type": "integer"}},
}
DRAFT_7 = {"$schema": "http://json-schema.org/draft-07/schema#"}


@pytest.fixture
def client(registry: Registry) -> RegistryClient:
    return RegistryClient(RegistrySettings(registry.url))


def test_a_schema_that_is_registered_is_found_by_its_id(
    client: RegistryClient, registry: Registry, unique: str
) -> None:
    schema_id = client.register(f"{unique}-value", FIRST)
    message = encode(schema_id, b'{"a":1}')
    reader = RegistryClient(RegistrySettings(registry.url))
    found, payload = decode(message)
    assert (reader.schema(found), payload) == (FIRST, b'{"a":1}')


def test_registering_again_gives_the_same_id(client: RegistryClient, registry: Registry, unique: str) -> None:
    ids = {RegistryClient(RegistrySettings(registry.url)).register(unique, FIRST) for _ in range(3)}
    assert len(ids) == 1
    assert client.versions(unique) == [1]


def test_versions_are_counted(client: RegistryClient, unique: str) -> None:
    assert client.latest(unique) is None
    assert client.versions(unique) == []
    client.register(unique, FIRST)
    second = {**FIRST, "title": "second"}
    schema_id = client.register(unique, second)
    newest = client.latest(unique)
    assert newest is not None
    assert (newest.version, newest.id, newest.schema) == (2, schema_id, second)
    assert client.versions(unique) == [1, 2]


def test_a_subject_may_have_any_name(client: RegistryClient, unique: str) -> None:
    subject = f"{unique} a+b%c.Ünï-value"
    client.register(subject, FIRST)
    assert client.versions(subject) == [1]


def test_a_schema_that_the_registry_does_not_know_is_said_to_be_unknown(client: RegistryClient) -> None:
    with pytest.raises(ContractError) as caught:
        client.schema(2**31 - 1)
    assert caught.value.code == "registry.unknown_schema"
    assert not caught.value.retryable


def test_a_schema_that_may_not_follow_is_refused(client: RegistryClient, unique: str) -> None:
    first, second = (
        {**DRAFT_7, "type": "object", "properties": {"a": {"type": kind}}} for kind in ("integer", "string")
    )
    assert client.may_follow(unique, second) == []
    client.register(unique, first)
    client.set_compatibility(unique, "backward")
    assert "/properties/a" in client.may_follow(unique, second)[0]
    with pytest.raises(ContractError) as caught:
        client.register(unique, second)
    assert caught.value.code == "registry.incompatible"
    assert "/properties/a" in caught.value.what
    assert client.versions(unique) == [1]


@pytest.fixture
def own_registry() -> Iterator[ApicurioServer]:
    with ApicurioServer() as server:
        yield server


def test_what_was_registered_once_starts_without_the_registry(
    own_registry: ApicurioServer, tmp_path: Path, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    def client() -> RegistryClient:
        settings = RegistrySettings(own_registry.url, attempts=2, timeout=120)
        return RegistryClient(settings, tmp_path)

    running = client()
    schema_id = running.register(unique, FIRST)
    own_registry.stop()
    assert running.register(unique, FIRST) == schema_id
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        assert client().register(unique, FIRST) == schema_id
    assert "is taken from the cache" in caplog.text
    assert client().schema(schema_id) == FIRST
    with pytest.raises(ContractError) as caught:
        client().register(unique, {**FIRST, "title": "another"})
    assert (caught.value.code, caught.value.retryable) == ("registry.unreachable", True)


LAXER = ("dependentRequired", "dependentSchemas", "unevaluatedProperties", "prefixItems", "shape")
"""Keywords that it lets through: it knows JSON Schema up to draft 7, and takes what came later for notes."""

STRICTER = [
    ({"type": "integer"}, {"type": ["integer", "null"]}),
    ({"type": ["integer", "null"]}, {"oneOf": [{"type": "null"}, {"type": "integer"}]}),
    ({"enum": ["x", None]}, {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 1}]}),
    ({"enum": [2, 4]}, {"type": "integer", "multipleOf": 2, "maximum": 4}),
    ({"type": "integer"}, {"type": "integer", "title": "A", "format": "int32", "x-note": 1}),
    ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, {"type": "integer", "minimum": 2}),
]
"""What it refuses although no value is lost: it compares the words."""


def test_its_rules_agree_with_ours_but_for_those_that_are_documented(
    client: RegistryClient, unique: str
) -> None:
    """Asked about draft 7, the newest that it judges, with the keywords that mean the same there."""
    laxer, stricter = set(), []
    for index, (old, new) in enumerate([*((old, new) for *_, old, new in REFUSED), *ACCEPTED]):
        subject = f"{unique}-{index}"
        client.register(subject, {**DRAFT_7, **old})
        client.set_compatibility(subject, "backward")
        theirs = not client.may_follow(subject, {**DRAFT_7, **new})
        ours = not compatible(old, new, "backward")
        if theirs and not ours:
            laxer.add(next((word for word in LAXER if f"'{word}'" in str(new)), str(new)))
        if ours and not theirs:
            stricter.append((old["properties"]["a"], new["properties"]["a"]))
    assert laxer == set(LAXER)
    assert stricter == STRICTER


def test_it_cannot_judge_the_dialect_of_contracts(client: RegistryClient, unique: str) -> None:
    """Documented: a subject of Apicurio 2.6 with a compatibility rule takes no second contract in 2020-12."""
    client.register(unique, FIRST)
    client.set_compatibility(unique, "backward")
    with pytest.raises(ContractError) as caught:
        RegistryClient(RegistrySettings(client.address, attempts=1)).may_follow(
            unique, {**FIRST, "title": "b"}
        )
    assert caught.value.code == "registry.failed"
    assert "could not determine version" in caught.value.what


ENVELOPES: dict[str, tuple[list[str], Callable[[Any], Any]]] = {
    "debezium": ([], lambda value: value["after"]),
    "binary": (["--envelope", "cloudevents"], lambda value: value["after"]),
    "structured": (
        ["--envelope", "cloudevents", "--set", "format.cloudevents_mode=structured"],
        lambda value: value["data"]["after"],
    ),
    "flat": (["--envelope", "flat"], lambda value: value),
}


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_events_keep_the_schemas_that_are_registered_for_them(
    envelope: str,
    registry: Registry,
    database: str,
    tmp_path: Path,
    unique: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options, row_of = ENVELOPES[envelope]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "create table orders (region text, id int, tags text[], note text, primary key (region, id))"
        )
        connection.execute("insert into orders values ('n', 1, '{a,NULL}', null)")
    target = ["--source", database, "--name", unique, "--set", f"schema.dir={tmp_path / 'schemas'}", *options]
    assert main(["schema", "register", *target, "--registry", registry.url, "--json"]) == 0
    rows = {row["part"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    topic = f"{unique}.public.orders"
    assert {part: row["subject"] for part, row in rows.items()} == {
        "value": f"{topic}-value",
        "key": f"{topic}-key",
    }
    run = [sys.executable, "-m", "liberator", "--source", database, "--mode", "log", "--once", *options]
    with psycopg.connect(database, autocommit=True) as connection:
        snapshot = subprocess.run([*run, "--name", unique], capture_output=True, check=True, cwd=tmp_path)
        connection.execute("update orders set note = 'x'; truncate orders")
        connection.execute("insert into orders values ('s', 2, null, 'y'); delete from orders")
    stream = subprocess.run([*run, "--name", unique], capture_output=True, check=True, cwd=tmp_path)
    events = [json.loads(line) for line in (snapshot.stdout + stream.stdout).splitlines()]
    values = [event["value"] for event in events if event["value"] is not None]
    assert len(values) == (3 if envelope == "flat" else 5)
    client = RegistryClient(RegistrySettings(registry.url))
    value, key = (Draft202012Validator(client.schema(rows[part]["id"])) for part in ("value", "key"))
    assert [error.message for each in values for error in value.iter_errors(each)] == []
    assert [error.message for each in events if each["key"] for error in key.iter_errors(each["key"])] == []
    row_of(values[0])["id"] = "1"
    assert not value.is_valid(values[0])
    assert not key.is_valid({"id": 1})
