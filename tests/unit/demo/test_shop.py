"""The contract that the demo stores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from liberator.contract.store import ContractStore
from liberator.demo.shop import CONTRACT, MISTAKES, store_contract


def customer(country: str) -> dict[str, Any]:
    return {"id": 900_001, "cust_no": "X900001 ", "name": "A. Clerk", "email": None, "country": country}


def test_a_good_customer_keeps_the_contract() -> None:
    jsonschema.validate(customer("DE"), CONTRACT)


@pytest.mark.parametrize("country", [mistake.country for mistake in MISTAKES])
def test_each_mistake_of_the_clerk_breaks_it_by_the_country_alone(country: str) -> None:
    [error] = jsonschema.Draft202012Validator(CONTRACT).iter_errors(customer(country))
    assert list(error.path) == ["country"]


def test_what_is_mended_keeps_it_again() -> None:
    for mistake in MISTAKES:
        assert mistake.mended == jsonschema.Draft202012Validator(CONTRACT).is_valid(
            customer(mistake.country.upper())
        )


def test_is_stored_where_the_connector_looks_for_it(tmp_path: Path) -> None:
    store_contract(tmp_path, "shop.public.customers")
    assert ContractStore(tmp_path).load("shop.public.customers") == (1, json.loads(json.dumps(CONTRACT)))
