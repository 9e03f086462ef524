"""The mean of all readings at settings that a solver cannot tell apart from those of the best trial.

The best of many trials is partly lucky; the mean of all readings near its settings is hardly biased by that choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdl.core.history import History
    from sdl.core.trials import Trial
    from sdl.types import Value

FARTHEST = 0.05
"""Settings of an input that differ by more than this fraction of its range are never pooled, whatever the spread."""
RELATIVE = 1e-6
"""Settings of an input that differ by less than this fraction of its range are the same."""


@dataclass(frozen=True, slots=True)
class PooledMean:
    """The mean of all readings near the settings of the best trial.

    Attributes:
        mean: mean raw reading of each channel of the goal.
        std_error: its standard error by channel, from the scatter of the readings; NaN with a single reading.
        readings, trials: numbers that are pooled.
    """

    mean: Mapping[str, float]
    std_error: Mapping[str, float]
    readings: int
    trials: int


def pooled_mean(history: History, inputs: list[Mapping[str, Any]]) -> PooledMean | None:
    """Pool the readings of all trials whose settings differ from the best trial's by at most its spread.

    The spread of a proposal is the standard deviation of the settings for one noisy reading at the goal; at most a
    twentieth of the range is used. Half a step is the least of a stepped input; of design points only equal settings
    are pooled.

    Args:
        history: the finished trials.
        inputs: the instrument's inputs, as a record declares them.

    Returns:
        None without a goal or a best trial.
    """
    best = history.best
    if best is None or best.goal is None:
        return None
    near = [trial for trial in history.closed if trial.readings and not trial.failed and _is_near(trial, best, inputs)]
    readings = [trial.reading(repeat) for trial in near for repeat in range(trial.taken)]
    values = [reading.readings for reading in readings if reading is not None]
    mean, error = {}, {}
    for name in best.goal.bands:
        column = [float(row[name]) for row in values if name in row]
        mean[name], error[name] = _mean_and_error(column)
    return PooledMean(mean, error, len(values), len(near))


def _is_near(trial: Trial, best: Trial, inputs: list[Mapping[str, Any]]) -> bool:
    for declared in inputs:
        name = str(declared["name"])
        value, centre = trial.shown_settings.get(name), best.shown_settings.get(name)
        if not _close(value, centre, best.proposed.spread.get(name), declared):
            return False
    return True


def _close(value: Value | None, centre: Value | None, spread: float | None, declared: Mapping[str, Any]) -> bool:
    if isinstance(value, str) or isinstance(centre, str) or value is None or centre is None:
        return value == centre
    width = float(declared["high"]) - float(declared["low"])
    near = min(spread or 0.0, FARTHEST * width)
    return abs(value - centre) <= max(near, (declared.get("step") or 0.0) / 2, RELATIVE * width)


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    if not values:
        return math.nan, math.nan
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
