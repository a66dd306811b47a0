"""Random values of every type, as text that the type's input function reads. All from the `Random` they are given."""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.integration.postgres.way_back import backslashed, doubled

Random = random.Random
Generate = Callable[[Random], str]

WORDS = [
    "",
    " ",
    "NULL",
    "null",
    "empty",
    "infinity",
    '"',
    "\\",
    '\\"',
    '""',
    "a b",
    "{}",
    "(,)",
    "[1:2]={}",
    "\n",
    "é",
]
SIGNS = "abz XYZ09\"\\{}(),;[]=>'%_:\t\n\r\x01\x7fé日本😀\u2028\u0085\u00a0"


def words(r: Random) -> str:
    if r.random() < 0.2:
        return r.choice(WORDS)
    return "".join(r.choice(SIGNS) for _ in range(r.choice([1, 2, 5, 12, 12, 200])))


def short(length: int) -> Generate:
    return lambda r: words(r)[:length]


def integers(low: int, high: int) -> Generate:
    edges = [low, high, 0, 1, low + 1, high - 1]
    return lambda r: str(
        r.choice(edges) if r.random() < 0.2 else r.randint(low, high) >> r.choice([0, 0, 8, 16, 40])
    )


def one_of(*values: str) -> Generate:
    return lambda r: r.choice(values)


def mixed(generate: Generate, *edges: str) -> Generate:
    return lambda r: r.choice(edges) if r.random() < 0.15 else generate(r)


def floats(r: Random) -> str:
    return (
        repr(r.uniform(-1, 1) * 10.0 ** r.randint(-37, 37))
        if r.random() < 0.7
        else str(r.randint(-(10**6), 10**6))
    )


def digits(r: Random) -> str:
    whole = "".join(r.choice("0123456789") for _ in range(r.choice([1, 3, 10, 40, 400])))
    part = "".join(r.choice("0123456789") for _ in range(r.choice([0, 0, 2, 10, 60])))
    return f"{r.choice(['', '-'])}{whole}{'.' if part else ''}{part}"


def cents(low: int, high: int) -> Generate:
    return lambda r: f"{(value := r.randint(low, high)) // 100}.{value % 100:02d}"


def octets(r: Random) -> str:
    return "\\x" + r.randbytes(r.choice([0, 1, 2, 3, 4, 20, 300])).hex()


def dates(last: int) -> Generate:
    def generate(r: Random) -> str:
        bc = r.random() < 0.1
        year = (
            r.randint(1, 4712)
            if bc
            else r.choice([r.randint(1, 9999), r.randint(1900, 2100), r.randint(1, last)])
        )
        return f"{year:04d}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}{' BC' if bc else ''}"

    return mixed(generate, "infinity", "-infinity", f"{last}-12-31", "2024-02-29", "4713-11-25 BC")


def times(r: Random) -> str:
    fraction = r.choice(["", "", f".{r.randrange(10**6):06d}", ".5", ".000001", ".999999"])
    return f"{r.randrange(24):02d}:{r.randrange(60):02d}:{r.randrange(60):02d}{fraction}"


def zoned_times(r: Random) -> str:
    offset = r.choice(["+00", "+02", "-11", "+05:30", "-15:59:59", "+15:59:59", "-00:00:01"])
    return r.choice([times(r), times(r), "24:00:00"]) + offset


def moments(zone: str) -> Generate:
    date = dates(294276)

    def generate(r: Random) -> str:
        day, _, era = date(r).partition(" ")
        return day if "infinity" in day else f"{day} {times(r)}{zone} {era}".strip()

    return mixed(generate, "294276-12-31 23:59:59.4" + zone)


def intervals(r: Random) -> str:
    months, days = (
        r.randint(-(2**31), 2**31 - 1) >> r.choice([0, 20, 28]),
        r.randint(-(2**31), 2**31 - 1) >> 20,
    )
    return f"{months} months {days} days {r.randint(-(10**15), 10**15) >> r.choice([0, 10, 40])} microseconds"


def hexadecimal(*groups: int, by: str) -> Generate:
    return lambda r: by.join("".join(r.choice("0123456789abcdef") for _ in range(size)) for size in groups)


def networks(strict: bool) -> Generate:
    def generate(r: Random) -> str:
        if r.random() < 0.5:
            address: Any = ipaddress.IPv4Address(r.getrandbits(32))
        else:
            address = ipaddress.IPv6Address(
                r.choice([r.getrandbits(128), 0xFFFF << 32 | r.getrandbits(32), 1])
            )
        text = f"{address}/{r.randint(0, address.max_prefixlen)}"
        return str(ipaddress.ip_network(text, strict=False)) if strict else r.choice([text, str(address)])

    return generate


def documents(r: Random, depth: int = 0) -> str:
    blank = r.choice(["", "", " ", "\n", "\t"])
    kind = r.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return blank + r.choice(["1.10", "-0", "1e3", "12345678901234567890.123456789", "0", "-7"])
    if kind < 4:
        return blank + json.dumps(words(r), ensure_ascii=r.random() < 0.5)
    if kind < 6:
        return r.choice(["true", "false", "null", "{}", "[]"]) + blank
    parts = [documents(r, depth + 1) for _ in range(r.randint(0, 3))]
    if kind == 6:
        return f"[{blank}{','.join(parts)}]"
    members = (f"{json.dumps(r.choice(['a', 'a', words(r)]))}:{blank}{part}" for part in parts)
    return f"{{{','.join(members)}}}"


def bits(low: int, high: int) -> Generate:
    return lambda r: "".join(r.choice("01") for _ in range(r.randint(low, high)))


def coordinates(count: int, template: str) -> Generate:
    return lambda r: template.format(*(floats(r) for _ in range(count)))


def markup(r: Random) -> str:
    safe = "".join(sign for sign in words(r) if sign.isprintable() or sign == "\n")
    return f"<a b='1'>{safe.replace('&', '&amp;').replace('<', '&lt;')}</a>"


def lists(element: Generate, low: int, high: int, by: str) -> Generate:
    return lambda r: by.join(element(r) for _ in range(r.randint(low, high)))


def vectors(element: Generate, low: int, high: int) -> Generate:
    return lambda r: f"[{lists(element, low, high, ',')(r)}]"


def hstores(r: Random) -> str:
    pairs = [
        (backslashed(words(r)), r.choice(["NULL", backslashed(words(r))])) for _ in range(r.randint(0, 4))
    ]
    return ", ".join(f"{key}=>{value}" for key, value in pairs)


def arrays(element: Generate, by: str = ",", dimensions: int = 3, bounds: bool = False) -> Generate:
    def generate(r: Random) -> str:
        shape = [r.randint(1, 3) for _ in range(r.randint(1, dimensions))]
        if not bounds and r.random() < 0.1:
            return "{}"
        head = "".join(f"[{(low := r.randint(-2, 2))}:{low + size - 1}]" for size in shape)
        return (head + "=" if bounds else "") + level(r, shape)

    def level(r: Random, shape: Sequence[int]) -> str:
        if not shape:
            return "NULL" if r.random() < 0.15 else backslashed(element(r))
        return "{" + by.join(level(r, shape[1:]) for _ in range(shape[0])) + "}"

    return generate


def records(*attributes: Generate) -> Generate:
    def generate(r: Random) -> str:
        return "(" + ",".join("" if r.random() < 0.2 else doubled(make(r)) for make in attributes) + ")"

    return generate


def ranges(bound: Generate, order: Callable[[str], Any]) -> Generate:
    def generate(r: Random) -> str:
        if r.random() < 0.1:
            return "empty"
        low, high = sorted((bound(r), bound(r)), key=order)
        lower, upper = ("" if r.random() < 0.15 else doubled(value) for value in (low, high))
        return f"{r.choice('[(')}{lower},{upper}{r.choice('])')}"

    return generate


def multiranges(one: Generate) -> Generate:
    return lambda r: "{" + ",".join(one(r) for _ in range(r.randint(0, 3))) + "}"
