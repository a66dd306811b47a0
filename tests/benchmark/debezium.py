"""Debezium, the peer: its jars, how it is started, and what it is told.

Enters: nothing but a Java runtime, and Maven the first time. Leaves: command lines and properties. Called by the sides that
run it. Without Java or Maven these sides are left out, and the report says why. Names no repository: Maven knows its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from liberator.testing.servers.jars import JavaServer
from liberator.testing.servers.process import ServerError
from tests.benchmark.ground import TABLE

DEBEZIUM_VERSION = "3.6.3.Final"
CONNECT_VERSION = "4.3.0"

_DEBEZIUM = JavaServer("Debezium", DEBEZIUM_VERSION)
_COMPILER_VERSION = "3.39.0"
_EMBEDDED = Path(__file__).with_name("Embedded.java")

# Eclipse's compiler comes as a jar, so that a Java runtime without a compiler of its own is enough.
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>liberator</groupId><artifactId>debezium</artifactId><version>1</version>
<dependencies>
  <dependency><groupId>io.debezium</groupId><artifactId>debezium-embedded</artifactId>
    <version>{DEBEZIUM_VERSION}</version></dependency>
  <dependency><groupId>io.debezium</groupId><artifactId>debezium-connector-postgres</artifactId>
    <version>{DEBEZIUM_VERSION}</version></dependency>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId>
    <version>{CONNECT_VERSION}</version></dependency>
  <dependency><groupId>org.eclipse.jdt</groupId><artifactId>ecj</artifactId>
    <version>{_COMPILER_VERSION}</version></dependency>
  <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
"""

# As Kafka's own start script of Connect has it.
_MEMORY = ("-Xms256M", "-Xmx2G")


@cache
def refusal() -> str | None:
    """Why it can't run here; None: it can. The first time, Maven fetches its jars (42 MB)."""
    try:
        _DEBEZIUM.program("java")
        _jars()
    except ServerError as error:
        return f"{error.what}; {error.fix}" if error.fix else error.what
    return None


def java(*arguments: str, classes: Path | None = None) -> list[str]:
    """A command line with Debezium's and Connect's classes. classes: a folder with more."""
    path = f"{_jars()}/*" if classes is None else f"{classes}:{_jars()}/*"
    return [
        _DEBEZIUM.program("java"), *_MEMORY, "-Djava.awt.headless=true",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp", path, *arguments,
    ]  # fmt: skip


def connector(dsn: str, name: str, slot: str, publication: str) -> dict[str, str]:
    """Properties of the connector. Beside where everything is, nothing is told but what makes the work the same: the rows
    that come through the slot, none by a snapshot."""
    parts = urlsplit(dsn)
    return {
        "name": name,
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "database.hostname": parts.hostname or "",
        "database.port": str(parts.port),
        "database.user": unquote(parts.username or ""),
        "database.password": unquote(parts.password or ""),
        "database.dbname": parts.path.lstrip("/"),
        "topic.prefix": name,
        "table.include.list": TABLE,
        "slot.name": slot,
        "publication.name": publication,
        "publication.autocreate.mode": "disabled",
        "snapshot.mode": "no_data",
    }


def write_properties(file: Path, properties: Mapping[str, str]) -> Path:
    """As Java reads them: none of ours has a line feed or a backslash in it."""
    file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    return file


def compiled(folder: Path) -> Path:
    """Compile `Embedded.java` into `folder`."""
    compiler = "org.eclipse.jdt.internal.compiler.batch.Main"
    jars = ":".join(map(str, _jars().glob("*.jar")))
    words = ["-17", "-proc:none", "-cp", jars, "-d", str(folder), str(_EMBEDDED)]
    done = subprocess.run(
        [_DEBEZIUM.program("java"), "-cp", jars, compiler, *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{_EMBEDDED.name} is not Java:\n{done.stdout}")
    return folder


def _jars() -> Path:
    return _DEBEZIUM.home(None, _fetch)


def _fetch(folder: Path) -> Path:
    (folder / "pom.xml").write_text(_POM)
    jars = folder / "jars"
    goal = "dependency:copy-dependencies"
    _DEBEZIUM.maven(folder, [goal, "-DincludeScope=runtime", f"-DoutputDirectory={jars}"])
    return jars
