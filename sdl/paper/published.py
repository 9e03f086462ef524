"""Numbers that the paper prints, each with its section, for comparison with ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STATE = "paper-2025-03"  # state of the twin on the paper's day
GOAL = ("445nm", "515nm", "630nm")  # the channels that are asked for (section 2), in the paper's order
CHANNELS = ("445nm", "515nm", "590nm", "630nm")  # the channels that are modelled (section 3.1)
INPUTS = ("R", "G", "B")
ROWS, TEST, SPLIT = 100, 0.2, 42
"""Readings (section 2), the part kept for testing and the seed of that choice (section 3.1)."""
TARGET = 2.0**14  # counts wanted in each of the three channels (section 2)
SECONDS = 66.0  # duration of the 100 readings (section 8.2)
PAIR: tuple[Mapping[str, float], Mapping[str, float]] = (
    {"R": 0.5038333048590254, "G": 0.896150143945812, "B": 0.4905281802830161},
    {
        "415nm": 1924, "445nm": 15885, "480nm": 15568, "515nm": 57861, "555nm": 10556,
        "590nm": 10527, "630nm": 18100, "680nm": 4033, "clear": 65535, "nir": 6678,
    },
)  # fmt: skip
"""The one reading that is printed (section 5.2); the others are not public."""


@dataclass(frozen=True)
class Method:
    """One of the paper's four methods: an entry of Table 1.

    Attributes:
        key: our kind of solver.
        name: as in Table 1.
        section: section of the paper.
        solver: as in a campaign file, with the options of the paper.
        answer: (R, G, B) of Table 1.
    """

    key: str
    name: str
    section: str
    solver: Mapping[str, Any]
    answer: tuple[float, float, float]


METHODS = (
    Method(
        "linear",
        "linear forward",
        "3.2",
        {"kind": "linear", "intercept": False, "bounded": False, "starts": 1},
        (0.49, 0.24, 0.52),
    ),
    Method("pls", "PLS backward", "3.3", {"kind": "pls", "components": 3, "level": False}, (0.47, 0.23, 0.52)),
    Method(
        "gmm",
        "Gaussian mixture",
        "3.4",
        {"kind": "gmm", "components": 1, "trend": "none", "channels": ["590nm"]},
        (0.47, 0.23, 0.52),
    ),
    Method(
        "forest",
        "ForestDiffusion",
        "3.5",
        {"kind": "forest", "trend": "none", "n_t": 50, "duplicate_K": 100, "n_estimators": 100, "samples": 100},
        (0.47, 0.23, 0.51),
    ),
)
QUICK = {"n_t": 10, "duplicate_K": 10, "n_estimators": 20}  # a smaller forest, for a first look
GMM_SAMPLED = ((0.4686, 0.2342, 0.5158), (0.0023, 0.0021, 0.0021))
"""Mean and standard deviation of 100 conditional draws of the mixture (section 3.4)."""
FOREST_SAMPLED = ((0.47, 0.23, 0.51), (0.00, 0.00, 0.01))  # the same of ForestDiffusion (section 3.5)


@dataclass(frozen=True)
class Beyond:
    """A goal that no settings reach, and the answer of the paper.

    Attributes:
        target: wanted counts at 445, 515 and 630 nm.
        by: key of the method that the paper used.
        answer: (R, G, B) that it printed.
        spread: standard deviation of its draws; None where it has none.
        what: why no settings reach it.
    """

    target: tuple[float, float, float]
    by: str
    answer: tuple[float, float, float]
    spread: tuple[float, float, float] | None
    what: str


BEYOND = (
    Beyond((-2000.0,) * 3, "pls", (-0.13, -0.05, -0.09), None, "negative readings"),
    Beyond((2.0**17,) * 3, "pls", (4.23, 2.01, 4.27), None, "twice the range of the sensor"),
    Beyond(
        (-(2.0**17), 2.0**17, 2.0**17),
        "gmm",
        (4.4367, 2.0845, -4.3991),
        (0.0025, 0.0022, 0.0020),
        "negative in blue, beyond the range of the sensor in green and red",
    ),
    Beyond(
        (2.0**18, 2.0**18, -(2.0**18)),
        "forest",
        (0.04, 0.98, 0.98),
        (0.01, 0.01, 0.00),
        "beyond the range of the sensor in blue and green, negative in red",
    ),
)
"""Goals outside the data (sections 3.3 to 3.5)."""

GAUSSIAN_DRAWS = 10_000  # points of figures 8 and 9
CORRELATION = 0.999  # of the two variables of figure 8
GAUSSIAN = {"mean": -0.00, "sd": 0.99, "mean given y = 1": 1.01, "sd given y = 1": 0.05}
"""What section 5.3 prints of x."""
SLICE = (0.98, 1.02)  # values of y that count as 1
