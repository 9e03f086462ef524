"""The notebooks: each runs from top to bottom, is kept without outputs, and is a page of the site."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT
from waiting import TIMEOUT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]


def module_of(*place: str) -> ModuleType:
    """A module of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(place[-1], ROOT.joinpath("tools", *place).with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run tools/notebooks.py, with a kernel that finds the package of this folder."""
    command = [sys.executable, str(ROOT / "tools" / "notebooks.py"), *words]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False)


def text_outputs(notebook: dict[str, object]) -> str:
    return json.dumps([cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"])


# What a reader is told to see: the notebook's point, and not only that no cell failed.
SHOWN = {
    "ask-and-tell": ["reached after", "All channels within tolerance"],
    "claude-light": ["unreachable after", "All channels within tolerance"],
    "colour-rig": ["with 7 wells of it: 1 trials", "unreachable after", "All channels within tolerance"],
    "compare-solvers": ["the instrument matches its twin", "Take `"],
    "own-data": ["unreachable", "prepare {'red_uL': 65.0"],
    "paper": ["reached with 7 readings", "unreachable"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom_and_shows_what_its_text_says(name: str, tmp_path: Path) -> None:
    for module in ("nbclient", "ipykernel", "pandas"):
        pytest.importorskip(module)
    done = tool(name, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    executed = json.loads((tmp_path / f"{name}.ipynb").read_text(encoding="utf-8"))
    outputs = text_outputs(executed)
    assert [text for text in SHOWN[name] if text not in outputs] == []
    assert '"image/png"' in outputs or name in ("own-data", "compare-solvers")


@pytest.mark.slow
def test_a_cell_that_fails_fails_the_tool_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    module = module_of("notebooks")
    broken = json.loads(NOTEBOOKS[0].read_text(encoding="utf-8"))
    broken["cells"] = [broken["cells"][1] | {"source": "import sdl\nsdl.run({'name': 'no-instrument'})"}]
    (tmp_path / "broken.ipynb").write_text(json.dumps(broken), encoding="utf-8")
    monkeypatch.setattr(module, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebooks.py", "--out", str(tmp_path / "out")])
    with pytest.raises(Exception, match="instrument"):
        module.main()
    assert not (tmp_path / "out" / "broken.ipynb").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert [cell for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []
    assert [cell for cell in notebook["cells"] if cell["metadata"]] == []


def test_the_paper_has_twenty_cells() -> None:
    paper = json.loads((ROOT / "examples" / "notebooks" / "paper.ipynb").read_text(encoding="utf-8"))
    assert len(paper["cells"]) == 20


def test_stripping_removes_outputs_and_keeps_the_text(tmp_path: Path) -> None:
    cell = {"cell_type": "code", "id": "a", "source": "1 + 1", "metadata": {"collapsed": True}, "execution_count": 7}
    cell["outputs"] = [{"output_type": "execute_result", "data": {"text/plain": "2"}}]
    file = tmp_path / "one.ipynb"
    file.write_text(json.dumps({"cells": [cell], "metadata": {"x": 1}, "nbformat": 4, "nbformat_minor": 5}))
    assert tool(str(file.with_suffix("")), "--strip").returncode == 0
    kept = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert kept == [
        {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}, "outputs": [], "source": ["1 + 1"]}
    ]


def test_outputs_are_shown_beside_the_cells_that_gave_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = module_of("site", "notebook_pages")
    monkeypatch.setattr(pages, "EXECUTED", tmp_path)
    path = NOTEBOOKS[0]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    table = "<div><style scoped>x</style>\n\n<table><tr><td>17.5</td></tr></table></div>"
    first["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": "\x1b[31m```\x1b[0m\n"},
        {"output_type": "display_data", "data": {"text/html": table, "text/plain": "17.5"}},
        {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<Figure>"}},
    ]
    (tmp_path / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    shown = pages.page(path)
    assert "````text\n```\n````" in shown
    assert "<div>\n<table><tr><td>17.5</td></tr></table></div>" in shown
    assert 'src="data:image/png;base64,AAAA"' in shown
    first["source"] = "something else"
    (tmp_path / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    assert "AAAA" not in pages.page(path)
