"""The style of all figures: readable in print and with colour blindness, equal on every machine.

Figures are plain `matplotlib.figure.Figure` objects, without pyplot, global state or windows. Text is drawn as paths,
so that an SVG does not need our font; many points are drawn as an image inside the SVG (`RASTER`).
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, NullLocator

from sdl.formatting import swatch as swatch
from sdl.report.svg import compact

INK, FAINT, LINE, PAPER, BAND = "#1a1a1b", "#5c5c5e", "#d2d2d4", "#fefefe", "#e4e4e6"
"""Text, secondary text, grid and frames, background, tolerance band; `themed` replaces them in dark mode."""

DARK = {INK: "#eaeaec", FAINT: "#a9a9ad", LINE: "#454549", PAPER: "#1b1b1e", BAND: "#38383d"}

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a900")
"""Colours of series, in order: the palette of Okabe and Ito for colour blindness (jfly.uni-koeln.de/color), without its
black and with a darker yellow."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Markers of series, in the same order, so that colour is never the only difference."""

INPUTS = {"R": "#d55e00", "G": "#009e73", "B": "#0072b2", "W": "#7f7f7f"}

SPECTRUM = (
    (430, "#7b3fa0"), (460, "#0072b2"), (500, "#3aa6dd"), (535, "#009e73"), (575, "#8a9a00"), (610, "#d99000"),
    (650, "#d55e00"), (720, "#8b1a1a"),
)  # fmt: skip
"""Colours of channels by wavelength: (upper limit in nm, colour), from the same palette where possible."""

WIDTH = 5.4
"""Inches: text of 9 points is readable on a phone with 390 pixels, and two figures fit side by side on a desktop."""

LEAST_RATIO = 1e-3  # smallest tolerance ratio that is drawn, since 0 has no logarithm
RASTER = 400  # number of points above which they are small and drawn as one image inside the SVG

SETTINGS: Any = {
    "font.family": "DejaVu Sans",  # shipped with matplotlib, so everywhere
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.prop_cycle": cycler(color=OKABE_ITO),
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.dpi": 150,
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "sdl",  # the same figure twice is the same file
    "path.simplify_threshold": 0.5,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Apply the style inside the block; the caller's settings are restored after it."""
    with matplotlib.rc_context(SETTINGS):
        yield


def canvas(rows: int = 1, columns: int = 1, *, height: float = 3.1, **more: Any) -> Figure:
    """A figure with axes (`figure.axes`), without pyplot, for use inside `styled`.

    The height is in inches, the width `WIDTH`; `more` is as for `Figure.subplots`: sharex, height_ratios, …
    """
    made = Figure(figsize=(WIDTH, height))
    made.subplots(rows, columns, squeeze=False, **more)
    return made


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG."""
    return _saved(figure, format="png", dpi=dpi)


def svg(figure: Figure) -> bytes:
    """The figure as an SVG, the same bytes for the same figure."""
    return _saved(figure, format="svg", metadata={"Date": None, "Creator": None}, dpi=120)


def _saved(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with styled(), warnings.catch_warnings(), np.errstate(all="ignore"):
        # Names come from users: a character missing in our font is drawn as a box, and long names are cut.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def themed(drawn: bytes) -> bytes:
    """A smaller SVG for a page, whose five greys follow the reader's light or dark mode.

    Files keep the plain `svg`: not every program supports style sheets.
    """
    text = compact(drawn)
    for n, colour in enumerate(DARK):
        text = text.replace(colour, f"var(--c{n})")
    light, dark = ("".join(f"--c{n}:{c};" for n, c in enumerate(colours)) for colours in (DARK, DARK.values()))
    style = f"<style>svg{{{light}}}@media screen and (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    head, _, body = text.partition(">")
    return f"{head}>{style}{body}".encode()


def series(n: int) -> tuple[str, str]:
    """Colour and marker of the n-th series."""
    return OKABE_ITO[n % len(OKABE_ITO)], MARKERS[n % len(MARKERS)]


def wavelength(name: str) -> float | None:
    """Wavelength in nm from a channel's name: 515 for `515nm` and `ch515`; None without one."""
    match = re.fullmatch(r"\D*?(\d{3,4}(?:\.\d+)?)\s*nm\D*", name) or re.fullmatch(r"ch(\d{3,4})", name)
    return float(match[1]) if match else None


def channel_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour per channel: that of its wavelength where its name has one, otherwise one that is not yet used."""
    waves = {name: wavelength(name) for name in names}
    known = [name for name in names if waves[name] is not None]
    colours = {name: next((c for end, c in SPECTRUM if (waves[name] or 0) <= end), SPECTRUM[-1][1]) for name in known}
    rest = [c for c in (*OKABE_ITO, FAINT) if c not in colours.values()]
    for n, name in enumerate(name for name in names if name not in colours):
        colours[name] = FAINT if name in ("clear", "nir") else rest[n % len(rest)]
    return {name: colours[name] for name in names}


def input_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour per input: fixed for R, G, B and W, otherwise one that is not yet used."""
    rest = [colour for colour in OKABE_ITO if colour not in [INPUTS.get(name) for name in names]]
    others = [name for name in names if name not in INPUTS]
    colours = INPUTS | {name: rest[n % len(rest)] for n, name in enumerate(others)}
    return {name: colours[name] for name in names}


def axis_label(name: str, unit: str, limit: int = 30) -> str:
    """The label of an axis with its unit, `515nm (counts)`, of at most `limit` characters; no formula starts at a `$`.

    The unit is left out where it is empty or the label would be too long.
    """
    length = limit - len(unit) - 3
    return f"{plain(name, length)} ({plain(unit)})" if unit and length >= min(len(name), 6) else plain(name, limit)


def plain(text: str, limit: int = 40) -> str:
    """Text of a record for matplotlib: `$` does not start a formula, and long text is cut in its middle.

    Names that begin alike usually differ at their ends.
    """
    text = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text)  # no glyph, and a new line would break a label
    half = (limit - 1) // 2
    return (text if len(text) <= limit else f"{text[: limit - 1 - half]}…{text[-half:]}").replace("$", r"\$")


def thinned(count: int, limit: int) -> list[int]:
    """Indices of at most `limit` of `count` items, evenly spaced, with the first and the last."""
    if count <= limit:
        return list(range(count))
    return sorted({round(i * (count - 1) / (limit - 1)) for i in range(limit)})


def whole_numbers(axes: Axes) -> None:
    """Use only integer ticks on the x axis."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))


def log_axis(axes: Axes, which: str, low: float, high: float) -> Any:
    """Make an axis logarithmic, with plain numbers at its major ticks alone, and return it."""
    axes.set(**{f"{which}scale": "log", f"{which}lim": (low, high)})
    axis = getattr(axes, f"{which}axis")
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    return axis


def points(axes: Axes, x: Any, y: Any, marker: str, size: float = 4, *, joined: bool = False, **look: Any) -> None:
    """Plot points; if there are many, they are small and faint, not joined by a line, and one image in the SVG."""
    many = len(x) > RASTER
    look = {"ms": 0.4 * size if many else size, "lw": 0.8, "rasterized": many} | look
    if many:
        look["alpha"] = min(look.get("alpha", 1.0), 0.5)
    axes.plot(x, y, marker + ("-" if joined and not many else ""), **look)


def legend(figure: Figure | SubFigure, ncols: int, **options: Any) -> None:
    """Put the legend of a figure's first axes above it."""
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=ncols, **options)


def with_margin(low: float, high: float, part: float) -> tuple[float, float]:
    """The limits of an axis that shows values from `low` to `high`, with a margin of `part` of that range."""
    margin = part * (high - low) or max(1.0, 1e-3 * abs(high))
    return low - margin, high + margin


def two_ticks(low: float, high: float) -> list[float]:
    """Two round values for the ticks of a small axis, away from its ends, where labels would overlap."""
    span = high - low
    if not 1e-9 * max(abs(low), abs(high)) < span < math.inf:
        return [low]
    digits = 1 - math.floor(math.log10(span))
    unit = 10.0**-digits * (5 if span >= 25 * 10.0**-digits else 2)
    return [round(round((low + part * span) / unit) * unit, digits) for part in (0.25, 0.75)]
