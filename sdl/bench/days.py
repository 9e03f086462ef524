"""Settings of readings predicted by solvers that learned from all other days; each reading is taken as a goal.

This includes what campaigns on a twin lack: real noise, real drift between days, real background. The applied settings
are the truth; the noise of each reading contributes to the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sdl import config
from sdl.bench.campaigns import solver_of
from sdl.errors import SdlError
from sdl.inverse.knowledge import fit
from sdl.parallel import pool
from sdl.solvers.base import Data, Targets, ask
from sdl.space import Space
from sdl.twin.led.evidence import Evidence
from sdl.twin.led.state import TwinState

TOLERANCE = 0.02  # relative tolerance of the goals; only some solvers use it


class DaysScore(NamedTuple):
    """The distance of a solver's settings from the applied ones, over all days left out.

    Attributes:
        rms: root mean square over all readings and inputs, as a fraction of an input's range; NaN without any.
        days, readings: numbers predicted.
        why: the solver's error, if it failed.
    """

    solver: str
    rms: float
    days: int
    readings: int
    why: str = ""


def days_left_out(
    data: Evidence,
    state: TwinState,
    channels: Sequence[str],
    solvers: Sequence[str],
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
    limit: float | None = None,
) -> list[DaysScore]:
    """Predict the settings of every day from all others.

    Args:
        data: readings, with the day of each.
        state: names of the inputs and channels.
        channels: channels of the goal; readings that lack one of them, or are saturated in one, are left out.
        solvers: labels of the solvers.
        jobs: number of processes.
        progress: called after every day of every solver.
        limit: time limit for each day, in real seconds.

    Returns:
        One score per solver; none with fewer than two days.
    """
    columns = [list(state.channels).index(name) for name in channels]
    whole = np.isfinite(data.Y[:, columns]).all(axis=1).astype(bool)
    days = [str(day) for day in np.unique(data.day[whole]) if day]
    if len(days) < 2:
        return []
    data = data.only(whole)
    items = [(solver_of(label), data, state, tuple(columns), day) for label in solvers for day in days]
    predicted: list[tuple[Any, str]] = []
    progress(0, len(items))
    results = pool.each(_day, items, jobs, crashed=lambda e: (None, str(e).partition(": ")[2]), limit=limit)
    for index, result in results:
        predicted.append(result)
        progress(index + 1, len(items))
    scores = []
    for i, label in enumerate(solvers):
        mine = predicted[i * len(days) : (i + 1) * len(days)]
        errors = [error for error, _ in mine if error is not None]
        rows = np.vstack(errors) if errors else np.zeros((0, len(state.inputs)))
        rms = float(np.sqrt((rows**2).mean())) if len(rows) else math.nan
        reasons = [reason for error, reason in mine if error is None]
        scores.append(DaysScore(label, rms, len(errors), len(rows), reasons[-1] if reasons else ""))
    return scores


def _day(item: tuple[dict[str, Any], Evidence, TwinState, tuple[int, ...], str]) -> tuple[Any, str]:
    """Predicted minus applied settings, (readings of the day, d), as fractions of the ranges; or None and why."""
    tree, data, state, columns, day = item
    learn, test = np.flatnonzero(data.day != day), np.flatnonzero(data.day == day)
    inputs, channels = state.input_list(), state.channel_list()
    goal = np.isin(np.arange(len(channels)), columns)
    value = np.where(goal, data.Y[test], np.nan)
    width = TOLERANCE * np.abs(value)
    low, high = (np.where(goal, value + side * width, side * np.inf) for side in (-1, 1))
    age = np.arange(len(learn) - 1, -1, -1, dtype=float)
    full = data.Y[learn] >= state.full_scale
    session = data.session[learn].astype(float)
    rows = Data(data.X[learn], data.Y[learn], full, goal, age, session, inputs, channels, float(data.session[test[0]]))
    space = Space(inputs)
    try:
        fitted = fit(config.parse_kind("solver", tree), rows)
        given = ask(fitted, Targets(value, low, high), space, np.random.default_rng(0))
    except (SdlError, Exception) as error:  # a plug-in may fail in any way
        return None, f"{type(error).__name__}: {error}"[:300]
    return (np.clip(given.settings, space.low, space.high) - data.X[test]) / space.width, ""
