"""URLs split as libpq splits them, and shown without their password."""

from __future__ import annotations

import psycopg
import pytest

from liberator.config.urls import Url, split_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@db:5433/shop",
        "postgresql://me@db/shop",
        "postgresql://db",
        "postgresql://",
        "postgresql://me:p%40ss@[::1]:5433/shop?sslmode=require",
        "postgresql://me:a:b@db/shop",
        "postgresql://me:p?x#y@db/shop",
        "postgres://one:5432,two:5433/shop",
        "postgresql:///shop?host=/run/postgresql",
        "postgresql://me:@db/shop",
    ],
)
def test_reads_a_url_as_libpq_does(url: str) -> None:
    from urllib.parse import unquote

    known = psycopg.conninfo.conninfo_to_dict(url)
    parts = split_url(url)
    parameters = dict(parts.parameters())
    hosts = ",".join(host.strip("[]") for host, _ in parts.hosts)
    ports = ",".join(str(port) for _, port in parts.hosts if port)
    assert unquote(parts.user or "") == known.get("user", "")
    assert unquote(parts.password or "") == known.get("password", "")
    assert parameters.get("host", hosts) == known.get("host", "")
    assert ports == known.get("port", "")
    assert unquote(parts.path) == known.get("dbname", "")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("shop", "no scheme"),
        ("postgresql://me:p@ss@db/shop", "bare @"),
        ("postgresql://me:p/ss@db/shop", "bare /"),
        ("postgresql://me:p%ss@db/shop", "bare %"),
        ("postgresql://me:p ss@db/shop", "white space"),
        ("postgresql://db:port/shop", "host or port"),
        ("postgresql://db:99999/shop", "host or port"),
        ("postgresql://::1/shop", "square brackets"),
    ],
)
def test_says_what_is_wrong_without_quoting_the_url(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        split_url(url)
    assert "p@ss" not in str(caught.value)
    assert "db" not in str(caught.value)


def test_shows_a_url_without_password_and_query() -> None:
    url = Url("postgresql://me:secret@db:5433/shop?sslpassword=x")
    assert url.safe == "postgresql://me:***@db:5433/shop?***"
    assert repr(url) == repr(url.safe)
    assert repr({"url": url}) == repr({"url": url.safe})


def test_is_its_full_text_to_whoever_connects() -> None:
    assert str(Url("postgresql://me:secret@db/shop")) == "postgresql://me:secret@db/shop"


@pytest.mark.parametrize("text", ["-", "file:/tmp/x", "postgresql://db/shop"])
def test_shows_a_url_without_secrets_as_it_is(text: str) -> None:
    assert Url(text).safe == text


def test_shows_nothing_of_a_url_that_it_cannot_read() -> None:
    assert Url("postgresql://me:p/ss@db/shop").safe == "postgresql://***"
