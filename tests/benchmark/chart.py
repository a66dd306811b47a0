"""Bars as SVG, for documents: a group for each part, a bar for each side.

Enters: names and rates. Leaves: SVG as text. Called by the command line. The standard library writes it: a bar is a
rectangle and two words, and a library for charts would bring numbers, fonts and a release cycle for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

_WIDTH, _NAMES, _FIGURES = 900, 270, 90
_BAR, _GAP, _HEAD = 18, 6, 34
_OURS, _LIMIT, _PEER = "#2563eb", "#9ca3af", "#d97706"
_STYLE = "text{font:13px system-ui,sans-serif;fill:#111827}.head{font-weight:600}.figure{fill:#374151}"


@dataclass(frozen=True, slots=True)
class Bar:
    """rate: events a second."""

    name: str
    rate: float


def svg(title: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """One picture; each group has a scale of its own, since parts differ by an order of magnitude."""
    height = 40 + sum(_HEAD + len(bars) * (_BAR + _GAP) for _, bars in groups)
    picture = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {_WIDTH} {height}",
            "role": "img",
            "aria-label": title,
        },
    )
    ElementTree.SubElement(picture, "style").text = _STYLE
    ElementTree.SubElement(picture, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    _text(picture, 10, 24, title, "head")
    top = 40
    for name, bars in groups:
        _text(picture, 10, top + 20, name, "head")
        top += _HEAD
        most = max((bar.rate for bar in bars), default=1.0)
        for bar in bars:
            length = (_WIDTH - _NAMES - _FIGURES) * bar.rate / most
            _text(picture, 10, top + 14, bar.name)
            place = {"x": str(_NAMES), "y": str(top), "width": f"{length:.1f}", "height": str(_BAR)}
            ElementTree.SubElement(picture, "rect", {**place, "fill": _colour(bar.name)})
            _text(picture, _NAMES + length + 6, top + 14, f"{bar.rate:,.0f}", "figure")
            top += _BAR + _GAP
    ElementTree.indent(picture)
    return ElementTree.tostring(picture, encoding="unicode") + "\n"


def _colour(name: str) -> str:
    if name.startswith("liberate"):
        return _OURS
    return _PEER if name.startswith("Debezium") else _LIMIT


def _text(picture: ElementTree.Element, x: float, y: float, text: str, kind: str = "name") -> None:
    ElementTree.SubElement(picture, "text", {"x": f"{x:.1f}", "y": str(y), "class": kind}).text = text
