"""A connector that publishes in the wire format, and readers that know nothing of liberator."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psycopg
from confluent_kafka import OFFSET_BEGINNING, DeserializingConsumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import StringDeserializer
from jsonschema import Draft202012Validator

from liberator.testing.publisher import Published
from liberator.testing.servers import Kafka
from tests.integration.publish.topics import read

PATIENCE = 120.0


class Reader:
    """Decodes by what the registry says, with its REST interface and the reference validator, none of it ours."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._schemas: dict[int, Any] = {}

    def value(self, data: bytes | None) -> Any:
        """The JSON, which must satisfy its schema; None for null."""
        return None if data is None else self.decoded(data)[1]

    def id(self, data: bytes | None) -> int:
        assert data is not None
        return self.decoded(data)[0]

    def decoded(self, data: bytes, *, valid: bool = True) -> tuple[int, Any]:
        magic, schema_id = struct.unpack_from(">bI", data)
        assert magic == 0
        content = json.loads(data[5:])
        if valid:
            Draft202012Validator(self.schema(schema_id)).validate(content)
        return schema_id, content

    def schema(self, schema_id: int) -> Any:
        if schema_id not in self._schemas:
            self._schemas[schema_id] = json.loads(self.asked(f"/schemas/ids/{schema_id}")["schema"])
        return self._schemas[schema_id]

    def versions(self, subject: str) -> list[int]:
        found: list[int] = self.asked(f"/subjects/{subject}/versions")
        return found

    def asked(self, path: str) -> Any:
        with urlopen(self._url + path, timeout=PATIENCE) as answer:
            return json.load(answer)


def confluent_reads(
    bootstrap: str, registry: str, topic: str, count: int, *, text_keys: bool = False
) -> list[tuple[Any, Any]]:
    """Keys and values of the first `count` messages of `topic`, by partition: what an application gets that does as
    Confluent's documentation says. Its deserializer fetches the schemas and validates."""
    found: list[tuple[Any, Any]] = []
    end = time.monotonic() + PATIENCE
    with SchemaRegistryClient({"url": registry}) as client:
        reader = JSONDeserializer(None, schema_registry_client=client)
        consumer = DeserializingConsumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"{topic}-confluent",
                "enable.auto.commit": False,
                "key.deserializer": StringDeserializer() if text_keys else reader,
                "value.deserializer": reader,
            }
        )
        partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        try:
            while len(found) < count:
                assert time.monotonic() < end, found
                message = consumer.poll(1.0)
                if message is not None:
                    found.append((message.key(), message.value()))
        finally:
            consumer.close()
    return found


class Shop:
    """A connector from a table `orders` to Kafka, with a registry, by the command `liberate`."""

    def __init__(self, dsn: str, folder: Path, name: str, kafka: Kafka, registry: str) -> None:
        self.folder, self.name = folder, name
        self.topic = f"{name}.public.orders"
        self._dsn, self._kafka = dsn, kafka
        self.registry = registry

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "liberator", *words, "--source", self._dsn, "--name", self.name]

    def publish(self, *options: str, mode: str = "log") -> list[str]:
        settings = [f"schema.registry={self.registry}", *options]
        command = self.command("--mode", mode, "--publish", f"kafka://{self._kafka.bootstrap}")
        return [*command, *(word for option in settings for word in ("--set", option))]

    def run(self, *options: str, code: int = 0, mode: str = "log") -> str:
        return self.done([*self.publish(*options, mode=mode), "--once"], code)

    def done(self, command: list[str], code: int = 0) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LIBERATE_")}
        return {**kept, "PYTHONPATH": str(Path.cwd())}

    def events(self, topic: str | None = None) -> list[Published]:
        return read(self._kafka.bootstrap, topic or self.topic)

    def confluent_reads(self, count: int, *, text_keys: bool = False) -> list[tuple[Any, Any]]:
        """See `confluent_reads`."""
        return confluent_reads(self._kafka.bootstrap, self.registry, self.topic, count, text_keys=text_keys)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.log
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()
