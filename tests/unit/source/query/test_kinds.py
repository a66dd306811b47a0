"""Which kind the types of other databases have, by SQLAlchemy's dialects, without a server."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mssql as _mssql
from sqlalchemy.dialects import mysql as _mysql
from sqlalchemy.dialects import oracle as _oracle
from sqlalchemy.dialects import sqlite as _sqlite

from liberator.source.query.sql_alchemy_shape import kind_of

# Their constructors have no types.
mssql: Any = _mssql
mysql: Any = _mysql
oracle: Any = _oracle
sqlite: Any = _sqlite

TYPES: list[tuple[Any, str, str]] = [
    # dialect, type as its inspector gives it, kind
    *(
        (mysql.dialect(), type, kind)
        for type, kind in [
            (mysql.TINYINT(1), "integer"),
            (mysql.INTEGER(unsigned=True), "integer"),
            (mysql.BIGINT(unsigned=True), "bigint"),
            (mysql.YEAR(), "integer"),
            (mysql.DECIMAL(10, 2), "decimal"),
            (mysql.FLOAT(), "float"),
            (mysql.DOUBLE(), "float"),
            (mysql.BIT(3), "bits"),
            (mysql.CHAR(3), "text"),
            (mysql.LONGTEXT(), "text"),
            (mysql.ENUM("a", "b"), "text"),
            (mysql.SET("a", "b"), "text"),
            (mysql.JSON(), "json"),
            (mysql.LONGBLOB(), "bytes"),
            (sa.VARBINARY(3), "bytes"),
            (sa.BINARY(3), "bytes"),
            (sa.DATE(), "date"),
            (mysql.TIME(fsp=6), "time"),
            (mysql.DATETIME(fsp=6), "datetime"),
            (mysql.TIMESTAMP(fsp=6), "instant"),
        ]
    ),
    *(
        (oracle.dialect(), type, kind)
        for type, kind in [
            (oracle.NUMBER(10, 2), "decimal"),
            (oracle.NUMBER(), "decimal"),
            (oracle.NUMBER(19, 0), "bigint"),
            (sa.INTEGER(), "integer"),
            (oracle.FLOAT(), "float"),
            (oracle.BINARY_DOUBLE(), "float"),
            (oracle.BINARY_FLOAT(), "float"),
            (oracle.VARCHAR2(20), "text"),
            (oracle.NVARCHAR2(20), "text"),
            (oracle.CLOB(), "text"),
            (oracle.LONG(), "text"),
            (oracle.RAW(16), "bytes"),
            (oracle.BLOB(), "bytes"),
            (oracle.DATE(), "datetime"),
            (oracle.TIMESTAMP(), "datetime"),
            (oracle.TIMESTAMP(timezone=True), "instant"),
            (oracle.TIMESTAMP(local_timezone=True), "instant"),
            (oracle.INTERVAL(), "interval"),
            (oracle.ROWID(), "other"),
        ]
    ),
    *(
        (mssql.dialect(), type, kind)
        for type, kind in [
            (mssql.BIT(), "boolean"),
            (mssql.TINYINT(), "integer"),
            (sa.BIGINT(), "bigint"),
            (sa.NUMERIC(10, 2), "decimal"),
            (mssql.MONEY(), "decimal"),
            (mssql.SMALLMONEY(), "decimal"),
            (mssql.REAL(), "float"),
            (mssql.NVARCHAR(20), "text"),
            (mssql.NTEXT(), "text"),
            (mssql.XML(), "text"),
            (mssql.UNIQUEIDENTIFIER(), "uuid"),
            (mssql.VARBINARY("max"), "bytes"),
            (mssql.IMAGE(), "bytes"),
            (mssql.ROWVERSION(), "bytes"),
            (mssql.TIMESTAMP(), "bytes"),
            (mssql.DATE(), "date"),
            (mssql.TIME(7), "time"),
            (mssql.DATETIME(), "datetime"),
            (mssql.DATETIME2(7), "datetime"),
            (mssql.SMALLDATETIME(), "datetime"),
            (mssql.DATETIMEOFFSET(7), "instant"),
            (mssql.SQL_VARIANT(), "other"),
        ]
    ),
    *(
        (sqlite.dialect(), type, kind)
        for type, kind in [
            (sa.INTEGER(), "integer"),
            (sa.NUMERIC(), "decimal"),
            (sa.BOOLEAN(), "boolean"),
            (sqlite.DATETIME(), "datetime"),
            (sqlite.DATE(), "date"),
            (sa.BLOB(), "bytes"),
            (sa.types.NullType(), "other"),
        ]
    ),
]


@pytest.mark.parametrize(
    ("dialect", "type", "kind"), TYPES, ids=[f"{d.name}-{t.__class__.__name__}-{k}" for d, t, k in TYPES]
)
def test_every_type_has_its_kind(dialect: Any, type: Any, kind: str) -> None:
    assert kind_of(type) == kind
    if kind != "other":
        assert type.compile(dialect=dialect), "the dialect knows the type"
