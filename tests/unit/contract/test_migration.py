"""What a migration of the table breaks of its stored contract, and what the next version says."""

from __future__ import annotations

import copy
from typing import Any

from liberator.contract.compatibility import Mode
from liberator.contract.derive import ColumnSchema, derive
from liberator.contract.document import Document
from liberator.contract.gate import ColumnFacts
from liberator.contract.migration import Contract, breaks, successor

INT4 = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "x-pg-type": "integer"}
INT8 = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1, "x-pg-type": "bigint"}
TEXT = {"type": "string", "x-pg-type": "text"}
LIST = {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/integer"}]}}


def column(name: str, schema: dict[str, Any], *, not_null: bool = False) -> ColumnSchema:
    defs = {"integer": LIST} if "$ref" in schema else {}
    return ColumnSchema(name, schema, defs, not_null, can_be_toasted=schema is TEXT)


ID = column("id", INT4, not_null=True)
STATUS = column("status", TEXT, not_null=True)
QUANTITY = column("quantity", INT4, not_null=True)


def contract(*columns: ColumnSchema) -> Contract:
    return derive("shop.public.orders", columns, ("id",), strict=True)


def broken(
    held: Contract, *columns: ColumnSchema, mode: Mode = "backward", before: Contract | None = None
) -> list[tuple[str, str]]:
    """What the table with these columns breaks: field and rule."""
    facts = [
        ColumnFacts(each.name, {**each.schema, "$defs": each.defs}, not each.not_null) for each in columns
    ]
    versions = {2: held} if before is None else {1: before, 2: held}
    return [(each.field, each.rule) for each in breaks(versions, contract(*columns), facts, mode)]


HELD = contract(ID, STATUS, QUANTITY)


def test_a_table_that_did_not_change_breaks_nothing() -> None:
    for mode in ("backward", "forward", "full_transitive", "none"):
        assert broken(HELD, ID, STATUS, QUANTITY, mode=mode) == []
    assert successor(HELD, contract(ID, STATUS, QUANTITY)) == HELD


def test_a_new_column_is_named_and_not_required() -> None:
    added = column("size", INT4, not_null=True)
    assert broken(HELD, ID, STATUS, QUANTITY, added, mode="full") == []
    following = successor(HELD, contract(ID, STATUS, QUANTITY, added))
    assert following["properties"]["size"] == INT4
    assert following["required"] == HELD["required"] == ["id", "quantity"]


def test_a_required_column_that_is_gone_breaks_the_contract_in_every_mode() -> None:
    for mode in ("backward", "forward", "none"):
        assert broken(HELD, ID, STATUS, mode=mode) == [("/quantity", "required")]
    following = successor(HELD, contract(ID, STATUS))
    assert (list(following["properties"]), following["required"]) == (["id", "status"], ["id"])


def test_a_column_that_need_not_be_there_may_go_where_the_contract_stays_open() -> None:
    assert broken(HELD, ID, QUANTITY, mode="full") == []
    held = {**HELD, "additionalProperties": {"type": "integer"}}
    assert broken(held, ID, QUANTITY) == [("/status", "type-narrowed")]


def test_a_renamed_column_is_gone() -> None:
    assert broken(HELD, ID, STATUS, column("amount", INT4)) == [("/quantity", "required")]


def test_a_column_of_another_type_breaks_the_contract() -> None:
    assert broken(HELD, ID, STATUS, column("quantity", TEXT)) == [("/quantity", "type")]
    assert broken(HELD, ID, column("status", INT4), QUANTITY) == [("/status", "type")]


def test_only_null_would_still_fit_is_broken_too() -> None:
    held = contract(ID, column("status", TEXT))
    assert broken(held, ID, column("status", INT4)) == [("/status", "type")]


def test_a_wider_type_breaks_old_readers_only() -> None:
    wider = column("quantity", INT8, not_null=True)
    assert broken(HELD, ID, STATUS, wider) == []
    assert broken(HELD, ID, STATUS, wider, mode="forward") == [("/quantity", "range-narrowed")]
    assert successor(HELD, contract(ID, STATUS, wider))["properties"]["quantity"] == INT8


def test_a_narrower_type_breaks_nothing() -> None:
    held = contract(ID, STATUS, column("quantity", INT8, not_null=True))
    assert broken(held, ID, STATUS, QUANTITY, mode="full") == []
    kept = successor(held, contract(ID, STATUS, QUANTITY))["properties"]["quantity"]
    assert kept == {**INT8, "x-pg-type": "integer"}


def test_a_dropped_not_null_breaks_old_readers_only() -> None:
    nullable = column("quantity", INT4)
    assert broken(HELD, ID, STATUS, nullable) == []
    assert broken(HELD, ID, STATUS, nullable, mode="forward") == [("/quantity", "type-narrowed")]
    following = successor(HELD, contract(ID, STATUS, nullable))
    assert following["properties"]["quantity"]["type"] == ["integer", "null"]


def test_a_new_not_null_changes_nothing() -> None:
    held = contract(ID, STATUS, column("quantity", INT4))
    assert successor(held, contract(ID, STATUS, QUANTITY)) == {**held}


def test_what_was_written_by_hand_is_kept() -> None:
    held = copy.deepcopy(HELD)
    held["properties"]["status"] = {"enum": ["new", "paid"], "x-pg-type": "text"}
    held["properties"]["quantity"] |= {"minimum": 0}
    held["properties"]["id"] = {"type": "integer", "minimum": 1}
    held |= {"description": "Orders", "if": {"required": ["status"]}, "then": True}
    assert broken(held, ID, STATUS, QUANTITY, mode="full") == []
    added = column("size", INT4)
    assert broken(held, ID, STATUS, QUANTITY, added, mode="full") == []
    following = successor(held, contract(ID, STATUS, QUANTITY, added))
    assert {word: following[word] for word in following if word != "properties"} == {
        word: held[word] for word in held if word != "properties"
    }
    assert following["properties"] == {**held["properties"], "size": {**INT4, "type": ["integer", "null"]}}


def test_what_is_noted_of_a_type_follows_the_table() -> None:
    def enum(*labels: str) -> ColumnSchema:
        return column(
            "status", {"type": "string", "x-pg-type": "state", "x-pg-enum": list(labels)}, not_null=True
        )

    held = contract(ID, enum("new"))
    held["properties"]["status"]["maxLength"] = 9
    assert broken(held, ID, enum("new", "paid"), mode="full") == []
    following = successor(held, contract(ID, enum("new", "paid")))
    assert following["properties"]["status"] == {
        **held["properties"]["status"],
        "x-pg-enum": ["new", "paid"],
    }


def test_a_contract_written_by_hand_need_not_name_every_column() -> None:
    held = {"properties": {"status": {"enum": ["new", "paid"]}}}
    assert successor(held, contract(ID, STATUS, QUANTITY)) == held
    closed = {**held, "additionalProperties": False}
    assert list(successor(closed, contract(ID, STATUS))["properties"]) == ["status", "id"]
    assert broken(closed, ID, STATUS) == [("/id", "additionalProperties")]


def test_definitions_come_and_stay() -> None:
    sizes = column("sizes", {"$ref": "#/$defs/integer", "x-pg-type": "integer[]"})
    following = successor(HELD, contract(ID, STATUS, QUANTITY, sizes))
    assert following["$defs"] == {"integer": LIST}
    Document(following)
    assert "$defs" not in successor(HELD, contract(ID, STATUS, QUANTITY))
    own = {**HELD, "$defs": {"mine": {"type": "string"}}}
    assert successor(own, contract(ID, STATUS, QUANTITY, sizes))["$defs"] == {
        "mine": {"type": "string"},
        "integer": LIST,
    }


def test_a_transitive_mode_names_the_version() -> None:
    before = contract(ID, STATUS, column("quantity", INT8, not_null=True))
    before["required"] = ["id", "quantity"]
    held = copy.deepcopy(HELD)
    assert broken(held, ID, STATUS, QUANTITY, before=before) == []
    facts = [ColumnFacts(each.name, each.schema, not each.not_null) for each in (ID, STATUS, QUANTITY)]
    (found,) = breaks({1: before, 2: held}, contract(ID, STATUS, QUANTITY), facts, "backward_transitive")
    assert (found.field, found.rule) == ("/quantity", "range-narrowed")
    assert found.message.endswith("(version 1)")


def test_names_the_consumers_of_a_broken_field() -> None:
    held = {**HELD, "x-consumers": {"shipping": ["id", "quantity"], "billing": ["quantity", "status"]}}
    facts = [ColumnFacts("id", INT4, False), ColumnFacts("status", TEXT, False)]
    (found,) = breaks({1: held}, contract(ID, STATUS), facts, "backward")
    assert (found.field, found.consumers) == ("/quantity", ("shipping", "billing"))


def test_a_column_that_a_consumer_reads_may_not_go_even_if_the_contract_lets_it() -> None:
    held = {**HELD, "x-consumers": {"billing": ["status"]}}
    assert broken(held, ID, QUANTITY) == [("/status", "consumer")]


def test_consumers_that_cannot_be_read_are_no_consumers() -> None:
    unreadable: list[Any] = [[], "shipping", {"shipping": "id"}]
    for named in unreadable:
        assert broken({**HELD, "x-consumers": named}, ID, STATUS, QUANTITY) == []


def test_a_name_is_escaped_in_the_field() -> None:
    odd = column("a/b~c", INT4, not_null=True)
    held = {**contract(ID, odd), "x-consumers": {"billing": ["a/b~c"]}}
    (found,) = breaks({1: held}, contract(ID), [ColumnFacts("id", INT4, False)], "backward")
    assert (found.field, found.consumers) == ("/a~1b~0c", ("billing",))
