"""Tables for tests, with the fields that a test cares about."""

from __future__ import annotations

from typing import Any

from liberator.postgres.catalogue import TableInfo


def table(name: str, oid: int = 1, **fields: Any) -> TableInfo:
    """An ordinary table with a primary key, unless told otherwise."""
    defaults: dict[str, Any] = {
        "schema": "public",
        "partitioned": False,
        "identity": "default",
        "key": ("id",),
        "identified": True,
        "leaves": (oid,),
        "ancestors": (),
        "rows": 0,
        "pages": 0,
        "hides_rows": False,
        "readable": True,
    }
    return TableInfo(oid=oid, name=name, **{**defaults, **fields})
