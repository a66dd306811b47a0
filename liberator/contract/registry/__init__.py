"""A schema registry with Confluent's REST interface: Confluent's own, Apicurio, Karapace, Redpanda.

`client` registers and fetches schemas, through `http`, and remembers them in `cache`; `wire` is the five bytes in front of a
message that name its schema; `subjects` says under which name a schema is registered; `embed` makes a contract a part of
a larger schema. Nothing here looks at a row. Who needs one of these imports it from its module: most connectors have no
registry, and need not wait for an HTTP client.
"""
