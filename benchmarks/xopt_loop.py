"""`auto` as a generator in Xopt's loop, beside Xopt's own composite expected improvement.

    python -m venv /tmp/xopt && /tmp/xopt/bin/pip install . -r benchmarks/requirements-xopt.txt
    /tmp/xopt/bin/python benchmarks/xopt_loop.py --sets 30

Plant: the affine LED of `plants.py` (three inputs, three channels, noise 0.35 %). A pair fixes goal and noise for every
generator. Xopt's loop evaluates four axis points and goes on until a reading lies within 2 % of the goal in every
channel. Printed: trials, median / p95, with failures after 30 trials. Composite: one Gaussian process per channel, and
as objective the negative sum of the squared errors in tolerances.
"""

from __future__ import annotations

import argparse
import time
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from plants import Plant, Scenario, task

from sdl.asktell.generator import Generator
from sdl.core.goal import Goal

SCENARIO = Scenario("affine", 2, "measured")
CAP = 30


def vocs_of(plant: Plant) -> Any:
    """Variables of the plant, and its channels as observables."""
    from gest_api.vocs import VOCS

    return VOCS(variables={item.name: [item.low, item.high] for item in plant.inputs}, observables=set(plant.goals))


def composite(plant: Plant, goal: Goal) -> Any:
    """Xopt's expected improvement of the squared errors, with one model per channel."""
    import torch
    from xopt.generators.bayesian import ExpectedImprovementGenerator
    from xopt.generators.bayesian.objectives import CustomXoptObjective

    vocs = vocs_of(plant)
    bands = [goal.bands[name] for name in vocs.output_names]
    target = torch.tensor([band.target for band in bands], dtype=torch.double)
    width = torch.tensor([band.high - band.target for band in bands], dtype=torch.double)

    class SquaredErrors(CustomXoptObjective):
        def forward(self, samples: Any, X: Any = None) -> Any:
            return -(((samples - target) / width) ** 2).sum(dim=-1)

    return ExpectedImprovementGenerator(vocs=vocs, custom_objective=SquaredErrors(vocs))


def ours(plant: Plant, goal: Goal) -> Any:
    """The solver `auto`."""
    return Generator(vocs_of(plant), "auto", goal=dict(goal.targets), tolerance="2%")


GENERATORS = {"auto": ours, "Xopt composite EI": composite}


def trials(name: str, pair: int) -> int | None:
    """Trials until a reading is within tolerance; None after CAP."""
    import torch
    from xopt import Evaluator, Xopt

    plant, goal, _ = task(SCENARIO, pair)
    noise, taken, inside = np.random.default_rng([pair, 1]), 0, False
    torch.manual_seed(pair)

    def evaluate(inputs: dict[str, Any]) -> dict[str, float]:
        nonlocal taken, inside
        settings = np.array([inputs[item.name] for item in plant.inputs], dtype=float)
        readings = dict(zip(plant.channels, plant.read(settings, taken, noise).tolist(), strict=True))
        taken, inside = taken + 1, goal.reached(readings)
        return {name: readings[name] for name in plant.goals}

    loop = Xopt(generator=GENERATORS[name](plant, goal), evaluator=Evaluator(function=evaluate))
    if name != "auto":  # the design that ours begins with
        for point in Generator(vocs_of(plant), goal=dict(goal.targets)).suggest(len(plant.inputs) + 1):
            loop.evaluate_data([point])
            if inside:
                return taken
    while not inside and taken < CAP:
        loop.step()
    return taken if inside else None


def main() -> None:
    """Print a line for each generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=30, help="number of goals")
    parser.add_argument("--generators", nargs="+", default=list(GENERATORS), choices=list(GENERATORS))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"xopt {version('xopt')}, gest-api {version('gest-api')}, {given.sets} goals, affine LED, 2 %")
    for name in given.generators:
        began = time.perf_counter()
        ended = [trials(name, pair) for pair in range(given.sets)]
        counts = np.array([CAP + 1 if count is None else count for count in ended])
        median, tail = np.percentile(counts, [50, 95])
        seconds = (time.perf_counter() - began) / given.sets
        print(f"{name:20} {median:g} / {tail:g} trials, {ended.count(None)} failures, {seconds:.1f} s a campaign")


if __name__ == "__main__":
    main()
