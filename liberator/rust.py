"""The module in Rust (native/, `liberator_native`), where one is installed that fits. Imports nothing of ours.

Called by whoever has a part of its work there: the plan's executor, lines of JSON. All of them do the same in Python.
"""

from __future__ import annotations

import os
from types import ModuleType

__all__ = ["INTERFACE", "fits", "in_use", "liberator_native"]

try:
    import liberator_native
except ImportError:
    liberator_native = None  # type: ignore[assignment]  # it is optional

INTERFACE = 4
"""Of the module; see native/src/lib.rs."""


def fits(module: ModuleType | None) -> bool:
    """Is it there, and the one that this version of ours calls?"""
    return getattr(module, "INTERFACE", None) == INTERFACE


in_use = fits(liberator_native) and os.environ.get("LIBERATOR_IMPL") != "python"
"""Is it taken where nobody asks for one of the two?"""
