"""The four solvers of the paper on the twin: is the goal reached, in how many trials, how far off without noise?

Runs `configs/quickstart.yaml` for every solver and seed, at 2¹⁴ counts and at 4000, as
`sdl run configs/quickstart.yaml --set solver.kind=S --set seed=K` would, and judges the reported settings by the twin's
noise-free readings. The `random` solver is the baseline of the same run. Exit code 1 where a solver reaches fewer than
19 of 20.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import sdl
from sdl.config import load
from sdl.twin.led.model import Plant
from sdl.twin.led.state import load as load_state

QUICKSTART = Path(__file__).resolve().parent.parent / "configs" / "quickstart.yaml"
CHANNELS = ("445nm", "515nm", "630nm")


def one(solver: str, target: float, seed: int) -> tuple[bool, int, float, float]:
    """Reached, trials, worst noise-free error in per cent, CPU seconds of one campaign."""
    changes = [f"solver.kind={solver}", f"seed={seed}", *(f"goal.{name}={target}" for name in CHANNELS)]
    began = time.process_time()
    done = sdl.run(QUICKSTART, runs=None, changes=changes)
    seconds = time.process_time() - began
    plant = Plant(load_state(load(QUICKSTART, changes).instrument.state), seed)
    truth = plant.noise_free(done.settings)
    error = max(abs(truth[name] / target - 1) * 100 for name in CHANNELS)
    return done.reached, done.trials, error, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--solvers", nargs="+", default=["linear", "pls", "gmm", "forest", "random"])
    asked = parser.parse_args()
    print("| goal | solver | reached | trials median | p95 | noise-free error, % median | most | CPU s |")
    print("|--:|---|--:|--:|--:|--:|--:|--:|")
    short = []
    for target in (16384.0, 4000.0):
        for solver in asked.solvers:
            rows = [one(solver, target, seed) for seed in range(asked.seeds)]
            reached = [row for row in rows if row[0]]
            trials = [row[1] for row in rows]
            errors = [row[2] for row in reached] or [float("nan")]
            print(
                f"| {target:.0f} | {solver} | {len(reached)}/{len(rows)} | {np.median(trials):g} "
                f"| {np.percentile(trials, 95):g} | {np.median(errors):.2f} | {max(errors):.2f} "
                f"| {np.median([row[3] for row in rows]):.2f} |",
                flush=True,
            )
            if solver != "random" and len(reached) < 0.95 * len(rows):
                short.append(f"{solver} at {target:.0f}")
    if short:
        sys.exit(f"reached in fewer than 19 of 20: {', '.join(short)}")


if __name__ == "__main__":
    main()
