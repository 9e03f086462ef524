"""The stories of compared runs in one figure: deviation from the goal by trial, one panel for each channel."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sdl.report import style
from sdl.report.comparison import LABEL, MOST_GROUPS, RunGroup, letter
from sdl.report.figures.story import deviation_axis
from sdl.report.intervals import median

MOST_CHANNELS = 4
"""Most panels: the channels that most runs have; of equals those farthest from their goal."""


def channels(groups: Sequence[RunGroup]) -> list[str]:
    """The channels of the goals of all runs, those of most runs first."""
    found: dict[str, list[float]] = {}
    for group in groups:
        for run in group.runs:
            for name, values in run.deviations.items():
                found.setdefault(name, []).append(abs(values[-1][1]))
    return sorted(found, key=lambda name: (-len(found[name]), -median(found[name]), name))


def story(groups: Sequence[RunGroup]) -> Figure | None:
    """Every run as a line: its mean reading − target by trial, in tolerances, in the colour of its group.

    Returns:
        None where no run has a goal with a target, a range or a limit.
    """
    names, shown = channels(groups)[:MOST_CHANNELS], groups[:MOST_GROUPS]
    if not names:
        return None
    with style.styled():
        drawn = style.canvas(len(names), height=0.9 + 2.1 * len(names) + 0.12 * len(shown))
        for axes, name in zip(drawn.axes, names, strict=True):
            axes.axhspan(-1, 1, color=style.BAND, lw=0, zorder=0)
            seen = [0.0]
            for n, group in enumerate(shown):
                colour, marker = style.series(n)
                runs = [values for run in group.runs if (values := run.deviations.get(name))]
                alpha = max(0.25, 0.9 / max(len(runs), 1) ** 0.5)
                for values in runs:
                    x, y = zip(*values, strict=True)
                    axes.plot(x, y, "-", color=colour, lw=1, alpha=alpha)
                    axes.plot(x[-1:], y[-1:], marker, color=colour, ms=5, mec=style.PAPER, mew=0.5, zorder=3)
                    seen += y
            deviation_axis(axes, min(seen), max(seen))
            axes.set(ylabel=f"{style.plain(name)} − goal\n(tolerances)")
            style.whole_numbers(axes)
        drawn.axes[-1].set(xlabel="trial")
        looks = [style.series(n) for n in range(len(shown))]
        handles = [
            Line2D(
                [], [], color=colour, marker=marker, ms=5, lw=1.2, label=style.plain(f"{letter(n)} {group.name}", LABEL)
            )
            for n, (group, (colour, marker)) in enumerate(zip(shown, looks, strict=True))
        ]
        drawn.legend(handles=handles, loc="outside upper left", ncols=2 if len(shown) > 3 else 3)
    return drawn
