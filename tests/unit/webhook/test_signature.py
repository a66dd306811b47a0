"""Which requests are genuine (D85)."""

from __future__ import annotations

import pytest

from liberator.signature import secret_of, signed, why_not_genuine

NOW = 1_700_000_000
BODY = b'{"paid": true,  "n": 1.10}'
OLD, NEW, FOREIGN = b"old secret", b"new secret", b"another secret"


def judged(
    headers: dict[str, str], *, secrets: tuple[bytes, ...] = (OLD, NEW), body: bytes = BODY, now: float = NOW
) -> str | None:
    id, timestamp, signature = (
        headers.get(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    )
    return why_not_genuine(secrets, id, timestamp, signature, body, now)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_each_secret_is_good_during_a_rotation(secret: bytes) -> None:
    assert judged(signed(secret, "e1", NOW, BODY)) is None


def test_one_good_signature_of_several_is_enough() -> None:
    wrong, right = signed(FOREIGN, "e1", NOW, BODY), signed(NEW, "e1", NOW, BODY)
    both = f"v1a,xxx {wrong['webhook-signature']} {right['webhook-signature']}"
    assert judged({**right, "webhook-signature": both}) is None
    assert judged({**right, "webhook-signature": both}, secrets=(OLD,)) == "no signature fits"


def test_another_secret_does_not_sign() -> None:
    assert judged(signed(FOREIGN, "e1", NOW, BODY)) == "no signature fits"


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"  ", b" "), BODY.replace(b"1.10", b"1.1"), b""])
def test_the_body_counts_byte_for_byte(body: bytes) -> None:
    assert judged(signed(NEW, "e1", NOW, BODY), body=body) == "no signature fits"


@pytest.mark.parametrize(("name", "value"), [("webhook-id", "e2"), ("webhook-timestamp", str(NOW + 1))])
def test_id_and_time_are_signed_too(name: str, value: str) -> None:
    assert judged({**signed(NEW, "e1", NOW, BODY), name: value}) == "no signature fits"


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_header_has_to_be_there(name: str) -> None:
    headers = signed(NEW, "e1", NOW, BODY)
    assert "is missing" in str(judged({**headers, name: ""}))
    del headers[name]
    assert "is missing" in str(judged(headers))


@pytest.mark.parametrize(("age", "good"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_five_minutes_are_too_old_and_too_new(age: int, good: bool) -> None:
    assert (judged(signed(NEW, "e1", NOW - age, BODY)) is None) is good


@pytest.mark.parametrize("timestamp", ["now", "-1", "1e9", "17000000000000000000", "\u0661", f"{NOW}.0"])
def test_what_is_no_time_is_refused(timestamp: str) -> None:
    assert (
        judged({**signed(NEW, "e1", NOW, BODY), "webhook-timestamp": timestamp})
        == "webhook-timestamp is no time"
    )


@pytest.mark.parametrize("signature", ["v1,", "v1", "v2,xxx", "\xff,\xfe", "v1,\xff"])
def test_what_is_no_signature_fits_nothing(signature: str) -> None:
    headers = {**signed(NEW, "e1", NOW, BODY), "webhook-signature": signature}
    assert judged(headers) == "no signature fits"


def test_nothing_fits_where_there_is_no_secret() -> None:
    assert judged(signed(b"", "e1", NOW, BODY), secrets=()) == "no signature fits"


def test_a_secret_of_the_specification_is_base64() -> None:
    assert secret_of("whsec_aGVsbG8=") == b"hello"
    assert secret_of("plain text") == b"plain text"
    with pytest.raises(ValueError, match=r"base64|padding"):
        secret_of("whsec_?")
