"""A client of a schema registry: registers schemas, fetches them, asks whether one may follow another.

Enters: schemas as plain data. Leaves: ids and schemas. Called by the commands about schemas, and by whoever writes or
reads the wire format, once per schema. It remembers every answer that can't change, in memory and in the cache, so that what
was registered once can be started without the registry.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from liberator.contract.registry.cache import SchemaCache, fingerprint
from liberator.contract.registry.http import RegistrySettings, Transport, misunderstood
from liberator.contract.registry.wire import HIGHEST_ID
from liberator.errors import ContractError

log = logging.getLogger(__name__)

JSON = "JSON"
_OFFLINE = ("registry.unreachable", "registry.failed")

_AWAY_SECONDS = 30.0
"""How long a registry that did not answer is left alone about what the cache knows: a start asks about every table, and
would wait for each of them."""


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """id: global; version: within its subject."""

    subject: str
    version: int
    id: int
    schema: Any


class RegistryClient:
    """One registry. Not for several threads at once."""

    def __init__(
        self,
        settings: RegistrySettings,
        cache: Path | None = None,
        transport: Transport | None = None,
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        """cache: folder where answers are kept between runs; None: nowhere. transport: default: as `settings` say. tick:
        monotonic seconds."""
        self._transport = transport or Transport(settings)
        self._tick = tick
        self._away_until = 0.0
        self._cache = SchemaCache(cache, self._transport.address) if cache else None
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, Any] = {}

    @property
    def address(self) -> str:
        """The registry's, without user and password."""
        return self._transport.address

    def register(self, subject: str, schema: Any) -> int:
        """The id of `schema` under `subject`, registering it if it is not there.

        Without an answer the cache's is taken, with a warning. Raises `ContractError`: ``registry.incompatible``,
        ``registry.unauthorized``, or, not in the cache either, ``registry.unreachable``.
        """
        known = (subject, fingerprint(schema))
        if known not in self._ids:
            self._ids[known] = self._ask(f"/subjects/{_step(subject)}/versions", subject, schema)
            self._schemas[self._ids[known]] = schema
        return self._ids[known]

    def _ask(self, path: str, subject: str, schema: Any) -> int:
        kept = self._cache.id(subject, schema) if self._cache else None
        if kept is not None and self._tick() < self._away_until:
            return kept
        body = {"schemaType": JSON, "schema": json.dumps(schema, ensure_ascii=False)}
        where = f"{self.address}, subject {subject}"
        try:
            answer = self._transport.send("POST", path, body)
        except ContractError as error:
            if kept is None or error.code not in _OFFLINE:
                error.where = where
                raise
            self._away_until = self._tick() + _AWAY_SECONDS
            log.warning("%s; schema %d of %s is taken from the cache", error.what, kept, subject)
            return kept
        if answer is None and not path.endswith("/versions"):
            raise ContractError(
                f"the schema registry does not have this schema as {subject}",
                code="registry.not_registered",
                where=where,
                fix="register it with `liberate schema register`, or let schema.registry_register be true",
            )
        schema_id = _number(answer, "id", where)
        if self._cache:
            self._cache.keep_id(subject, schema, schema_id)
        return schema_id

    def find(self, subject: str, schema: Any) -> int:
        """As `register`, for a schema that somebody else has registered. Raises ``registry.not_registered`` when nobody
        has."""
        known = (subject, fingerprint(schema))
        if known not in self._ids:
            self._ids[known] = self._ask(f"/subjects/{_step(subject)}", subject, schema)
            self._schemas[self._ids[known]] = schema
        return self._ids[known]

    def schema(self, schema_id: int) -> Any:
        """The schema with this id. Raises `ContractError` ``registry.unknown_schema`` when there is none."""
        if schema_id not in self._schemas:
            kept = self._cache.schema(schema_id) if self._cache else None
            self._schemas[schema_id] = self._fetch(schema_id) if kept is None else kept
        return self._schemas[schema_id]

    def _fetch(self, schema_id: int) -> Any:
        answer = self._transport.send("GET", f"/schemas/ids/{schema_id}")
        if answer is None:
            raise ContractError(
                f"the schema registry knows no schema {schema_id}",
                code="registry.unknown_schema",
                where=self.address,
                fix="check that it is the registry that the message was written with",
            )
        schema = self._parsed(answer)
        if self._cache:
            self._cache.keep_schema(schema_id, schema)
        return schema

    def latest(self, subject: str) -> RegisteredSchema | None:
        """The newest version of `subject`; None: there is none."""
        answer = self._transport.send("GET", f"/subjects/{_step(subject)}/versions/latest")
        if answer is None:
            return None
        version, schema_id = (_number(answer, name, self.address) for name in ("version", "id"))
        return RegisteredSchema(subject, version, schema_id, self._parsed(answer))

    def versions(self, subject: str) -> list[int]:
        """The numbers of the versions of `subject`, the oldest first; none for a subject that is not there."""
        answer = self._transport.send("GET", f"/subjects/{_step(subject)}/versions")
        if answer is None:
            return []
        if not isinstance(answer, list) or not all(isinstance(number, int) for number in answer):
            raise misunderstood("is no list of versions", self.address)
        return sorted(answer)

    def may_follow(self, subject: str, schema: Any) -> list[str]:
        """Why the registry would not take `schema` as the next version of `subject`; empty: it would."""
        body = {"schemaType": JSON, "schema": json.dumps(schema, ensure_ascii=False)}
        path = f"/compatibility/subjects/{_step(subject)}/versions/latest?verbose=true"
        answer = self._transport.send("POST", path, body)
        if answer is None:
            return []
        if not isinstance(answer, dict) or not isinstance(answer.get("is_compatible"), bool):
            raise misunderstood("does not say whether the schema may follow", self.address)
        if answer["is_compatible"]:
            return []
        reasons = answer.get("messages") or [answer.get("reason") or "no reason is given"]
        return [str(reason) for reason in reasons]

    def set_compatibility(self, subject: str, mode: str) -> None:
        """Have the registry hold `subject` to a mode (``backward``, ``full_transitive``...)."""
        self._transport.send("PUT", f"/config/{_step(subject)}", {"compatibility": mode.upper()})

    def _parsed(self, answer: Any) -> Any:
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise misunderstood("has no schema", self.address)
        kind = answer.get("schemaType", "AVRO")
        if kind != JSON:
            raise ContractError(
                f"the schema is written in {kind}, not in JSON Schema",
                code="registry.not_json_schema",
                where=self.address,
                fix="read the topic with a client for that format",
            )
        try:
            return json.loads(answer["schema"])
        except (ValueError, RecursionError):
            raise misunderstood("has a schema that is no JSON", self.address) from None


def _step(text: str) -> str:
    return quote(text, safe="")


def _number(answer: Any, name: str, address: str) -> int:
    found = answer.get(name) if isinstance(answer, dict) else None
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= HIGHEST_ID:
        return found
    raise misunderstood(f"has no {name}", address)
