"""A contract -> the columns of a table that holds its rows, in a database's own types.

Enters: the JSON Schema of a row (docs/reference/types.md), or a value where there is none. Leaves: SQLAlchemy
columns. Called by ``target``. Pure. Only the key is NOT NULL: rows may be older than their contract.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine, UserDefinedType

_KEY_LENGTH = 255
"""Characters of a key's text where a length is needed."""

_OWN = re.compile(
    r"(?:smallint|integer|bigint|real|double precision|numeric|money|boolean|text|character varying|character|bpchar"
    r"|int[248]|float[48]|bool|varchar|\"char\"|name"
    r"|bytea|date|time(?:tz)?|timestamp(?:tz)?|interval(?: [a-z ]+)?|uuid|jsonb?|jsonpath|xml|inet|cidr|macaddr8?"
    r"|bit varying|varbit|bit|\"bit\"|point|line|lseg|box|path|polygon|circle|oid|xid8?|cid|pg_lsn|tsvector|tsquery"
    r"|(?:int[48]|num|ts|tstz|date)(?:multi)?range)"
    r"(?:\([0-9, -]+\))?(?: with(?:out)? time zone)?(?:\[\])*"
)
"""Types that every PostgreSQL has, as contracts write them (docs/reference/types.md) and as SQL does."""
_DECIMAL = re.compile(r"(?:numeric|decimal)\(([0-9]+),\s*([0-9]+)\)")
_MOMENT = re.compile(r"timestamp(?:tz)?(?:\([0-9]\))?(?: with(?:out)? time zone)?")
_CLOCK = re.compile(r"time(?:\([0-9]\))?(?: without time zone)?")
_LENGTH = re.compile(r"(?:character(?: varying)?|varchar|bpchar)\(([0-9]+)\)")


class _Verbatim(UserDefinedType[Any]):
    """A type that the database has, by its name."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name  # by this name SQLAlchemy copies it

    def get_col_spec(self, **_: Any) -> str:
        return self.name


def columns_of(contract: Mapping[str, Any], key: Sequence[str], dialect: str) -> list[sa.Column[Any]]:
    """The columns of a new table; those of the key first among equals: in the contract's order."""
    return [
        column_of(name, schema, dialect, in_key=name in key)
        for name, schema in contract.get("properties", {}).items()
    ]


def column_of(name: str, schema: Any, dialect: str, *, in_key: bool = False) -> sa.Column[Any]:
    """One column. schema: of its values; of a contract."""
    type = _type(schema if isinstance(schema, Mapping) else {}, dialect, in_key)
    return sa.Column(name, type, primary_key=in_key, nullable=not in_key, autoincrement=False)


def schema_of(value: Any) -> dict[str, Any]:
    """Of a value that no contract speaks of, what its column could be; wide, as others follow."""
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer"}
    if isinstance(value, float):
        return {"type": "number"}
    return {"type": "string"} if isinstance(value, str) else {"type": "object"}


def _type(schema: Mapping[str, Any], dialect: str, in_key: bool) -> TypeEngine[Any]:
    told = str(schema.get("x-pg-type", ""))
    if dialect == "postgresql" and _OWN.fullmatch(told):
        return _Verbatim(told)
    kind = _kind(schema)
    if kind == "integer":
        return _whole(schema)
    if kind == "number":
        return sa.Double()
    if kind == "boolean":
        return sa.Boolean()
    if told and dialect != "sqlite" and (own := _told(told, dialect)) is not None:
        return own
    if schema.get("contentEncoding") == "base64" or told == "bytea":
        return mysql.LONGBLOB() if dialect in ("mysql", "mariadb") else sa.LargeBinary()
    if kind in ("object", "array") and dialect == "postgresql":
        return postgresql.JSONB()
    return _characters(schema, told, dialect, in_key)


def _kind(schema: Mapping[str, Any]) -> str:
    """The type beside null."""
    kinds = schema.get("type")
    if kinds is None:
        branches = [_kind(one) for one in schema.get("anyOf", ()) if isinstance(one, Mapping)]
        found = {branch for branch in branches if branch not in ("", "null")}
        # Numbers with NaN and Infinity as text are numbers.
        return "number" if "number" in found else next(iter(found)) if len(found) == 1 else ""
    named = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    return str(named[0]) if len(named) == 1 else ""


def _whole(schema: Mapping[str, Any]) -> TypeEngine[Any]:
    most = schema.get("maximum")
    if isinstance(most, int) and most <= 32767:
        return sa.SmallInteger()
    if isinstance(most, int) and most <= 2**31 - 1:
        return sa.Integer()
    return sa.Numeric(20, 0) if isinstance(most, int) and most > 2**63 - 1 else sa.BigInteger()


def _told(told: str, dialect: str) -> TypeEngine[Any] | None:
    """What stands for a type of PostgreSQL in another database."""
    if found := _DECIMAL.fullmatch(told):
        precision, scale = int(found[1]), int(found[2])
        return sa.Numeric(precision, scale) if scale <= precision <= 38 else None
    if told == "uuid":
        return sa.CHAR(36)
    if dialect not in ("mysql", "mariadb"):
        return None  # times of PostgreSQL reach further than those of others: as text they keep what they are
    if _MOMENT.fullmatch(told):
        return mysql.DATETIME(fsp=6)
    if told == "date":
        return sa.Date()
    return mysql.TIME(fsp=6) if _CLOCK.fullmatch(told) else None


def _characters(schema: Mapping[str, Any], told: str, dialect: str, in_key: bool) -> TypeEngine[Any]:
    found = _LENGTH.fullmatch(told)
    length = int(found[1]) if found else schema.get("maxLength")
    if dialect in ("mysql", "mariadb"):
        # As exact as PostgreSQL: in the default collation two keys could be one.
        if in_key or (isinstance(length, int) and length <= 4000):
            return mysql.VARCHAR(length or _KEY_LENGTH, charset="utf8mb4", collation="utf8mb4_bin")
        return mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")
    if dialect in ("postgresql", "sqlite"):
        return sa.Text()
    return sa.Unicode(length or _KEY_LENGTH) if in_key or length else sa.UnicodeText()
