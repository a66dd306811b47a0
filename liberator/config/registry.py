"""The keys of a schema registry: the same wherever events are published with the ids of their schemas.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `models` and `sidecar`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from liberator.config.section import Section, without_default
from liberator.config.values import FolderPath, RegistryUrl, Token


class RegistryKeys(Section):
    """Which registry, and how it is spoken to."""

    registry: RegistryUrl | None = Field(default=None, json_schema_extra=without_default)
    """A schema registry with Confluent's REST interface, https://USER:PASSWORD@HOST:PORT. With one, keys and values on Kafka
    begin with the ids of their schemas; of events that applications write, the values alone. Default: none."""
    registry_token: Token | None = Field(default=None, json_schema_extra=without_default)
    """Bearer token for the registry, instead of user and password."""
    registry_ca: FolderPath | None = Field(default=None, json_schema_extra=without_default)
    """PEM file with the authorities to trust for the registry. Default: the system's."""
    registry_certificate: FolderPath | None = Field(default=None, json_schema_extra=without_default)
    """PEM file with our own certificate for the registry."""
    registry_key: FolderPath | None = Field(default=None, json_schema_extra=without_default)
    """PEM file with the private key of `registry_certificate`."""
    registry_register: bool = True
    """Register schemas that are new; false: they must be there, as `liberate schema register` puts them."""
    registry_cache: FolderPath = Path(".liberator/registry")
    """Folder where the registry's answers are kept, for starts while it does not answer."""
