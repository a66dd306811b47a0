"""What must never be printed: remembers the values and strikes them out of any text.

Enters: secrets as they are resolved. Leaves: text with `MASK` in their place. `redact` is the process's own instance:
the loader feeds it, logging and the command line pass every line through it. Never stores where a secret came from.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from liberator.config.urls import split_url

MASK = "***"

_SHORTEST = 4
_URL_PASSWORD = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@]*:)\S*(?=@)")
_PARAMETER = re.compile(
    r"(?P<before>\b\w*(?:password|passwd|passphrase|secret|token|api_?key)\w*\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s&;,'\"]+)",
    re.IGNORECASE,
)
_SPEAKS_OF_A_SECRET = re.compile(
    r"password|passwd|passphrase|secret|token|jaas|credential|api.?key|private.?key|key\.pem|^salt$",
    re.IGNORECASE,
)
_COMMON_NUMBER = re.compile(r"[0-9]{1,5}")


class Redactor:
    """Calling it with a text gives the text without secrets.

    Struck out: every remembered value in the forms it may take (plain, URL-encoded, escaped in JSON), the password of
    any URL and any ``password=...`` parameter, remembered or not. A value shorter than four characters is struck out in
    those two places only: as a text of its own it would take half of every line with it.
    """

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def remember(self, value: str) -> None:
        """Strike `value` out from now on; of a text with several lines each line by itself too."""
        for part in {value, *value.splitlines()}:
            if len(part.strip()) >= _SHORTEST and not _COMMON_NUMBER.fullmatch(part):
                self._forms.update(_forms_of(part.strip()))
        self._pattern = None

    def remember_url(self, url: str) -> None:
        """Strike the password of `url` out from now on; what else stands in it may be shown."""
        try:
            parts = split_url(url)
        except ValueError:
            return
        if parts.password and parts.password not in parts.visible():
            self.remember(parts.password)
        for name, value in parts.parameters():
            if speaks_of_a_secret(name):
                self.remember(value)

    def remember_substituted(self, text: str, pieces: list[str]) -> None:
        """Strike out what `${...}` put into `text`.

        Of a URL that is only what is no name in it (scheme, user, host, port, database), so that errors can still say
        which server they mean; a web address is secret as a whole, as those of webhooks are.
        """
        try:
            parts = split_url(text)
        except ValueError:
            visible: set[str] = set()
        else:
            visible = set() if parts.scheme in ("http", "https") else {text, *parts.visible()}
        self.remember_url(text)
        for piece in pieces:
            if piece not in visible and unquote(piece) not in visible:
                self.remember(piece)

    def __call__(self, text: str) -> str:
        text = _URL_PASSWORD.sub(rf"\g<before>{MASK}", text)
        text = _PARAMETER.sub(rf"\g<before>{MASK}", text)
        if not self._forms:
            return text
        if self._pattern is None:
            self._pattern = _compile(self._forms)
        return self._pattern.sub(MASK, text)


def speaks_of_a_secret(name: str) -> bool:
    """Is this a name under which people keep secrets (``sasl.password``, ``ssl.key.pem``)?"""
    return bool(_SPEAKS_OF_A_SECRET.search(name))


redact = Redactor()
"""The process's own: whatever is printed goes through it."""


class RedactingFilter(logging.Filter):
    """For handlers of other people's logging set-ups: records leave it without secrets, arguments and traceback
    included."""

    def __init__(self, redactor: Redactor = redact) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redactor(record.getMessage()), None
        if record.exc_info:
            record.exc_text = self._redactor(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


def _forms_of(value: str) -> Iterator[str]:
    for form in (value, unquote(value), unquote_plus(value)):
        encoded = {form, quote(form), quote(form, safe=""), quote_plus(form)}
        yield from encoded
        yield from (re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), text) for text in encoded)
        yield json.dumps(form)[1:-1]
        yield json.dumps(form, ensure_ascii=False)[1:-1]
        yield repr(form)[1:-1]


def _compile(forms: set[str]) -> re.Pattern[str]:
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(_as_word(form) for form in longest_first if len(form) >= _SHORTEST))


def _as_word(form: str) -> str:
    """A password that is an ordinary word (``postgres``) is struck out where it stands alone, not inside others."""
    if form.isalpha() and form.islower() and len(form) <= 12:
        return rf"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{{2}})|(?<=\\n)){re.escape(form)}(?![A-Za-z0-9])"
    return re.escape(form)
