"""What `configure` makes of log records on standard error."""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator

import pytest

from liberator.errors import ConfigError
from liberator.observe.logs import configure

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    names = ["", "liberator", "sqlalchemy.engine"]
    before = {name: logging.getLogger(name).level for name in names}
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def lines(capsys: Captured) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def strike(text: str) -> str:
    return text.replace('s3cr"et', "***")


def test_a_line_has_time_level_short_name_message_and_fields(capsys: Captured) -> None:
    configure()
    logging.getLogger("liberator.source.log").info("slot made", extra={"slot": "shop", "waited": 1.5})
    (line,) = lines(capsys)
    time, rest = line.split(" ", 1)
    assert rest == "INFO    source.log  slot made  slot=shop waited=1.5"
    assert time.endswith("Z")
    assert len(time) == len("2026-11-22T11:12:22.123Z")


def test_fields_that_could_be_misread_are_quoted(capsys: Captured) -> None:
    configure()
    fields = {"table": 'public."We=ird"', "empty": "", "note": "two\nlines", "none": None}
    logging.getLogger("liberator").info("x", extra=fields)
    assert lines(capsys)[0].endswith(r'table="public.\"We=ird\"" empty="" note="two\nlines" none=None')


def test_a_message_of_several_lines_stays_recognisable(capsys: Captured) -> None:
    configure()
    logging.getLogger("liberator").info("first\n2026-11-22T00:00:00.000Z ERROR forged")
    assert lines(capsys)[1].startswith("  ")


def test_json_is_one_object_a_line(capsys: Captured) -> None:
    configure(format="json")
    extra = {"table": "public.ü", "lag_bytes": 7, "level": "mine"}
    logging.getLogger("liberator.capture").warning("two\nlines", extra=extra)
    (line,) = lines(capsys)
    record = json.loads(line)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "warning",
        "logger": "liberator.capture",
        "message": "two\nlines",
        "table": "public.ü",
        "lag_bytes": 7,
    }


@pytest.mark.parametrize("format", ["text", "json"])
def test_secrets_are_struck_out_wherever_they_stand(format: str, capsys: Captured) -> None:
    configure("debug", format, redact=strike)
    log = logging.getLogger("liberator")
    secret = 's3cr"et'
    log.info("in the message " + secret, extra={"dsn": f"postgresql://user:{secret}@host"})
    log.info("as an argument %s", secret)
    try:
        raise ValueError("in an error " + secret)
    except ValueError:
        log.exception("failed")
    text = "\n".join(lines(capsys))
    assert "s3cr" not in text
    assert text.count("***") == 4


def test_debug_shows_a_traceback(capsys: Captured) -> None:
    configure("debug")
    try:
        raise ValueError("bad")
    except ValueError:
        logging.getLogger("liberator").exception("failed")
    text = lines(capsys)
    assert text[1] == "Traceback (most recent call last):"
    assert text[-1] == "ValueError: bad"


def test_info_names_an_error_in_one_line_without_its_details(capsys: Captured) -> None:
    configure("info")
    try:
        raise ValueError("duplicate key\nDETAIL: Key (card)=(4111111111111111) already exists.")
    except ValueError:
        logging.getLogger("liberator").exception("failed")
    (line,) = lines(capsys)
    assert line.endswith('failed  error="ValueError: duplicate key"')


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_says_what_liberator_shows(level: str, shown: list[str], capsys: Captured) -> None:
    configure(level, "json")
    for name in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger("liberator.capture"), name)(name)
    assert [json.loads(line)["message"] for line in lines(capsys)] == shown


@pytest.mark.parametrize("library", ["sqlalchemy.pool", "confluent_kafka", "urllib3"])
@pytest.mark.parametrize(("level", "shown"), [("info", ["warning"]), ("debug", ["info", "warning"])])
def test_other_libraries_speak_less(library: str, level: str, shown: list[str], capsys: Captured) -> None:
    configure(level, "json")
    for name in ("debug", "info", "warning"):
        getattr(logging.getLogger(library), name)(name)
    assert [json.loads(line)["message"] for line in lines(capsys)] == shown


def test_statements_with_parameters_are_never_shown(capsys: Captured) -> None:
    configure("debug")
    logging.getLogger("sqlalchemy.engine.Engine").info("[generated] (4111111111111111,)")
    assert lines(capsys) == []


def test_configuring_again_replaces_the_earlier_setting(capsys: Captured) -> None:
    configure("debug", "text")
    configure("info", "json")
    logging.getLogger("liberator").info("once")
    (line,) = lines(capsys)
    assert json.loads(line)["message"] == "once"


def test_warnings_of_python_go_through_the_log(capsys: Captured) -> None:
    configure(format="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        configure(format="json")
        warnings.warn("old thing", DeprecationWarning, stacklevel=1)
    assert json.loads(lines(capsys)[0])["logger"] == "py.warnings"


def test_a_record_that_cannot_be_formatted_neither_raises_nor_shows_its_values(capsys: Captured) -> None:
    configure()
    root = logging.getLogger()
    root.handlers[:] = root.handlers[-1:]  # pytest's own handler would raise
    logging.getLogger("liberator.capture").info("%d rows", "4111111111111111")
    (line,) = lines(capsys)
    assert line.startswith("a record of liberator.capture (line ")
    assert "4111" not in line


def test_logging_without_a_standard_error_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    configure()
    monkeypatch.setattr(sys, "stderr", None)
    logging.getLogger("liberator").info("nobody hears this")


def test_logging_to_a_closed_standard_error_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    configure()
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    logging.getLogger("liberator").info("nobody hears this")


@pytest.mark.parametrize(("level", "format"), [("loud", "text"), ("info", "xml")])
def test_unknown_settings_are_refused(level: str, format: str) -> None:
    with pytest.raises(ConfigError):
        configure(level, format)
