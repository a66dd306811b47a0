"""Contracts: the JSON Schema (2020-12) that the row of an event keeps.

`store` keeps contracts as files, `derive` writes one from a table, `gate` compiles one into the checks that the
table's own types leave open. A contract describes the row (the object in ``after``), never the envelope.
"""
