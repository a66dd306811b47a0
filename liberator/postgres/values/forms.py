"""The form of any type: looks up base types, and puts together what is made of others.

The only module that knows all families. A type without one is its text, so that no column is ever left out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from liberator.postgres.model import PgType
from liberator.postgres.types import format_type
from liberator.postgres.values import (
    binary,
    datetimes,
    documents,
    extensions,
    geometry,
    identifiers,
    numbers,
    text,
)
from liberator.postgres.values.arrays import array
from liberator.postgres.values.composites import composite
from liberator.postgres.values.ranges import multirange_of, range_of
from liberator.postgres.values.rules import Form, TypeOptions

BUILT_IN = {
    **text.FAMILIES,
    **numbers.FAMILIES,
    **datetimes.FAMILIES,
    **identifiers.FAMILIES,
    **binary.FAMILIES,
    **documents.FAMILIES,
    **geometry.FAMILIES,
}


def form(type: PgType, typmod: int, options: TypeOptions) -> Form:
    """The form of values of a column of this type and typmod; its schema carries ``x-pg-type``."""
    if type.kind == "domain" and type.element is not None:
        base = form(type.element, type.typmod, options)
        return replace(base, schema={**base.schema, "x-pg-domain": format_type(type)})
    bare = _form(type, typmod, options)
    return replace(bare, schema={**bare.schema, "x-pg-type": format_type(type, typmod)})


def _form(type: PgType, typmod: int, options: TypeOptions) -> Form:
    element = type.element
    if type.kind == "array" and element is not None:
        name = _definition_name(format_type(element, typmod))
        return array(form(element, typmod, options), element.delimiter, name, options)
    if type.kind == "range" and element is not None:
        return range_of(form(element, -1, options))
    if type.kind == "multirange" and element is not None and element.element is not None:
        return multirange_of(form(element.element, -1, options), form(element, -1, options))
    if type.kind == "composite":
        return composite([(name, form(part, mod, options)) for name, part, mod in type.attributes])
    if type.kind == "enum":
        return text.enum(type.labels)
    families = BUILT_IN if type.schema == "pg_catalog" else extensions.FAMILIES
    return families.get(type.name, text.plain)(typmod, options)


def _definition_name(type_name: str) -> str:
    """A name that needs no escape in a reference and differs for different types."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "_", type_name).strip("_")
    if re.fullmatch(r"[a-z0-9_.]+(\([0-9,]+\))?", type_name):
        return name
    return f"{name}-{hashlib.sha256(type_name.encode()).hexdigest()[:8]}"
