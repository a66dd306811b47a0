"""Which connector a configuration asks for, and running it. Called by the command line, the Python API and the demo."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from liberator.build.running import How, Running

if TYPE_CHECKING:
    from liberator.config import SourceConfig

log = logging.getLogger(__name__)

_TRIAL = {
    "query": "trial: no checkpoint, so the next run reads everything again; with --name it goes on",
    "outbox": "trial: no checkpoint; rows of the outbox that are published are deleted or marked all the same",
}
_TRIAL_OF_A_LOG = "trial: temporary slot and publication, no checkpoint, nothing stays behind; with --name it can be resumed"


def make_connector(config: SourceConfig, how: How) -> Running:
    """The connector of this mode."""
    if config.source.mode == "query":
        from liberator.build.query import QueryConnector

        return QueryConnector(config, how)
    if not config.source.reads_log:
        from liberator.build.outbox_poll import OutboxKeepConnector, OutboxPollConnector

        polled = OutboxKeepConnector if config.source.outbox.after_publish == "keep" else OutboxPollConnector
        return polled(config, how)
    from liberator.build.connector import Connector

    return Connector(config, how)


def run_source(config: SourceConfig, *, once: bool, max_events: int | None, trial: bool) -> int:
    """Run one source connector until it is done or stopped. Returns the exit code; raises `LiberatorError`."""
    if trial:
        log.warning(_TRIAL_OF_A_LOG if config.source.reads_log else _TRIAL[config.source.mode])
    make_connector(config, How(once=once, max_events=max_events, trial=trial)).run()
    return 0
