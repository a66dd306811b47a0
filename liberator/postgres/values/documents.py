"""Documents: json and jsonb, as a string that holds the text, or spliced in unparsed."""

from __future__ import annotations

from liberator.postgres.values.rules import Converter, Described, Family, Form, TypeOptions
from liberator.postgres.values.text import TEXT, not_utf8, text

_BLANKS = bytes.maketrans(b"\n\r", b"  ")


def _one_line(raw: bytes) -> bytes:
    """json keeps the line breaks that its writer put between tokens (inside of strings they are escaped); one in the
    middle of an event would break newline-delimited output."""
    return _document_text(raw).translate(_BLANKS)


def _document_text(raw: bytes) -> bytes:
    """The document as it stands, if it is UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        raise not_utf8() from None
    return raw


def _document(splice: Converter, described: Described) -> Family:
    def family(typmod: int, options: TypeOptions) -> Form:
        if options.json == "embed":
            return Form(splice, described, {})
        return Form(text, TEXT, {"type": "string", "contentMediaType": "application/json"})

    return family


FAMILIES: dict[str, Family] = {
    "json": _document(_one_line, ("document_line",)),
    "jsonb": _document(_document_text, ("document",)),
}
