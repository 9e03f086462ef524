"""One look for every figure: light, readable in print and for colour-blind eyes, the same on every machine.

Figures are plain `matplotlib.figure.Figure` objects: no pyplot, no global state, no window. Their text is drawn as
paths, so that an SVG looks the same without our font; many points are drawn as an image inside it (`RASTER`).
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sdl.errors import ConfigError
from sdl.extras import missing

INK, FAINT, LINE, PAPER, BAND = "#1a1a1b", "#5c5c5e", "#d2d2d4", "#fefefe", "#e4e4e6"
"""Text; what is said beside it; grid and frames; the ground; the tolerance. `themed` turns them round in the dark."""

DARK = {INK: "#eaeaec", FAINT: "#a9a9ad", LINE: "#454549", PAPER: "#1b1b1e", BAND: "#38383d"}

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a900")
"""Series, in this order: Okabe and Ito's palette that colour-blind eyes can tell apart (jfly.uni-koeln.de/color), its
black left to the text and its yellow darkened for white paper."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Series, in the same order: colour is never the only difference."""

INPUTS = {"R": "#d55e00", "G": "#009e73", "B": "#0072b2", "W": "#7f7f7f"}

SPECTRUM = (
    (430, "#7b3fa0"), (460, "#0072b2"), (500, "#3aa6dd"), (535, "#009e73"), (575, "#8a9a00"), (610, "#d99000"),
    (650, "#d55e00"), (720, "#8b1a1a"),
)  # fmt: skip
"""Channels by wavelength: (up to so many nm, colour), Okabe–Ito's where it has one near it."""

WIDTH = 5.4
"""Inches: so that text of 9 points can be read on a phone's 390 pixels, and two stand side by side on a desktop."""

RASTER = 400
"""From so many points on they are one image inside the SVG, and small."""

SETTINGS: dict[str, Any] = {
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
    """The look, for what is drawn inside; the caller's own settings are put back.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(missing("figures", "", error)) from error
    look: Any = {**SETTINGS, "axes.prop_cycle": _cycle()}
    with matplotlib.rc_context(look):
        yield


def canvas(rows: int = 1, columns: int = 1, *, height: float = 3.1, width: float = WIDTH, **more: Any) -> Figure:
    """A figure with its axes (`figure.axes`), without pyplot. Call it inside `styled`.

    Args:
        rows: of axes.
        columns: of axes.
        height: inches.
        width: inches.
        more: as `Figure.subplots` takes it: sharex, height_ratios, …
    """
    made = Figure(figsize=(width, height))
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
        # Names are other people's: a sign that our font lacks is a box, and one that is too long is cut.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        figure.savefig(buffer, **options)
    return buffer.getvalue()


def themed(drawn: bytes) -> bytes:
    """An SVG for a page: our five greys follow the reader's light or dark, and it is smaller.

    Numbers are cut to hundredths of a point. For a file of its own take `svg` as it is: not every program that opens
    one knows style sheets.
    """
    text = drawn.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(
        r"(scale\([^)]*\))|(\d\.\d{2})\d+", lambda found: found[1] or found[2], text
    )  # glyphs keep their size
    names = {colour: f"--c{n}" for n, colour in enumerate(DARK)}
    for colour, name in names.items():
        text = text.replace(colour, f"var({name})")
    light = "".join(f"{name}:{colour};" for colour, name in names.items())
    dark = "".join(f"{name}:{DARK[colour]};" for colour, name in names.items())
    style = f"<style>svg{{{light}}}@media screen and (prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    end = text.index(">") + 1
    return (text[:end] + style + text[end:]).encode("utf-8")


def series(n: int) -> tuple[str, str]:
    """Colour and marker of the n-th series."""
    return OKABE_ITO[n % len(OKABE_ITO)], MARKERS[n % len(MARKERS)]


def wavelength(name: str) -> float | None:
    """Nanometres in a channel's name: `515nm` is 515, and so is SDL-Light's `ch515`; None where it names none."""
    found = re.fullmatch(r"\D*?(\d{3,4}(?:\.\d+)?)\s*nm\D*", name) or re.fullmatch(r"ch(\d{3,4})", name)
    return float(found[1]) if found else None


def channel_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour a channel: near that of its light where the name has a wavelength and no two come out alike."""
    waves = {name: wavelength(name) for name in names}
    known = [name for name in names if waves[name] is not None]
    found = {name: next((c for end, c in SPECTRUM if (waves[name] or 0) <= end), SPECTRUM[-1][1]) for name in known}
    rest = [c for c in (*OKABE_ITO, FAINT) if c not in found.values()]
    for n, name in enumerate(name for name in names if name not in found):
        found[name] = FAINT if name in ("clear", "nir") else rest[n % len(rest)]
    return {name: found[name] for name in names}


def input_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour an input: R, G, B and W are what they are called, the others what is left."""
    rest = [colour for colour in OKABE_ITO if colour not in [INPUTS.get(name) for name in names]]
    others = [name for name in names if name not in INPUTS]
    found = INPUTS | {name: rest[n % len(rest)] for n, name in enumerate(others)}
    return {name: found[name] for name in names}


def swatch(settings: Mapping[str, float], inputs: Sequence[Mapping[str, Any]]) -> tuple[int, int, int] | None:
    """The colour of an R, G, B setting, 0 … 255 each; None for other inputs. A fourth input W adds to all three.

    The square root of the part of each range is roughly how eyes see light.
    """
    bounds = {str(item["name"]): (float(item["low"]), float(item["high"])) for item in inputs}
    if not {"R", "G", "B"} <= bounds.keys() or not {"R", "G", "B"} <= settings.keys():
        return None

    def part(name: str) -> float:
        low, high = bounds[name]
        return min(max((settings[name] - low) / (high - low), 0.0), 1.0)

    white = part("W") if "W" in bounds and "W" in settings else 0.0
    red, green, blue = (round(255 * math.sqrt(min(part(name) + white, 1.0))) for name in "RGB")
    return red, green, blue


def labelled(name: str, unit: str, most: int = 30) -> str:
    """An axis' label with its unit: `515nm (counts)`; dollar signs are no formula.

    Args:
        name: of an input or a channel.
        unit: empty where it has none; left out where it is longer than the label may be.
        most: characters.
    """
    room = most - len(unit) - 3
    return f"{plain(name, room)} ({plain(unit)})" if unit and room >= min(len(name), 6) else plain(name, most)


def plain(text: str, most: int = 40) -> str:
    """Text from a record, so that matplotlib draws it as it is: `$` begins no formula, nothing is endless.

    What is too long loses its middle: names that begin alike differ at their end.
    """
    text = re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text)  # no glyph, and a new line would break a label
    half = (most - 1) // 2
    return (text if len(text) <= most else f"{text[: most - 1 - half]}…{text[-half:]}").replace("$", r"\$")


def thinned(count: int, most: int) -> list[int]:
    """Indices of at most `most` of `count` things, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def whole_numbers(axes: Axes, which: str = "x") -> None:
    """No half trials on an axis."""
    getattr(axes, f"{which}axis").set_major_locator(MaxNLocator(integer=True, nbins=7, min_n_ticks=1))


def two_ticks(low: float, high: float) -> list[float]:
    """Two round values of a small axis, away from its ends, where they would run into the labels beside them."""
    span = high - low
    if not 1e-9 * max(abs(low), abs(high)) < span < math.inf:
        return [low]
    digits = 1 - math.floor(math.log10(span))
    unit = 10.0**-digits * (5 if span >= 25 * 10.0**-digits else 2)
    return [round(round((low + part * span) / unit) * unit, digits) for part in (0.25, 0.75)]


def _cycle() -> Any:
    from cycler import cycler

    return cycler(color=OKABE_ITO)
