"""Configuration -> wired loops: the only place that knows every class.

`run_source` runs a connector; the rest is what the commands about a connector need of the live systems.
"""

from liberator.build.operate import (
    checkpoint_adopt,
    checkpoint_reset,
    checkpoint_show,
    derive_schemas,
    slot_create,
    slot_drop,
    slot_list,
    status,
)
from liberator.build.run import run_source

__all__ = [
    "checkpoint_adopt",
    "checkpoint_reset",
    "checkpoint_show",
    "derive_schemas",
    "run_source",
    "slot_create",
    "slot_drop",
    "slot_list",
    "status",
]
