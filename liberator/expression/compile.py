"""The text of an expression -> something that can be evaluated, by cel-cpp, the reference implementation of CEL."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from liberator.errors import ConfigError, EvaluationError
from liberator.expression.mentions import mentions

LONGEST = 4096
"""Characters of an expression."""

ROW = ("after", "before", "op", "key")
"""What conditions over the events of tables speak of."""

_TEXTS = frozenset({"op", "topic", "id", "type"})
"""Variables that always are text, so that a comparison with anything else is found offline."""

_FAULT = re.compile(r"<input>:(?P<line>-?[0-9]+):(?P<column>-?[0-9]+): (?P<what>[^\n]*)")
_WRONG_TYPES = re.compile(r"No matching overloads found : [\w@\[\]?:!&|<>=+*/%.-]+\([\w, ()<>]*\)")
_REASONS = {
    "NOT_FOUND": "it asks for something that is not there",
    "OUT_OF_RANGE": "a number in it is too large",
    "UNKNOWN": "what it works with is of the wrong type, or lies outside of a list",
}


class Expression:
    """One compiled expression. text: as it was written. Safe to share between threads."""

    def __init__(self, text: str, program: Any) -> None:
        self.text = text
        self._evaluate = program.eval

    def evaluate(self, activation: Mapping[str, Any]) -> Any:
        """What the expression says. activation: the value of each variable, as JSON has them (dict, list, str, int, float,
        bool, None; bytes too). Raises `EvaluationError`, with no value in it."""
        try:
            value = self._evaluate(data=activation)
            result = value.value()
        except (RuntimeError, TypeError, ValueError) as error:
            raise _failure(str(error)) from None
        if result is True or result is False:
            return result
        if value.type().name() == "ERROR":
            raise _failure(str(result))
        return value.plain_value()

    def holds(self, activation: Mapping[str, Any]) -> bool:
        """Does the condition hold? Raises `EvaluationError` too when it says neither true nor false."""
        result = self.evaluate(activation)
        if result is True or result is False:
            return bool(result)
        raise _failure("it is neither true nor false")

    def mentions(self, variable: str) -> frozenset[str] | None:
        """The members of `variable` that it can look at; None: any of them. A row needs no more than these."""
        return mentions(self.text, variable)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def compile(text: str, variables: Sequence[str] = ROW) -> Expression:
    """Compile once, offline. variables: the names that it may use. Raises `ConfigError` with line and column in `what`."""
    return Expression(text, _program(text, tuple(variables)))


def condition(text: str, variables: Sequence[str] = ROW) -> Expression:
    """`compile` for what must be true or false. Whether a member of a row is, only evaluation tells."""
    program = _program(text, tuple(variables))
    kind = program.return_type().name()
    if kind not in ("BOOL", "DYN"):
        raise _fault(f"a condition is true or false, this is {kind.lower()}", "compare it with something")
    return Expression(text, program)


def _program(text: str, variables: tuple[str, ...]) -> Any:
    if len(text) > LONGEST:
        raise _fault(
            f"an expression has at most {LONGEST} characters, this one {len(text)}", "make it shorter"
        )
    environment = _environment(variables)
    try:
        return environment.compile(text)
    except RuntimeError as error:
        raise _syntax(str(error), variables) from None


@functools.lru_cache(maxsize=16)
def _environment(variables: tuple[str, ...]) -> Any:
    try:
        from cel_expr_python import cel
    except ImportError:
        raise _fault(
            "expressions need the package cel-expr-python, which there is for Python 3.11 and newer",
            "use a newer Python, or leave expressions out",
            code="expression.unavailable",
        ) from None
    types = {name: cel.Type.STRING if name in _TEXTS else cel.Type.DYN for name in variables}
    return cel.NewEnv(variables=types)


def _syntax(said: str, variables: tuple[str, ...]) -> ConfigError:
    """The engine's own words on the first fault. They quote the expression only."""
    found = _FAULT.search(said)
    if found is None or int(found["line"]) < 1:
        return _fault("it is nested too deeply", "write it as several filters")
    what = found["what"].removesuffix(" [INVALID_ARGUMENT]").removeprefix("Syntax error: ")
    what = re.sub(r"expecting \{.*|\(in container ''\)", "", what).strip()
    fix = "see cel.dev for the language"
    if "undeclared reference" in what:
        fix = f"an expression knows {', '.join(variables)}, and CEL's own functions; text stands in quotes"
    place = f"line {found['line']}, column {found['column']}"
    return _fault(f"{place}: {what}", fix)


def _fault(what: str, fix: str, code: str = "expression.invalid") -> ConfigError:
    return ConfigError(what, code=code, fix=fix)


def _failure(said: str) -> EvaluationError:
    """What the engine says may hold values of the row; types and kinds of failures do not."""
    types = _WRONG_TYPES.search(said)
    if types:
        reason = f"no such operation: {types[0].partition(' : ')[2]}"
    elif "divide by zero" in said or "modulus by zero" in said:
        reason = "division by zero"
    elif "Iteration budget" in said:
        reason = "it goes through too many elements"
    elif said.startswith("it is neither"):
        reason = said
    elif said.startswith("INVALID_ARGUMENT: Applying SELECT"):
        reason = "it asks for a member of something that has none, as null"
    else:
        reason = _REASONS.get(said.partition(":")[0], "a value in it can't be used like this")
    return EvaluationError(
        f"the expression can't be evaluated: {reason}",
        code="expression.failed",
        fix="guard it, for example with has(after.x) && or after.x != null &&",
    )
