"""Notebooks as pages of the site: text, code and, where the notebook was run, its outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "examples" / "notebooks"
EXECUTED = ROOT / "build" / "notebooks"
STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def place(path: Path) -> str:
    """Where the notebook is in the site."""
    return f"notebooks/{path.stem}.md"


def page(path: Path) -> str:
    """The notebook as Markdown; outputs are those of `tools/notebooks.py`, if the cells are still the same."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells, done = notebook["cells"], EXECUTED / path.name
    if done.exists():
        executed = json.loads(done.read_text(encoding="utf-8"))["cells"]
        if [_source(cell) for cell in executed] == [_source(cell) for cell in cells]:
            cells = executed
    parts = [_cell(cell) for cell in cells]
    name = path.relative_to(ROOT).as_posix()
    return "\n\n".join([*parts, f"*This page is the notebook `{name}`; the tests run it.*", ""])


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _cell(cell: dict[str, Any]) -> str:
    if cell["cell_type"] == "markdown":
        return _source(cell)
    return "\n\n".join([_fenced(_source(cell), "python"), *(_output(output) for output in cell["outputs"])])


def _fenced(text: str, language: str) -> str:
    fence = "`" * (3 + max((len(ticks) for ticks in re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _output(output: dict[str, Any]) -> str:
    """An output in its richest form that a page can show: picture, table, text."""
    data = output.get("data", {})
    if png := data.get("image/png"):
        return f'<img alt="The figure that the cell above draws." src="data:image/png;base64,{"".join(png).strip()}">'
    if html := data.get("text/html"):
        lines = STYLE.sub("", "".join(html)).splitlines()
        return "\n".join(line for line in lines if line.strip())  # an empty line would end the block of HTML
    text = "".join(output.get("text", data.get("text/plain", "")))
    if output["output_type"] == "execute_result" and text.startswith("<"):
        return ""  # a matplotlib object, whose picture follows
    return _fenced(ANSI.sub("", text).rstrip(), "text") if text.strip() else ""
