"""Configuration -> wired loops: the only place that knows every class.

`run_source` and `run_sink` run a connector; the rest is what the commands about a connector need of the live systems.
"""

from liberator.build.contracts import check_schemas, derive_schemas, diff_schemas, register_schemas
from liberator.build.deadletter import Filters, dlq_discard, dlq_list, dlq_redrive, dlq_show
from liberator.build.init import connector_file
from liberator.build.operate import (
    checkpoint_adopt,
    checkpoint_reset,
    checkpoint_show,
    slot_create,
    slot_drop,
    slot_list,
    status,
)
from liberator.build.run import run_source
from liberator.build.sink import run_sink

__all__ = [
    "Filters",
    "check_schemas",
    "checkpoint_adopt",
    "checkpoint_reset",
    "checkpoint_show",
    "connector_file",
    "derive_schemas",
    "diff_schemas",
    "dlq_discard",
    "dlq_list",
    "dlq_redrive",
    "dlq_show",
    "register_schemas",
    "run_sink",
    "run_source",
    "slot_create",
    "slot_drop",
    "slot_list",
    "status",
]
