"""Certificates and passwords: who is not who he should be is refused, at once, and never spoken to in plain text (D62)."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from liberator.testing.certificates import Authority, Certificate
from liberator.testing.oracle import assert_complete
from liberator.testing.proxy import Proxy
from liberator.testing.servers import PostgresServer, postgres_bin
from liberator.testing.servers.process import wait_until
from tests.acceptance.connector import PATIENCE
from tests.fault.brokers import Fortress
from tests.fault.conftest import FaultConnector, KafkaConnector, address
from tests.fault.writers import TABLES, prepare

Make = Callable[..., FaultConnector]
MakePublishing = Callable[..., KafkaConnector]


def refused(it: FaultConnector, code: int) -> str:
    """Run it; it must give up at once, with `code`. Its last words."""
    ended = it.launch("--once").wait(PATIENCE)
    assert ended == code, it.log
    assert "trying again" not in it.log
    assert "fix:" in it.last_words
    return it.last_words


class TlsPostgres:
    """A server that speaks TLS, with whatever certificate it is told to show."""

    def __init__(self, folder: Path) -> None:
        self.ours = Authority(folder / "ours")
        self.theirs = Authority(folder / "theirs", "somebody else")
        # Debian's build: the wheel's was made without TLS.
        self.server = PostgresServer(postgres_bin(15), conf={"log_connections": "on"})

    def show(self, certificate: Certificate) -> None:
        """From the next connection on; returns when it is so."""
        owner = self.server.data.stat()
        for made, name in ((certificate.certificate, "server.crt"), (certificate.key, "server.key")):
            target = self.server.data / name
            shutil.copy(made, target)
            os.chown(target, owner.st_uid, owner.st_gid)
            target.chmod(0o600)
        self.server.execute("alter system set ssl = on")
        self.server.execute("select pg_reload_conf()")
        expected = ssl.PEM_cert_to_DER_cert(certificate.certificate.read_text())
        assert wait_until(lambda: self._shown() == expected, timeout=PATIENCE)

    def _shown(self) -> bytes | None:
        """The certificate that it shows now, if it speaks TLS at all."""
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE) as connection:
            connection.sendall(struct.pack(">ii", 8, 80877103))  # SSLRequest
            if connection.recv(1) != b"S":
                return None
            with trusting.wrap_socket(connection) as encrypted:
                return encrypted.getpeercert(binary_form=True)

    def require_tls(self) -> None:
        """Whoever comes from now on to a database of a test must speak it."""
        (self.server.data / "pg_hba.conf").write_text(
            "host postgres all 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 trust\n"
        )
        self.server.execute("select pg_reload_conf()")

    def admitted(self) -> int:
        """How many connections it let in so far."""
        return self.server.log.read_text().count("connection authorized")


@pytest.fixture(scope="module")
def postgres_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsPostgres]:
    tls = TlsPostgres(tmp_path_factory.mktemp("tls"))
    with tls.server:
        tls.show(tls.ours.issue("127.0.0.1"))
        tls.require_tls()
        yield tls


@pytest.fixture
def encrypted(postgres_tls: TlsPostgres) -> Iterator[str]:
    """The dsn of a database that checks who it talks to."""
    dsn = postgres_tls.server.database()
    checked = f"{dsn}?sslmode=verify-full&sslrootcert={quote(str(postgres_tls.ours.file))}"
    postgres_tls.show(postgres_tls.ours.issue("127.0.0.1"))
    prepare(checked, 10)
    yield checked
    postgres_tls.show(postgres_tls.ours.issue("127.0.0.1"))
    postgres_tls.server.drop(dsn)


def test_every_connection_to_postgres_is_encrypted(encrypted: str, connector: Make) -> None:
    it = connector(encrypted).start()
    it.execute("insert into account values (777, 'new', 1, null)")
    assert len(it.events()) == 21
    encrypted_ones = [(True, "client backend"), (True, "client backend"), (True, "walsender")]
    asked = (
        "select ssl, backend_type from pg_stat_ssl join pg_stat_activity using (pid)"
        f" where application_name = '{it.name}'"
    )
    assert all(encrypted for encrypted, _ in it.execute(asked))
    it.wait_for(lambda: sorted(it.execute(asked)) == encrypted_ones, "the end of those that read the tables")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("misnamed", 'server certificate for "elsewhere.example"'),
        ("expired", "certificate verify failed"),
        ("unknown", "certificate verify failed"),
    ],
)
def test_a_wrong_certificate_of_postgres_is_refused(
    wrong: str, hint: str, postgres_tls: TlsPostgres, encrypted: str, connector: Make
) -> None:
    shown = {
        "misnamed": lambda: postgres_tls.ours.issue("elsewhere.example"),
        "expired": lambda: postgres_tls.ours.issue("127.0.0.1", expired=True),
        "unknown": lambda: postgres_tls.theirs.issue("127.0.0.1"),
    }
    it = connector(encrypted)
    postgres_tls.show(shown[wrong]())
    before = postgres_tls.admitted()
    words = refused(it, 3)
    assert hint in words
    assert "sslrootcert" in words
    assert postgres_tls.admitted() == before, "it was let in, so it must have spoken"


def test_a_certificate_that_goes_wrong_ends_a_running_connector_at_its_next_connection(
    postgres_tls: TlsPostgres, encrypted: str, connector: Make
) -> None:
    it = connector(encrypted).start()
    it.events()
    postgres_tls.show(postgres_tls.ours.issue("127.0.0.1", expired=True))
    it.execute(
        f"select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = '{it.slot}'"
    )
    assert it.ended(PATIENCE) == 3
    assert it.log.count("trying again") <= 1, "the stream that was lost, and not who is not who he should be"
    assert "certificate" in it.last_words


def test_a_server_without_tls_is_not_spoken_to(database: str, connector: Make) -> None:
    it = connector(f"{database}?sslmode=require")
    words = refused(it, 3)
    assert "does not support SSL" in words
    assert "sslmode" in words


def test_a_server_that_wants_tls_says_so(encrypted: str, connector: Make) -> None:
    words = refused(connector(encrypted.replace("verify-full", "disable")), 3)
    assert "no encryption" in words
    assert "sslmode" in words


def test_a_server_killed_under_an_encrypted_connection_is_waited_for(
    postgres_tls: TlsPostgres, encrypted: str, connector: Make
) -> None:
    """OpenSSL calls a server that hangs up an SSL error: that is no reason to give up."""
    with Proxy(*address(encrypted)) as proxy:
        it = connector(encrypted, "--source", proxy.url(encrypted))
        it.execute("insert into account select g, 'o', 1, repeat('n', 3000) from generate_series(11, 1000) g")
        it.close_connection()
        proxy.let_through(2_000_000, "to_client")  # of three million bytes
        it.launch()
        it.wait_for(lambda: it.published_lines() > 0, "a part of the snapshot")
        postgres_tls.server.kill()
        it.wait_for(lambda: "trying again" in it.log, "the loss")
        proxy.calm()
        postgres_tls.server.start()
        it.wait_for(lambda: it.published_lines() >= 1010, "the rest of the snapshot")
        it.stop()
        it.run_once()
    assert_complete(it.lines(), encrypted, TABLES)


# -- Kafka


def test_publishes_with_tls_and_a_password(
    database: str, fortress: Fortress, publishing: MakePublishing
) -> None:
    prepare(database, 10)
    fortress.user("right", "s3cret")
    options = fortress.options(
        "login", sasl_mechanism="SCRAM-SHA-512", sasl_username="right", sasl_password="s3cret"
    )
    it = publishing(database, fortress.server.bootstrap, *options)
    fortress.allow_publishing("right", it.name)
    assert it.launch("--once").wait(PATIENCE) == 0, it.log
    assert_complete(it.topics.replay(), database, TABLES)
    assert "s3cret" not in it.log


@pytest.mark.parametrize(
    ("client", "wrong"),
    [
        ("confluent", "misnamed"),
        ("confluent", "expired"),
        ("confluent", "unknown"),
        ("kafka-python", "expired"),
    ],
    indirect=["client"],
)
def test_a_wrong_certificate_of_kafka_is_refused(
    client: str, wrong: str, database: str, fortress: Fortress, publishing: MakePublishing
) -> None:
    prepare(database, 10)
    it = publishing(database, fortress.server.bootstrap, *fortress.options(wrong))
    words = refused(it, 1)
    assert "publish.tls_failed" in words
    assert "certificate" in words
    assert (
        it.execute("select slot_name from pg_replication_slots where database = current_database()") == []
    ), "it began although nobody takes it"


def test_a_wrong_password_for_kafka_is_refused_and_never_shown(
    database: str, fortress: Fortress, publishing: MakePublishing
) -> None:
    prepare(database, 10)
    fortress.user("somebody", "s3cret")
    options = fortress.options(
        "login", sasl_mechanism="SCRAM-SHA-512", sasl_username="somebody", sasl_password="gu3ssed"
    )
    it = publishing(database, fortress.server.bootstrap, *options)
    words = refused(it, 1)
    assert "publish.login_failed" in words
    assert "sasl.password" in words
    assert "gu3ssed" not in it.log
