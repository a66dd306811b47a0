"""The certificates of the TLS tests: right ones are taken, and each wrong one is refused for its own reason."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from liberator.testing.certificates import Authority, Certificate


def shake_hands(shown: Certificate, trusted: Path, host: str) -> None:
    """A TLS handshake as a client that knows `trusted` and wants `host`. Raises what the client finds wrong."""
    ours, theirs = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(shown.certificate, shown.key)

    def serve() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ssl.create_default_context(cafile=trusted).wrap_socket(ours, server_hostname=host):
            pass
    finally:
        ours.close()
        thread.join()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_right_certificate_is_taken(authority: Authority, host: str) -> None:
    shake_hands(authority.issue(host), authority.file, host)


def test_key_and_certificate_also_come_in_one_file(authority: Authority) -> None:
    made = authority.issue("localhost")
    both = Certificate(made.both, made.both, made.both)
    shake_hands(both, authority.file, "localhost")
    assert b"BEGIN PRIVATE KEY" in made.key.read_bytes(), "Kafka reads PKCS #8 only"
    assert made.key.stat().st_mode & 0o077 == 0


def test_another_host_is_refused(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(authority.issue("localhost"), authority.file, "example.org")


def test_an_expired_one_is_refused(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake_hands(authority.issue("localhost", expired=True), authority.file, "localhost")


def test_one_of_an_unknown_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    unknown = Authority(tmp_path / "theirs", "somebody else")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        shake_hands(unknown.issue("localhost"), authority.file, "localhost")
