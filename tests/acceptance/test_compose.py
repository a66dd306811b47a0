"""The docker-compose demo: what can be checked without Docker is what breaks without anybody noticing.

Its commands, paths, ports and YAML are held against the real ones, its SQL and its connector run on real servers, and what
its Dockerfile installs is built.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from liberator.cli.app import app
from liberator.config import load
from liberator.testing.servers import Kafka

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the compose file."""
    document = yaml.safe_load((COMPOSE / "docker-compose.yaml").read_text())
    found: dict[str, Any] = document["services"]
    return found


def test_every_service_waits_for_a_healthy_one_that_exists(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in services[name]


def test_every_mounted_file_and_the_build_context_exist(services: dict[str, Any]) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            source, _, target = volume.partition(":")
            assert (COMPOSE / source).is_file()
            assert target.endswith(":ro")
    build = services["connector"]["build"]
    assert (COMPOSE / build["context"] / build["dockerfile"]).samefile(COMPOSE / "Dockerfile")


def test_the_connector_runs_a_command_on_a_file_that_is_mounted(services: dict[str, Any]) -> None:
    command, *files = services["connector"]["command"]
    mounted = {
        volume.split(":")[1]: COMPOSE / volume.split(":")[0] for volume in services["connector"]["volumes"]
    }
    assert command in app.commands
    [config] = load(mounted[files[0]], services["connector"]["environment"])
    assert config.source.mode == "log"


def test_the_addresses_are_those_of_the_other_services(services: dict[str, Any]) -> None:
    environment = services["connector"]["environment"]
    [config] = load(COMPOSE / "shop.yaml", environment)
    login = services["postgres"]["environment"]
    assert config.source.url == (
        f"postgresql://{login['POSTGRES_USER']}:{login['POSTGRES_PASSWORD']}@postgres:5432/{login['POSTGRES_DB']}"
    )
    broker = config.publish.url.removeprefix("kafka://")
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"PLAINTEXT://{broker}" == advertised
    assert f"--bootstrap-server={broker}" in services["consumer"]["command"]
    assert config.observe is not None
    port = config.observe.listen.rpartition(":")[2]
    assert services["connector"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"127.0.0.1:{port}/health/ready" in services["connector"]["healthcheck"]["test"][-1]


def test_the_server_writes_logical_wal_and_the_consumer_reads_the_connectors_topics(
    services: dict[str, Any],
) -> None:
    assert "wal_level=logical" in services["postgres"]["command"]
    [pattern] = [word[10:] for word in services["consumer"]["command"] if word.startswith("--include=")]
    assert re.fullmatch(pattern, "shop.public.orders")


def test_the_connector_publishes_the_shop(
    database: str, kafka: Kafka, unique: str, services: dict[str, Any], tmp_path: Path
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute((COMPOSE / "shop.sql").read_bytes())
    environment = {
        **os.environ,
        "SHOP_DSN": database,
        "SHOP_BROKER": f"kafka://{kafka.bootstrap}",
        "SHOP_LISTEN": "127.0.0.1:0",
    }
    command = [
        sys.executable,
        "-m",
        "liberator",
        *services["connector"]["command"][:1],
        str(COMPOSE / "shop.yaml"),
    ]
    done = subprocess.run(
        [*command, "--once", "--stage", unique],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"events=1100" in done.stderr, done.stderr.decode()


def test_the_applications_work_is_sql_that_runs(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute((COMPOSE / "shop.sql").read_bytes())
        script = (COMPOSE / "work.sql").read_text()
        assert script.rstrip().endswith("\\gexec")
        statements = connection.execute(script.replace("\\gexec", "").encode()).fetchall()
        assert len(statements) == 600
        connection.execute(statements[60][0].replace("pg_sleep(0.5)", "1").encode())
        assert connection.execute("select count(*) from orders").fetchone() == (1000,)


def test_what_the_dockerfile_copies_is_all_that_the_package_needs(tmp_path: Path) -> None:
    """The wheel is built from a copy of just these files."""
    for line in (COMPOSE / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            *sources, target = line.split()[1:]
            for source in sources:
                subprocess.run(["cp", "-r", ROOT / source, tmp_path / target], check=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            tmp_path / "wheels",
            tmp_path,
        ],
        check=True,
    )
    [wheel] = (tmp_path / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(archive.read(name) for name in names if name.endswith("entry_points.txt"))
    assert "liberator/postgres/sql/tables.sql" in names
    assert b"liberate = liberator.cli:main" in entry_points
