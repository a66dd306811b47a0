"""May a connector start here? Every disagreement between checkpoint, slot and server has its own refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from liberator.errors import LiberatorError, PreconditionError
from liberator.postgres.replication import System
from liberator.postgres.slots import Slot
from liberator.source.position import SlotPosition
from liberator.source.start import RENEWABLE, check_readable, grants, judge, require_inactive
from tests.unit.source.tables import table

SYSTEM = System("7001", 1, 1000, "shop", 180000)
POSITION = SlotPosition("7001", 1, "shop", "shop", ("shop",), 500)
SLOT = Slot("shop", "pgoutput", "shop", False, None, 400, 500, "reserved", 600)


def verdict(
    position: SlotPosition | None = POSITION,
    slot: Slot | None = SLOT,
    end: int = 1000,
    system: System = SYSTEM,
) -> LiberatorError | None:
    return judge(system, end, position, slot, slot_name="shop", publications=("shop",))


def test_a_position_and_its_slot_belong_together() -> None:
    assert verdict() is None
    assert verdict(slot=replace(SLOT, confirmed_lsn=499)) is None
    assert verdict(position=POSITION.at(1000)) is None


def test_a_first_start_finds_neither() -> None:
    assert verdict(position=None, slot=None) is None


def test_a_saved_intent_is_not_taken_for_a_loss() -> None:
    intent = replace(POSITION, created=False, lsn=0)
    assert verdict(position=intent, slot=None) is None
    assert verdict(position=intent) is None


@pytest.mark.parametrize(
    ("position", "slot", "end", "code"),
    [
        (None, SLOT, 1000, "checkpoint.missing"),
        (replace(POSITION, system="7002"), SLOT, 1000, "checkpoint.system"),
        (replace(POSITION, timeline=2), SLOT, 1000, "checkpoint.timeline"),
        (replace(POSITION, database="other"), SLOT, 1000, "checkpoint.database"),
        (replace(POSITION, slot="other"), SLOT, 1000, "checkpoint.slot"),
        (replace(POSITION, publications=("other",)), SLOT, 1000, "checkpoint.publication"),
        (POSITION, None, 1000, "source.slot_missing"),
        (POSITION, replace(SLOT, wal_status="lost"), 1000, "source.slot_lost"),
        (POSITION, replace(SLOT, plugin="test_decoding"), 1000, "source.slot_foreign"),
        (POSITION, replace(SLOT, database="other"), 1000, "source.slot_foreign"),
        (POSITION, replace(SLOT, confirmed_lsn=501), 1000, "checkpoint.older"),
        (POSITION, SLOT, 499, "checkpoint.future"),
    ],
)
def test_refuses_with_exit_3_and_the_way_out(
    position: SlotPosition | None, slot: Slot | None, end: int, code: str
) -> None:
    error = verdict(position, slot, end)
    assert error is not None
    assert (error.code, error.exit_code) == (code, 3)
    assert error.fix


def test_only_losses_are_answered_by_when_needed() -> None:
    assert {"source.slot_missing", "source.slot_lost", "checkpoint.missing"} == RENEWABLE


def test_a_slot_in_use_names_the_process_and_may_be_tried_again() -> None:
    require_inactive(SLOT)
    with pytest.raises(PreconditionError, match="active for PID 77") as caught:
        require_inactive(replace(SLOT, active_pid=77))
    assert caught.value.retryable


def test_a_table_that_may_not_be_read_is_refused_with_the_grant() -> None:
    with pytest.raises(PreconditionError) as caught:
        check_readable([table("t", readable=False)], "cdc")
    assert 'GRANT SELECT ON "public"."t" TO "cdc"' in str(caught.value.fix)


def test_the_remedy_for_missing_rights_can_be_run_as_it_is() -> None:
    sql = grants([table('T "x"', schema="S")], 'me"')
    assert sql == 'GRANT USAGE ON SCHEMA "S" TO "me"""; GRANT SELECT ON "S"."T ""x""" TO "me""";'


def test_the_remedy_for_missing_rights_is_one_statement_for_all_tables() -> None:
    sql = grants([table("t"), table("u"), table("v", schema="s")], "me")
    assert sql == (
        'GRANT USAGE ON SCHEMA "public", "s" TO "me"; GRANT SELECT ON "public"."t", "public"."u", "s"."v" TO "me";'
    )


def test_row_security_that_would_hide_rows_is_refused() -> None:
    with pytest.raises(PreconditionError) as caught:
        check_readable([table("t", hides_rows=True)], "cdc")
    assert caught.value.code == "source.row_security"


@pytest.mark.parametrize("position", [None, replace(POSITION, created=False)], ids=["none", "intent"])
@pytest.mark.parametrize(
    "other", [{"plugin": "wal2json"}, {"database": "elsewhere"}], ids=["plugin", "database"]
)
def test_a_slot_of_somebody_else_is_never_taken_for_one_to_be_replaced(
    position: SlotPosition | None, other: dict[str, str]
) -> None:
    """What is found where ours was to be made would be dropped, and with it somebody's place in the log."""
    slot = Slot(
        "shop",
        **{"plugin": "pgoutput", "database": "shop", **other},
        temporary=False,
        active_pid=None,
        restart_lsn=400,
        confirmed_lsn=500,
        wal_status="reserved",
        retained=600,
    )
    with pytest.raises(PreconditionError) as refused:
        verdict(position=position, slot=slot)
    assert refused.value.code == "source.slot_foreign"
    assert refused.value.code not in RENEWABLE
