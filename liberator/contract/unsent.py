"""A contract as it binds a row of which some values were not sent (unchanged TOAST columns).

Enters: a contract and the names of such columns. Leaves: a schema for the row without them. Called by the gate.

The columns are there, with a value that nobody sent: what asks only for their presence is satisfied, and what asks
for their value is taken as satisfied. Inside `not` and `if` the same must be said the other way round, so every
schema has two readings: `may` (could hold, with some value) and `must` (holds, whatever the value is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liberator.contract.document import Document, Pointer, Schema
from liberator.contract.violation import ORIGIN

_VALUES_BY_NAME = ("additionalProperties", "propertyNames", "unevaluatedProperties")


def without(document: Document, unsent: frozenset[str], columns: frozenset[str]) -> Schema:
    """The contract for a row of the table with `columns` whose columns `unsent` are absent."""
    return _Reading(document, unsent, columns).of((), must=False)


@dataclass(frozen=True)
class _Reading:
    document: Document
    unsent: frozenset[str]
    columns: frozenset[str]

    def of(self, at: Pointer, must: bool) -> Schema:
        """The subschema at `at`, which judges the row, in one of its two readings."""
        schema = self.document.at(at)
        if isinstance(schema, bool):
            return schema
        asked = [self.document.at(place) for name in self.unsent for place in self.document.judging(at, name)]
        if False in asked or not self._allows_names(at, schema):
            return False
        if must and self._depends_on_values(schema, asked):
            return False
        made: dict[str, Any] = {ORIGIN: at}
        if "type" in schema:
            made["type"] = schema["type"]
        made |= {word: self.document.link((*at, word)) for word in _VALUES_BY_NAME if word in schema}
        for word in ("properties", "patternProperties"):
            if word in schema:
                made[word] = {name: self.document.link((*at, word, name)) for name in schema[word]}
        made |= self._presence(schema)
        together = self._together(at, schema, must)
        return made | {"allOf": together} if together else made

    def _allows_names(self, at: Pointer, schema: Mapping[str, Any]) -> bool:
        if "propertyNames" not in schema:
            return True
        allowed = self.document.validator(self.document.link((*at, "propertyNames")))
        return all(allowed.is_valid(name) for name in self.unsent)

    def _depends_on_values(self, schema: Mapping[str, Any], asked: list[Schema]) -> bool:
        """Could a value that was not sent break `schema`?"""
        whole = any(word in schema for word in ("enum", "const", "unevaluatedProperties"))
        return whole or any(each not in (True, {}) for each in asked)

    def _presence(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What `schema` asks of the presence of members; all columns of the table are present."""
        required = set(schema.get("required", ()))
        for name, others in schema.get("dependentRequired", {}).items():
            required |= set(others) if name in self.columns else set()
        absent = len(self.unsent)
        made: dict[str, Any] = {"required": sorted(required - self.unsent)}
        if "minProperties" in schema:
            made["minProperties"] = max(0, schema["minProperties"] - absent)
        if "maxProperties" in schema:
            fits = schema["maxProperties"] >= absent
            made |= {"maxProperties": schema["maxProperties"] - absent} if fits else {"not": {}}
        return made

    def _together(self, at: Pointer, schema: Mapping[str, Any], must: bool) -> list[Schema]:
        """What holds beside the plain keywords: the combining ones."""
        made = [self.of((*at, "allOf", index), must) for index, _ in enumerate(schema.get("allOf", ()))]
        if "$ref" in schema:
            made.append(self.of(self.document.target(schema["$ref"]), must))
        for name in schema.get("dependentSchemas", ()):
            if name in self.columns:
                made.append(self.of((*at, "dependentSchemas", name), must))
        if "anyOf" in schema:
            branches = [self.of((*at, "anyOf", index), must) for index, _ in enumerate(schema["anyOf"])]
            made.append({ORIGIN: at, "anyOf": branches})
        if "oneOf" in schema:
            made.append(self._one_of(at, len(schema["oneOf"]), must))
        if "not" in schema:
            made.append({ORIGIN: at, "not": self.of((*at, "not"), not must)})
        if "if" in schema:
            made.append(self._conditional(at, schema, must))
        return made

    def _one_of(self, at: Pointer, count: int, must: bool) -> Schema:
        """Exactly one: it holds in this reading, and the others fail in the other one."""
        branches = [(*at, "oneOf", index) for index in range(count)]
        if all(self._is_certain(place) for place in branches):
            return {ORIGIN: at, "oneOf": [self.of(place, must) for place in branches]}
        ways: list[Schema] = []
        for chosen in branches:
            others: list[Schema] = [
                {"not": self.of(place, not must)} for place in branches if place != chosen
            ]
            ways.append({"allOf": [self.of(chosen, must), *others]})
        return {ORIGIN: at, "anyOf": ways}

    def _is_certain(self, at: Pointer) -> bool:
        return self.of(at, must=True) == self.of(at, must=False)

    def _conditional(self, at: Pointer, schema: Mapping[str, Any], must: bool) -> Schema:
        """``if``: the condition and ``then`` hold, or it does not and ``else`` does, or both hold anyway."""
        then: Schema = self.of((*at, "then"), must) if "then" in schema else True
        other: Schema = self.of((*at, "else"), must) if "else" in schema else True
        condition = self.of((*at, "if"), must)
        if self._is_certain((*at, "if")):
            return {ORIGIN: at, "if": condition, "then": then, "else": other}
        refuted: Schema = {"not": self.of((*at, "if"), not must)}
        ways: list[Schema] = [
            {"allOf": [condition, then]},
            {"allOf": [refuted, other]},
            {"allOf": [then, other]},
        ]
        return {ORIGIN: at, "anyOf": ways if must else ways[:2]}
