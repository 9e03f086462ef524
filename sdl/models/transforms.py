"""Monotonic transforms T of readings: a model is fitted to T(y), and its predictions are transformed back."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sdl.arrays import Floats

Transform = Literal["none", "log"]
LARGEST = 500.0
"""Largest logarithm that is carried back to a reading; larger ones are cut off, so that no result overflows."""


def forward(transform: Transform, y: Floats) -> Floats:
    """T(y); for `log` the readings are positive."""
    return np.log(y) if transform == "log" else y


def backward(transform: Transform, t: Floats) -> Floats:
    """The readings y with T(y) = t."""
    return np.exp(np.clip(t, -LARGEST, LARGEST)) if transform == "log" else t


def derivative(transform: Transform, y: Floats) -> Floats:
    """T'(y), the Jacobian that turns a density of T(y) into one of y."""
    return 1.0 / y if transform == "log" else np.ones_like(y)
