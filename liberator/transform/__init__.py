"""What becomes of rows before they are events: columns left out, renamed, masked, cast; rows filtered; topics chosen.

Enters: the steps of a configuration, and the columns of one table version. Leaves: a `Shape`, from which the plan of that
version is compiled. Called once per table version; of its parts only the functions in `values` run per row, and only for
the columns that a step names. No I/O, no clock.
"""

from liberator.transform.shape import Condition, Field, Missing, Shape, shape_of
from liberator.transform.steps import (
    Call,
    Cast,
    DropColumns,
    Filter,
    Key,
    Mask,
    Rename,
    Route,
    Step,
    Tables,
    topic_of,
)
from liberator.transform.values import CastError, Kind, Way, cast, mask

__all__ = [
    "Call",
    "Cast",
    "CastError",
    "Condition",
    "DropColumns",
    "Field",
    "Filter",
    "Key",
    "Kind",
    "Mask",
    "Missing",
    "Rename",
    "Route",
    "Shape",
    "Step",
    "Tables",
    "Way",
    "cast",
    "mask",
    "shape_of",
    "topic_of",
]
