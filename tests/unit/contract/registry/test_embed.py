"""A contract inside a larger schema judges as it does by itself."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from liberator.contract.document import Document
from liberator.contract.reference import read_exactly, reference
from liberator.contract.registry.embed import embedded
from liberator.errors import ContractError
from tests.unit.contract.generated import TableRow, contracts, table_rows


@given(contracts(), st.sampled_from([("$defs", "row"), ("$defs", "a/b ~%ü")]), table_rows())
def test_an_embedded_contract_judges_alike(
    contract: dict[str, Any], place: tuple[str, str], sample: TableRow
) -> None:
    try:
        Document(contract)
    except ContractError:
        assume(False)
    row = read_exactly(sample.without(()))
    pointer = place[1].replace("~", "~0").replace("/", "~1").replace("%", "%25").replace(" ", "%20")
    whole = {
        "properties": {"after": {"$ref": f"#/$defs/{pointer}"}},
        "$defs": {place[1]: embedded(contract, place)},
    }
    assert reference(whole).is_valid({"after": row}) is reference(contract).is_valid(row)


def test_its_own_dialect_and_address_are_left_out() -> None:
    contract = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:a",
        "properties": {"a": {"$ref": "urn:a#/$defs/d"}},
        "$defs": {"d": {"type": "null"}},
    }
    assert embedded(contract, ("$defs", "row")) == {
        "properties": {"a": {"$ref": "#/$defs/row/$defs/d"}},
        "$defs": {"d": {"type": "null"}},
    }
