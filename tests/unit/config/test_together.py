"""Connectors that run side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.config import ConfigErrors, load_all, load_together


def connector(folder: Path, file: str, name: str, url: str = "postgresql://db/shop", more: str = "") -> Path:
    path = folder / file
    path.write_text(f"name: {name}\nsource: {{url: '{url}'}}\npublish: {{url: 'kafka://b:9092'}}\n{more}")
    return path


def codes(paths: list[Path], *, one_machine: bool = True) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_together(paths, {}, one_machine=one_machine)
    return [fault.code for fault in caught.value.faults]


def test_connectors_with_different_names_go_together(tmp_path: Path) -> None:
    paths = [connector(tmp_path, "a.yaml", "a"), connector(tmp_path, "b.yaml", "b")]
    assert [config.name for config in load_together(paths, {}, one_machine=True)] == ["a", "b"]


def test_one_name_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    paths = [
        connector(tmp_path, "a.yaml", "a"),
        connector(tmp_path, "b.yaml", "a", "postgresql://other/shop"),
    ]
    with pytest.raises(ConfigErrors) as caught:
        load_together(paths, {})
    assert caught.value.code == "config.same_name"
    assert caught.value.what == f"the connector a is used twice, first at {paths[0]}:1: name"
    assert caught.value.where == f"{paths[1]}:1: name"


@pytest.mark.parametrize("url", ["postgresql://db:5432/other", "postgres://me:pw@db/shop"])
def test_one_slot_on_one_server_is_refused(tmp_path: Path, url: str) -> None:
    paths = [connector(tmp_path, "a.yaml", "a.x"), connector(tmp_path, "b.yaml", "a-x", url)]
    assert codes(paths) == ["config.same_slot"]


@pytest.mark.parametrize(
    "urls",
    [
        ("postgresql://one/shop", "postgresql://two/shop"),
        ("postgresql://one:5432/shop", "postgresql://one:5433/shop"),
        ("postgresql:///shop?host=/run/one", "postgresql:///shop?host=/run/two"),
    ],
)
def test_one_slot_name_on_two_servers_is_allowed(tmp_path: Path, urls: tuple[str, str]) -> None:
    paths = [connector(tmp_path, "a.yaml", "a.x", urls[0]), connector(tmp_path, "b.yaml", "a-x", urls[1])]
    assert len(load_together(paths, {})) == 2


def test_one_port_is_refused_on_one_machine_only(tmp_path: Path) -> None:
    paths = [connector(tmp_path, f"{name}.yaml", name, more="observe: true\n") for name in "ab"]
    assert codes(paths) == ["config.same_listen"]
    assert len(load_together(paths, {})) == 2


def test_ports_that_the_system_chooses_do_not_meet(tmp_path: Path) -> None:
    more = "observe: {listen: '127.0.0.1:0'}\n"
    paths = [connector(tmp_path, f"{name}.yaml", name, more=more) for name in "ab"]
    assert len(load_together(paths, {}, one_machine=True)) == 2


HOOK = "trigger: {on: webhook, listen: '%s', secret: 0123456789abcdef0123}\nfunction: {python: 'a:b'}\n"


def hook(folder: Path, name: str, listen: str, more: str = "") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"connector: sink\nname: {name}\n" + HOOK % listen + more)
    return path


@pytest.mark.parametrize(
    ("listen", "meets"),
    [
        ("127.0.0.1:8080", True),
        ("0.0.0.0:8080", True),
        ("[::]:8080", True),
        ("localhost:8080", True),
        ("127.0.0.1:8081", False),
        ("10.0.0.7:8080", False),
    ],
)
def test_the_port_of_another_webhook_is_refused(tmp_path: Path, listen: str, meets: bool) -> None:
    paths = [hook(tmp_path, "a", "127.0.0.1:8080"), hook(tmp_path, "b", listen)]
    if not meets:
        assert len(load_together(paths, {}, one_machine=True)) == 2
        return
    with pytest.raises(ConfigErrors) as caught:
        load_together(paths, {}, one_machine=True)
    [fault] = caught.value.faults
    assert (fault.code, fault.where) == ("config.same_listen", f"{paths[1]}:3: trigger.listen")
    assert fault.what == f"the endpoint {listen} is used twice, first at {paths[0]}:3: trigger.listen"


def test_a_webhook_and_the_endpoint_of_one_connector_have_ports_of_their_own(tmp_path: Path) -> None:
    path = hook(tmp_path, "a", "127.0.0.1:8080", "observe: {listen: '127.0.0.1:8080'}\n")
    assert codes([path]) == ["config.same_listen"]


def test_a_callback_of_a_step_does_not_meet_a_sidecar(tmp_path: Path) -> None:
    faas = "{gateway: 'http://gw:8080', function: f, async: true, callback: {listen: '127.0.0.1:9470'}}"
    steps = tmp_path / "steps.yaml"
    steps.write_text(
        "connector: sink\nname: steps\nstream: {url: 'kafka://b', topics: [t]}\n"
        f"function: {{steps: [{{choice: [{{steps: [{{openfaas: {faas}}}]}}]}}]}}\n"
    )
    sidecar = tmp_path / "sidecar.yaml"
    sidecar.write_text("connector: sidecar\nname: side\npublish: {url: 'kafka://b'}\n")
    with pytest.raises(ConfigErrors) as caught:
        load_all([sidecar, steps], {}, one_machine=True)
    [fault] = caught.value.faults
    assert str(fault.where).endswith("function.steps[0].choice[0].steps[0].openfaas.callback.listen")
    assert len(load_all([sidecar, steps], {})) == 2


@pytest.mark.parametrize("url", ["-", "file:events.ndjson"])
def test_one_output_is_refused_on_one_machine_only(tmp_path: Path, url: str) -> None:
    paths = []
    for name in "ab":
        paths.append(tmp_path / f"{name}.yaml")
        paths[-1].write_text(f"name: {name}\nsource: {{url: postgresql://db}}\npublish: {{url: '{url}'}}\n")
    assert codes(paths) == ["config.same_output"]
    assert len(load_together(paths, {})) == 2


def test_one_local_log_may_be_shared(tmp_path: Path) -> None:
    paths = []
    for name in "ab":
        paths.append(tmp_path / f"{name}.yaml")
        paths[-1].write_text(
            f"name: {name}\nsource: {{url: postgresql://db}}\npublish: {{url: 'local:log'}}\n"
        )
    assert len(load_together(paths, {}, one_machine=True)) == 2


def test_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    paths = [
        connector(tmp_path, "a.yaml", "a b"),
        connector(tmp_path, "b.yaml", "b", more="x: 1\n"),
        connector(tmp_path, "c.yaml", "c"),
        connector(tmp_path, "d.yaml", "c"),
        tmp_path / "gone.yaml",
    ]
    assert codes(paths) == [
        "config.name",
        "config.unknown_key",
        "config.file",
        "config.same_name",
        "config.same_slot",
    ]


def copy(folder: Path, url: str, table: str) -> Path:
    path = folder / "copy.yaml"
    path.write_text(
        "connector: sink\nname: copy\nstream: {url: 'kafka://b', topics: [t]}\n"
        f"function: {{table: {{url: '{url}', table: {table}}}}}\n"
    )
    return path


@pytest.mark.parametrize(
    ("url", "table", "more"),
    [
        ("postgresql://db/shop", "orders", ""),
        ("postgres://me:pw@db:5432/shop?sslmode=require", "public.orders", ""),
        ("postgresql://db/shop", "sales.orders", "source: {url: postgresql://db/shop, tables: ['sales.*']}"),
        ("sqlite:///shop.db", "orders", "source: {mode: query, url: 'sqlite:///shop.db', tables: [orders]}"),
        ("mysql+pymysql://db/shop", "orders", "source: {mode: query, url: 'mariadb+pymysql://db:3306/shop'}"),
        (
            "postgresql://db/shop",
            "outbox",
            "source: {mode: outbox, url: postgresql://db/shop, outbox: {table: outbox, capture: poll}}",
        ),
    ],
    ids=["same", "another user", "glob", "sqlite", "mariadb", "outbox"],
)
def test_a_table_that_is_captured_is_not_written_to(tmp_path: Path, url: str, table: str, more: str) -> None:
    source = connector(tmp_path, "a.yaml", "a")
    if more:
        source.write_text(f"name: a\n{more}\npublish: {{url: 'kafka://b:9092'}}\n")
    with pytest.raises(ConfigErrors) as caught:
        load_together([source, copy(tmp_path, url, table)], {})
    assert caught.value.code == "config.cycle"
    assert "flow back" in caught.value.what


@pytest.mark.parametrize(
    ("url", "table"),
    [
        ("postgresql://db/other", "orders"),
        ("postgresql://elsewhere/shop", "orders"),
        ("postgresql://db/shop", "copies.orders"),
        ("postgresql://db/shop", "orders_copy"),
        ("sqlite:///shop.db", "orders"),
    ],
)
def test_another_table_or_database_may_be_written_to(tmp_path: Path, url: str, table: str) -> None:
    source = connector(tmp_path, "a.yaml", "a")
    source.write_text(
        "name: a\nsource: {url: postgresql://db/shop, tables: ['public.*'], exclude: ['*_copy']}\n"
        "publish: {url: 'kafka://b:9092'}\n"
    )
    assert len(load_together([source, copy(tmp_path, url, table)], {})) == 2
