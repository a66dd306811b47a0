"""Text: text, varchar, char(n), "char", enum labels, xml, and every type without a form of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orjson import dumps

from liberator.postgres.values.rules import (
    Bare,
    ConversionError,
    Converter,
    Described,
    Family,
    Form,
    Schema,
    TypeOptions,
)

_PIECE = 1 << 20

TEXT: Described = ("text",)
"""What `text` is as data."""


def text(raw: bytes) -> bytes:
    """A JSON string. Refuses what is not UTF-8, at the cost of the decoding that the escaping needs anyway."""
    try:
        if len(raw) > 1 << 20:
            return _long_text(raw)
        return dumps(raw.decode())
    except UnicodeDecodeError:
        raise not_utf8() from None


def _long_text(raw: bytes) -> bytes:
    """As `text`, piece by piece: a decoded string may take four bytes a character, which a long one can't afford."""
    pieces = [b'"']
    start, end = 0, len(raw)
    while start < end:
        stop = min(start + _PIECE, end)
        while stop < end and stop > start and raw[stop] & 0xC0 == 0x80:
            stop -= 1
        pieces.append(dumps(raw[start:stop].decode())[1:-1])
        if stop == start:
            raise not_utf8()
        start = stop
    pieces.append(b'"')
    return b"".join(pieces)


def not_utf8() -> ConversionError:
    """The error for bytes that JSON can't hold: a database in SQL_ASCII takes any."""
    return ConversionError("not UTF-8: the database's encoding lets anything pass")


def _trimmed(raw: bytes) -> bytes:
    return text(raw.rstrip(b" "))


def _one_byte(raw: bytes) -> bytes:
    """The one-byte type "char": older servers send a byte with the high bit set as it is, newer ones in octal."""
    if len(raw) == 1 and raw[0] > 0x7F:
        return b'"\\\\%o"' % raw[0]
    return text(raw)


def _limited(typmod: int) -> Schema:
    """typmod: the length in characters, and four; JSON Schema counts code points too."""
    return {"type": "string"} if typmod < 4 else {"type": "string", "maxLength": typmod - 4}


def plain(typmod: int, options: TypeOptions) -> Form:
    """Any type as its text."""
    return Form(text, TEXT, {"type": "string"})


def _varchar(typmod: int, options: TypeOptions) -> Form:
    return Form(text, TEXT, _limited(typmod))


def _char(typmod: int, options: TypeOptions) -> Form:
    if options.char == "trim":
        return Form(_trimmed, ("trimmed",), _limited(typmod))
    return Form(text, TEXT, _limited(typmod))


def _byte(typmod: int, options: TypeOptions) -> Form:
    return Form(_one_byte, ("one_byte",), {"type": "string", "maxLength": 4})


class _Labels(dict[bytes, bytes]):
    """Label -> JSON. A label that was added after the type was read is text like any other."""

    def __missing__(self, raw: bytes) -> bytes:
        return text(raw)


def enum(labels: Iterable[str]) -> Form:
    """An enum. The schema names the labels known now but doesn't insist: a new one must not stop a stream."""
    known = list(labels)
    convert: Converter = _Labels((label.encode(), dumps(label)) for label in known).__getitem__
    return Form(convert, TEXT, {"type": "string", "x-pg-enum": known})


def _bare_texts(values: Sequence[bytes]) -> Sequence[bytes] | None:
    """One look at all of them together; the newlines between them keep half a character from meeting its other half."""
    together = b"\n".join(values)
    if len(together) - len(together.translate(None, _ESCAPED)) != len(values) - 1:
        return None
    if not together.isascii():
        try:
            together.decode()
        except UnicodeDecodeError:
            return None
    return values


_ESCAPED = bytes([*range(0x20), ord('"'), ord("\\")])

BARE: dict[Converter, Bare] = {text: _bare_texts}

FAMILIES: dict[str, Family] = {"varchar": _varchar, "bpchar": _char, "char": _byte}
