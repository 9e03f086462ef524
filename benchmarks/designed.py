"""Designed data: does a solver answer right from few levels, replicates and centre points?

    python benchmarks/designed.py [--solvers gmm forest pls] [--sets 20] [--data FILE]

An affine plant is read with a noise of .35 % at the settings of a design, and a goal inside the design is asked for.
The table gives the reading without noise at the answer, off by % of the goal, of the worst channel: median and maximum
over the sets. The last row asks real readings of one input at three levels for goals between them, and gives the
largest distance of the answer from that of `linear`, in % of the range; it is left out where they are not found.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cells import solver_of
from numpy.typing import NDArray
from plants import targets_of_columns
from real import DATA

from sdl.solvers.base import Data
from sdl.space import Space
from sdl.types import Channel, Input

Floats = NDArray[np.float64]

NOISE = 0.0035


def _grid(levels: Sequence[float]) -> Floats:
    return np.array(list(itertools.product(levels, repeat=3)))


CORNERS = _grid((0.1, 0.9))
DESIGNS = {
    "3³": _grid((0.0, 0.5, 1.0)),
    "3³ shrunk": _grid((0.3, 0.5, 0.7)),
    "5³": _grid((0.0, 0.25, 0.5, 0.75, 1.0)),
    "2³ × 5": np.repeat(CORNERS, 5, axis=0),
    "2³ + centre": np.vstack([np.repeat(CORNERS, 2, axis=0), np.full((5, 3), 0.5)]),
    "27 random": None,
}


def off(label: str, design: Floats | None, seed: int) -> float:
    """Worst channel's noise-free miss of one goal, % of the goal, on one affine plant and one set of readings."""
    rng = np.random.default_rng([seed, 14])
    A = rng.uniform(6000, 16000, (3, 3))
    np.fill_diagonal(A, rng.uniform(26000, 34000, 3))
    X = rng.uniform(size=(27, 3)) if design is None else design
    ends = (X.min(axis=0) + X.max(axis=0)) / 2, 0.8 * np.ptp(X, axis=0) / 2
    goal = 300 + (ends[0] + rng.uniform(-1, 1, 3) * ends[1]) @ A.T
    Y = (300 + X @ A.T) * (1 + NOISE * rng.normal(size=X.shape))
    answer = _ask(label, X, Y, goal[None], seed)
    return float(100 * np.abs((300 + answer @ A.T) / goal - 1).max())


def real_off(label: str, file: Path, rows: int = 500) -> float:
    """Largest distance of the answers to five goals from those of `linear`, % of the range, on real readings."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    dark = [row for row in lines if "benchmark" in row["source"] and row["out"]["515nm"] < 64000][:rows]
    X, Y = np.array([[row["in"][1]] for row in dark]), np.array([[row["out"]["515nm"]] for row in dark], float)
    goals = np.linspace(10000, 50000, 5)[:, None]
    return float(100 * np.abs(_ask(label, X, Y, goals, 0) - _ask("linear", X, Y, goals, 0)).max())


def _ask(label: str, X: Floats, Y: Floats, goals: Floats, seed: int) -> Floats:
    (n, d), m = X.shape, Y.shape[1]
    inputs = tuple(Input(name=f"x{i}") for i in range(d))
    channels = tuple(Channel(name=f"y{i}") for i in range(m))
    age = np.arange(n - 1, -1, -1, dtype=float)
    data = Data(X, Y, np.zeros(Y.shape, bool), np.ones(m, bool), age, np.zeros(n), inputs, channels)
    asked = targets_of_columns(goals, 2.0, list(range(m)), m)
    answers: Floats = solver_of(label).fit(data).propose(asked, Space(inputs), np.random.default_rng(seed)).settings
    return answers


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solvers", nargs="+", default=["linear", "pls", "gmm", "forest"])
    parser.add_argument("--sets", type=int, default=20)
    parser.add_argument("--data", type=Path, default=DATA, help="default: ../shared/data/claude_light.jsonl")
    given = parser.parse_args(arguments)
    print("| design | " + " | ".join(given.solvers) + " |\n|---|" + "--:|" * len(given.solvers))
    for name, design in DESIGNS.items():
        cells = []
        for label in given.solvers:
            found = [off(label, design, seed) for seed in range(given.sets)]
            cells.append(f"{np.median(found):.2f} / {max(found):.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if given.data.exists():
        cells = [f"{real_off(label, given.data):.2f}" for label in given.solvers]
        print("| 500 real readings at 3 levels | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
