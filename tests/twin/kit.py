"""Readings to fit and check with: of the twin itself, and the real ones in parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sdl.twin.led.ambient import Sky
from sdl.twin.led.evidence import Evidence, matrices
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState

MAIN = ["445nm", "480nm", "515nm", "555nm", "590nm", "630nm"]
DAY = 86400.0


def sessions(
    state: TwinState, days: int = 4, readings: int = 40, seed: int = 0, sky: Sky | None = None, drifts: bool = False
) -> Evidence:
    """Readings of the twin at random settings of a grid of tenths, one session a day, the first of each in the dark."""
    plant = Plant(state, seed, sky, drifts)
    rng = np.random.default_rng([seed, 77])
    found = []
    for day in range(days):
        start = state.start.timestamp() + day * DAY
        for k in range(readings):
            duty = rng.integers(0, 11, len(state.inputs)) / 10 if k else np.zeros(len(state.inputs))
            settings = dict(zip(state.inputs, duty.tolist(), strict=True))
            found.append((plant.read(settings, start + 0.8 * k), day, f"2025-10-{day + 1:02}"))
    return matrices(found, state, ["the twin"])


def part(log: Path, to: Path, wanted: Callable[[dict[str, Any]], bool]) -> Path:
    """The lines of a log that are wanted, in a file of their own."""
    lines = [line for line in log.read_text().splitlines() if wanted(json.loads(line))]
    assert lines
    to.write_text("\n".join(lines) + "\n")
    return to
