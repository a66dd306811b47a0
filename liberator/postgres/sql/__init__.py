"""Named SQL: `statement("tables")` is the text of tables.sql in this folder."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from typing_extensions import LiteralString


@cache
def statement(name: str) -> LiteralString:
    """The statement in ``<name>.sql``. Part of the package, so it counts as literal text."""
    return as_literal(files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8"))


def as_literal(text: str) -> LiteralString:
    """SQL that is not ours but is trusted: a file of this package, the operator's own query, a server's expression."""
    return cast(Any, text)  # type: ignore[no-any-return]  # psycopg wants literal types, so that no value slips in
