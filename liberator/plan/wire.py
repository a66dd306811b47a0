"""What stands in front of keys and values where a schema registry is used: the ids of their schemas.

Enters: a table version with its plan, and the contract that holds. Leaves: bytes, once per table version, so that a row
costs no more than putting them in front. Called by the planners. Ids come from the registry, which is asked through `id_of`
and waited for by whoever handles its errors: no row goes out before its schema has an id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from liberator.codec.debezium_schema import key_schema
from liberator.contract.derive import ColumnSchema, derive, nullable
from liberator.contract.registry.embed import embedded
from liberator.contract.registry.subjects import Part, Strategy, subject
from liberator.contract.registry.wire import encode
from liberator.plan.compile import TablePlan
from liberator.postgres.model import Table

Contract = dict[str, Any]
ValueSchema = Callable[[str, Contract], Contract]


class Wire:
    """id_of: (subject, schema) -> its id. columns: schemas of the columns of a table's events. value: (topic, contract of
    the row) -> the schema of its values. name: of a topic's contract, which is the same in every stage. naming: the columns
    that name a row, as events call them."""

    def __init__(
        self,
        id_of: Callable[[str, Contract], int],
        strategy: Strategy,
        columns: Callable[[Table], Sequence[ColumnSchema]],
        value: ValueSchema,
        name: Callable[[str], str],
        naming: Callable[[Table], Sequence[str]] = lambda table: table.key,
    ) -> None:
        self._id_of = id_of
        self._strategy = strategy
        self._columns = columns
        self._value = value
        self._name = name
        self._naming = naming

    def prepare(self, plan: TablePlan, row: Contract | None) -> None:
        """Put the bytes into the plan. row: the contract of its rows; None: what follows the table. `ContractError`."""
        table = plan.table
        columns = self._columns(table)
        key = [json.loads(plan.names[index]) for index in plan.key_columns]
        naming = self._naming(table)
        if row is None:
            row = derive(self._name(plan.topic), columns, naming, strict=False)
        schemas = event_schemas(plan.topic, row, columns, key, naming, self._value)
        prefixes = {part: self._prefix(plan.topic, part, schema) for part, schema in schemas.items()}
        plan.before_key, plan.before_value, plan.prefixed = prefixes.get("key", b""), prefixes["value"], True

    def _prefix(self, topic: str, part: Part, schema: Contract) -> bytes:
        name = subject(self._strategy, topic, schema["title"], part)
        return encode(self._id_of(name, schema), b"")


def event_schemas(
    topic: str,
    row: Contract,
    columns: Sequence[ColumnSchema],
    key: Sequence[str],
    naming: Sequence[str],
    value: ValueSchema,
) -> dict[Part, Contract]:
    """The schemas of a topic's values and, if there are any, keys. row: the contract of its rows; columns: of the table;
    key: names of the key's columns; naming: of those that name a row, which are never null, while others may be, whatever
    the table says of them now. value: see `Envelope.schema`."""
    schemas: dict[Part, Contract] = {"value": value(topic, embedded(row, ("$defs", "row")))}
    if key:
        used = [column for column in columns if column.name in key]
        types = {
            column.name: dict(column.schema) if column.name in naming else nullable(column.schema)
            for column in used
        }
        definitions = {name: schema for column in used for name, schema in column.defs.items()}
        schemas["key"] = key_schema(topic, types, definitions, key)
    return schemas
