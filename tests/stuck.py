"""A solver of somebody else's that hangs or ends its process, as an installed package would bring it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SOLVER = """
import os
import time
from pathlib import Path
from typing import Literal

from sdl.types import Frozen


class Stuck(Frozen):
    kind: Literal["stuck"] = "stuck"
    told: str = ""

    def fit(self, data):
        what = Path(self.told).read_text()
        while what == "hang" and Path(self.told).exists():
            time.sleep(0.02)
        if what == "end":
            os._exit(0)
        if what == "talk":
            print("a library says hello")
            os.system("echo and so does a program")
        raise ValueError(f"nothing to be had: {what}")
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> str:
    """Installs it for this process and those that it starts; gives the campaign's `solver:`.

    What it does stands in the file `told` and can be changed there: `hang` (until that file is gone), `end` its
    process with exit code 0; `talk` on stdout; all else, and that too, is an error.
    """
    (folder / "stuck_solver.py").write_text(SOLVER, encoding="utf-8")
    package = folder / "stuck-1.dist-info"
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: stuck\nVersion: 1\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[sdl.solvers]\nstuck = stuck_solver:Stuck\n", encoding="utf-8")
    told = folder / "told"
    told.write_text(what, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    paths = [str(folder), str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return f"{{kind: stuck, told: {told}}}"
