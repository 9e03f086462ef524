"""Goals with a tolerance: trials of `auto` and of peers on the plants of `plants.py`, in one run.

    python benchmarks/peers.py --python BoTorch=/tmp/botorch/bin/python Optuna=/tmp/optuna/bin/python
    python benchmarks/peers.py --solvers auto linear --scenarios "affine, 1 %" --sets 10

Each peer runs in an environment of its own, whose Python is named here; those without one are left out:

    python -m venv /tmp/botorch && /tmp/botorch/bin/pip install -r benchmarks/requirements-botorch.txt
    (Xopt: requirements-xopt.txt; Ax: ax-platform; BayBE: baybe; Optuna: optuna)

A set fixes plant, goal and noise for everyone. All begin with the same inputs + 1 axis points, which count, and go on
until a proposal hits by the criterion of the scenario. Results are appended to OUT/peers.jsonl as they come, one line a
campaign; those that are there already are not measured again, unless the code that they depend on has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cells import solver_of
from peer_worker import PEERS
from plants import SCENARIOS, Scenario, _hit, campaign, task
from solvers import version

from sdl.bench import markdown as table
from sdl.designs.filling import Axis
from sdl.extras import versions_of

ROOT = Path(__file__).resolve().parent
ROWS = ("affine, 1 %", "curved .3, 1 %", "curved .8, 1 %", "gamma 1.8, 2 % measured", "Beer, 1 %", "Michaelis, 1 %")
CAP = 30
"""Trials after which a campaign has failed."""


class Cell(NamedTuple):
    """A campaign: one set of a scenario, by one solver or peer."""

    scenario: str
    solver: str
    set: int


@dataclass
class Worker:
    """A peer's process; it is begun when it is first asked and kept for its next campaigns."""

    name: str
    python: str
    process: subprocess.Popen[str] | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def begin(self, **options: Any) -> None:
        if self.process is None:
            one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
            command = [self.python, str(ROOT / "peer_worker.py"), self.name]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **one}
            )
        self.versions = self.answer({"begin": options})["versions"]

    def send(self, request: dict[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Raises RuntimeError where the peer has failed."""
        self.send(request)
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            code, self.process = self.process.wait(), None
            raise RuntimeError(f"{self.name} ended with exit code {code}")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def ours(cell: Cell) -> dict[str, Any]:
    """A campaign of one of our solvers."""
    scenario = SCENARIOS[cell.scenario]
    ended = campaign(scenario, solver_of(cell.solver, dict(scenario.options)), cell.set, CAP)
    return {"reached": ended.reached, "trials": ended.trials, "error": ended.error, "versions": versions_of()}


def theirs(cell: Cell, worker: Worker) -> dict[str, Any]:
    """A campaign of a peer, by the same rules as `plants.campaign`."""
    scenario: Scenario = SCENARIOS[cell.scenario]
    plant, goal, _ = task(scenario, cell.set)
    noise, columns = np.random.default_rng([cell.set, 1]), plant.goal
    bands = [goal.bands[name] for name in plant.goals]
    target, width = [band.target for band in bands], [band.high - band.target for band in bands]
    X, design = np.empty((0, plant.d)), Axis()
    try:
        worker.begin(d=plant.d, target=target, tolerance=width, seed=cell.set)
        for trial in range(CAP):
            planned = trial < plant.d + 1
            if planned:
                x = design.point(trial, X, plant.inputs, lambda n: np.random.default_rng([cell.set, 3, n]))
            else:
                x = np.array(worker.answer({"ask": True})["x"])
            y = plant.read(x, trial, noise)
            if scenario.criterion == "noise-free":
                hit = not planned and _hit(plant, goal, plant.noise_free(x, trial))
            else:
                hit = _hit(plant, goal, y)
            if hit:
                return {"reached": True, "trials": trial + 1, "error": "", "versions": worker.versions}
            worker.send({"tell": [x.tolist(), y[columns].tolist()]})
            X = np.vstack([X, x])
    except (RuntimeError, OSError) as error:
        return {"reached": False, "trials": len(X), "error": str(error), "versions": worker.versions}
    return {"reached": False, "trials": CAP, "error": "", "versions": worker.versions}


def code_of(solver: str) -> str:
    """Changes whenever code does that the results depend on."""
    own = version(solver) if solver not in PEERS else ""
    files = (ROOT / name for name in ("plants.py", "peers.py", "peer_worker.py"))
    return hashlib.sha256(own.encode() + b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def collect(cells: Sequence[Cell], file: Path, pythons: dict[str, str]) -> dict[Cell, dict[str, Any]]:
    """Results of all cells, measuring those that `file` does not have yet."""
    code = {solver: code_of(solver) for solver in {cell.solver for cell in cells}}
    known: dict[Cell, dict[str, Any]] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        cell = Cell(*row.pop("cell"))
        if row.pop("code") == code.get(cell.solver):
            known[cell] = row
    workers = {name: Worker(name, python) for name, python in pythons.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    todo = [cell for cell in cells if cell not in known]
    try:
        with file.open("a") as out:
            if out.tell() and not file.read_bytes().endswith(b"\n"):
                out.write("\n")
            for done, cell in enumerate(todo, 1):
                began = time.monotonic()
                row = theirs(cell, workers[cell.solver]) if cell.solver in PEERS else ours(cell)
                row["seconds"] = round(time.monotonic() - began, 2)
                known[cell] = row
                out.write(json.dumps({"cell": cell, "code": code[cell.solver], **row}) + "\n")
                out.flush()
                print(f"{done} of {len(todo)}", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    return {cell: known[cell] for cell in cells}


def counts(found: dict[Cell, dict[str, Any]], scenario: str, solver: str) -> list[float]:
    """Trials of each set; a failed campaign counts as more than any other."""
    rows = sorted((cell.set, row) for cell, row in found.items() if cell[:2] == (scenario, solver))
    return [row["trials"] if row["reached"] else np.inf for _, row in rows]


def median(values: Sequence[float]) -> float:
    return float(np.percentile(values, 50, method="inverted_cdf"))


def tables(found: dict[Cell, dict[str, Any]], scenarios: Sequence[str], solvers: Sequence[str]) -> str:
    """Trials by scenario and solver, the rows in which `auto` is behind, and the versions."""

    def cell(scenario: str, solver: str) -> str:
        values = counts(found, scenario, solver)
        if not values:
            return "–"
        failed = sum(value == np.inf for value in values)
        shown = [f"{v:g}" if v < np.inf else f">{CAP}" for v in (median(values), max(values))]
        text = " / ".join(shown) + (f" · {failed}" if failed else "")
        best = min(median(counts(found, scenario, one)) for one in solvers if counts(found, scenario, one))
        return f"**{text}**" if median(values) == best else text

    sizes = sorted({len(counts(found, scenario, solver)) for scenario in scenarios for solver in solvers})
    text = f"Trials until a proposal hits: median / largest · failures after {CAP} trials, of "
    text += f"{' to '.join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))} sets; the least median in bold.\n\n"
    text += table("goal", scenarios, solvers, cell)
    if "auto" in solvers:
        behind = [
            f"{scenario} ({solver})"
            for scenario in scenarios
            for solver in solvers
            if solver in PEERS
            and counts(found, scenario, solver)
            and median(counts(found, scenario, solver)) < median(counts(found, scenario, "auto"))
        ]
        text += f"\n`auto` is first or level in every row{' but ' + ', '.join(behind) if behind else ''}.\n"
    lines = []
    for solver in solvers:
        rows = [row for cell, row in found.items() if cell.solver == solver]
        used = sorted({", ".join(f"{k} {v}" for k, v in row["versions"].items()) for row in rows if row["versions"]})
        if rows:
            lines.append(f"{solver}: {'; '.join(used)}, {np.median([row['seconds'] for row in rows]):.1f} s a campaign")
    return text + "\nVersions, and median seconds of a campaign: " + " · ".join(lines) + ".\n"


def draw(found: dict[Cell, dict[str, Any]], scenarios: Sequence[str], solvers: Sequence[str], file: Path) -> None:
    """Share of sets that have hit, against the number of trials, a panel a scenario."""
    from matplotlib.figure import Figure

    colours = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
    figure = Figure(figsize=(3 * len(scenarios), 2.9), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(scenarios), sharey=True))
    trials = np.arange(1, CAP + 1)
    for panel, scenario in zip(panels, scenarios, strict=True):
        for i, solver in enumerate(solvers):
            if values := counts(found, scenario, solver):
                share = [np.mean(np.array(values) <= n) for n in trials]
                width = 2.4 if solver == "auto" else 1.4
                panel.step(trials, share, where="post", color=colours[i % 7], lw=width, label=solver)
        panel.set(title=scenario, xlabel="trial", ylim=(-0.03, 1.03), xlim=(1, CAP))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("share of goals hit")
    panels[-1].legend(fontsize="small", loc="lower right")
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="*", default=[], metavar="PEER=PYTHON", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--solvers", nargs="+", default=["auto"], help="ours")
    parser.add_argument("--scenarios", nargs="+", default=list(ROWS), help="names of campaigns of plants.py")
    parser.add_argument("--sets", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="default: runs/benchmarks")
    given = parser.parse_args()
    pythons = dict(item.split("=", 1) for item in given.python)
    for name in (*(set(pythons) - set(PEERS)), *(set(given.scenarios) - set(SCENARIOS))):
        parser.error(f"{name} is neither a peer ({', '.join(PEERS)}) nor a campaign of plants.py")
    solvers = [*given.solvers, *(name for name in PEERS if name in pythons)]
    cells = [Cell(s, solver, n) for n in range(given.sets) for s in given.scenarios for solver in solvers]
    found = collect(cells, given.out / "peers.jsonl", pythons)
    draw(found, given.scenarios, solvers, given.out / "peers.png")
    print(tables(found, given.scenarios, solvers))


if __name__ == "__main__":
    main()
