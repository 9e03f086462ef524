"""Tables for notebooks; all text is escaped, since names and reasons come from files."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """An HTML table; numbers have four figures, and unknown ones (None, NaN) are empty."""
    top = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row) + "</tr>" for row in rows)
    above = f"<p>{html.escape(caption)}</p>" if caption else ""
    return f"{above}<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, (int, str)):
        return str(value)
    return f"{value:.4g}" if abs(float(value)) < 1e4 else f"{value:.0f}"  # type: ignore[arg-type]
