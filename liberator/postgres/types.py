"""Types: asked from a server, written to and read from a checkpoint, and named.

Enters: type OIDs of columns. Leaves: `PgType` trees, whole down to their base types. Called by the catalogue; the
values only read what it leaves. It never looks at a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

from liberator.postgres.model import PgType, TypeKind
from liberator.postgres.sql import statement

_KINDS: dict[str, TypeKind] = {
    "b": "base",
    "e": "enum",
    "d": "domain",
    "c": "composite",
    "r": "range",
    "m": "multirange",
    "a": "array",
}
_WITH_ELEMENT = frozenset("dram")


def load_types(connection: psycopg.Connection[Any], oids: Iterable[int]) -> dict[int, PgType]:
    """The types of `oids`, each with all that it is made of, in one round trip.

    An OID that no longer exists gives ``PgType(oid, "", "unknown")``. Raises `psycopg.Error`.
    """
    asked = sorted(set(oids))
    if not asked:
        return {}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement("types"), {"oids": asked}).fetchall()
    catalogue = {row["oid"]: row for row in rows}
    resolved: dict[int, PgType] = {}
    return {oid: _resolve(oid, catalogue, resolved) for oid in asked}


def _resolve(oid: int, catalogue: Mapping[int, dict[str, Any]], resolved: dict[int, PgType]) -> PgType:
    if oid in resolved:
        return resolved[oid]
    row = catalogue.get(oid)
    if row is None:
        return PgType(oid, "", "unknown")
    attributes = zip(row["names"] or (), row["types"] or (), row["typmods"] or (), strict=True)
    resolved[oid] = PgType(
        oid=oid,
        schema=row["schema"],
        name=row["name"],
        kind=_KINDS[row["kind"]],
        element=_resolve(row["element"], catalogue, resolved) if row["kind"] in _WITH_ELEMENT else None,
        typmod=row["typmod"],
        delimiter=row["delimiter"],
        labels=tuple(row["labels"]),
        attributes=tuple((name, _resolve(part, catalogue, resolved), mod) for name, part, mod in attributes),
    )
    return resolved[oid]


def type_to_json(type: PgType) -> dict[str, Any]:
    """The type as a JSON value for the history in a checkpoint; what is usual is left out."""
    data: dict[str, Any] = {"oid": type.oid, "name": type.name}
    if type.schema != "pg_catalog":
        data["schema"] = type.schema
    if type.kind != "base":
        data["kind"] = type.kind
    if type.element is not None:
        data["element"] = type_to_json(type.element)
    if type.typmod != -1:
        data["typmod"] = type.typmod
    if type.delimiter != ",":
        data["delimiter"] = type.delimiter
    if type.labels:
        data["labels"] = list(type.labels)
    if type.attributes:
        data["attributes"] = [[name, type_to_json(part), mod] for name, part, mod in type.attributes]
    return data


def type_from_json(data: Mapping[str, Any]) -> PgType:
    """Inverse of `type_to_json`. Raises ValueError for anything else."""
    try:
        element = data.get("element")
        kind = data.get("kind", "base")
        if kind not in _KINDS.values():
            raise ValueError("a type of an unknown kind")
        return PgType(
            oid=data["oid"],
            schema=data.get("schema", "pg_catalog"),
            name=data["name"],
            kind=kind,
            element=None if element is None else type_from_json(element),
            typmod=data.get("typmod", -1),
            delimiter=data.get("delimiter", ","),
            labels=tuple(data.get("labels", ())),
            attributes=tuple(
                (name, type_from_json(part), mod) for name, part, mod in data.get("attributes", ())
            ),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("not a type of a checkpoint's history") from error


def format_type(type: PgType, typmod: int = -1) -> str:
    """The type's name with its typmod, as schemas carry it in ``x-pg-type``.

    The convention: the name that pg_type has, short and one word (``int4``, ``timestamptz(3)``, ``varchar(20)``,
    ``numeric(10,2)``), outside of pg_catalog with its schema (``public.mood``), an array as its element and ``[]``
    (whatever its dimensions). The text can be used in a cast as it is: names are quoted where SQL wants it, and so
    are ``"char"`` and ``"bit"``, which mean char(1) and bit(1) without.
    """
    if type.kind == "array" and type.element is not None:
        return f"{format_type(type.element, typmod)}[]"
    if type.schema in ("", "pg_catalog"):
        if typmod < 0:
            return f'"{type.name}"' if type.name in ("char", "bit") else type.name
        return f"{type.name}{_modifier(type.name, typmod)}"
    return f"{_quoted(type.schema, _KEYWORDS)}.{_quoted(type.name)}{_modifier(type.name, typmod)}"


def _modifier(name: str, typmod: int) -> str:
    """What stands after a type's name for its typmod; nothing for types whose typmods are not known here."""
    if typmod < 0:
        return ""
    if name in ("varchar", "bpchar"):
        return f"({typmod - 4})"
    if name in ("bit", "varbit", "time", "timetz", "timestamp", "timestamptz", *_VECTORS):
        return f"({typmod})"
    if name == "numeric":
        precision, scale = numeric_typmod(typmod)
        return f"({precision},{scale})"
    if name == "interval":
        return _interval_modifier(typmod)
    if name in ("geometry", "geography"):
        return _postgis_modifier(typmod)
    return ""


def numeric_typmod(typmod: int) -> tuple[int, int]:
    """Precision and scale of numeric; a scale is signed since PostgreSQL 15."""
    packed = typmod - 4
    return packed >> 16 & 0xFFFF, (packed & 0x7FF ^ 0x400) - 0x400


def _interval_modifier(typmod: int) -> str:
    precision = typmod & 0xFFFF
    fields = _INTERVAL_FIELDS.get(typmod >> 16 & 0x7FFF, "")
    return fields if precision == 0xFFFF else f"{fields}({precision})"


def _postgis_modifier(typmod: int) -> str:
    """geometry(PointZ,4326): flags M and Z, six bits of shape, and the signed SRID (liblwgeom.h)."""
    srid = ((typmod & 0x0FFFFF00) - (typmod & 0x10000000)) >> 8
    shape = _SHAPES[typmod >> 2 & 0x3F] if typmod >> 2 & 0x3F < len(_SHAPES) else "Geometry"
    shape += "Z" * (typmod >> 1 & 1) + "M" * (typmod & 1)
    return f"({shape},{srid})" if srid else f"({shape})"


def _quoted(name: str, keywords: str = "") -> str:
    """The name as SQL needs it. After a dot no word is reserved, so only a schema is asked for keywords."""
    if _PLAIN(name) and f" {name} " not in keywords:
        return name
    return '"' + name.replace('"', '""') + '"'


_PLAIN = re.compile(r"[a-z_][a-z0-9_]*").fullmatch
_VECTORS = ("vector", "halfvec", "sparsevec")
_SHAPES = (
    "Geometry",
    "Point",
    "LineString",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
    "CircularString",
    "CompoundCurve",
    "CurvePolygon",
    "MultiCurve",
    "MultiSurface",
    "PolyhedralSurface",
    "Triangle",
    "Tin",
)
# Masks of datetime.h: month 1 << 1, year 1 << 2, day 1 << 3, hour 1 << 10, minute 1 << 11, second 1 << 12.
_INTERVAL_FIELDS = {
    0x0004: " year",
    0x0002: " month",
    0x0008: " day",
    0x0400: " hour",
    0x0800: " minute",
    0x1000: " second",
    0x0006: " year to month",
    0x0408: " day to hour",
    0x0C08: " day to minute",
    0x1C08: " day to second",
    0x0C00: " hour to minute",
    0x1C00: " hour to second",
    0x1800: " minute to second",
}
# pg_get_keywords() with catcode R or C, PostgreSQL 14 to 18: what a schema in front of a type may not be called bare.
_KEYWORDS = (
    " all analyse analyze and any array as asc asymmetric between bigint bit boolean both case cast char"
    " character check coalesce collate column constraint create current_catalog current_date current_role"
    " current_time current_timestamp current_user dec decimal default deferrable desc distinct do else end"
    " except exists extract false fetch float for foreign from grant greatest group grouping having in"
    " initially inout int integer intersect interval into json json_array json_arrayagg json_exists"
    " json_object json_objectagg json_query json_scalar json_serialize json_table json_value lateral"
    " leading least limit localtime localtimestamp merge_action national nchar none normalize not null"
    " nullif numeric offset on only or order out overlay placing position precision primary real"
    " references returning row select session_user setof smallint some substring symmetric system_user"
    " table then time timestamp to trailing treat trim true union unique user using values varchar"
    " variadic when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces"
    " xmlparse xmlpi xmlroot xmlserialize xmltable "
)
