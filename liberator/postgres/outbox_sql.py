"""The SQL that an outbox needs on the server: the table, triggers that fill it, publication and grants. Pure.

Enters: names. Leaves: one script, all or nothing, for a person to look at and run. Called by ``liberate init outbox``. Runs
nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from liberator.postgres.sql import as_literal, statement

Name = tuple[str, str]
"""Schema and table."""


@dataclass(frozen=True, slots=True)
class CapturedTable:
    """A table whose changes shall become events by a trigger. key: columns that name a row."""

    name: Name
    key: tuple[str, ...]

    @property
    def aggregate_type(self) -> str:
        """The table's name, as it can stand in a topic."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.name[1])


@dataclass(frozen=True, slots=True)
class OutboxScript:
    """What is asked for.

    columns: id, aggregate type, aggregate id, type, payload. further: more columns, of type text. timestamp: the column that
    tells when it happened; None: none does. prefix: with capture
    message. publication: to be made, since only an owner of the table may. writers: roles that write events; reader: the
    connector's, None: no grants for it.
    """

    table: Name
    columns: tuple[str, str, str, str, str]
    further: tuple[str, ...] = ()
    timestamp: str | None = None
    capture: Literal["log", "message", "poll"] = "log"
    prefix: str = "outbox"
    publication: str = "outbox"
    captured: tuple[CapturedTable, ...] = ()
    writers: tuple[str, ...] = ()
    reader: str | None = None

    def text(self) -> str:
        """The script."""
        parts = ["BEGIN;"]
        if self.capture != "message":
            parts.append(self._table())
        if self.captured:
            parts += [self._function(), *(self._trigger(table) for table in self.captured)]
        if self.capture != "poll":
            parts.append(self._publication())
        parts += self._grants()
        return "\n\n".join([*parts, "COMMIT;"]) + "\n"

    def _table(self) -> str:
        id, kind, key, type, payload = map(sql.Identifier, self.columns)
        lines: list[sql.Composable] = [
            sql.SQL("    {} uuid PRIMARY KEY DEFAULT gen_random_uuid()").format(id),
            sql.SQL("    {} text NOT NULL").format(kind),
            sql.SQL("    {} text NOT NULL").format(key),
            sql.SQL("    {} text NOT NULL").format(type),
            sql.SQL("    {} jsonb").format(payload),
            *(sql.SQL("    {} text").format(sql.Identifier(name)) for name in self.further),
        ]
        if self.timestamp is not None:
            column = sql.Identifier(self.timestamp)
            lines.append(sql.SQL("    {} timestamptz NOT NULL DEFAULT now()").format(column))
        if self.capture == "poll":
            lines.append(sql.SQL("    position bigint GENERATED ALWAYS AS IDENTITY UNIQUE"))
        table = sql.SQL("CREATE TABLE {} (\n{}\n);").format(
            sql.Identifier(*self.table), sql.SQL(",\n").join(lines)
        )
        said = "-- The events. Each row inserted is one; deletes are clean-up.\n"
        return said + table.as_string(None)

    def _function(self) -> str:
        template = sql.SQL(statement("outbox_trigger"))
        written = {
            f"{op}": self._write(f"{row}_key", op, f"{row}_row")
            for op, row in (("created", "new"), ("updated", "new"), ("deleted", "old"))
        }
        return template.format(function=self._function_name(), **written).as_string(None).strip()

    def _write(self, key: str, op: str, row: str) -> sql.Composed:
        """Write one event down."""
        if self.capture != "message":
            columns = sql.SQL(", ").join(map(sql.Identifier, self.columns[1:]))
            return sql.SQL("INSERT INTO {} ({}) VALUES (TG_ARGV[0], {}, {}, {});").format(
                sql.Identifier(*self.table), columns, sql.SQL(as_literal(key)), op, sql.SQL(as_literal(row))
            )
        id, kind, name, type, payload = map(sql.Literal, self.columns)
        return sql.SQL(
            "PERFORM pg_logical_emit_message(true, {}, jsonb_build_object({}, gen_random_uuid(), {}, TG_ARGV[0],"
            " {}, {}, {}, {}, {}, {})::text);"
        ).format(
            self.prefix,
            id,
            kind,
            name,
            sql.SQL(as_literal(key)),
            type,
            op,
            payload,
            sql.SQL(as_literal(row)),
        )

    def _trigger(self, table: CapturedTable) -> str:
        columns = sql.SQL(", ").join(map(sql.Identifier, table.key))
        arguments = sql.SQL(", ").join(map(sql.Literal, (table.aggregate_type, *table.key)))
        return (
            sql.SQL(
                "DO $key$ BEGIN PERFORM {} FROM {} LIMIT 0; END $key$;  -- is there such a key?\n"
                "CREATE TRIGGER outbox_capture AFTER INSERT OR UPDATE OR DELETE ON {}\n"
                "    FOR EACH ROW EXECUTE FUNCTION {}({});"
            )
            .format(
                columns,
                sql.Identifier(*table.name),
                sql.Identifier(*table.name),
                self._function_name(),
                arguments,
            )
            .as_string(None)
        )

    def _publication(self) -> str:
        of = (
            sql.SQL("")
            if self.capture == "message"
            else sql.SQL(" FOR TABLE {}").format(sql.Identifier(*self.table))
        )
        made = sql.SQL("CREATE PUBLICATION {}{};").format(sql.Identifier(self.publication), of)
        return "-- What the connector reads. Only an owner of the table may make it.\n" + made.as_string(None)

    def _grants(self) -> Sequence[str]:
        table, schema = sql.Identifier(*self.table), sql.Identifier(self.table[0])
        usage = sql.SQL("GRANT USAGE ON SCHEMA {} TO {};")
        statements: list[sql.Composed] = []
        if self.writers and self.capture != "message":
            roles = sql.SQL(", ").join(map(sql.Identifier, self.writers))
            insert = sql.SQL("GRANT INSERT ON {} TO {};")
            statements += [usage.format(schema, roles), insert.format(table, roles)]
        if self.reader is not None:
            role = sql.Identifier(self.reader)
            if self.capture != "poll":
                statements.append(sql.SQL("ALTER ROLE {} REPLICATION;").format(role))
            if self.capture != "message":
                rights = "SELECT, UPDATE, DELETE" if self.capture == "poll" else "SELECT"
                grant = sql.SQL("GRANT {} ON {} TO {};")
                statements += [
                    usage.format(schema, role),
                    grant.format(sql.SQL(as_literal(rights)), table, role),
                ]
        return ["\n".join(each.as_string(None) for each in statements)] if statements else []

    def _function_name(self) -> sql.Identifier:
        return sql.Identifier(self.table[0], f"{self.table[1]}_capture")
