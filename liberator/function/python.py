"""A Python function: found by its name, called with events, what it gives back read.

Enters: ``module:function`` and events. Leaves: an `Outcome`, whatever the function does. Called where the function runs:
in a worker process, or in the connector's own.

    def notify(events, context): ...       returns None, outputs, or {"failed": [ids], "outputs": [...]}
    async def notify(events, context): ...
    def notify(events, context): yield ...                    each is an output; async, too
    class Notify: ...                      made once in each worker; ``__call__``, and ``close`` if it has one

``init`` and ``close`` in the function's module are called once in each worker, if they are there: before the first
invocation and at the end.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from liberator.change import Event, of_streams
from liberator.errors import ConfigError, FunctionError
from liberator.function.calls import Calls
from liberator.function.context import Context, output
from liberator.protocols import Outcome, Output

log = logging.getLogger(__name__)


class PythonFunction:
    """The function that `target` names, or is. folder: where its modules are looked for first. calls: what it may call.

    Raises `ConfigError` (function.python) when it can't be found, `FunctionError` (function.init) when it can't be made
    ready.
    """

    def __init__(self, target: str | Callable[..., Any], folder: Path, calls: Calls | None = None) -> None:
        self._calls = calls
        if isinstance(target, str):
            self.name = target
            self._module, function = find(target, folder)
        else:
            self.name = f"{target.__module__}:{getattr(target, '__qualname__', type(target).__qualname__)}"
            self._module, function = sys.modules.get(target.__module__), target
        self._own = threading.local()
        self._loops: list[asyncio.AbstractEventLoop] = []
        try:
            if inspect.isclass(function):
                function = function()
                self._close = getattr(function, "close", None)
            else:
                self._close = getattr(self._module, "close", None)
                if init := getattr(self._module, "init", None):
                    self._finish(init())
        except (Exception, SystemExit) as error:
            raise _not_ready(self.name, error) from error
        _check_arguments(function, self.name)
        self._function: Callable[..., Any] = function

    def call(self, events: Sequence[Event], context: Context) -> Outcome:
        """Call it: an error of the function is the outcome of all events. Raises `ConfigError` of one that it calls."""
        context.given(events)
        context.connect(self._calls)
        try:
            given = self._finish(self._function(of_streams(events), context))
            return _outcome(given, events, context)
        except FunctionError as error:
            return _all_failed(events, error)
        except ConfigError:
            raise
        except Exception as error:
            context.log.debug("the function raised", exc_info=True)
            failure = FunctionError(_words(error), code="function.raised", where=self.name, retryable=True)
            return _all_failed(events, failure)

    def close(self) -> None:
        """Call its ``close``, if there is one."""
        try:
            if self._close is not None:
                self._finish(self._close())
        except Exception as error:
            log.warning("close of %s raised %s", self.name, _words(error))
        for loop in self._loops:
            loop.close()

    def _finish(self, given: Any) -> Any:
        """Wait for what an ``async def`` gives. A thread has one loop for all calls, as connections belong to a loop."""
        if isinstance(given, AsyncIterator):
            given = _gathered(given)
        if not inspect.isawaitable(given):
            return given
        if (loop := getattr(self._own, "loop", None)) is None:
            loop = self._own.loop = asyncio.new_event_loop()
            self._loops.append(loop)
        return loop.run_until_complete(_awaited(given))


async def _awaited(given: Any) -> Any:
    return await given


async def _gathered(given: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in given]


def find(target: str, folder: Path) -> tuple[Any, Any]:
    """The module and the function that ``module:function`` names. folder: where its modules are looked for first. Raises
    `ConfigError` (function.python), and `FunctionError` (function.init) where the module itself raises."""
    module_name, _, name = target.partition(":")
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
        function: Any = module
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise ConfigError(
            f"there is no function {target}: {error}",
            code="function.python",
            where="function.python",
            fix=f"write MODULE:FUNCTION; modules are looked for in {folder} first",
        ) from error
    except (Exception, SystemExit) as error:
        raise _not_ready(target, error) from error
    if not callable(function):
        raise ConfigError(
            f"{target} can't be called",
            code="function.python",
            where="function.python",
            fix="name a function",
        )
    return module, function


def _check_arguments(function: Callable[..., Any], name: str) -> None:
    """What can't be called with events and a context fails whatever the events are: none of them is to be given up."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # written in C: the call shows
    try:
        signature.bind((), None)
    except TypeError as error:
        raise ConfigError(
            f"{name}{signature} can't be called with events and a context: {error}",
            code="function.python",
            where="function.python",
            fix=f"def {name.rpartition(':')[2]}(events, context): ...",
        ) from None


def _not_ready(name: str, error: BaseException) -> FunctionError:
    return FunctionError(
        f"{name} could not be made ready: {_words(error)}", code="function.init", where=name, retryable=True
    )


def _outcome(given: Any, events: Sequence[Event], context: Context) -> Outcome:
    failures: dict[int, FunctionError] = {}
    outputs: Any = given
    if isinstance(given, Mapping) and given.keys() & {"failed", "outputs"}:
        failures = _failures(given.get("failed") or (), events)
        outputs = given.get("outputs")
    if outputs is None:
        outputs = ()
    elif isinstance(outputs, Iterator):
        outputs = list(outputs)
    elif isinstance(outputs, (Mapping, str, bytes, Output)) or not isinstance(outputs, Sequence):
        outputs = [outputs]
    made = tuple(one if isinstance(one, Output) else output(one) for one in outputs)
    return Outcome(failures, (*context.outputs, *made), context.changes)


def _failures(ids: Any, events: Sequence[Event]) -> dict[int, FunctionError]:
    wanted = {ids} if isinstance(ids, str) else {str(one) for one in ids}
    failures = {
        index: FunctionError("the function says so", code="function.partial", retryable=True)
        for index, event in enumerate(events)
        if event.id in wanted
    }
    if unknown := wanted - {events[index].id for index in failures}:
        raise FunctionError(
            f"the function says that events failed that it was not given: {', '.join(sorted(unknown)[:3])}",
            code="function.result",
            fix="return {'failed': [event.id, ...]}",
            retryable=True,
        )
    return failures


def _all_failed(events: Sequence[Event], error: FunctionError) -> Outcome:
    return Outcome(dict.fromkeys(range(len(events)), error))


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
