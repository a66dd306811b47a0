"""A small safe language for conditions over events: CEL, the Common Expression Language.

Enters: the text of an expression, once; values as JSON has them, per evaluation. Leaves: an `Expression`, and what it says.
Called by the configuration, which compiles offline, and by whoever tests events: transforms of a source, triggers of a
sink. It never does I/O, has no loops but macros over lists, each with an end, and never repeats a value in an error.
See docs/adr/0021 for why this engine.
"""

from liberator.expression.compile import LONGEST, Expression, condition
from liberator.expression.compile import compile as compile
from liberator.expression.mentions import mentions

__all__ = ["LONGEST", "Expression", "compile", "condition", "mentions"]
