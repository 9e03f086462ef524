"""The figures of a run by name: `draw(run, "error")`.

Each is a function from a `TrialTable` to a matplotlib Figure, or to None where the run has no data for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from matplotlib.figure import Figure

from sdl import registry
from sdl.errors import ConfigError
from sdl.report.style import png, styled
from sdl.report.table import TrialTable
from sdl.runs.runs import Run

log = logging.getLogger("sdl")


@dataclass(frozen=True, slots=True)
class FigureKind:
    """A figure of a report.

    Attributes:
        home: `module:function` that draws it; modules of ours are named below this package, others in full.
        title, text: heading and caption, which are also read out.
        bare: the same for campaigns that only collect readings; empty where they are equal.
    """

    home: str
    title: str
    text: str
    bare: tuple[str, str] | tuple[()] = ()

    def caption(self, table: TrialTable) -> tuple[str, str]:
        """Title and text of this figure for this run."""
        return (self.bare if table.goal is None else ()) or (self.title, self.text)


KINDS = {
    "story": FigureKind(
        "story:story",
        "Readings against the goal",
        "Every reading by trial: its deviation from the goal in units of the tolerance, on a linear axis up to two "
        "tolerances and a logarithmic one beyond. In the shaded band a channel is within tolerance. Readings of one "
        "trial are joined; short bars show what the solver expected, ± one standard deviation. At the right: the mean "
        "of all readings near the best settings ± its standard error. A channel to maximise or minimise is drawn above "
        "in its unit: crosses broke a constraint or were saturated; the line is the model's estimate of the reading at "
        "the best settings so far, with its standard error.",
    ),
    "error": FigureKind(
        "trials:error",
        "Error per trial",
        "Tolerance ratio of the worst channel by trial. In the shaded band, up to 1, all channels are within "
        "tolerance. The line is the best so far.",
    ),
    "objective": FigureKind(
        "trials:objective",
        "Objective per trial",
        "Readings of the channel to maximise or minimise by trial; crosses broke a constraint or were saturated. The "
        "line is the reading that the model estimated at the best settings so far, the shaded band its standard error.",
    ),
    "slices": FigureKind(
        "slices:slices",
        "The model through the answer",
        "Readings by the forward model against one input at a time, the other inputs as in the answer (dotted line), "
        "with bands of 1 and 2 standard deviations of a reading. Filled points: readings whose other inputs are within "
        "15 % of the range from the answer. Open points: the other readings, moved along the model to the answer's "
        "other inputs (partial residuals).",
    ),
    "contours": FigureKind(
        "contours:contours",
        "Where the model reaches the goal",
        "Two inputs at a time, the others as in the answer: the settings at which each channel is within tolerance by "
        "the forward model. Where all areas overlap, the goal is reached. Filled points: trials near the answer in the "
        "other inputs; open points: other trials.",
    ),
    "settings": FigureKind(
        "trials:settings",
        "Settings per trial",
        "Applied settings by trial, each input over its whole range, with their colour above.",
    ),
    "space": FigureKind(
        "trials:space",
        "Settings in their space",
        "Settings of all trials, one panel per pair of inputs, in their own colour; the ring marks the best trial.",
        ("Settings in their space", "Settings of all trials, one panel per pair of inputs, in their own colour."),
    ),
    "spectrum": FigureKind(
        "spectrum:spectrum",
        "Readings and goal",
        "Above: readings of the best trial by channel, with the targets or limits of the goal. Below: errors of the "
        "goal's channels, × tolerance.",
        ("Last reading", "Readings of the last trial by channel."),
    ),
    "importance": FigureKind(
        "importance:importance",
        "Importance of the inputs",
        "Left: share of the variance of a channel that an input causes, alone and together with others (total-effect "
        "Sobol index of the forward model, inputs uniform over their ranges), in per cent. Right: change of a channel, "
        "in tolerances, when an input rises by 1 % of its range from the answer.",
    ),
    "predictions": FigureKind(
        "predictions:predictions",
        "Predictions before the readings",
        "For each trial of the solver: the mean reading minus the one that the solver expected before it, in standard "
        "deviations of that prediction. With a right model 68 % lie within the inner band and 95 % within the outer.",
    ),
    "posterior": FigureKind(
        "posterior:posterior",
        "Posterior of the answer",
        "Settings drawn from their posterior, given readings at the targets and a uniform prior inside the bounds. The "
        "line and the cross mark the answer. A ridge means that the readings do not tell these inputs apart.",
    ),
    "spread": FigureKind(
        "spread:spread",
        "Solver uncertainty",
        "For each proposal: the standard deviation of its settings for one reading at the goal (spread) and for the "
        "noise-free goal (uncertainty), and their distance from the settings of the best trial.",
    ),
    "parity": FigureKind(
        "parity:parity",
        "Expected against measured",
        "Test: readings that the solver expected before its trials were measured. Train: a plane fitted by least "
        "squares to the readings before the solver's first proposal, evaluated at their settings. On the line both "
        "agree. R² says little where all readings are similar, as when a solver aims at one goal.",
        (
            "A plane against measured",
            "A plane fitted by least squares to all readings, evaluated at their settings. On the line both agree.",
        ),
    ),
    "pairs": FigureKind(
        "pairs:pairs",
        "Inputs and channels in pairs",
        "Every input and channel of the goal against every other; histograms on the diagonal.",
        (
            "Inputs and channels in pairs",
            "Every input and the first channels against every other; histograms on the diagonal.",
        ),
    ),
    "conditions": FigureKind(
        "timeline:conditions",
        "Background and latency",
        "Over time: the background, where it was measured, and the duration of every reading.",
    ),
    "timeline": FigureKind(
        "timeline:timeline",
        "Timeline",
        "Over time: readings for the design and the solver, failures, pauses, resumes and aborts.",
    ),
}


def known() -> dict[str, FigureKind]:
    """Our figures, then those of installed packages, except any that cannot be loaded."""
    figures = dict(KINDS)
    for name in registry.kinds("figures"):
        try:
            figures.setdefault(name, registry.load("figures", name))
        except ConfigError as error:
            log.warning("figure left out: %s", error)
    return figures


def check(name: str) -> None:
    """Check that there is a figure of this name.

    Raises:
        ConfigError: there is no such figure.
    """
    if name not in (kinds := known()):
        raise ConfigError(f"no figure {name!r}; allowed: {', '.join(kinds)}")


def draw(run: Run | TrialTable, name: str) -> Figure | None:
    """Draw one figure of a run; None where the run has no data for it, such as `spread` without a solver.

    Raises:
        ConfigError: there is no such figure.
    """
    kinds = known()
    check(name)
    module, _, function = kinds[name].home.partition(":")
    module = f"sdl.report.figures.{module}" if name in KINDS else module
    table = TrialTable.of(run)
    with styled(), np.errstate(all="ignore"):  # a record may hold any number; infinite ones are not drawn
        made: Callable[[TrialTable], Figure | None] = getattr(import_module(module), function)
        try:
            figure = table.figures[name] if name in table.figures else made(table)
        except Exception as error:
            if name in KINDS:
                raise
            log.warning("figure %s left out, drawing it failed: %r", name, error)
            figure = None
    table.figures[name] = figure
    if figure is not None:  # so that a notebook shows it, whether matplotlib's own magic is on or not
        figure._repr_png_ = lambda: png(figure)  # type: ignore[attr-defined]
    return figure
