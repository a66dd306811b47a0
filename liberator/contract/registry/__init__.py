"""A schema registry with Confluent's REST interface: Confluent's own, Apicurio, Karapace, Redpanda.

`client` registers and fetches schemas, through `http`, and remembers them in `cache`; `wire` is the five bytes in front of a
message that name its schema; `subjects` says under which name a schema is registered; `embed` makes a contract a part of
a larger schema. Nothing here looks at a row.
"""

from liberator.contract.registry.cache import SchemaCache
from liberator.contract.registry.client import RegisteredSchema, RegistryClient
from liberator.contract.registry.embed import embedded
from liberator.contract.registry.http import RegistrySettings
from liberator.contract.registry.subjects import STRATEGIES, Strategy, subject
from liberator.contract.registry.wire import decode, encode

__all__ = [
    "STRATEGIES",
    "RegisteredSchema",
    "RegistryClient",
    "RegistrySettings",
    "SchemaCache",
    "Strategy",
    "decode",
    "embedded",
    "encode",
    "subject",
]
