"""What an error of MariaDB or MySQL means for a table: the row's fault, one that passes, or somebody has to act."""

from __future__ import annotations

import pymysql
import pytest
from sqlalchemy import exc

from liberator.function.table import database


@pytest.mark.parametrize(
    ("number", "state"),
    [(1265, "01000"), (1644, "45000"), (1416, "22003"), (3140, "22032"), (4025, "23000"), (1264, "22003")],
    ids=["no such label", "a trigger's", "no point", "no json", "check", "range"],
)
def test_what_is_wrong_with_a_value_is_the_rows_fault_whatever_its_sqlstate(number: int, state: str) -> None:
    assert database.blames_row(told(number, state))


@pytest.mark.parametrize(
    ("number", "state", "code"),
    [
        (1205, "HY000", "function.table_unreachable"),
        (1213, "40001", "function.table_unreachable"),
        (1040, "08004", "function.table_unreachable"),
        (1317, "70100", "function.table_unreachable"),
        (2003, None, "function.table_unreachable"),
        (1045, "28000", "function.table_refused"),
        (1146, "42S02", "function.table_refused"),
        (1054, "42S22", "function.table_refused"),
    ],
    ids=["lock", "deadlock", "connections", "interrupted", "away", "password", "no table", "no column"],
)
def test_what_passes_is_waited_for_and_what_does_not_ends_the_connector(
    number: int, state: str | None, code: str
) -> None:
    error = told(number, state)
    assert not database.blames_row(error)
    assert database.failure(error, "orders").code == code


def told(number: int, state: str | None) -> exc.OperationalError:
    original = pymysql.err.OperationalError(number, "words of the server")
    original.sqlstate = state  # as the driver sets it
    return exc.OperationalError("INSERT", {}, original)
