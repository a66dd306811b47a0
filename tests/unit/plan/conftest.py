"""Every test of an executor runs under each implementation that is installed here."""

from __future__ import annotations

import pytest

from liberator.plan.native import installed


@pytest.fixture(autouse=True, params=["python", *(["native"] if installed() else [])])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its name, which `executor_class` reads from the environment."""
    name: str = request.param
    monkeypatch.setenv("LIBERATOR_IMPL", name)
    return name
