"""YAML -> checked models. The JSON Schema of a configuration is made from them.

Enters: files, or the options of the one-liner, and an environment. Leaves: `SourceConfig` and `SinkConfig` objects whose
values are ready to use, or one `ConfigErrors` with every fault at once, each with its place and a remedy. Called by the
command line and the Python API before anything is connected to. Importing it loads pydantic, so the command line does
that only when it needs a configuration.
"""

from typing import TYPE_CHECKING, Any

from liberator.config.faults import ConfigErrors
from liberator.config.load import load, load_all, load_together
from liberator.config.models import SourceConfig
from liberator.config.options import from_options
from liberator.config.patterns import TablePattern, TopicTemplate
from liberator.config.secrets import RedactingFilter, redact

if TYPE_CHECKING:
    from liberator.config.editor_schema import connector_schema
    from liberator.config.load import AnyConfig
    from liberator.config.sidecar import SidecarConfig
    from liberator.config.sidecar_file import load_sidecar
    from liberator.config.sink import SinkConfig

__all__ = [
    "AnyConfig",
    "ConfigErrors",
    "RedactingFilter",
    "SidecarConfig",
    "SinkConfig",
    "SourceConfig",
    "TablePattern",
    "TopicTemplate",
    "connector_schema",
    "from_options",
    "load",
    "load_all",
    "load_sidecar",
    "load_together",
    "redact",
]

_WHEN_ASKED_FOR = {
    "SidecarConfig": "sidecar",
    "SinkConfig": "sink",
    "connector_schema": "editor_schema",
    "load_sidecar": "sidecar_file",
}
"""Most runs are of one source: models of the others would only make it start later."""


def __getattr__(name: str) -> Any:
    if name not in _WHEN_ASKED_FOR:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHEN_ASKED_FOR[name]}"), name)
