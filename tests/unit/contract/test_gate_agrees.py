"""The gate decides as the reference validator does, whatever the contract, the table and the row (Invariant: a row
that breaks its contract is never published)."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from liberator.contract.document import Document
from liberator.contract.gate import ColumnFacts, Gate, compile_gate
from liberator.contract.proof import Rooted, unproven
from liberator.contract.reading import read
from liberator.contract.reference import read_exactly, reference
from liberator.errors import ContractError
from tests.unit.contract.generated import (
    KINDS,
    Kind,
    TableRow,
    contracts,
    encoded,
    table_rows,
    value_schemas,
)

THOROUGH = settings(max_examples=max(200, settings.default.max_examples if settings.default else 0))


def _compiled(schema: dict[str, Any], table: TableRow) -> Gate:
    try:
        return compile_gate(schema, table.columns)
    except ContractError as error:
        assume(error.code != "contract.circular_ref")
        raise


@THOROUGH
@given(contracts(), table_rows())
def test_accepts_what_the_reference_accepts_and_nothing_else(schema: dict[str, Any], table: TableRow) -> None:
    gate = _compiled(schema, table)
    row = table.without(())
    assert gate.accepts(row) == reference(schema).is_valid(read_exactly(row))


@THOROUGH
@given(
    st.lists(value_schemas(1, references=False), min_size=1, max_size=2), st.sampled_from(KINDS), st.data()
)
def test_a_column_check_decides_as_the_reference_does(
    rules: list[Any], kind: Kind, data: st.DataObject
) -> None:
    schema = {"properties": {"c": rules[0]}, "patternProperties": {"^c$": rules[-1]}}
    gate = compile_gate(schema, [ColumnFacts("c", kind.guaranteed, nullable=True)])
    judge = reference(schema)
    for value in data.draw(st.lists(kind.values | st.none(), min_size=4, max_size=12)):
        row = encoded({"c": value})
        assert gate.accepts(row) == judge.is_valid(read_exactly(row))


@THOROUGH
@given(contracts(), table_rows())
def test_finds_a_violation_in_exactly_the_rows_that_it_refuses(
    schema: dict[str, Any], table: TableRow
) -> None:
    gate = _compiled(schema, table)
    row = table.without(())
    try:
        gate.explain(row)
        explained = True
    except ValueError:
        explained = False
    assert explained != gate.accepts(row)


@THOROUGH
@given(contracts(), table_rows(), st.data())
def test_never_refuses_a_good_row_for_a_value_that_was_not_sent(
    schema: dict[str, Any], table: TableRow, data: st.DataObject
) -> None:
    assume(reference(schema).is_valid(read_exactly(table.without(()))))
    unsent = tuple(data.draw(st.sets(st.sampled_from(sorted(table.row)))))
    assert _compiled(schema, table).accepts(table.without(unsent), unsent)


@THOROUGH
@given(contracts(plain=True), table_rows(), st.data())
def test_without_combining_rules_judges_the_values_that_were_sent(
    schema: dict[str, Any], table: TableRow, data: st.DataObject
) -> None:
    gate = _compiled(schema, table)
    assume(not gate.impossible)
    unsent = tuple(data.draw(st.sets(st.sampled_from(sorted(table.row)))))
    row = table.without(unsent)
    lenient = {**schema, "required": [name for name in schema.get("required", ()) if name not in unsent]}
    assert gate.accepts(row, unsent) == reference(lenient).is_valid(read_exactly(row))


@THOROUGH
@given(contracts(), table_rows(), st.data())
def test_a_refusal_of_a_partly_sent_row_holds_for_every_value_that_could_have_been_sent(
    schema: dict[str, Any], table: TableRow, data: st.DataObject
) -> None:
    unsent = tuple(data.draw(st.sets(st.sampled_from(sorted(table.row)))))
    assume(not _compiled(schema, table).accepts(table.without(unsent), unsent))
    sent = {name: value for name, value in table.row.items() if name not in unsent}
    kinds = {
        column.name: next(k for k in KINDS if k.guaranteed is column.guaranteed) for column in table.columns
    }
    for name in unsent:
        sent[name] = data.draw(kinds[name].values)
    assert not reference(schema).is_valid(read_exactly(encoded(sent)))


@THOROUGH
@given(value_schemas(references=False), st.sampled_from(KINDS), st.data())
def test_what_is_proven_holds_for_every_value(goal: Any, kind: Any, data: st.DataObject) -> None:
    assume(not unproven(Rooted(goal, goal), Rooted(kind.guaranteed, kind.guaranteed)))
    value = data.draw(kind.values)
    assert reference(goal).is_valid(read_exactly(encoded(value)))


@THOROUGH
@given(value_schemas(references=False), st.data())
def test_the_run_time_validator_agrees_with_the_reference(goal: Any, data: st.DataObject) -> None:
    value = data.draw(st.one_of([kind.values for kind in KINDS]))
    raw = encoded(value)
    assert Document(goal).validator(goal).is_valid(read(raw)) == reference(goal).is_valid(read_exactly(raw))


def test_the_reference_divides_numbers_of_any_length() -> None:
    assert reference({"multipleOf": 0.1}).is_valid(read_exactly(b"1000000000000000000000000000000000"))
    assert not reference({"multipleOf": 0.1}).is_valid(read_exactly(b"1000000000000000000000000000000000.05"))
