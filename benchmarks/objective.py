"""Maximise one channel: the simple regret after 30 trials, beside BoTorch and Ax.

    python benchmarks/objective.py --peers /tmp/peers/bin/python       every solver and both peers, 20 pairs each
    python benchmarks/objective.py --solvers gp --plants Branin        a part of it, without peers

The simple regret is how far the noise-free reading at the settings that a solver recommends stays below the plant's
maximum. The peers need an environment of their own, which `--peers` names by its Python:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install -r benchmarks/requirements-botorch.txt ax-platform

Results are appended to OUT/objective.jsonl as they come, and those that are there already are not measured again,
unless the code that they depend on has changed. Interrupt it and start it again as you like.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from objective_plants import PLANTS

from sdl.bench import markdown as table
from sdl.parallel.pool import each

ROOT = Path(__file__).resolve().parent
PEERS = ("botorch", "ax")
ENDLESS = 3600.0
"""Seconds after which a peer's campaign is given up."""


class Job(NamedTuple):
    """The campaigns first ... last - 1 of a solver on a plant; `python` runs it where it is a peer."""

    plant: str
    solver: str
    first: int
    last: int
    python: str = ""

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self[:4]


def version(solver: str) -> str:
    """Changes whenever code does that the results of a solver depend on."""
    files = [ROOT / "objective_plants.py", ROOT / "objective_peers.py"]
    if solver not in PEERS:
        import sdl

        package = Path(sdl.__file__).parent
        files = [ROOT / "objective_plants.py", ROOT / "objective_campaign.py"]
        files += sorted(
            file for part in ("solvers", "models", "space", "designs") for file in (package / part).rglob("*.py")
        )
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def measured(job: Job) -> dict[str, Any]:
    """Do one job; runs in a process of its own."""
    if job.solver not in PEERS:
        from objective_campaign import campaigns

        return campaigns(job.plant, job.solver, job.first, job.last)
    command = [job.python, str(ROOT / "objective_peers.py"), job.solver, job.plant, str(job.first), str(job.last)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=ENDLESS, env={**os.environ, **one_thread}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def collect(wanted: Sequence[Job], file: Path, processes: int) -> dict[tuple[str, str, int, int], dict[str, Any]]:
    """Results of all jobs, measuring those that `file` does not have yet."""
    code = {solver: version(solver) for solver in {job.solver for job in wanted}}
    known: dict[tuple[str, str, int, int], dict[str, Any]] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        plant, solver, first, last = row.pop("job")
        if row.pop("code") == code.get(solver):
            known[plant, solver, first, last] = row
    todo = [job for job in wanted if job.key not in known]
    file.parent.mkdir(parents=True, exist_ok=True)
    if todo:
        with closing(each(measured, todo, processes, ordered=False)) as results, file.open("a") as out:
            if out.tell() and not file.read_bytes().endswith(b"\n"):
                out.write("\n")
            for done, (index, row) in enumerate(results, 1):
                known[todo[index].key] = row
                job = todo[index]
                out.write(json.dumps({"job": job.key, "code": code[job.solver], **row}) + "\n")
                out.flush()
                print(
                    f"{done} of {len(todo)}", end="  \r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True
                )
    return {job.key: known[job.key] for job in wanted}


def tables(
    found: dict[tuple[str, str, int, int], dict[str, Any]], plants: Sequence[str], solvers: Sequence[str]
) -> str:
    """Median and p90 of the regrets, and the median over the better of the peers."""

    def regrets(plant: str, solver: str) -> list[float]:
        return [value for key, row in found.items() if key[:2] == (plant, solver) for value in row["regrets"]]

    def cell(plant: str, solver: str) -> str:
        values = regrets(plant, solver)
        return f"{np.median(values):.3g} / {np.percentile(values, 90):.3g}"

    text = "Simple regret, median / p90.\n\n" + table("plant", plants, solvers, cell)
    peers = [solver for solver in PEERS if solver in solvers]
    ours = [solver for solver in solvers if solver not in PEERS]
    if not peers or not ours:
        return text

    def ratio(plant: str, solver: str) -> str:
        better = min(float(np.median(regrets(plant, peer))) for peer in peers)
        return f"{np.median(regrets(plant, solver)) / better:.2f}"

    return (
        text + "\nMedian over that of the better peer (at most 1.2 is asked).\n\n" + table("plant", plants, ours, ratio)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solvers", nargs="+", default=["auto", "gp"], help="labels of solvers, or none")
    parser.add_argument("--plants", nargs="+", default=list(PLANTS), choices=list(PLANTS))
    parser.add_argument("--peers", default="", help="the Python that has botorch and ax-platform; none: no peers")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "out")
    given = parser.parse_args()
    solvers = [*(given.solvers if given.solvers != ["none"] else []), *(PEERS if given.peers else ())]
    wanted = [
        Job(plant, solver, pair, pair + 1, given.peers if solver in PEERS else "")
        for pair in range(given.pairs)
        for plant in given.plants
        for solver in solvers
    ]
    print(tables(collect(wanted, given.out / "objective.jsonl", given.processes), given.plants, solvers))


if __name__ == "__main__":
    main()
