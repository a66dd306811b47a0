"""Configuration -> the functions that others call by name, each with its attempts and its circuit.

Enters: a checked `SinkConfig`. Leaves: `NamedFunctions`. Called with the sink's own function.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from liberator.build.steps import Steps
from liberator.function.circuit import Circuit, CircuitSettings
from liberator.function.guarded import GuardedFunction
from liberator.function.named import NamedFunctions
from liberator.function.steps import Step
from liberator.function.threads import Callee

if TYPE_CHECKING:
    from liberator.config import SinkConfig
    from liberator.config.callees import CalleeSettings


def make_callees(config: SinkConfig, *, ends: bool, stubs: Mapping[str, Step]) -> NamedFunctions:
    """ends: one that fails every time ends the connector. stubs: what stands for some of them. Raises `ConfigError`,
    `FunctionError`."""
    named = NamedFunctions()
    with ExitStack() as stack:
        stack.callback(named.close)
        for settings in config.functions:
            name = settings.name or ""
            named.functions[name] = stubs.get(name) or _made(config, settings, named, ends)
        stack.pop_all()
    return named


def _made(config: SinkConfig, settings: CalleeSettings, named: NamedFunctions, ends: bool) -> Step:
    steps = Steps(
        config,
        named.only(settings.calls) if settings.calls else None,
        key="functions",
        guard=partial(_guarded, settings, ends),
    )
    return steps.one(settings, settings.name or "", "function")


def _guarded(settings: CalleeSettings, ends: bool, function: Callee) -> Callee:
    """A circuit for each function: of several steps one may be away while the others are not."""
    breaker = settings.breaker
    if breaker is None:
        return function
    # Who calls it has attempts of its own, so that a single failure is never one too many.
    circuit = CircuitSettings(
        breaker.failures,
        breaker.pause,
        breaker.max,
        attempts=sys.maxsize,
        ends=ends,
        name=f"the function {settings.name}",
    )
    return GuardedFunction(function, Circuit(circuit))
