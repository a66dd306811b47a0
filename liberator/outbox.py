"""For applications: write an event down, in the transaction that does what it tells.

    from liberator import outbox

    with Session(engine) as session, session.begin():
        session.add(order)
        outbox.add(session, "order", order.id, "OrderPlaced", {"total": "9.90"})

Enters: a SQLAlchemy Session or Connection, or a psycopg connection, and the parts of an event. Leaves: a row in the outbox,
or a logical message, in the caller's transaction. The event is held to its contract first, as the connector will. Commits
nothing, and opens no connection.
"""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liberator.build.outbox_rules import outbox_settings
from liberator.config.models import SourceConfig
from liberator.contract.violation import Violation
from liberator.errors import ConfigError, ContractError

if TYPE_CHECKING:
    from liberator.plan.outbox import OutboxSettings

__all__ = ["Outbox", "add"]

_PLAIN = (uuid.UUID, decimal.Decimal)


@dataclass(frozen=True)
class Outbox:
    """Where events go and which contracts they keep. config: of the connector that reads them; default: one with defaults
    only, whose contracts are in the folder ``schemas``. database: its name, if a topic holds ``{db}``.
    """

    config: SourceConfig = field(
        default_factory=lambda: SourceConfig.model_validate(
            {"name": "outbox", "source": {"url": "postgresql://", "mode": "outbox"}}
        )
    )
    database: str = ""

    @classmethod
    def of(
        cls,
        file: str | Path,
        env: Mapping[str, str] | None = None,
        *,
        stage: str | None = None,
        database: str = "",
    ) -> Outbox:
        """As the file of its connector says. env: default `os.environ`. Raises `ConfigError`."""
        from liberator.config import load

        for config in load(file, env, stage=stage):
            if config.source.mode == "outbox":
                return cls(config, database)
        raise ConfigError(f"{file} holds no connector of mode outbox", code="config.outbox", where=str(file))

    @cached_property
    def _rules(self) -> OutboxSettings:
        return outbox_settings(self.config, self.database)

    def add(
        self,
        connection: Any,
        aggregate_type: str,
        aggregate_id: object,
        type: str,
        payload: Any,
        *,
        id: object = None,
        **further: Any,
    ) -> str:
        """Write an event down; its id.

        connection: a SQLAlchemy ``Session`` or ``Connection``, or a psycopg ``Connection``; the caller commits. payload:
        what `json.dumps` takes, and dates, UUIDs, decimals as text; bytes: JSON that is ready; None: NULL. id: default a new
        UUID. further: values of other columns (members of a message), such as those of `headers` and `envelope`.

        Raises `ContractError`, before anything is written, for a payload that breaks its contract or is no JSON, and for an
        aggregate type that can't be part of a topic.
        """
        text = _json(payload)
        self._judge(aggregate_type, type, text)
        id = str(uuid.uuid4() if id is None else id)
        names = self._rules.names
        parts = {names.id: id, names.aggregate_type: aggregate_type, names.aggregate_id: str(aggregate_id)}
        parts[names.type] = type
        outbox = self.config.source.outbox
        if outbox.capture == "message":
            event = {**parts, **further}
            members = [f"{json.dumps(name)}:{_json(value)}" for name, value in event.items()]
            members.append(f"{json.dumps(names.payload)}:{text or 'null'}")
            _say(connection, outbox.prefix, "{" + ",".join(members) + "}")
        else:
            table = outbox.table
            _insert(connection, table.schema, table.table, {**parts, **further, names.payload: text})
        return id

    def _judge(self, aggregate_type: str, type: str, text: str | None) -> None:
        rules = self._rules
        topic = rules.topic(aggregate_type, type)
        if topic is None:
            raise _broken(
                Violation(
                    f"/{rules.names.aggregate_type}", "topic", "", "can't be part of the name of a topic"
                ),
                type,
            )
        if text is None and rules.tombstones:
            return
        gate = rules.contract(topic, type)
        violation = None if gate is None else gate.violation((text or "null").encode())
        if violation is not None:
            raise _broken(violation, type)


def add(
    connection: Any,
    aggregate_type: str,
    aggregate_id: object,
    type: str,
    payload: Any,
    *,
    id: object = None,
    outbox: Outbox | None = None,
    **further: Any,
) -> str:
    """`Outbox.add`, into the table ``public.outbox`` unless `outbox` says otherwise."""
    return (outbox or _DEFAULT).add(connection, aggregate_type, aggregate_id, type, payload, id=id, **further)


_DEFAULT = Outbox()


def _json(value: Any) -> str | None:
    """As text; None for None. Raises `ContractError`."""
    if value is None:
        return None
    try:
        if isinstance(value, bytes):
            json.loads(value)
            return value.decode()
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ContractError(
            f"the payload can't be written as JSON ({type(error).__name__})",
            code="outbox.payload",
            fix="give what json.dumps takes, without NaN and infinity",
        ) from None


def _plain(value: Any) -> str:
    if isinstance(value, _PLAIN):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError


def _broken(violation: Violation, type: str) -> ContractError:
    return ContractError(
        f"an event of type {type} breaks its contract: {violation}",
        fix="correct the event, or add a version of the contract that allows it",
    )


def _insert(connection: Any, schema: str | None, table: str, row: Mapping[str, Any]) -> None:
    if _is_psycopg(connection):
        from psycopg import sql

        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(schema or "public", table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        )
        connection.execute(statement, list(row.values()))
        return
    import sqlalchemy

    bind = connection.get_bind() if hasattr(connection, "get_bind") else connection
    is_postgres = bind.dialect.name == "postgresql"
    if not is_postgres and schema == "public":
        schema = None
    columns: list[sqlalchemy.ColumnClause[Any]] = [sqlalchemy.column(name) for name in row]
    target = sqlalchemy.table(table, *columns, schema=(schema or "public") if is_postgres else schema)
    # A text whose type is not named is taken as what its column is: json, uuid or text.
    untyped = sqlalchemy.types.NullType()
    values = {
        name: sqlalchemy.literal(value, untyped if isinstance(value, str) else None)
        for name, value in row.items()
    }
    connection.execute(sqlalchemy.insert(target).values(values))


def _say(connection: Any, prefix: str, content: str) -> None:
    """A message of the transaction."""
    if _is_psycopg(connection):
        connection.execute("SELECT pg_logical_emit_message(true, %s, %s::text)", (prefix, content))
        return
    import sqlalchemy

    text = sqlalchemy.cast(content, sqlalchemy.Text)
    connection.execute(sqlalchemy.select(sqlalchemy.func.pg_logical_emit_message(True, prefix, text)))


def _is_psycopg(connection: Any) -> bool:
    return type(connection).__module__.partition(".")[0] == "psycopg"
