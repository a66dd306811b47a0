"""Where a function remembers things, and what can't be said beside it.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `sink`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from liberator.config.section import Section
from liberator.config.sink_values import IdStore
from liberator.config.values import refusal

if TYPE_CHECKING:
    from liberator.config.sink import SinkConfig


class StateSettings(Section):
    """Where the function remembers things: `context.state`."""

    url: IdStore
    """sqlite:PATH, for one machine, or postgresql://... for several (tables liberator_state and liberator_offsets, made when
    missing). What the function changes and the offsets change in one transaction."""


def check_state(config: SinkConfig) -> None:
    """What can't be kept beside a state is refused."""
    if config.function.python is None:
        what = "only a Python function has a context with a state"
        raise refusal("config.state", what, "leave state out, or call a Python function")
    if config.stream is None or config.files:
        what = "a state changes together with the offsets of a stream, and there is none"
        raise refusal("config.state", what, "leave state out, or start the function on a stream alone")
    if config.policy.commit == "before":
        what = "a state changes together with the offsets, so nothing can be committed before"
        raise refusal("config.commit", what, "leave policy.commit out")
    if config.policy.order != "partition" and "order" in config.policy.model_fields_set:
        what = "with a state one invocation runs at a time, and the events of a partition come in their order"
        raise refusal("config.state", what, "write policy: {order: partition}, or leave it out")
    if "max" in config.scale.workers.model_fields_set and config.scale.workers.max > 1:
        what = "with a state one invocation runs at a time: the next one sees what this one has changed"
        fix = "leave scale.workers.max out; with a state in PostgreSQL several instances share the partitions"
        raise refusal("config.state", what, fix)
