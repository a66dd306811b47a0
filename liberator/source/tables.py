"""Which tables a log connector captures, and under which of their names. Pure decisions over the catalogue's facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from liberator.errors import PreconditionError
from liberator.postgres.catalogue import Published, TableInfo
from liberator.postgres.selection import Selection, require_named


def choose(tables: Sequence[TableInfo], selection: Selection, *, via_root: bool) -> list[TableInfo]:
    """The tables that go into a publication of ours, each row under exactly one name.

    The topmost chosen partitioned table stands for all below it, those to come included. Without via_root its leaves come
    under their own names; when one of them is excluded, the others stand for themselves.
    """
    by_oid = {table.oid: table for table in tables}
    chosen = {table.oid for table in tables if selection.wants(table.schema, table.name)}
    top = [table for table in tables if table.oid in chosen and not chosen.intersection(table.ancestors)]
    if via_root:
        return top
    found: list[TableInfo] = []
    for table in top:
        leaves = [by_oid[oid] for oid in table.leaves if oid in by_oid]
        wanted = [leaf for leaf in leaves if _wanted(leaf, tables, selection)]
        if table.partitioned and len(wanted) == len(leaves):
            found.append(replace(table, identified=all(leaf.identified for leaf in leaves)))
        else:
            found += wanted
    return found


def captured(
    tables: Sequence[TableInfo], shown: Mapping[int, Published], selection: Selection
) -> list[TableInfo]:
    """The tables whose rows will come, under the name that the publications show: published and configured. A partition
    that one publication shows, and another its root, comes under the root's name."""
    return [
        table
        for table in tables
        if table.oid in shown
        and not shown.keys() & set(table.ancestors)
        and _wanted(table, tables, selection)
    ]


def _wanted(table: TableInfo, tables: Sequence[TableInfo], selection: Selection) -> bool:
    above = [(other.schema, other.name) for other in tables if other.oid in table.ancestors]
    return selection.wants(table.schema, table.name, above)


def require_present(tables: Sequence[TableInfo], exact: Mapping[str, tuple[str, str]]) -> None:
    """Refuse when a table that the configuration names literally is not there.

    exact: what was written -> (schema, table). Raises `PreconditionError`.
    """
    there = {(table.schema, table.name) for table in tables}
    require_named(there, exact, " (or writes no WAL: temporary, unlogged, a view)")


def require_published(
    tables: Sequence[TableInfo],
    shown: Mapping[int, Published],
    names: Sequence[str],
    exact: Mapping[str, tuple[str, str]],
) -> None:
    """Refuse when a table that the configuration names literally is not there or not published.

    exact: what was written -> (schema, table). Raises `PreconditionError`.
    """
    require_present(tables, exact)
    by_name = {(table.schema, table.name): table for table in tables}
    for written, key in exact.items():
        table = by_name[key]
        if table.oid not in shown and not any(oid in shown for oid in (*table.ancestors, *table.leaves)):
            raise PreconditionError(
                f"publication {', '.join(names)} does not publish table {written}",
                code="source.table_not_published",
                where="source.log.publication",
                fix=f'ALTER PUBLICATION "{names[0]}" ADD TABLE {written};',
            )


def refuse_hidden_exclusions(
    tables: Sequence[TableInfo], captured: Sequence[TableInfo], selection: Selection
) -> None:
    """Refuse when an excluded partition's rows would come under the name of its root. Raises `PreconditionError`."""
    for root in captured:
        for leaf in tables:
            if (
                leaf.oid != root.oid
                and leaf.oid in root.leaves
                and selection.excluded(leaf.schema, leaf.name)
            ):
                raise PreconditionError(
                    f"partition {leaf.qualified} is excluded, but its rows are published as those of {root.qualified}",
                    code="source.partition_excluded",
                    where="source.exclude",
                    fix="set source.log.publish_via_partition_root: false, or exclude the whole table",
                )


def shape_notes(tables: Sequence[TableInfo]) -> list[str]:
    """What an operator should know about the chosen tables before they are streamed."""
    bare = [table.qualified for table in tables if not table.identified]
    if not bare:
        return []
    return [
        f"{', '.join(bare)}: no usable replica identity, so only inserts and truncates are published (null key);"
        " for updates and deletes give it (and each of its partitions) a primary key or ALTER TABLE ... REPLICA IDENTITY"
        " FULL"
    ]
