"""What a driver's error means: wait, or tell a person what to do."""

from __future__ import annotations

import psycopg
import pytest

from liberator.errors import ConfigError, PreconditionError
from liberator.postgres.session import parameters, source_error

FAILED = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '


@pytest.mark.parametrize(
    "text",
    [
        "consuming input failed: SSL error: unexpected eof while reading",
        FAILED + "SSL error: unexpected eof while reading",
        "consuming input failed: SSL SYSCALL error: EOF detected",
        FAILED + "SSL SYSCALL error: Connection reset by peer",
        "consuming input failed: SSL connection has been closed unexpectedly",
        "consuming input failed: SSL error: decryption failed or bad record mac",
        "consuming input failed: server closed the connection unexpectedly",
        FAILED + "Connection refused",
        FAILED + "FATAL:  the database system is starting up",
        "connection timeout expired",
    ],
)
def test_a_lost_connection_is_worth_another_attempt_with_and_without_tls(text: str) -> None:
    error = source_error(psycopg.OperationalError(text), "reading")
    assert error.retryable
    assert error.code == "postgres.connection"


def test_a_server_that_is_not_reached_is_looked_for_in_the_url() -> None:
    refused = psycopg.OperationalError(FAILED + "Connection refused")
    assert "source.url" in str(source_error(refused, "connecting for replication").fix)
    assert source_error(refused, "reading").fix is None


@pytest.mark.parametrize(
    "text",
    [
        FAILED + "SSL error: certificate verify failed",
        FAILED + 'server certificate for "a" does not match host name "b"',
        FAILED + 'root certificate file "/x/root.crt" does not exist',
        FAILED + "server does not support SSL, but SSL was required",
        FAILED + "SSL error: tlsv1 alert unknown ca",
        FAILED + "SSL error: sslv3 alert handshake failure",
        FAILED + "SSL error: wrong version number",
        FAILED + "SSL error: unsupported protocol",
    ],
)
def test_a_refused_handshake_is_for_a_person(text: str) -> None:
    error = source_error(psycopg.OperationalError(text), "connecting")
    assert isinstance(error, PreconditionError)
    assert not error.retryable
    assert error.code == "postgres.tls"
    assert "sslrootcert" in str(error.fix)


def test_a_server_that_wants_encryption_is_for_a_person() -> None:
    text = FAILED + 'FATAL:  no pg_hba.conf entry for host "10.0.0.8", user "u", database "d", no encryption'
    error = source_error(psycopg.OperationalError(text), "connecting")
    assert (error.code, error.retryable) == ("postgres.28000", False)
    assert "sslmode" in str(error.fix)


def test_a_parameter_that_libpq_does_not_know_is_a_mistake_in_the_url() -> None:
    error = source_error(psycopg.OperationalError('connection is bad: invalid sslmode value: "foo"'), "")
    assert isinstance(error, ConfigError)
    assert (error.code, error.where) == ("config.url", "source.url")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('FATAL:  role "u" is not permitted to log in', "postgres.28000"),
        ('FATAL:  database "d" is not currently accepting connections', "postgres.55000"),
    ],
)
def test_a_refusal_that_will_not_pass_is_for_a_person(text: str, code: str) -> None:
    error = source_error(psycopg.OperationalError(FAILED + text), "connecting")
    assert (error.code, error.retryable, error.exit_code) == (code, False, 3)


def test_the_kind_of_connection_is_not_the_urls_to_choose() -> None:
    assert "replication" not in parameters("postgresql://u@h/d?replication=true", "test")


@pytest.mark.parametrize(
    ("kind", "retryable", "exit_code"),
    [
        (psycopg.errors.AdminShutdown, True, 1),
        (psycopg.errors.CrashShutdown, True, 1),
        (psycopg.errors.CannotConnectNow, True, 1),
        (psycopg.errors.DiskFull, True, 1),
        (psycopg.errors.QueryCanceled, True, 1),
        (psycopg.errors.TooManyConnections, True, 3),
        (psycopg.errors.ConfigurationLimitExceeded, True, 3),
        (psycopg.errors.ObjectInUse, True, 3),
        (psycopg.errors.InsufficientPrivilege, False, 3),
        (psycopg.errors.UndefinedObject, False, 3),
        (psycopg.errors.ReadOnlySqlTransaction, False, 3),
        (psycopg.errors.ObjectNotInPrerequisiteState, False, 3),
        (psycopg.errors.FeatureNotSupported, False, 3),
        (psycopg.errors.ProgramLimitExceeded, False, 3),
        (psycopg.errors.UndefinedFile, False, 3),
    ],
)
def test_the_servers_own_code_decides(kind: type[psycopg.Error], retryable: bool, exit_code: int) -> None:
    error = source_error(kind("what the server said"), "reading")
    assert (error.retryable, error.exit_code) == (retryable, exit_code)
    assert error.code == f"postgres.{kind.sqlstate}"


def test_what_another_instance_has_made_meanwhile_is_looked_at_again() -> None:
    """Two that are started at once both make slot and publication: one finds them there."""
    error = source_error(psycopg.errors.DuplicateObject('replication slot "x" already exists'), "making")
    assert (error.code, error.retryable) == ("postgres.42710", True)
