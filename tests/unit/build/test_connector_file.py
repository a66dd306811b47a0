"""The text of a connector file: whatever the names in a database are, it says what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.build.connector_file import ConnectorFile, Described, pattern_of
from liberator.config import SourceConfig, load
from liberator.source.query.advice import ColumnSeen, TableSeen, advise

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15)


def loaded(folder: Path, file: ConnectorFile) -> SourceConfig:
    path = folder / "made.yaml"
    path.write_text(file.text(), encoding="utf-8")
    [config] = load(path, {file.variable: "mysql+pymysql://me@localhost/shop"})
    return config


def described(table: str, column: str = "updated_at") -> Described:
    seen = TableSeen((ColumnSeen(column, "time", at_update=True), ColumnSeen(f"is_{column}"[:9], "flag")))
    return Described(pattern_of(None, table), "no rows yet", advise(table, seen))


def a_file(*tables: Described, **more: object) -> ConnectorFile:
    made = {"name": "shop", "server": "mariadb 11.4", "url": "mysql://me:***@h/shop", "publish": None}
    return ConnectorFile(**{**made, "because": ["So."], "queried": list(tables), **more})  # type: ignore[arg-type]  # as given


@given(table=NAMES, column=NAMES)
def test_every_name_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: str, column: str
) -> None:
    config = loaded(tmp_path_factory.mktemp("made"), a_file(described(table, column)))
    [pattern] = config.source.query.tables
    assert (pattern.schema, pattern.table, pattern.exact) == (None, table, True)
    assert config.source.query.tables[pattern].timestamp_column == column


@pytest.mark.parametrize(
    "name", ["a\n  mode: log", "a # b", "${HOME}", "a: b", "'", '"', "no", "1", "~", "[x]", "*"]
)
def test_a_name_ends_neither_comment_nor_value(tmp_path: Path, name: str) -> None:
    file = a_file(described(name, name), excluded=[(pattern_of("s", name), f"because of {name}")])
    config = loaded(tmp_path, file)
    assert config.source.mode == "query"
    assert [(p.schema, p.table) for p in config.source.exclude] == [("s", name)]
    assert [p.table for p in config.source.query.tables] == [name]


def test_where_events_go_may_be_filled_in(tmp_path: Path) -> None:
    assert loaded(tmp_path, a_file(described("t"))).publish.url == "kafka://localhost:9092"
    assert "${SHOP_BROKER:-kafka://localhost:9092}" in a_file(described("t")).text()
    assert loaded(tmp_path, a_file(described("t"), publish="-")).publish.url == "-"


@pytest.mark.parametrize(
    ("name", "variable"), [("shop-2", "SHOP_2_DSN"), ("7even", "EVEN_DSN"), ("42", "SOURCE_DSN")]
)
def test_the_variable_is_called_after_the_connector(name: str, variable: str) -> None:
    assert a_file(name=name).variable == variable


def test_lines_are_short_enough_to_read() -> None:
    long = a_file(described("t"), because=["word " * 100])
    assert max(map(len, long.text().splitlines())) <= 110


def test_the_commands_in_it_name_the_file_that_it_is() -> None:
    assert "#   liberate run shop.yaml" in a_file().text()
    assert "#   liberate run 'my files/legacy.yaml'" in a_file(path="my files/legacy.yaml").text()
