"""From a document to a checked sink.

Enters: a document whose variables are filled in. Leaves: a `SinkConfig`, or faults. Called by `load`.
"""

from __future__ import annotations

from pydantic import ValidationError

from liberator.config.document import Document, KeyPath
from liberator.config.faults import explain, in_order
from liberator.config.fields import Fields
from liberator.config.sink import SinkConfig
from liberator.config.stage import apply_stage, check_stage
from liberator.config.values import FOLDER
from liberator.errors import ConfigError

SINK_FIELDS = Fields(SinkConfig)


def check_sink(
    document: Document, faults: list[tuple[KeyPath, ConfigError]], stage: str | None
) -> tuple[SinkConfig | None, list[ConfigError]]:
    """The sink that `document` describes, or everything that is wrong with it. faults: what is known already."""
    if stage:
        check_stage(stage)
        apply_stage(document, stage)
    config = None
    try:
        config = SinkConfig.model_validate(document.data, context={FOLDER: document.folder})
    except ValidationError as error:
        faults = [*faults, *explain(error, document, SINK_FIELDS)]
    if config is None or faults:
        return None, in_order(faults, document)
    config._document, config._stage = document, stage
    return config, []
