"""A peer's optimiser behind lines of JSON, run by `peers.py` with a Python that has it; imports nothing of sdl.

    python benchmarks/peer_worker.py botorch

Every peer models settings in [0, 1]^d and is told the readings of all channels. It is asked as its documentation
proposes for a target with a tolerance: by a model of each channel and the squared errors in tolerances as a composite
objective where it has composite objectives (BoTorch, Xopt, BayBE), else by the sum of these squares (Ax, Optuna).

    {"begin": {"d": 3, "target": [...], "tolerance": [...], "seed": 0}}   a new campaign; the answer: its versions
    {"tell": [[0.1, 0.1, 0.1], [3118.0, ...]]}                            settings and readings; no answer
    {"ask": true}                                                         the answer: {"x": [...]}
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np

Floats = Any


class Peer:
    """Rows so far, and the squared errors in tolerances that the peer is to make small."""

    packages: tuple[str, ...] = ()

    def __init__(self, d: int, target: list[float], tolerance: list[float], seed: int) -> None:
        self.d, self.target, self.tolerance, self.seed = d, np.array(target), np.array(tolerance), seed
        self.names = [f"x{i}" for i in range(d)]
        self.channels = [f"y{i}" for i in range(len(target))]
        self.X: list[Floats] = []
        self.Y: list[Floats] = []
        self.begin()

    def begin(self) -> None:
        """Set the peer up."""

    def loss(self, y: Floats) -> float:
        return float((((y - self.target) / self.tolerance) ** 2).sum())

    def tell(self, x: Floats, y: Floats) -> None:
        self.X.append(x)
        self.Y.append(y)

    def ask(self) -> Floats:
        raise NotImplementedError


class BoTorch(Peer):
    """One Gaussian process a channel, and log noisy expected improvement of the composite objective."""

    packages = ("botorch", "gpytorch", "torch")

    def ask(self) -> Floats:
        import torch
        from botorch.acquisition.logei import qLogNoisyExpectedImprovement
        from botorch.acquisition.objective import GenericMCObjective
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import ModelListGP, SingleTaskGP
        from botorch.models.transforms import Standardize
        from botorch.optim import optimize_acqf
        from gpytorch.mlls import SumMarginalLogLikelihood

        torch.set_default_dtype(torch.float64)
        torch.manual_seed(self.seed + 1000 * len(self.X))
        x, y = torch.tensor(np.array(self.X)), torch.tensor(np.array(self.Y))
        model = ModelListGP(*(SingleTaskGP(x, y[:, [i]], outcome_transform=Standardize(1)) for i in range(y.shape[1])))
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        target, width = torch.tensor(self.target), torch.tensor(self.tolerance)
        objective = GenericMCObjective(lambda samples, X=None: -(((samples - target) / width) ** 2).sum(-1))
        gain = qLogNoisyExpectedImprovement(model, x, objective=objective, prune_baseline=True)
        bounds = torch.stack([torch.zeros(self.d), torch.ones(self.d)])
        found, _ = optimize_acqf(gain, bounds, q=1, num_restarts=10, raw_samples=256)
        return found[0].numpy()


class Ax(Peer):
    """Ax as it comes."""

    packages = ("ax-platform", "botorch", "torch")

    def begin(self) -> None:
        from ax.api.client import Client
        from ax.api.configs import RangeParameterConfig

        self.client = Client(random_seed=self.seed)
        self.client.configure_experiment(
            [RangeParameterConfig(name=name, parameter_type="float", bounds=(0.0, 1.0)) for name in self.names]
        )
        self.client.configure_optimization("-loss")
        self.open: tuple[int, Floats] | None = None

    def tell(self, x: Floats, y: Floats) -> None:
        if self.open is not None and np.allclose(self.open[1], x):
            index = self.open[0]
        else:
            index = self.client.attach_trial(dict(zip(self.names, x.tolist(), strict=True)))
        self.client.complete_trial(index, raw_data={"loss": self.loss(y)})

    def ask(self) -> Floats:
        ((index, settings),) = self.client.get_next_trials(max_trials=1).items()
        self.open = index, np.array([settings[name] for name in self.names])
        return self.open[1]


class Xopt(Peer):
    """Expected improvement with the composite objective."""

    packages = ("xopt", "botorch", "torch")

    def ask(self) -> Floats:
        import pandas as pd
        import torch
        from gest_api.vocs import VOCS
        from xopt.generators.bayesian import ExpectedImprovementGenerator
        from xopt.generators.bayesian.objectives import CustomXoptObjective

        vocs = VOCS(variables={name: [0.0, 1.0] for name in self.names}, observables=set(self.channels))
        order = [self.channels.index(name) for name in vocs.output_names]
        target, width = torch.tensor(self.target[order]), torch.tensor(self.tolerance[order])

        class SquaredErrors(CustomXoptObjective):
            def forward(self, samples: Any, X: Any = None) -> Any:
                return -(((samples - target) / width) ** 2).sum(dim=-1)

        torch.manual_seed(self.seed + 1000 * len(self.X))
        generator = ExpectedImprovementGenerator(vocs=vocs, custom_objective=SquaredErrors(vocs))
        generator.add_data(pd.DataFrame(np.hstack([self.X, self.Y]), columns=[*self.names, *self.channels]))
        point = generator.generate(1)[0]
        return np.array([point[name] for name in self.names])


class BayBE(Peer):
    """The mean of the squared mismatches of the channels."""

    packages = ("baybe", "botorch", "torch")

    def begin(self) -> None:
        from baybe import Campaign
        from baybe.objectives import DesirabilityObjective
        from baybe.parameters import NumericalContinuousParameter
        from baybe.searchspace import SearchSpace
        from baybe.targets import NumericalTarget

        space = SearchSpace.from_product([NumericalContinuousParameter(name, (0, 1)) for name in self.names])
        targets = [
            NumericalTarget.match_quadratic(name, value)
            for name, value in zip(self.channels, self.target.tolist(), strict=True)
        ]
        objective = DesirabilityObjective(
            targets, (1 / self.tolerance**2).tolist(), scalarizer="MEAN", require_normalization=False
        )
        self.campaign = Campaign(space, objective)

    def tell(self, x: Floats, y: Floats) -> None:
        import pandas as pd

        self.campaign.add_measurements(pd.DataFrame([[*x, *y]], columns=[*self.names, *self.channels]))

    def ask(self) -> Floats:
        return self.campaign.recommend(1)[self.names].to_numpy()[0]


class Optuna(Peer):
    """Its default sampler, a tree-structured Parzen estimator."""

    packages = ("optuna",)

    def begin(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=self.seed))
        self.open: Any = None

    def tell(self, x: Floats, y: Floats) -> None:
        from optuna.distributions import FloatDistribution
        from optuna.trial import create_trial

        if self.open is not None:
            self.study.tell(self.open, self.loss(y))
            self.open = None
            return
        settings = dict(zip(self.names, x.tolist(), strict=True))
        kinds = dict.fromkeys(self.names, FloatDistribution(0.0, 1.0))
        self.study.add_trial(create_trial(params=settings, distributions=kinds, value=self.loss(y)))

    def ask(self) -> Floats:
        self.open = self.study.ask()
        return np.array([self.open.suggest_float(name, 0.0, 1.0) for name in self.names])


PEERS: dict[str, type[Peer]] = {"BoTorch": BoTorch, "Ax": Ax, "Xopt": Xopt, "BayBE": BayBE, "Optuna": Optuna}


def main(name: str) -> None:
    """Answer until the input ends."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    kind, peer = PEERS[name], None
    for line in sys.stdin:
        request = json.loads(line)
        if "begin" in request:
            peer = kind(**request["begin"])
            answer = {"versions": {package: version(package) for package in kind.packages}}
        elif "tell" in request and peer is not None:
            peer.tell(*(np.array(values, dtype=float) for values in request["tell"]))
            continue
        else:
            answer = {"x": [min(max(float(v), 0.0), 1.0) for v in peer.ask()]} if peer is not None else {}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
