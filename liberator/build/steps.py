"""Configuration -> steps: functions one after the other, side by side or by a condition.

Enters: checked settings. Leaves: what `liberator.function.steps` runs. Called for a sink's function and for those that are
called by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from liberator.build.functions import make_callee
from liberator.function.calls import Calls
from liberator.function.steps import Calling, Catching, Choosing, OneByOne, SideBySide, Step
from liberator.function.threads import Callee

if TYPE_CHECKING:
    from liberator.config import SinkConfig
    from liberator.config.function import StepSettings


def _as_it_is(function: Callee) -> Callee:
    return function


@dataclass(frozen=True, slots=True)
class Steps:
    """Makes steps. calls: what their Python code may call. key: where they are said. guard:
    what stands between a step and its function."""

    config: SinkConfig
    calls: Calls | None = None
    key: str = "function.steps"
    guard: Callable[[Callee], Callee] = _as_it_is

    def all_of(self, settings: Sequence[StepSettings], above: str = "") -> Step:
        """One after the other. above: what the names of steps without one begin with."""
        made = [self.one(step, f"{above}{number}") for number, step in enumerate(settings, 1)]
        return made[0] if len(made) == 1 else OneByOne(made)

    def one(self, settings: StepSettings, place: str, kind: str = "step") -> Step:
        """place: its name, where it has none."""
        name = settings.name or place
        step: Step
        if settings.steps:
            step = self.all_of(settings.steps, f"{name}.")
        elif settings.parallel:
            step = SideBySide([(one.name or "", self.one(one, "")) for one in settings.parallel])
        elif settings.choice:
            branches = [
                (one.when, self.all_of(one.steps, f"{name}.{number}."))
                for number, one in enumerate(settings.choice, 1)
            ]
            step = Choosing(name, branches, self.key)
        else:
            step = self._calling(settings, name, kind)
        if not settings.catch:
            return step
        return Catching(step, self.all_of(settings.catch, f"{name}.catch."))

    def _calling(self, settings: StepSettings, name: str, kind: str) -> Calling:
        retry = settings.retry
        return Calling(
            name=name,
            function=self.guard(make_callee(self.config, settings, answers=True, calls=self.calls)),
            timeout=settings.timeout,
            attempts=retry.attempts,
            initial=retry.initial,
            longest=retry.max,
            factor=retry.factor,
            kind=kind,
            key=self.key,
        )
