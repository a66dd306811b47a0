"""Contracts: the JSON Schema (2020-12) that the row of an event keeps.

`store` keeps contracts as files, `derive` writes one from a table, `gate` compiles one into the checks that the
table's own types leave open. `compatibility` judges whether a version may follow another, `migration` what a changed
table breaks, `diff` tells what differs, `registry` speaks to schema registries. A contract describes the row (the object
in ``after``), never the envelope.
"""
