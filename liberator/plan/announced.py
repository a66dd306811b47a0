"""The tables that a stream has announced, and the plan of each, made when its first row comes.

Enters: Relation messages. Leaves: plans, None for tables that are not captured. Called by the log's executor, once per row.
What a table is, the planner finds out; nobody is asked for a row of a table that is known.
"""

from __future__ import annotations

from liberator.plan.compile import TablePlan
from liberator.plan.planner import Planner
from liberator.postgres.pgoutput import Relation, malformed


class AnnouncedTables:
    """plans: by oid; the executor looks there first, because it does so for every row. padded: by oid, see `is_padded`."""

    def __init__(self, planner: Planner) -> None:
        self.plans: dict[int, TablePlan | None] = {}
        self._planner = planner
        self._relations: dict[int, Relation] = {}
        self._varying: dict[int, TablePlan] = {}
        self._former: dict[int, TablePlan] = {}
        self.padded: dict[int, bool] = {}

    def announce(self, relation: Relation) -> None:
        """From here on the rows of a table have this shape; what that means is found out when the first of them comes."""
        oid = relation.oid
        self._relations[oid] = relation
        for told in (self.plans, self._varying, self._former, self.padded):
            told.pop(oid, None)

    def forget(self) -> None:
        """Nothing is announced any more."""
        for told in (self.plans, self._relations, self._varying, self._former, self.padded):
            told.clear()

    def next_batch(self) -> None:
        """Look again at tables with composite types, and at those whose rows were refused under an older contract."""
        for oid in (*self._varying, *self._planner.to_settle_again()):
            self.plans.pop(oid, None)

    def plan(self, oid: int) -> TablePlan | None:
        """What is not in `plans` yet, and is from now on. Raises `DecodeError` for a table that was not announced."""
        known = self._varying.get(oid)
        if known is None:
            return self._of_first_row(oid)
        now = self._planner.as_of_now(known)
        if now is not known:
            self._former[oid] = known
        self._varying[oid] = self.plans[oid] = now
        return now

    def _of_first_row(self, oid: int) -> TablePlan | None:
        relation = self._relations.get(oid)
        if relation is None:
            raise malformed("a change of a table that it did not announce", 26)
        plan = self.plans[oid] = self._planner.of_relation(relation)
        if plan is not None and self._planner.varies(plan):
            self._varying[oid] = plan
        return plan

    def step_back(self, oid: int) -> bool:
        """Take the plan from before the types changed, if there is one that is not in use. It holds until a row does not fit
        that either: rows come in the order of time."""
        former = self._former.get(oid)
        if former is None or self.plans[oid] is former:
            return False
        self.plans[oid] = former
        return True

    def look_again(self, oid: int) -> None:
        """Make the plan anew, with the types that the catalogue knows now."""
        self.plans[oid] = self._planner.of_relation(self._relations[oid], fresh_types=True)

    def is_padded(self, plan: TablePlan) -> bool:
        """See `Planner.pads`; asked once after each announcement, when an old row with nulls comes."""
        oid = plan.table.oid
        if oid not in self.padded:
            self.padded[oid] = self._planner.pads(plan)
        return self.padded[oid]
