"""How a notebook shows a run: outcome, settings and channels as HTML."""

from __future__ import annotations

from html import escape

from sdl.formatting import visible
from sdl.report.page import piece
from sdl.runs.runs import Run

STYLE = "max-width:48rem;border:1px solid #999;border-radius:.4rem;padding:.6rem 1rem"


def summary(run: Run) -> str:
    """The HTML of a run in a notebook; all text from the record is escaped."""
    from sdl.report.table import TrialTable

    table = TrialTable(run)
    parts = [piece(table, name) for name in ("outcome", "settings", "channels")]
    text = "".join(parts).replace('class="swatch"', 'style="width:6rem;height:2rem"')
    name = escape(visible(f"{run.opened.campaign}, {run.folder.name}"))
    more = "<p>run.figure(&quot;settings&quot;), run.to_pandas()</p>" if run.measured() else ""
    return f'<div style="{STYLE}"><strong>{name}</strong>{text}{more}</div>'
