"""Readings of a simulated mixer, to fit twins to and to check them with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sdl.grammar import parse_constraint
from sdl.space import Space
from sdl.store.datasets import DatasetRow
from sdl.twin.fitted.fit import Declaration, fit
from sdl.twin.fitted.state import FittedState
from sdl.twin.fitted.write import toml
from sdl.types import Channel, Input, Reading

START = 1.7e9
INPUTS = (
    Input(name="red", high=300.0, step=5.0, unit="uL"),
    Input(name="blue", high=300.0, step=5.0, unit="uL"),
)
CHANNELS = (Channel(name="R", low=0.0, high=255.0), Channel(name="T", unit="°C"))
CONSTRAINTS = (parse_constraint("red + blue <= 300"),)
MIXER = Declaration(INPUTS, CHANNELS, CONSTRAINTS, {"red": 0.0, "blue": 0.0}, takes=20.0)
NOISE = {"R": 0.6, "T": 0.05}
KEYS: dict[str, Any] = {
    "inputs": {name: {"low": 0, "high": 300, "step": 5, "unit": "uL"} for name in ("red", "blue")},
    "channels": {"R": {"unit": "counts", "low": 0, "high": 255}, "T": {"unit": "°C"}},
    "constraints": ["red + blue <= 300"],
    "off": {"red": 0, "blue": 0},
    "takes": "20 s",
}
Response = Callable[[Mapping[str, Any]], dict[str, float]]


def mixer(settings: Mapping[str, Any]) -> dict[str, float]:
    """Readings without noise: Beer's law, and a quantity that is linear."""
    red, blue = settings["red"], settings["blue"]
    return {"R": 240.0 * 10 ** -(0.002 * red + 0.006 * blue), "T": 20.0 + 0.01 * red - 0.02 * blue}


def readings(
    n: int = 60,
    seed: int = 0,
    *,
    instrument: Declaration = MIXER,
    response: Response = mixer,
    noise: Mapping[str, float] = NOISE,
    lag: float = 0.0,
    drift: float = 0.0,
    sessions: Sequence[float] = (0.0,),
    pace: tuple[float, float] = (20.0, 20.0),
) -> list[DatasetRow]:
    """Rows at random settings, in order.

    Args:
        n: number of rows.
        seed: of settings and noise.
        instrument: with the inputs and channels.
        response: readings without noise.
        noise: standard deviation by channel.
        lag: time constant of the first channel, in seconds.
        drift: change of the first channel per hour.
        sessions: offset of the first channel, by session; the sessions are a day apart.
        pace: shortest and longest time between two rows, in seconds.
    """
    rng = np.random.default_rng([seed, 3])
    space = Space(instrument.inputs, instrument.constraints)
    drawn = [space.project(space.decode(row))[0] for row in space.sample(n, rng)]
    first = instrument.channels[0].name
    rows = []
    for i, settings in enumerate(drawn):
        session = i * len(sessions) // n
        if not rows or session != rows[-1].session:
            at = began = START + 86400.0 * session
            level = math.nan
        else:
            at += rng.uniform(*pace)
        exact = response(settings)
        rest = math.exp(-(at - rows[-1].at) / lag) if lag and not math.isnan(level) else 0.0
        level = exact[first] + (0.0 if rest == 0 else (level - exact[first]) * rest)
        exact[first] = level + drift * (at - began) / 3600.0 + sessions[session]
        seen = {}
        for channel in instrument.channels:
            value = exact[channel.name] + noise[channel.name] * rng.standard_normal()
            low = -math.inf if channel.low is None else channel.low
            seen[channel.name] = float(min(max(value, low), math.inf if channel.high is None else channel.high))
        full = tuple(c.name for c in instrument.channels if c.high is not None and seen[c.name] >= c.high)
        rows.append(DatasetRow(Reading(settings, seen, None, full), session, "", at))
    return rows


@cache
def fitted_mixer() -> FittedState:
    """The twin of the mixer, fitted to 60 rows."""
    return fit(readings(), MIXER).state


def written(folder: Path, state: FittedState | None = None, name: str = "rig-twin.toml") -> Path:
    """The file of a twin, by default that of the mixer."""
    file = folder / name
    file.write_text(toml(state or fitted_mixer()), encoding="utf-8")
    return file


def csv(folder: Path, rows: Sequence[DatasetRow], name: str = "log.csv") -> Path:
    """The rows as a table with a column of times."""
    file = folder / name
    inputs, channels = list(rows[0].reading.applied), list(rows[0].reading.readings)
    lines = [",".join([*inputs, *channels, "time"])]
    for row in rows:
        settings, seen = row.reading.applied, row.reading.readings
        cells = [*(settings[i] for i in inputs), *(seen[c] for c in channels), row.at]
        lines.append(",".join(map(str, cells)))
    file.write_text("\n".join(lines) + "\n")
    return file
