"""Functions that a sink's Python function calls by name, and what can't be said of them.

Enters: plain data. Leaves: frozen objects, as in `models`. Called by `sink`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from liberator.config.function import CalledSettings, StepSettings, parts_of
from liberator.config.section import or_boolean, without_default
from liberator.config.sink_policy import CircuitBreakerSettings
from liberator.config.values import FALSE_IS_OFF, Texts, refusal

if TYPE_CHECKING:
    from liberator.config.sink import SinkConfig

_REMOTE = ("http", "openfaas", "aws_lambda")


class CalleeSettings(StepSettings):
    """A function that is called by its name: one function, or steps."""

    calls: Texts = Field(default=(), validate_default=False, json_schema_extra=without_default)
    """Functions that its own Python code calls in turn. Default: none."""
    circuit_breaker: Annotated[CircuitBreakerSettings | None, FALSE_IS_OFF] = Field(
        default=CircuitBreakerSettings(), json_schema_extra=or_boolean
    )
    """When it is left alone that fails every time; false: never. What runs here, or is several steps, only if this is
    written."""

    @property
    def breaker(self) -> CircuitBreakerSettings | None:
        """When it is left alone; None: never."""
        asked = "circuit_breaker" in self.model_fields_set
        return self.circuit_breaker if asked or any(getattr(self, kind) for kind in _REMOTE) else None

    @model_validator(mode="after")
    def _has_a_name(self) -> CalleeSettings:
        if self.name is None:
            raise refusal("config.missing", "a function that is called has a name", "add name: NAME")
        if self.calls and not runs_python(self):
            what = "only a Python function can call others"
            raise refusal("config.function", what, "leave calls out")
        return self


def runs_python(function: CalledSettings) -> bool:
    """Is there code in it that is given a context?"""
    return any(one.python is not None for _, one in parts_of(function))


def check_functions(config: SinkConfig) -> None:
    """Names that mean nothing, or two things, and functions that call each other in a circle are refused."""
    calls = {one.name: one.calls for one in config.functions if one.name is not None}
    if len(calls) < len(config.functions):
        raise refusal("config.function", "two functions have one name", "give each one of its own")
    if calls and not runs_python(config.function):
        what = "functions are called by Python code, and there is none"
        raise refusal("config.function", what, "leave functions out, or use steps")
    for name, called in calls.items():
        for one in called:
            if one not in calls:
                what = f"{name} calls {one}, and functions has none of this name"
                raise refusal("config.function", what, f"write one of {', '.join(map(str, calls))}")
        if way := _way_back(name, calls):
            what = f"functions call each other in a circle: {' -> '.join(way)}"
            raise refusal("config.cycle", what, "leave one of them out of calls")


def _way_back(first: str, calls: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Breadth first; empty: there is none."""
    ways = [[first]]
    reached: set[str] = set()
    while ways:
        way = ways.pop(0)
        for following in calls.get(way[-1], ()):
            if following == first:
                return [*way, first]
            if following not in reached:
                reached.add(following)
                ways.append([*way, following])
    return []
