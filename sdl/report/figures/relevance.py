"""Whether a figure says something about a run that the report does not say elsewhere.

A report leaves out the others; `sdl report --figure NAME` and `Run.figure(NAME)` draw them all the same.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sdl.core import events
from sdl.report.figures.parity import parity_sets
from sdl.report.figures.predictions import standardised
from sdl.report.table import TrialTable
from sdl.types import Outcome

FEW = 3
"""Predictions, or proposals of a solver, fewer than which say nothing."""
DISTINCT, CELL = 12, 0.05
"""Different settings from which a pair plot shows a pattern; settings in one cell, as a fraction of the ranges, count
once."""
VARIES, SECONDS = 0.1, 0.1
"""Standard deviation of the durations of readings from which they are shown: relative, and in seconds."""
INCIDENTS = (
    events.Failed, events.Paused, events.Resumed, events.Interrupted, events.AbortAsked, events.Skipped,
    events.Corrected, events.Attached,
)  # fmt: skip


def speaks(table: TrialTable, name: str) -> bool:
    """Whether a report on the run shows the figure `name`, if it can be drawn."""
    rule = RULES.get(name)
    return rule is None or rule(table)


def _several_limits(table: TrialTable) -> bool:
    """With one channel, the error is the deviation that `story` shows."""
    return table.goal is not None and (len(table.goal.limited) > 1 or len(table.trials) > 2 * DISTINCT)


def _several_channels(table: TrialTable) -> bool:
    return len(table.channels) > 1


def _is_reachable(table: TrialTable) -> bool:
    """Settings given readings at the targets mean nothing where no settings give such readings."""
    return table.run.result.outcome is not Outcome.UNREACHABLE and _has_proposals(table)


def _has_proposals(table: TrialTable) -> bool:
    return int((table.by_solver & table.measured).sum()) >= FEW


def _has_predictions(table: TrialTable) -> bool:
    return any(np.isfinite(standardised(table, name)).sum() >= FEW for name in table.goal_channels)


def _no_other_parity(table: TrialTable) -> bool:
    """Near one goal the deviations by trial say more than expected against measured."""
    pairs = (np.isfinite(side.expected * side.measured).all(axis=1).sum() for side in parity_sets(table))
    return not _has_predictions(table) and max(pairs, default=0) >= FEW


def _is_spread_out(table: TrialTable) -> bool:
    low, high = np.array([table.range_of(name) for name in table.inputs]).T
    with np.errstate(invalid="ignore", divide="ignore"):
        cells = np.round((table.X[table.measured] - low) / np.where(high > low, high - low, 1.0) / CELL)
    return len(np.unique(cells[np.isfinite(cells).all(axis=1)], axis=0)) >= DISTINCT


def _no_contours(table: TrialTable) -> bool:
    """The contours show the same settings, with the model."""
    return table.model is None and bool(table.measured.any())


def _conditions_vary(table: TrialTable) -> bool:
    readings = table.run.measured()
    took = np.array([event.elapsed for event in readings])
    varies = len(took) > FEW and float(took.std()) > max(VARIES * float(took.mean()), SECONDS)
    return varies or any(event.background for event in readings)


def _has_incidents(table: TrialTable) -> bool:
    """More happened than readings, one after the other."""
    goal = set(table.goal_channels)
    return any(
        isinstance(event, INCIDENTS)
        or (isinstance(event, events.Measured) and (event.fault is not None or goal & set(event.saturated)))
        for event in table.run.events
    )


def _never(table: TrialTable) -> bool:
    """`story` shows it as well."""
    return False


RULES: dict[str, Callable[[TrialTable], bool]] = {
    "error": _several_limits,
    "objective": _never,
    "spectrum": _several_channels,
    "posterior": _is_reachable,
    "predictions": _has_predictions,
    "parity": _no_other_parity,
    "pairs": _is_spread_out,
    "space": _no_contours,
    "spread": _has_proposals,
    "conditions": _conditions_vary,
    "timeline": _has_incidents,
}
"""Figures that some runs have no use for, and when a report shows them."""
