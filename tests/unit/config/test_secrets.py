"""What `redact` strikes out, and what it leaves readable."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liberator.config.secrets import RedactingFilter, Redactor


@pytest.fixture
def redact() -> Redactor:
    return Redactor()


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hunter2@db.example.com/shop",
        "postgresql://me:hun/ter2@db.example.com/shop",
        "postgresql://me:hun@ter2@db.example.com/shop",
        "can't reach 'postgresql://:hunter2@db.example.com/shop'",
    ],
)
def test_masks_the_password_of_a_url_it_never_saw(redact: Redactor, text: str) -> None:
    shown = redact(text)
    assert "hun" not in shown
    assert "ter2" not in shown
    assert shown.endswith(("@db.example.com/shop", "@db.example.com/shop'"))


@pytest.mark.parametrize(
    "text",
    [
        "host=db password=hunter2 user=me",
        "host=db password='hunt er2' user=me",
        "postgresql://db/shop?sslpassword=hunter2&x=1",
        "sasl.password=hunter2",
        "api_key = hunter2",
        "PASSWORD=hunter2",
    ],
)
def test_masks_parameters_that_speak_of_a_secret(redact: Redactor, text: str) -> None:
    assert "hunt" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text", ["kafka://one:9092,two:9092", "at 12:30 in shop.yaml:12", "the password is wrong", "a@b"]
)
def test_leaves_texts_without_secrets_as_they_are(redact: Redactor, text: str) -> None:
    assert redact(text) == text


@given(st.text(min_size=4).filter(lambda value: len(value.strip()) >= 4 and not value.strip().isdigit()))
def test_masks_a_value_in_every_form(value: str) -> None:
    redact = Redactor()
    redact.remember(value)
    value = value.strip()
    forms = [value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1]]
    for form in forms:
        for line in form.splitlines():
            if len(line.strip()) >= 4 and not line.strip().isdigit():
                assert redact(f"<{line.strip()}>") == "<***>", form


def test_masks_url_encoded_forms_in_lower_case_too(redact: Redactor) -> None:
    redact.remember("p@ss/word")
    assert redact("p%40ss%2fword and p%40ss%2Fword") == "*** and ***"


def test_masks_the_decoded_form_of_an_encoded_password(redact: Redactor) -> None:
    redact.remember_url("postgresql://me:p%40ss%2Fword@db/shop")
    assert redact("authentication with p@ss/word failed") == "authentication with *** failed"


def test_masks_each_line_of_a_key(redact: Redactor) -> None:
    redact.remember("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n")
    assert "MIIE" not in redact("bad key: MIIEvQIBADANBg")


def test_masks_the_longer_of_two_secrets_whole(redact: Redactor) -> None:
    redact.remember("hunter2!")
    redact.remember("hunter2!-and-more")
    assert redact("hunter2!-and-more") == "***"


def test_masks_a_word_where_it_stands_alone_only(redact: Redactor) -> None:
    redact.remember("postgres")
    assert (
        redact("user postgres, postgresql://db, x%3Apostgres%40y") == "user ***, postgresql://db, x%3A***%40y"
    )


def test_short_values_and_small_numbers_do_not_tear_texts_apart(redact: Redactor) -> None:
    for value in ("", "ab", "5432"):
        redact.remember(value)
    assert redact("lab 5432 ab") == "lab 5432 ab"


def test_names_in_a_url_stay_readable(redact: Redactor) -> None:
    url = "postgresql://shopper:s3cretpw@db.internal:5433/shopdb"
    redact.remember_substituted(url, [url])
    assert (
        redact("shopper at db.internal:5433/shopdb with s3cretpw")
        == "shopper at db.internal:5433/shopdb with ***"
    )


def test_what_is_filled_into_a_url_as_its_password_is_masked(redact: Redactor) -> None:
    redact.remember_substituted("postgresql://me:s3cretpw@dbhost/shop", ["s3cretpw", "dbhost"])
    assert redact("s3cretpw dbhost") == "*** dbhost"


def test_a_raw_password_that_breaks_its_url_is_masked_too(redact: Redactor) -> None:
    redact.remember_substituted("postgresql://me:s3/cr@et@dbhost/shop", ["s3/cr@et"])
    assert redact("s3/cr@et") == "***"


def test_a_web_address_that_is_filled_in_is_masked_whole(redact: Redactor) -> None:
    hook = "https://hooks.example.com/services/T000/B000"
    redact.remember_substituted(hook, [hook])
    assert redact(f"POST {hook}") == "POST ***"


def test_the_filter_masks_message_arguments_and_traceback(
    redact: Redactor, caplog: pytest.LogCaptureFixture
) -> None:
    redact.remember("hunter2!")
    logger = logging.getLogger("test.redacting")
    caplog.handler.addFilter(RedactingFilter(redact))
    try:
        try:
            raise RuntimeError("hunter2! is wrong")
        except RuntimeError:
            logger.exception("logging in with %s", "hunter2!")
    finally:
        caplog.handler.filters.clear()
    assert "hunter2!" not in caplog.text
    assert "logging in with ***" in caplog.text
    assert "RuntimeError: *** is wrong" in caplog.text
