"""Configuration -> the steps of transforms: patterns, expressions and the user's functions put into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liberator.errors import ConfigError
from liberator.plan.shaping import Transforms
from liberator.transform import (
    Call,
    Cast,
    DropColumns,
    Filter,
    Key,
    Mask,
    Rename,
    Route,
    Step,
    Tables,
    mask,
    topic_of,
)

if TYPE_CHECKING:
    from liberator.config import SourceConfig
    from liberator.config.patterns import TablePattern
    from liberator.config.transform import TransformStep


def transforms(config: SourceConfig, default_schema: str = "public", *, calls: bool = True) -> Transforms:
    """The steps, in order. default_schema: of patterns that name none. calls: look the functions up, too; without, rows are
    as they are before those. Raises `ConfigError` for a function that can't be found."""
    chosen = [index for index, step in enumerate(config.transform) if calls or step.python is None]
    return Transforms(tuple(_step(config, index, default_schema) for index in chosen))


def topics(config: SourceConfig, database: str) -> Callable[[str, str], str]:
    """(schema, table) -> its topic: that of a route, else of the template."""
    routes = [
        Route(step.route.match, step.route.render) for step in config.transform if step.route is not None
    ]

    def topic(schema: str, table: str) -> str:
        routed = topic_of(routes, schema, table)
        if routed is not None:
            return routed
        return config.publish.topic.render(name=config.name, db=database, schema=schema, table=table)

    return topic


def _step(config: SourceConfig, index: int, default_schema: str) -> Step:
    step: TransformStep = config.transform[index]
    where = config.where("transform", index)

    def tables(pattern: TablePattern) -> Tables:
        return Tables(
            str(pattern),
            lambda schema, table: pattern.matches(schema, table, default_schema),
            pattern.exact,
            where,
        )

    if (drop := step.drop_columns) is not None:
        return DropColumns(tables(drop.table), drop.columns, drop.if_present)
    if (rename := step.rename) is not None:
        return Rename(tables(rename.table), rename.columns, rename.if_present)
    if (hide := step.mask) is not None:
        return Mask(tables(hide.table), hide.column, mask(hide.with_, hide.salt or ""), hide.if_present)
    if (cast := step.cast) is not None:
        return Cast(tables(cast.table), cast.columns, cast.if_present)
    if (key := step.key) is not None:
        return Key(tables(key.table), key.columns, key.if_present)
    if (condition := step.filter) is not None:
        return Filter(tables(condition.table), condition.where, condition.rows)
    if (route := step.route) is not None:
        return Route(route.match, route.render)
    assert step.python is not None, "checked with the configuration"
    function = _function(step.python.function, config.folder, where)
    return Call(tables(step.python.table), function, step.python.function)


def _function(name: str, folder: Path, where: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    from liberator.function.python import find

    try:
        _, function = find(name, folder)
    except ConfigError as error:
        raise ConfigError(error.what, code="transform.function", where=where, fix=error.fix) from error
    found: Callable[[dict[str, Any]], dict[str, Any] | None] = function
    return found
