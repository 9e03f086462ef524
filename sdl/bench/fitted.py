"""Goals on the twin of any instrument."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdl.errors import ConfigError
from sdl.twin.fitted.state import FittedState
from sdl.twin.fitted.surrogate import Surrogate

INNER = 0.8
"""Goals are drawn from settings whose distance from the mean is this fraction of random ones, so that the ends, where
responses are nonlinear, are left out."""
DRAWS = 1000  # settings among which goals and the responses of channels are looked for


def channels_of(state: FittedState) -> tuple[str, ...]:
    """The default channels of a goal: for each column of the space, the one that it changes most, in units of noise."""
    surrogate = Surrogate(state, noise=False)
    space, names = surrogate.space, list(state.channels)
    U = (space.sample(DRAWS, np.random.default_rng(0)) - space.low) / space.width
    mean = surrogate.mean(U)
    noise = np.maximum(np.sqrt((surrogate.noise_sd(mean) ** 2).mean(axis=0)), 1e-12 * np.abs(mean).max(axis=0) + 1e-300)
    slope = np.linalg.lstsq(np.column_stack([np.ones(len(U)), U]), mean, rcond=None)[0][1:]
    chosen: list[str] = []
    for row in np.abs(slope) / noise:
        free = [j for j in np.argsort(-row) if names[j] not in chosen]
        chosen += [names[free[0]]] if free else []
    return tuple(name for name in names if name in chosen)


def goals_of(state: FittedState, channels: Sequence[str], n: int, seed: int) -> tuple[dict[str, float], ...]:
    """Draw `n` goals that a twin can reach.

    Raises:
        ConfigError: an unknown channel, or one at the end of its range at nearly all settings.
    """
    if unknown := [name for name in channels if name not in state.channels]:
        raise ConfigError(f"unknown channel {unknown[0]}; allowed: {', '.join(state.channels)}")
    surrogate = Surrogate(state, noise=False)
    space, ends = surrogate.space, {channel.name: (channel.low, channel.high) for channel in surrogate.channels}
    rows = space.sample(DRAWS, np.random.default_rng([seed, len(space.columns)]))
    middle = rows.mean(axis=0)
    goals: list[dict[str, float]] = []
    for row in rows:
        inner = np.where(space.categorical, row, middle + INNER * (row - middle))
        seen = surrogate.noise_free(space.project(space.decode(inner))[0])
        if all(seen[name] not in ends[name] for name in channels):
            goals.append({name: float(f"{seen[name]:.6g}") for name in channels})
        if len(goals) == n:
            return tuple(goals)
    raise ConfigError(f"{', '.join(channels)}: at the end of their range at nearly all settings; choose other channels")
