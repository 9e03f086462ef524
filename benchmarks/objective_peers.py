"""Campaigns of BoTorch and Ax on the plants of `objective_plants.py`, run by `objective.py` with a Python of theirs.

    python benchmarks/objective_peers.py botorch Branin 0 5

One line of JSON: the simple regrets after the last trial of the pairs, and the seconds of the whole.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

import numpy as np
from objective_plants import PLANTS, TRIALS, Plant

Floats = Any


def botorch(plant: Plant, pair: int) -> Floats:
    """A Sobol design, then log noisy expected improvement; of those measured the best posterior mean."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.acquisition.objective import GenericMCObjective
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import ModelListGP, SingleTaskGP
    from botorch.models.transforms import Standardize
    from botorch.optim import optimize_acqf
    from gpytorch.mlls import SumMarginalLogLikelihood
    from scipy.stats import qmc

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(pair)
    rng = np.random.default_rng([pair, 1])
    X = list(qmc.Sobol(plant.d, rng=pair).random(plant.planned))
    Y = [plant.measure(x, rng) for x in X]
    bounds, limit = torch.stack([torch.zeros(plant.d), torch.ones(plant.d)]), plant.at_most
    objective = GenericMCObjective(lambda samples, X=None: samples[..., 0])
    constraints = None if limit is None else [lambda samples: samples[..., 1] - limit]

    def fitted() -> tuple[Any, Any]:
        x, y = torch.tensor(np.array(X)), torch.tensor(np.array(Y))
        parts = [SingleTaskGP(x, y[:, [i]], outcome_transform=Standardize(1)) for i in range(y.shape[1])]
        model = ModelListGP(*parts)
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        return model, x

    for _ in range(plant.planned, TRIALS):
        model, x = fitted()
        gain = qLogNoisyExpectedImprovement(model, x, objective=objective, constraints=constraints, prune_baseline=True)
        found, _ = optimize_acqf(gain, bounds, q=1, num_restarts=10, raw_samples=512)
        X.append(found[0].numpy())
        Y.append(plant.measure(X[-1], rng))
    model, x = fitted()
    with torch.no_grad():
        mean = model.posterior(x).mean.numpy()
    score = mean[:, 0] if limit is None else np.where(mean[:, 1] <= limit, mean[:, 0], -np.inf)
    return X[int(np.argmax(score))]


def ax(plant: Plant, pair: int) -> Floats:
    """Ax as it comes; its best parameterisation."""
    from ax.api.client import Client
    from ax.api.configs import RangeParameterConfig

    rng = np.random.default_rng([pair, 1])
    client = Client(random_seed=pair)
    names = [f"x{i}" for i in range(plant.d)]
    client.configure_experiment(
        [RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in names]
    )
    client.configure_optimization("y", outcome_constraints=None if plant.at_most is None else [f"c <= {plant.at_most}"])
    for _ in range(TRIALS):
        ((index, settings),) = client.get_next_trials(max_trials=1).items()
        y = plant.measure(np.array([settings[name] for name in names]), rng)
        client.complete_trial(index, raw_data=dict(zip(("y", "c"), y.tolist(), strict=False)))
    best = client.get_best_parameterization()[0]
    return np.array([best[name] for name in names])


def main(kind: str, name: str, first: str, last: str) -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    began, plant = time.monotonic(), PLANTS[name]
    ask = {"botorch": botorch, "ax": ax}[kind]
    regrets = [plant.regret(ask(plant, pair)) for pair in range(int(first), int(last))]
    print(json.dumps({"regrets": regrets, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
