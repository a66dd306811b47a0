"""The Python API, where nothing needs a database."""

from __future__ import annotations

import pytest

import liberator
from liberator.errors import ConfigError


def test_changes_are_not_read_out_of_an_envelope_that_lacks_parts_of_them() -> None:
    with pytest.raises(ConfigError, match="Debezium's envelope") as caught:
        liberator.stream("postgresql://db/shop", settings={"format.envelope": "flat"})
    assert caught.value.where == "format.envelope"
