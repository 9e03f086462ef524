"""Medians with bootstrap intervals.

The interval of a median is that of the percentile method (B. Efron and R. J. Tibshirani, An Introduction to the
Bootstrap, Chapman & Hall 1993, chapter 13): the medians of many samples drawn with replacement, 95 % of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
SAMPLES = 4000
SEED = 0


def median(values: Sequence[float]) -> float:
    """The median; NaN without values."""
    return statistics.median(values) if values else math.nan


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median of finite values; NaN with fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(SEED).choice(np.asarray(values, float), (SAMPLES, len(values)))
    tail = (1 - LEVEL) / 2
    # An order statistic of the medians, not a mean of two: every end is a median that a sample can have.
    low, high = np.quantile(np.median(drawn, axis=1), [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)
