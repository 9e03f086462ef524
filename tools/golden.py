"""Writes the golden runs: tests/golden/runs/NAME, a short campaign of every solver and of some designs.

`make golden` runs it, after a change that is meant to change what solvers, designs or the twin decide; a test replays
them all and fails until then. Look at `sdl replay` of each first: it says what differs, and by how much. The commit
says why. With names (`python tools/golden.py gp bayes`) only those are written.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "tests" / "golden" / "runs"

GOAL = {"445nm": 16384, "515nm": 16384, "630nm": 16384}
BASE: dict[str, Any] = {
    "instrument": {"kind": "twin", "variant": "curved"},
    "goal": GOAL,
    "tolerance": "0.5%",
    "confirm": 1,
    "stop": {"trials": 7},
    "seed": 3,
}
"""Narrow enough that a solver answers more than once, on an instrument that is no straight line."""


def campaigns() -> dict[str, dict[str, Any]]:
    """Every golden campaign by its name, which for a solver's is the solver's kind."""
    from sdl.registry import OURS

    found = {kind: {**BASE, "name": kind, "solver": {"kind": kind}} for kind in OURS["solvers"]}
    hard = {"kind": "twin", "background": {"every": 2}, "latency": "real", "ambient": "day"}
    faults = [{"name": "busy", "at": [1], "seconds": 60}, {"name": "null-channel", "at": [4]}]
    found["hard-times"] = {
        **BASE,
        "name": "hard-times",
        "instrument": {**hard, "drift": True, "faults": faults},
        "design": {"kind": "latin-hypercube", "trials": 4},
        "solver": "linear",
        "tolerance": "2%",
    }
    found["unreachable"] = {**BASE, "name": "unreachable", "goal": {**GOAL, "445nm": 60000}, "solver": "linear"}
    best = {"goal": {"445nm": "maximise", "515nm": {"at most": 20000}}, "stop": {"trials": 12, "improvement": "1%"}}
    found["objective"] = {**BASE, **best, "name": "objective", "solver": "auto"}
    before = {**BASE, "name": "prior", "solver": "bayes", "prior": ["tests/golden/runs/linear"]}
    found["prior"] = before | {"stop": {"trials": 4}}
    adaptive = {"kind": "adaptive", "trials": 6, "channels": ["515nm"]}
    found["adaptive"] = {"name": "adaptive", "instrument": {"kind": "twin"}, "design": adaptive, "seed": 3}
    return found


def write(name: str, tree: dict[str, Any]) -> None:
    """Runs one campaign and puts its record where the tests look."""
    import sdl

    with tempfile.TemporaryDirectory() as folder:
        done = sdl.run(tree, runs=folder, collect="goal" not in tree)
        kept = RUNS / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for file in Path(done.run).iterdir():
            if file.name in ("record.jsonl", "record.seal", "prior.jsonl"):
                shutil.copy(file, kept / file.name)
    size = (kept / "record.jsonl").stat().st_size / 1000
    print(f"{name}: {done.outcome} after {done.trials} trials, {size:.0f} kB")


def main() -> None:
    """Writes the runs named, or all."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["LOGNAME"] = "golden"  # nobody's name in the record
    os.chdir(ROOT)  # and no folder of a machine
    known = campaigns()
    if unknown := [name for name in sys.argv[1:] if name not in known]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    for name in sys.argv[1:] or known:
        write(name, known[name])


if __name__ == "__main__":
    main()
