"""Pages of tables and figures in the common template: of `sdl bench`, `sdl verify` and `sdl sweep`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from sdl.report.page import picture, render


@dataclass(frozen=True, slots=True)
class TableSection:
    """A table with its heading.

    Attributes:
        heading: heading of the section.
        head, rows: texts.
        texts: number of columns that hold text, aligned left; the others are numbers.
        note: text below the table.
        facts: explanations below the note, each as (name, text).
        bad: rows that are marked.
    """

    heading: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1
    note: str = ""
    facts: Mapping[str, Sequence[tuple[str, str]]] | None = None
    bad: frozenset[int] = frozenset()


def tables_page(
    title: str,
    lead: str,
    sections: Sequence[TableSection],
    figures: Sequence[tuple[Figure, str, str]] = (),
    *,
    good: bool | None = None,
) -> str:
    """The page.

    Args:
        title: its heading.
        lead: the result in a sentence; text between backquotes is code.
        sections: the tables.
        figures: each with its title and caption.
        good: whether the result is good or bad; None: neither.
    """
    pictures = [picture(*figure) for figure in figures]
    return render("tables.html.j2", title=title, lead=lead, sections=sections, figures=pictures, good=good)
