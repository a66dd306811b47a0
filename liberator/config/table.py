"""A table that a sink keeps: its keys, and what can't be said beside it.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `function` and `sink`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from liberator.config.section import Section, without_default
from liberator.config.values import AnyDatabaseUrl, Names, OneTablePattern, refusal

if TYPE_CHECKING:
    from liberator.config.sink import SinkConfig


class TableSettings(Section):
    """A table that is kept as the stream's rows are."""

    url: AnyDatabaseUrl
    """The database: postgresql://..., sqlite:///PATH, mysql+pymysql://..., or any other that SQLAlchemy speaks to."""
    table: OneTablePattern
    """The table: NAME or SCHEMA.NAME, odd names in double quotes. The offsets stand beside it, in liberator_offsets,
    which is made when missing."""
    mode: Literal["upsert"] = "upsert"
    """`upsert`: rows are written, whether or not they are there already, and deleted when the source deletes them."""
    key: Names = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Columns that tell rows apart; they need a unique index. Default: the table's primary key."""
    create: bool = False
    """Make the table if it is missing, as the contract of its topic says (`schema.dir`)."""
    new_columns: Literal["stop", "add", "ignore"] = "stop"
    """Columns of events that the table does not have: `stop` ends the connector with the statement that adds them,
    `add` adds them, `ignore` leaves them out."""
    truncate: Literal["apply", "anyway", "ignore"] = "apply"
    """When the source is truncated: `apply` deletes all rows, of a topic with one partition, and makes a dead letter
    of it where there are more, as nobody knows which of their rows came before; `anyway` does not ask; `ignore`
    leaves the rows."""

    @model_validator(mode="after")
    def _names_one_table(self) -> TableSettings:
        if not self.table.exact:
            raise refusal("config.function", "this names more than one table", "write SCHEMA.NAME")
        return self


_BESIDE = {
    "order": "a table takes the events of each partition in their order",
    "retry": "a table is written again until the database takes the rows",
    "bisect": "a table finds the rows that are refused itself",
    "circuit_breaker": "a table that is away is waited for",
    "idempotency": "a table keeps its offsets with its rows",
}
"""Keys of the policy, and why they have nothing to say."""


def check_table(config: SinkConfig) -> None:
    """What has no meaning beside a table is refused."""
    if config.stream is None:
        what = "a table is kept by a stream, and there is none"
        raise refusal("config.stream", what, "add stream: {url: ..., topics: [...]}")
    if config.files:
        what = "a table is kept by a stream, and a file is none"
        raise refusal("config.function", what, "leave the trigger on file out")
    if config.policy.commit == "before":
        what = "a table's offsets stand in the transaction of its rows, so nothing can be committed before"
        raise refusal("config.commit", what, "leave policy.commit out")
    for key, why in _BESIDE.items():
        if key in config.policy.model_fields_set:
            raise refusal("config.function", f"policy.{key}: {why}", "leave it out")
    if "max" in config.scale.workers.model_fields_set and config.scale.workers.max > 1:
        what = "a table is written by one transaction at a time, so scale.workers.max is 1"
        fix = "leave it out; several instances share the partitions"
        raise refusal("config.function", what, fix)
    if config.output.topic is not None:
        what = "a table gives nothing that could be published"
        raise refusal("config.output", what, "leave output.topic out")
