"""Transforms in the plan of the log: what rows become, and that nothing hidden is seen."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.change import EncodedBatch
from liberator.errors import ContractError, PreconditionError
from liberator.plan.python import PythonExecutor
from liberator.postgres.model import Column, Identity, PgType, Table
from liberator.postgres.pgoutput import UNCHANGED, Value
from liberator.postgres.values import TypeOptions
from tests.unit.plan.test_python_executor import OID, copy, executor, run, values
from tests.unit.plan.transforming import StepData, plainly, transforms_of
from tests.unit.postgres.wire import begin, commit, delete, insert, relation, truncate, update

INT8 = PgType(20, "pg_catalog", "int8")
TEXT = PgType(25, "pg_catalog", "text")
NUMERIC = PgType(1700, "pg_catalog", "numeric")
BOOL = PgType(16, "pg_catalog", "bool")
JSON = PgType(114, "pg_catalog", "json")
SECRET = "ann@example.org"


def users(identity: Identity = "default", key: tuple[str, ...] = ("id",), *more: Column) -> Table:
    columns = (
        Column("id", INT8, not_null=True),
        Column("email", TEXT),
        Column("status", TEXT),
        Column("amount", NUMERIC),
        Column("fine", BOOL),
    )
    return Table(OID, "public", "t", (*columns, *more), key, identity)


def announced(table: Table) -> bytes:
    columns = [
        (column.name, column.type.oid, column.name in table.key or table.identity == "full")
        for column in table.columns
    ]
    return relation(OID, "t", columns, "f" if table.identity == "full" else "d")


def encoded(it: PythonExecutor, table: Table, *changes: bytes) -> EncodedBatch:
    return run(it, begin(256), announced(table), *changes, commit(256, 264))


class Made:
    """An executor with transforms, on one table."""

    def __init__(self, folder: Path, table: Table, *steps: StepData, **settings: Any) -> None:
        self.table = table
        self.executor = executor(table, transforms=transforms_of(folder, *steps), **settings)

    def events(self, *changes: bytes) -> EncodedBatch:
        return encoded(self.executor, self.table, *changes)


ROW: tuple[Value, ...] = (b"1", SECRET.encode(), b"new", b"12.50", b"t")
DROP = {"drop_columns": {"table": "public.t", "columns": ["email"]}}
MASK = {"mask": {"table": "t", "column": "email", "with": "sha256", "salt": "pepper"}}


def everything(events: EncodedBatch) -> str:
    return repr((events.keys, events.values, events.ids, events.headers, events.topics))


def afters(events: EncodedBatch) -> list[Any]:
    return [None if value is None else value["after"] for value in values(events)]


def test_dropped_columns_are_gone_from_after_and_before(tmp_path: Path) -> None:
    made = Made(tmp_path, users("full"), DROP)
    events = made.events(
        insert(OID, *ROW), update(OID, [*ROW[:2], b"old", *ROW[3:]], ROW, "O"), delete(OID, *ROW, kind="O")
    )
    assert afters(events)[0] == {"id": 1, "status": "new", "amount": "12.50", "fine": True}
    assert values(events)[1]["before"] == {"id": 1, "status": "new", "amount": "12.50", "fine": True}
    assert values(events)[2]["before"] == {"id": 1, "status": "new", "amount": "12.50", "fine": True}
    assert SECRET not in everything(events)


def test_all_columns_but_the_key_may_be_dropped(tmp_path: Path) -> None:
    step = {"drop_columns": {"table": "public.t", "columns": "email, status, amount, fine"}}
    assert afters(Made(tmp_path, users(), step).events(insert(OID, *ROW))) == [{"id": 1}]


def test_a_mask_with_sha256_is_the_digest_of_salt_and_value(tmp_path: Path) -> None:
    [after] = afters(Made(tmp_path, users(), MASK).events(insert(OID, *ROW)))
    assert after["email"] == hashlib.sha256(b"pepper" + SECRET.encode()).hexdigest()


@pytest.mark.parametrize(
    ("way", "left"),
    [("redact", "***"), ("null", None), (None, None), ("truncate:3", "ann"), ("truncate:0", "")],
)
def test_other_masks_leave_less(tmp_path: Path, way: str | None, left: str | None) -> None:
    step = {"mask": {"table": "public.*", "column": ["email"], "with": way}}
    [after] = afters(Made(tmp_path, users(), step).events(insert(OID, *ROW)))
    assert after["email"] == left


def test_truncating_counts_characters(tmp_path: Path) -> None:
    step = {"mask": {"table": "t", "column": ["email"], "with": "truncate:3"}}
    [after] = afters(Made(tmp_path, users(), step).events(insert(OID, b"1", 'é"\n😀x'.encode(), *ROW[2:])))
    assert after["email"] == 'é"\n'


def test_null_stays_null_under_every_mask(tmp_path: Path) -> None:
    [after] = afters(Made(tmp_path, users(), MASK).events(insert(OID, b"1", None, *ROW[2:])))
    assert after["email"] is None


def test_a_masked_key_is_masked_wherever_it_stands(tmp_path: Path) -> None:
    made = Made(tmp_path, users("default", ("email",)), MASK)
    old, other = [None, SECRET.encode(), None, None, None], "bob@example.org"
    new_key = [None, other.encode(), None, None, None]
    events = made.events(
        insert(OID, *ROW),
        update(OID, [b"1", other.encode(), *ROW[2:]], old),
        delete(OID, *new_key),
    )
    snapshot = made.executor.encode(copy(b"1\tann@example.org\tnew\t12.50\tt\n", table=made.table))
    assert events.keys[0] == snapshot.keys[0]
    assert [json.loads(value)["op"] if value else None for value in events.values] == [
        "c",
        "d",
        None,
        "c",
        "d",
        None,
    ]
    assert SECRET not in everything(events) + everything(snapshot)
    assert other not in everything(events)


def test_renamed_columns_have_their_new_names_in_rows_keys_and_lists(tmp_path: Path) -> None:
    step = {"rename": {"table": "public.t", "columns": {"id": "number", "email": "mail", "status": "email"}}}
    made = Made(tmp_path, users(), step)
    events = made.events(
        insert(OID, *ROW),
        update(OID, [b"1", UNCHANGED, b"x", b"1", b"f"]),
        delete(OID, b"1", None, None, None, None),
    )
    created, updated, deleted, _ = values(events)
    assert created["after"] == {"number": 1, "mail": SECRET, "email": "new", "amount": "12.50", "fine": True}
    assert updated["source"]["unchanged"] == ["mail"]
    assert "mail" not in updated["after"]
    assert deleted["before"] == {"number": 1}
    assert set(events.keys) == {b'{"number":1}'}


def test_renaming_does_not_shift_the_ids_of_the_snapshot(tmp_path: Path) -> None:
    step = {"rename": {"table": "public.t", "columns": {"id": "number"}}}
    line = copy(b"1\ta\tnew\t12.50\tt\n", table=users())
    renamed = Made(tmp_path, users(), step).executor.encode(line)
    assert renamed.ids == executor(users()).encode(line).ids


def test_an_unchanged_masked_column_stays_away(tmp_path: Path) -> None:
    [event] = values(
        Made(tmp_path, users(), MASK, DROP_STATUS).events(
            update(OID, [b"1", UNCHANGED, UNCHANGED, b"1", b"t"])
        )
    )
    assert event["source"]["unchanged"] == ["email"]
    assert set(event["after"]) == {"id", "amount", "fine"}


DROP_STATUS = {"drop_columns": {"table": "public.t", "columns": "status"}}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"amount": "number"}, '"amount":12.50'),
        ({"amount": "string", "id": "string"}, '"id":"1"'),
        ({"fine": "string"}, '"fine":"true"'),
        ({"status": "integer"}, '"status":7'),
        ({"status": "boolean"}, None),
    ],
)
def test_casts_keep_every_digit_or_refuse_the_row(
    tmp_path: Path, columns: dict[str, str], expected: str | None
) -> None:
    made = Made(tmp_path, users(), {"cast": {"table": "t", "columns": columns}})
    events = made.events(insert(OID, b"1", b"a", b"7", b"12.50", b"t"))
    [value] = [value.decode() for value in events.values if value]
    if expected is None:
        assert events.topics == ["shop.dead-letters"]
    else:
        assert expected in value


def where(condition: str, **more: Any) -> StepData:
    return {"filter": {"table": "t", "where": condition, **more}}


DRAFTS = where("after.status != 'draft'")


def ops(events: EncodedBatch) -> list[str | None]:
    return [None if value is None else value["op"] for value in values(events)]


def with_status(status: Value, id: bytes = b"1", email: Value = b"a") -> list[Value]:
    return [id, email, status, b"1.5", b"t"]


def old_key(id: bytes = b"1") -> list[Value]:
    return [id, None, None, None, None]


def test_rows_that_do_not_fit_are_no_events_and_ids_do_not_shift(tmp_path: Path) -> None:
    made = Made(tmp_path, users(), DRAFTS)
    events = made.events(insert(OID, *with_status(b"draft")), insert(OID, *with_status(b"new")))
    assert events.ids == [b"7001/slot/0/100/1"]
    lines = (b"1\ta\tdraft\t1\tt\n", b"2\ta\tnew\t1\tt\n")
    assert made.executor.encode(copy(*lines, table=made.table)).keys == [b'{"id":2}']


def test_numbers_are_numbers_in_conditions(tmp_path: Path) -> None:
    made = Made(tmp_path, users(), where("after.amount > 9.5 && after.id < 3 && after.fine"))
    fits = [b"1", b"a", b"b", b"10.00", b"t"]
    events = made.events(
        insert(OID, *fits), insert(OID, b"2", b"a", b"b", b"9.50", b"t"), insert(OID, b"3", *fits[1:])
    )
    assert events.keys == [b'{"id":1}']


def test_a_row_that_leaves_the_stream_is_deleted_there(tmp_path: Path) -> None:
    events = Made(tmp_path, users(), DRAFTS).events(update(OID, with_status(b"draft")))
    gone, tombstone = values(events)
    assert (gone["op"], gone["before"], gone["after"], tombstone) == ("d", {"id": 1}, None, None)
    assert events.ids == [b"7001/slot/0/100/0", b"7001/slot/0/100/0/t"]


def test_with_full_identity_rows_enter_and_leave_as_a_publications_own_filter_has_it(tmp_path: Path) -> None:
    made = Made(tmp_path, users("full"), DRAFTS)
    new, draft = with_status(b"new"), with_status(b"draft")
    events = made.events(
        update(OID, draft, new, "O"),
        update(OID, new, draft, "O"),
        update(OID, draft, draft, "O"),
        update(OID, new, new, "O"),
        delete(OID, *draft, kind="O"),
        delete(OID, *new, kind="O"),
    )
    assert ops(events) == ["d", None, "c", "u", "d", None]
    assert values(events)[2]["before"] is None
    assert "draft" not in everything(events)


def test_a_row_that_changes_its_key_and_leaves_is_gone_under_its_old_key(tmp_path: Path) -> None:
    events = Made(tmp_path, users(), DRAFTS).events(update(OID, with_status(b"draft", b"2"), old_key()))
    assert (ops(events), events.keys) == (["d", None], [b'{"id":1}', b'{"id":1}'])


def test_what_a_delete_does_not_carry_does_not_keep_it_back(tmp_path: Path) -> None:
    made = Made(tmp_path, users(), DRAFTS, where("after.id != 7"))
    events = made.events(delete(OID, *old_key()), delete(OID, *old_key(b"7")))
    assert (ops(events), events.keys[0]) == (["d", None], b'{"id":1}')


def test_an_update_that_leaves_out_what_a_condition_needs_passes(tmp_path: Path) -> None:
    assert ops(Made(tmp_path, users(), DRAFTS).events(update(OID, with_status(UNCHANGED)))) == ["u"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("op == 'c'", ["c"]),
        ("op != 'd'", ["c", "u", "t"]),
        ("before == null", ["c", "u", "d", None, "t"]),
        ("key.id == 2", ["t"]),
        ("op == 'd' || after.status == 'gone'", ["d", None, "t"]),
    ],
)
def test_a_condition_about_events_takes_each_by_itself(
    tmp_path: Path, condition: str, expected: list[str | None]
) -> None:
    made = Made(tmp_path, users(), where(condition))
    events = made.events(
        insert(OID, *with_status(b"new")),
        update(OID, with_status(b"x")),
        delete(OID, *old_key()),
        truncate(OID),
    )
    assert ops(events) == expected


def test_leaving_says_whether_a_row_or_an_event_is_meant(tmp_path: Path) -> None:
    change = update(OID, with_status(b"draft"))
    assert ops(Made(tmp_path, users(), where("after.status != 'draft'", leaving="drop")).events(change)) == []
    literal = where("op != 'u' || after.status != 'draft'", leaving="delete")
    assert ops(Made(tmp_path, users(), literal).events(change)) == ["d", None]


def test_a_filter_sees_columns_as_they_are_at_its_step(tmp_path: Path) -> None:
    rename = {"rename": {"table": "t", "columns": {"status": "state"}}}
    drop = {"drop_columns": {"table": "t", "columns": "state"}}
    hidden = {"mask": {"table": "t", "column": "email", "with": "redact"}}
    made = Made(
        tmp_path, users(), rename, where("after.state == 'new'"), drop, hidden, where("after.email == '***'")
    )
    assert afters(made.events(insert(OID, *ROW), insert(OID, *with_status(b"x")))) == [
        {"id": 1, "email": "***", "amount": "12.50", "fine": True}
    ]


@pytest.mark.parametrize("policy", ["dead_letter", "warn"])
def test_what_a_condition_fails_on_goes_to_the_dead_letters(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    made = Made(tmp_path, users(), where("after.status > 3"), MASK, on_invalid=policy)
    events = made.events(insert(OID, *ROW), update(OID, list(ROW)), delete(OID, *old_key()))
    assert events.topics == ["shop.dead-letters", "shop.dead-letters", "shop.public.t", "shop.public.t"]
    headers = dict(events.headers[0] or ())
    assert headers["__connect.errors.stage"] == b"TRANSFORMATION"
    assert b"_>_(string, int64)" in headers["__connect.errors.exception.message"]
    assert SECRET not in everything(events) + caplog.text


def test_what_a_condition_fails_on_stops_where_that_is_the_policy(tmp_path: Path) -> None:
    made = Made(tmp_path, users(), where("after.status > 3"), on_invalid="stop")
    with pytest.raises(ContractError, match="a transform failed") as caught:
        made.events(insert(OID, *ROW))
    assert caught.value.code == "expression.failed"


def test_text_that_does_not_fit_its_type_is_not_shown_where_it_is_masked(tmp_path: Path) -> None:
    mask = {"mask": {"table": "t", "column": "amount", "with": "sha256", "salt": "x"}}
    made = Made(tmp_path, users(), mask)
    line = b"1\tb\tnew\tSECRET\tt\n"
    events = made.executor.encode(copy(line, table=made.table))
    assert events.topics == ["shop.dead-letters"]
    assert afters(events)[0]["amount"] == "***"
    assert "SECRET" not in everything(events)


CONTRACT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"number": {"type": "integer"}, "email": {"pattern": "^[0-9a-f]{64}$"}},
    "required": ["number", "email"],
    "additionalProperties": False,
}


def test_the_contract_is_about_the_row_after_transforms(tmp_path: Path) -> None:
    rename = {"rename": {"table": "t", "columns": {"id": "number"}}}
    drop = {"drop_columns": {"table": "t", "columns": "status, amount, fine"}}
    made = Made(tmp_path, users(), rename, drop, MASK, contract=CONTRACT)
    events = made.events(insert(OID, *ROW), insert(OID, b"2", None, *ROW[2:]))
    assert events.topics == ["shop.public.t", "shop.public.t"]
    less = Made(tmp_path, users(), rename, drop, contract=CONTRACT).events(insert(OID, *ROW))
    assert less.topics == ["shop.dead-letters"]
    assert b"/email" in dict(less.headers[0] or ())["__connect.errors.exception.message"]


def test_another_key(tmp_path: Path) -> None:
    made = Made(
        tmp_path,
        users("full"),
        {"key": {"table": "t", "columns": "status, id"}},
        {"rename": {"table": "t", "columns": {"id": "n"}}},
    )
    assert made.events(insert(OID, *ROW)).keys == [b'{"status":"new","n":1}']
    with pytest.raises(PreconditionError, match="deletes would"):
        Made(tmp_path, users(), {"key": {"table": "t", "columns": "status"}}).events(insert(OID, *ROW))


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([{"drop_columns": {"table": "t", "columns": "id"}}], "plan.transform_key"),
        ([{"mask": {"table": "t", "column": "id", "with": "null"}}], "plan.transform_key"),
        ([{"mask": {"table": "t", "column": "id", "with": "redact"}}], "plan.transform_key"),
        (
            [
                {"mask": {"table": "t", "column": "amount", "with": "redact"}},
                {"key": {"table": "t", "columns": "id, amount"}},
            ],
            "plan.transform_key",
        ),
        ([{"mask": {"table": "t", "column": "fine", "with": "truncate:1"}}], "plan.transform_type"),
        ([{"cast": {"table": "t", "columns": {"tags": "number"}}}], "plan.transform_type"),
        ([{"rename": {"table": "t", "columns": {"email": "status"}}}], "plan.transform_name"),
    ],
)
def test_what_can_not_be_done_with_the_columns_is_refused(
    tmp_path: Path, steps: list[StepData], code: str
) -> None:
    tags = Column("tags", PgType(1009, "pg_catalog", "_text", "array", TEXT))
    made = Made(tmp_path, users("full", ("id",), tags), *steps)
    with pytest.raises(PreconditionError) as caught:
        made.events(insert(OID, *ROW, b"{}"))
    assert caught.value.code == code
    assert "shop.yaml:1: transform[" in (caught.value.where or "")


def test_a_hidden_column_or_table_with_a_new_name_stops_before_it_is_seen(tmp_path: Path) -> None:
    former = users()
    renamed = Table(
        OID, "public", "t", (*users().columns[:1], Column("mail", TEXT), *users().columns[2:]), ("id",)
    )
    with pytest.raises(PreconditionError, match="in the clear"):
        transforms_of(tmp_path, DROP).shape(renamed, facts(renamed), None, former=former)
    gone = {"drop_columns": {"table": "public.t", "columns": ["email"], "if_present": True}}
    assert transforms_of(tmp_path, gone).shape(renamed, facts(renamed), None, former=former) is not None
    elsewhere = Table(OID, "public", "people", users().columns, ("id",))
    with pytest.raises(PreconditionError, match="in the clear"):
        transforms_of(tmp_path, DROP).shape(elsewhere, facts(elsewhere), None, former=users())


@pytest.mark.parametrize(
    "step",
    [
        {"drop_columns": {"table": "public.t", "columns": ["nope"]}},
        {"rename": {"table": "public.t", "columns": {"nope": "x"}}},
        {"mask": {"table": "public.t", "column": ["nope"], "with": "redact"}},
        {"cast": {"table": "public.t", "columns": {"nope": "string"}}},
        {"key": {"table": "public.t", "columns": ["nope"]}},
        {"filter": {"table": "public.t", "where": "after.nope == 1"}},
    ],
)
def test_a_column_that_is_not_there_is_refused_at_the_start_and_taken_as_older_later(
    tmp_path: Path, step: StepData
) -> None:
    table = users()
    with pytest.raises(PreconditionError, match="no column nope") as caught:
        transforms_of(tmp_path, step).shape(table, facts(table), None, missing="refuse")
    assert caught.value.code == "plan.transform_column"
    assert transforms_of(tmp_path, step).shape(table, facts(table), None) is not None
    [(kind, said)] = step.items()
    everywhere = {kind: {**said, "table": "public.*"}}
    assert transforms_of(tmp_path, everywhere).shape(table, facts(table), None, missing="refuse") is not None


def test_a_table_that_is_not_there_is_refused_a_glob_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(PreconditionError, match="is not among the captured tables"):
        transforms_of(tmp_path, DROP).warn_of_unused([("public", "other")])
    glob = {"drop_columns": {"table": "audit_*", "columns": ["x"]}}
    with caplog.at_level(logging.WARNING):
        transforms_of(tmp_path, glob).warn_of_unused([("public", "other")])
    assert "no table fits audit_*" in caplog.text


FUNCTIONS = """
def shout(event):
    if event["after"] is None:
        return None if event["before"]["id"] == 9 else event
    if event["after"]["id"] == 9:
        return None
    if event["after"]["id"] == 8:
        raise ValueError(event["after"]["email"])
    if event["after"]["id"] == 6:
        return {**event, "after": {"id": 6, "mean": [0.5, float(event["after"]["amount"])]}}
    if event["after"]["id"] == 7:
        return {"after": 1, "before": None}
    return {**event, "after": {**event["after"], "status": event["after"]["status"].upper(),
            "more": [event["op"], event["table"]]}}
"""


def calling(folder: Path, *steps: StepData, **settings: Any) -> Made:
    name = f"functions_{abs(hash(str(folder)))}"
    (folder / f"{name}.py").write_text(FUNCTIONS)
    return Made(folder, users(), *steps, {"python": f"{name}:shout"}, **settings)


def test_a_function_gets_plain_events_and_gives_them_back_or_none(tmp_path: Path) -> None:
    made = calling(tmp_path)
    events = made.events(
        insert(OID, *ROW), insert(OID, b"9", *ROW[1:]), delete(OID, *old_key(b"9")), delete(OID, *old_key())
    )
    assert ops(events) == ["c", "d", None]
    assert events.ids[0].endswith(b"/0")
    [created] = afters(events)[:1]
    assert (created["status"], created["more"]) == ("NEW", ["c", "public.t"])


def test_what_a_function_raises_is_told_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = calling(tmp_path).events(insert(OID, b"8", *ROW[1:]), insert(OID, b"7", *ROW[1:]))
    assert events.topics == ["shop.dead-letters"] * 2
    first, second = (dict(headers or ()) for headers in events.headers)
    assert b"raised ValueError" in first["__connect.errors.exception.message"]
    assert SECRET not in repr(events.headers) + caplog.text
    assert b"after is not what its op asks for" in second["__connect.errors.exception.message"]


@pytest.mark.parametrize("amount", [b"NaN", b"Infinity"])
def test_a_number_that_json_does_not_have_is_not_published_as_null(tmp_path: Path, amount: bytes) -> None:
    events = calling(tmp_path).events(insert(OID, b"6", *ROW[1:3], amount, b"t"), insert(OID, b"6", *ROW[1:]))
    assert events.topics == ["shop.dead-letters", "shop.public.t"]
    assert b"JSON has no word for" in dict(events.headers[0] or ())["__connect.errors.exception.message"]


HALVES = [rb'"\ud800"', rb'{"\udc00": 1}', b"1e400"]
"""PostgreSQL's json takes them; not every parser does."""


def documents() -> Table:
    columns = (Column("id", INT8, not_null=True), Column("doc", JSON))
    return Table(OID, "public", "t", columns, ("id",), "full")


@pytest.mark.parametrize("document", HALVES, ids=["text", "member", "number"])
def test_a_document_that_python_can_not_take_is_a_dead_letter_of_the_function(
    tmp_path: Path, document: bytes
) -> None:
    (tmp_path / "idle.py").write_text("def same(event): return event")
    made = Made(tmp_path, documents(), {"python": "idle:same"}, types=TypeOptions(json="embed"))
    events = made.events(insert(OID, b"1", document), insert(OID, b"2", b"{}"), delete(OID, b"1", document))
    assert events.topics == ["shop.dead-letters", "shop.public.t", "shop.dead-letters"]


@pytest.mark.parametrize(
    "step",
    [
        {"mask": {"table": "t", "column": "doc", "with": "sha256", "salt": "pepper"}},
        {"cast": {"table": "t", "columns": {"doc": "string"}}},
    ],
)
def test_a_text_with_half_a_character_in_it_is_masked_and_cast_as_any_other(
    tmp_path: Path, step: StepData
) -> None:
    made = Made(tmp_path, documents(), step, types=TypeOptions(json="embed"))
    texts = [
        after["doc"]
        for after in afters(
            made.events(*(insert(OID, b"1", each) for each in (rb'"\ud800"', rb'"\ud801"', rb'"\ud800"')))
        )
    ]
    assert texts[0] == texts[2] != texts[1]


def test_a_text_with_half_a_character_in_it_is_no_number(tmp_path: Path) -> None:
    made = Made(
        tmp_path,
        documents(),
        {"cast": {"table": "t", "columns": {"doc": "number"}}},
        types=TypeOptions(json="embed"),
    )
    assert made.events(insert(OID, b"1", rb'"\ud800"')).topics == ["shop.dead-letters"]


def test_the_contract_is_about_what_functions_leave(tmp_path: Path) -> None:
    contract = {
        **CONTRACT,
        "properties": {"more": {"minItems": 2}, "status": {"const": "NEW"}},
        "required": ["more"],
    }
    contract["additionalProperties"] = True
    made = calling(tmp_path, contract=contract)
    events = made.events(insert(OID, *ROW), insert(OID, *with_status(b"x")))
    assert events.topics == ["shop.public.t", "shop.dead-letters"]


def facts(table: Table) -> Any:
    from liberator.plan.shaping import fields
    from liberator.plan.tables import column_facts
    from liberator.postgres.values import TypeOptions

    return fields(table, column_facts(table, TypeOptions()))


NAMES = ("email", "status", "amount", "fine")
WAYS = st.sampled_from(["sha256", "redact", "null"])


@st.composite
def step_lists(draw: st.DrawFn) -> list[StepData]:
    """Steps that fit, in any order, each about columns that are there by then."""
    names = {"id": "id", **{name: name for name in NAMES}}
    steps: list[StepData] = []
    for number in range(draw(st.integers(1, 5))):
        left = [name for name in names if name != "id"]
        kind = draw(st.sampled_from(["drop_columns", "rename", "mask", "cast"]))
        if not left:
            break
        chosen = draw(st.lists(st.sampled_from(left), min_size=1, max_size=2, unique=True))
        if kind == "drop_columns":
            steps.append({kind: {"table": "t", "columns": chosen}})
            for name in chosen:
                del names[name]
        elif kind == "rename":
            new = {name: f"{name}_{number}" for name in chosen}
            steps.append({kind: {"table": "t", "columns": new}})
            names = {new.get(name, name): name for name in names}
        elif kind == "mask":
            way = draw(WAYS)
            said = {"table": "t", "column": chosen, "with": way}
            steps.append({kind: {**said, "salt": "pepper"} if way == "sha256" else said})
        else:
            steps.append({kind: {"table": "t", "columns": dict.fromkeys(chosen, "string")}})
    return steps


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
ROWS = st.tuples(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.none() | TEXTS,
    st.none() | TEXTS,
    st.none()
    | st.decimals(allow_nan=False, allow_infinity=False, places=2).map(lambda number: f"{number:f}"),
    st.none() | st.sampled_from("tf"),
)


@given(step_lists(), st.lists(ROWS, min_size=1, max_size=4))
def test_the_plan_makes_of_rows_what_a_plain_reading_makes_of_them(
    steps: list[StepData], rows: list[tuple[str | None, ...]]
) -> None:
    sent = [[None if value is None else value.encode() for value in row] for row in rows]
    changes = [insert(OID, *row) for row in sent] + [update(OID, row, ROW, "O") for row in sent]
    plain = encoded(executor(users("full")), users("full"), *changes)
    with tempfile.TemporaryDirectory() as folder:
        made = Made(Path(folder), users("full"), *steps).events(*changes)
    assert made.ids == plain.ids
    for event, before in zip(values(made), values(plain), strict=True):
        for part in ("after", "before"):
            if before is not None and before[part] is not None:
                assert event[part] == plainly(before[part], steps)
                assert list(event[part]) == list(plainly(before[part], steps))
