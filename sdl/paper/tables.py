"""The pieces of the page: sections and tables, and numbers as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DIGIT = 0.005 + 1e-9
"""Half of the last digit that the paper prints of its settings."""


@dataclass(frozen=True)
class HtmlTable:
    """Rows of text under a head; `numbers` are the columns that are set flush right."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1  # so many columns from the left are words, the others numbers


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: for links to it.
        title: its headline.
        text: paragraphs.
        figures: names of figures with their captions, in order.
        tables: below the figures.
        differences: why the numbers are not the paper's, a sentence each.
    """

    key: str
    title: str
    text: tuple[str, ...] = ()
    figures: tuple[tuple[str, str], ...] = ()
    tables: tuple[HtmlTable, ...] = ()
    differences: tuple[str, ...] = ()
    narrow: bool = False  # its tables stand beside its one figure, not below it


def number(value: float | None, digits: int = 3) -> str:
    """With so many decimals and a true minus sign; `–` where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def counts(value: float) -> str:
    """A reading."""
    return f"{value:,.0f}".replace("-", "−").replace(",", "\u202f")


def power(value: float) -> str:
    """A goal: powers of two as the paper writes them."""
    size = abs(value)
    up = {14: "2¹⁴", 17: "2¹⁷", 18: "2¹⁸"}
    text = next((name for n, name in up.items() if size == 2.0**n), counts(size))
    return f"−{text}" if value < 0 else text


def three(values: Iterable[float | None], digits: int = 3) -> str:
    """Three settings, or what belongs to them."""
    return ", ".join(number(value, digits) for value in values)


def largest(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The largest difference of two sets of settings."""
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


def same(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether ours, rounded as the paper rounds, is within one of its last digits."""
    return largest([round(value, 2) for value in ours], theirs) <= 2 * DIGIT
