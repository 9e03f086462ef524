"""Runs the notebooks of examples/notebooks; what git has of them is without outputs.

    python tools/notebooks.py            every notebook, into build/notebooks, where the site takes the outputs from
    python tools/notebooks.py --strip    takes outputs and run numbers out of the files themselves

A notebook is run anew when it or the package has changed. Each runs in an empty folder, as one that a reader has
downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "examples" / "notebooks"
EXECUTED = ROOT / "build" / "notebooks"
SECONDS = 300
"""Time limit of a cell; a whole notebook takes less than 30 s on a free core."""


def stripped(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook without outputs, run numbers and what editors add to its cells."""
    cells = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"]).splitlines(keepends=True)  # lines, so that a difference shows the line
        kept = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}, "source": source}
        cells.append(kept | ({"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}))
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def text_of(notebook: dict[str, Any]) -> str:
    """The file of a notebook."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import nbformat
    from nbclient import NotebookClient

    node = nbformat.reads(json.dumps(notebook), as_version=4)
    with tempfile.TemporaryDirectory(prefix="sdl-notebook-", ignore_cleanup_errors=True) as folder:
        client = NotebookClient(
            node,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
        )
        done: dict[str, Any] = json.loads(json.dumps(client.execute()))
    return done


def code_hash(notebook: dict[str, Any]) -> str:
    """Changes with the cells of the notebook and with the package."""
    files = sorted((ROOT / "sdl").rglob("*.py"))
    parts = [json.dumps(stripped(notebook)["cells"]).encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def main() -> int:
    """Run or strip the notebooks; returns an exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="names of notebooks; none: all")
    parser.add_argument("--strip", action="store_true", help="take the outputs out of the files")
    parser.add_argument("--out", type=Path, default=EXECUTED, help="folder for the executed notebooks")
    given = parser.parse_args()
    chosen = [NOTEBOOKS / f"{name}.ipynb" for name in given.names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for file in chosen:
        notebook = json.loads(file.read_text(encoding="utf-8"))
        if given.strip:
            file.write_text(text_of(stripped(notebook)), encoding="utf-8", newline="\n")
            continue
        done, code = given.out / file.name, code_hash(notebook)
        if done.exists() and json.loads(done.read_text(encoding="utf-8"))["metadata"].get("code") == code:
            continue
        began = time.monotonic()
        executed = execute(notebook)
        executed["metadata"]["code"] = code
        given.out.mkdir(parents=True, exist_ok=True)
        done.write_text(text_of(executed), encoding="utf-8")
        print(f"{file.stem}: {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
