"""`${...}` in values, and that what it brings in is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.config import ConfigErrors, load, redact

from .conftest import Faults, Load, Write

HEAD = "name: shop\nsource: {url: postgresql://db/shop}\n"


def topic(text: str) -> str:
    return HEAD + f"publish: {{topic: '{text}'}}\n"


@pytest.mark.parametrize(
    ("text", "env", "result"),
    [
        ("${TOPIC}", {"TOPIC": "orders"}, "orders"),
        ("a.${TOPIC}.b", {"TOPIC": "orders"}, "a.orders.b"),
        ("${A}${B}", {"A": "x", "B": "y"}, "xy"),
        ("${TOPIC:-fallback}", {}, "fallback"),
        ("${TOPIC:-fallback}", {"TOPIC": ""}, "fallback"),
        ("${TOPIC:-fallback}", {"TOPIC": "orders"}, "orders"),
    ],
)
def test_fills_in_variables(loaded: Load, text: str, env: dict[str, str], result: str) -> None:
    assert loaded(topic(text), **env).publish.topic.text == result


@pytest.mark.parametrize(
    ("text", "result"),
    [("$${NAME}", "${NAME}"), ("$NAME", "$NAME"), ("a$b", "a$b"), ("$$", "$$"), ("$${${X}}", "${value}")],
)
def test_a_dollar_that_is_meant_stays(loaded: Load, text: str, result: str) -> None:
    config = loaded(HEAD + f"publish: {{options: {{client.id: '{text}'}}}}\n", X="value")
    assert config.publish.options["client.id"] == result


def test_what_is_filled_in_is_not_looked_at_again(loaded: Load) -> None:
    config = loaded(HEAD + "publish: {options: {client.id: '${X}'}}\n", X="${Y} $${Z}")
    assert config.publish.options["client.id"] == "${Y} $${Z}"


def test_keys_are_not_filled_in(loaded: Load) -> None:
    config = loaded(HEAD + "publish: {options: {'${X}': 1}}\n", X="y")
    assert "${X}" in config.publish.options


def test_numbers_and_switches_can_be_filled_in(loaded: Load) -> None:
    config = loaded(
        """
        name: shop
        source: {url: postgresql://db, log: {snapshot_workers: "${N}", failover: "${F}", heartbeat: "${H:-5s}"}}
        publish: {create_topics: "${C}"}
        limits: {memory: "${M}"}
        """,
        N="4",
        F="true",
        M="64MiB",
        C="false",
    )
    assert config.source.log.snapshot_workers == 4
    assert config.source.log.failover is True
    assert config.source.log.heartbeat == 5
    assert config.publish.create_topics is None
    assert config.limits.memory == 64 * 1024 * 1024


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_a_file_is_read_without_its_last_newline(loaded: Load, tmp_path: Path, ending: str) -> None:
    """D86"""
    (tmp_path / "pw").write_text(f"s3cret value{ending}", newline="")
    config = loaded(HEAD + "publish: {options: {sasl.password: '${file:pw}'}}\n")
    assert config.publish.options["sasl.password"] == "s3cret value"


def test_a_file_may_have_an_absolute_path(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cret")
    config = loaded(HEAD + f"publish: {{options: {{sasl.password: '${{file:{tmp_path}/pw}}'}}}}\n")
    assert config.publish.options["sasl.password"] == "s3cret"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("${GONE}", "config.env", "GONE is not set"),
        ("${}", "config.env", "does not hold the name"),
        ("${1A}", "config.env", "does not hold the name"),
        ("${A B}", "config.env", "does not hold the name"),
        ("${A:?x}", "config.env", "does not hold the name"),
        ("${A", "config.env", "not closed"),
        ("${A:-${B}}", "config.env", "holds another one"),
        ("${file:gone}", "config.file", "no such file"),
        ("${file:.}", "config.file", "is a directory"),
        ("${file:binary}", "config.file", "not UTF-8"),
        ("${file:huge}", "config.file", "larger than 1 MiB"),
    ],
)
def test_what_cannot_be_filled_in_is_a_fault_with_its_path(
    faults: Faults, tmp_path: Path, text: str, code: str, words: str
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_bytes(b"x" * (1024 * 1024 + 1))
    (fault,) = faults(topic(text))
    assert (fault.code, str(fault.where).endswith(":3: publish.topic")) == (code, True)
    assert words in fault.what
    assert fault.fix


def test_every_missing_variable_is_told_at_once(faults: Faults) -> None:
    found = faults("name: ${A}\nsource: {url: '${B}', tables: ['${C}']}\n")
    assert [fault.what for fault in found] == [
        f"the environment variable {name} is not set" for name in "ABC"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "name: shop\nsource: {url: '${PW}'}\n",
        "name: '${PW}'\nsource: {url: postgresql://db}\n",
        "name: shop\nsource: {url: 'postgresql://me:${PW}@db/shop'}\n",
        "name: shop\nsource: {url: postgresql://db, tables: ['a.b.${PW}']}\n",
        "name: shop\nsource: {url: postgresql://db, log: {slot: '${PW}'}}\n",
        "name: shop\nsource: {url: postgresql://db, log: {snapshot: '${PW}'}}\n",
        "name: shop\nsource: {url: postgresql://db, log: {heartbeat: '${PW}', snapshot_workers: '${PW}'}}\n",
        HEAD + "publish: {url: '${PW}', topic: '${PW}'}\n",
        HEAD + "limits: '${PW}'\n",
        HEAD + "publish: {options: '${PW}'}\n",
    ],
)
@pytest.mark.parametrize("secret", ["hunter2/@%!", "ab@", "x y"])
def test_no_fault_quotes_a_value_that_was_filled_in(faults: Faults, text: str, secret: str) -> None:
    """D86"""
    for fault in faults(text, PW=secret):
        assert secret not in fault.block().replace("percent-encode it: @ as %40", "")


@pytest.mark.parametrize(
    "text", ["name: shop\nsource: {url: postgresql://db, log: {slot: '${PW}'}}\n", topic("${PW}")]
)
def test_no_remedy_shows_a_value_that_was_filled_in_in_another_form(faults: Faults, text: str) -> None:
    (fault,) = faults(text, PW="{Hun-Ter}")
    assert "hun" not in fault.block().lower()


def test_what_was_filled_in_is_masked_from_then_on(loaded: Load) -> None:
    loaded(HEAD + "publish: {options: {sasl.username: '${WHO}'}}\n", WHO="remember-me-42")
    assert redact("login of remember-me-42 failed") == "login of *** failed"


def test_a_password_that_stands_in_the_file_is_masked_too(loaded: Load) -> None:
    loaded("name: shop\nsource: {url: 'postgresql://me:plain%2Dpassword@db/shop'}\n")
    assert redact("plain-password plain%2Dpassword") == "*** ***"


def test_settings_that_speak_of_a_secret_are_masked_though_written_plainly(loaded: Load) -> None:
    loaded(HEAD + "publish: {options: {sasl.password: plain-sasl-secret}}\n")
    assert redact("plain-sasl-secret") == "***"


def test_a_default_is_no_secret(loaded: Load) -> None:
    loaded(topic("${TOPIC:-everyday-word}"))
    assert redact("everyday-word") == "everyday-word"


def test_a_fault_shows_no_password_of_a_url_in_the_file(write: Write) -> None:
    path = write(
        "name: shop\nsource: {url: 'mysql://me:hunter2@db/shop'}\npublish: {url: 'kafka://me:hunter3@b'}\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    assert "hunter" not in caught.value.block()
    assert "hunter" not in str(caught.value)
