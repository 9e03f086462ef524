"""The figures of a run, each by its name: `draw(run, "error")`.

Every one is a function from a `TrialTable` to a matplotlib Figure, or to None where the run has nothing to show in it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from sdl import registry
from sdl.errors import ConfigError
from sdl.report.digest import TrialTable
from sdl.report.style import png, styled

if TYPE_CHECKING:
    from sdl.runs.runs import Run


log = logging.getLogger("sdl")


@dataclass(frozen=True, slots=True)
class Kind:
    """A figure: where it is drawn, its title and what it shows, for a page and for who cannot see it.

    Attributes:
        bare: title and text where readings are only collected; empty where they are the same.
    """

    home: str
    title: str
    text: str
    bare: tuple[str, str] | tuple[()] = ()

    def said(self, told: TrialTable) -> tuple[str, str]:
        """Title and text for this run."""
        return (self.bare if told.goal is None else ()) or (self.title, self.text)


KINDS = {
    "error": Kind(
        "trials:error",
        "Error per trial",
        "How far the worst channel was from its goal, in tolerances, trial by trial; up to 1, the shaded band, every "
        "channel is inside. The line is the best so far.",
    ),
    "settings": Kind(
        "trials:settings",
        "Settings per trial",
        "What was applied in every trial, each input over its whole range; above it the colour.",
    ),
    "space": Kind(
        "trials:space",
        "Settings in their space",
        "Every trial's settings, two inputs at a time, in their own colour; the ring is the best trial.",
        ("Settings in their space", "Every trial's settings, two inputs at a time, in their own colour."),
    ),
    "spectrum": Kind(
        "spectrum:spectrum",
        "The reading beside the goal",
        "Above: every channel's reading in the best trial, and the goal's targets or limits. Below: how far the "
        "channels of the goal are off, in tolerances.",
        ("The last reading", "Every channel's reading in the last trial."),
    ),
    "parity": Kind(
        "parity:parity",
        "Expected against measured",
        "Test: what the solver expected of its trials before they were measured. Train: a plane fitted by least "
        "squares to the readings from before the solver was asked first, at those same settings. On the line both "
        "agree. R² says little where all readings are alike, as those of a solver that aims at one goal are.",
        (
            "A plane against measured",
            "A plane fitted by least squares to all readings, at those same settings. On the line both agree.",
        ),
    ),
    "pairs": Kind(
        "pairs:pairs",
        "Inputs and channels in pairs",
        "Every input and channel of the goal against every other; on the diagonal how often each value occurs.",
        (
            "Inputs and channels in pairs",
            "Every input and the first channels against every other; on the diagonal how often each value occurs.",
        ),
    ),
    "spread": Kind(
        "spread:spread",
        "Solver uncertainty",
        "For each proposal the spread (for one reading at the goal) and the uncertainty (for the noise-free goal) "
        "of its settings, beside how far it was from the settings of the best trial.",
    ),
    "conditions": Kind(
        "timeline:conditions",
        "Background and latency",
        "Over time: the light of the room, where it was measured, and how long every reading took.",
    ),
    "timeline": Kind(
        "timeline:timeline",
        "What happened when",
        "Over time: trials of the design and of the solver, failures, pauses, and who stepped in.",
    ),
}


def known() -> dict[str, Kind]:
    """Our figures, then those of installed packages; one that cannot be loaded is left out with a warning."""
    found = dict(KINDS)
    for name in registry.kinds("figures"):
        try:
            found.setdefault(name, registry.load("figures", name))
        except ConfigError as error:
            log.warning("figure left out: %s", error)
    return found


def draw(run: Run | TrialTable, name: str) -> Figure | None:
    """One figure of a run.

    Args:
        run: opened, or its digest where several figures are drawn.
        name: one of `known()`.

    Returns:
        None where the run has nothing to show in it: `spread` of a run without a solver, say.

    Raises:
        ConfigError: there is no such figure, or matplotlib is not installed.
    """
    kinds = known()
    if name not in kinds:
        raise ConfigError(f"no figure {name!r}; allowed: {', '.join(kinds)}")
    module, _, function = kinds[name].home.partition(":")
    module = f"sdl.report.figures.{module}" if name in KINDS else module
    digest = run if isinstance(run, TrialTable) else TrialTable(run)

    with styled(), np.errstate(all="ignore"):  # a record may hold any number; what is endless is not drawn
        made: Callable[[TrialTable], Figure | None] = getattr(import_module(module), function)
        try:
            figure = digest.drawn[name] if name in digest.drawn else made(digest)
        except Exception as error:
            if name in KINDS:
                raise
            log.warning("figure %s left out, drawing it failed: %r", name, error)
            figure = None
    digest.drawn[name] = figure
    if figure is not None:  # so that a notebook shows it, whether matplotlib's own magic is on or not
        figure._repr_png_ = lambda: png(figure)  # type: ignore[attr-defined]
    return figure
