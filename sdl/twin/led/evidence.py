"""Readings as matrices for the comparison with a twin: residuals, and the ambient light of each session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdl.arrays import Floats
from sdl.store import datasets
from sdl.store.datasets import SAME_NAMES, ColumnNames
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState
from sdl.types import Reading, numbers

MOVES = 0.03  # relative variation of the ambient light within a session; 2.8 % is the median of the real sessions
DARK = 60.0  # counts: a room with less ambient light is dark
WILD = 10.0  # typical deviations from the median of its session beyond which a reading is an outlier
FEW = 10  # readings that a session needs for an estimate of how much its ambient light varies
TELLS = 0.1  # largest gain, relative to that of the brightest channel, of a channel that measures the ambient light


@dataclass(frozen=True)
class Evidence:
    """Readings of one instrument.

    Attributes:
        X: (n, d) settings as applied, columns as the state's inputs.
        Y: (n, m) counts, columns as the state's channels; NaN where not measured or saturated.
        background: (n, m) counts with the light off, taken with the reading; NaN where not taken.
        session: (n,) number of the session.
        day: (n,) day of each reading, as text.
        sources: a line on each source.
    """

    X: Floats
    Y: Floats
    background: Floats
    session: NDArray[np.intp]
    day: NDArray[np.str_]
    sources: tuple[str, ...] = ()

    def only(self, rows: NDArray[np.bool_]) -> Evidence:
        """The same data with these rows only."""
        part = {name: getattr(self, name)[rows] for name in ("X", "Y", "background", "session", "day")}
        return replace(self, **part)


@dataclass(frozen=True)
class RoomOffsets:
    """The ambient light of the readings.

    Attributes:
        counts: (n, m) of each reading.
        fitted: (n,) whether it is the mean residual of the session, and not measured with the light off.
        told: how it was determined, in words.
    """

    counts: Floats
    fitted: NDArray[np.bool_]
    told: str


def collect(
    sources: Sequence[Path], state: TwinState, days: Sequence[str] = (), columns: ColumnNames = SAME_NAMES
) -> Evidence:
    """Read records, logs and tables.

    Args:
        sources: files, or directories of runs.
        state: its inputs and channels are read; others are ignored.
        days: only these (ISO dates); all if empty.
        columns: inputs and channels with other names in the files.

    Raises:
        ConfigError: a file cannot be read or understood.
        ValueError: they contain nothing usable.
    """
    readings: list[tuple[Reading, int, str]] = []
    lines = []
    for source in sources:
        loaded = datasets.load(source, state.input_list(), state.channel_list(), (), columns=columns)
        first = 1 + max((session for _, session, _ in readings), default=-1)
        rows = [row for row in loaded.rows if not days or row.day in days]
        readings += [(row.reading, row.session + first, row.day) for row in rows]
        lines.append("; ".join([f"{source}: {len(rows)} readings", *loaded.omissions]))
    if not readings:
        raise ValueError(f"no readings{' of ' + ', '.join(days) if days else ''} in {', '.join(map(str, sources))}")
    return matrices(readings, state, lines)


def matrices(rows: Sequence[tuple[Reading, int, str]], state: TwinState, sources: Iterable[str] = ()) -> Evidence:
    """Readings with their session and day, as arrays."""
    readings = [reading for reading, _, _ in rows]
    names, nan = list(state.channels), float("nan")

    applied = [numbers(each.applied) for each in readings]

    def table(values: Iterable[Sequence[float]]) -> Floats:
        return np.array(list(values), dtype=float).reshape(len(rows), -1)

    return Evidence(
        table([each[name] for name in state.inputs] for each in applied),
        table([nan if name in each.saturated else each.readings.get(name, nan) for name in names] for each in readings),
        table([(each.background or {}).get(name, nan) for name in names] for each in readings),
        np.array([session for _, session, _ in rows]),
        np.array([day for _, _, day in rows]),
        tuple(sources),
    )


def light_of(plant: Plant, X: Floats) -> Floats:
    """(n, d) light of the inputs at settings (n, d), as a fraction of full light."""
    return plant.light(plant.duty(X))


def noise_of(plant: Plant, X: Floats, Y: Floats) -> Floats:
    """(n, m) standard deviation of repeated readings around `Y` counts, rounding included."""
    a, state = plant.arrays, plant.state
    rest = (state.proportional_noise * Y) ** 2 + state.dark_noise**2 + 1 / 12
    noise: Floats = np.sqrt(a.jitter[a.window, 0] ** 2 * jitter_of(plant, X) + rest)
    return noise


def jitter_of(plant: Plant, X: Floats) -> Floats:
    """(n, m) variance of the channels (counts²) for a jitter of 1 in their window."""
    a = plant.arrays
    duty = plant.duty(X)
    together = a.mix.T @ a.mix  # (d, d) correlation of the inputs' jitter
    parts = a.gain[None] * np.sqrt(duty * (1 - duty))[:, None, :]  # (n, m, d)
    variance: Floats = np.einsum("nmi,ij,nmj->nm", parts, together, parts)
    return variance


def ambient_of(data: Evidence, residual: Floats, noise: Floats) -> RoomOffsets:
    """The ambient light of each reading: its own background, else the readings with the light off, else the offset.

    `residual` (n, m) are the readings, plus the half count lost by rounding, minus the twin's light of the inputs;
    `noise` (n, m) is their standard deviation.
    """
    counts, fitted = data.background + 0.5, np.zeros(len(data.X), bool)  # counts are rounded down
    off = ~data.X.any(axis=1)
    own, by_rows, by_fit = ~np.isnan(counts).all(axis=1), 0, 0
    for session in np.unique(data.session):
        here = (data.session == session) & ~own
        if not here.any():
            continue
        dark = here & off
        rows = dark if dark.any() else here
        by_rows, by_fit = by_rows + bool(dark.any()), by_fit + (not dark.any())
        fitted[here] = not dark.any()
        for column in range(counts.shape[1]):
            there = rows & ~np.isnan(residual[:, column])
            if there.any():
                counts[here, column] = _middle(residual[there, column], noise[there, column])
    ways = (
        (int(own.sum()), "reading", "with a background of their own"),
        (by_rows, "session", "by their own dark readings"),
        (by_fit, "session", "by a fitted offset"),
    )
    description = "; ".join(f"{n} {noun}{'' if n == 1 else 's'} {how}" for n, noun, how in ways if n)
    return RoomOffsets(counts, fitted, description)


def _middle(values: Floats, noise: Floats) -> float:
    """Mean weighted by the noise, without outliers; an offset, so that it may be negative."""
    middle = float(np.median(values))
    # Outliers by the typical noise of the session: a quiet reading determines the ambient light best.
    near = np.abs(values - middle) <= WILD * np.median(noise)
    return float(np.average(values[near], weights=noise[near] ** -2)) if near.any() else middle


@dataclass(frozen=True)
class TwinResiduals:
    """Residuals of a twin.

    Attributes:
        counts: (n, m) readings minus the twin's inputs and the ambient light.
        noise: (n, m) standard deviation of a repeated reading.
        due: (n, m) standard deviation of `counts` if the twin is right: noise, variation of the ambient light, and the
            gain from day to day.
        light: (n, d) light of the inputs, fraction of full light.
        room: the ambient light.
    """

    counts: Floats
    noise: Floats
    due: Floats
    light: Floats
    room: RoomOffsets


def twin_residuals(data: Evidence, plant: Plant) -> TwinResiduals:
    """The residuals of every reading; half a count is added because counts are rounded down."""
    light = light_of(plant, data.X)
    lit = light @ plant.arrays.gain.T + plant.bent(plant.duty(data.X)).sum(axis=-1)
    daily = plant.state.drift.daily if plant.state.drift else 0.0
    around, moves = np.zeros_like(lit), np.full((len(lit), 1), MOVES)
    for _ in range(3):  # a bright or variable ambient light changes the weights that determine it
        noise = noise_of(plant, data.X, lit + around)
        due = np.sqrt(noise**2 + (moves * around) ** 2 + (daily * lit) ** 2)
        room = ambient_of(data, data.Y + 0.5 - lit, due)
        around = np.nan_to_num(room.counts).clip(0)
        counts = data.Y + 0.5 - lit - room.counts
        moves = _moves(data, plant, counts, around)
    return TwinResiduals(counts, noise, due, light, room)


def _moves(data: Evidence, plant: Plant, residual: Floats, around: Floats) -> Floats:
    """(n, 1) relative variation of ambient light in each session, from the channel least sensitive to the inputs."""
    least = int(plant.arrays.gain.max(axis=1).argmin())
    moves = np.full((len(residual), 1), MOVES)
    for session in np.unique(data.session):
        here = (data.session == session) & (around[:, least] > DARK) & ~np.isnan(residual[:, least])
        if here.sum() >= FEW and plant.arrays.gain[least].max() < TELLS * plant.arrays.gain.max():
            moves[data.session == session] = np.sqrt(np.mean((residual[here, least] / around[here, least]) ** 2))
    return moves


def dark_sessions(data: Evidence, state: TwinState) -> NDArray[np.bool_]:
    """(n,) whether the room was dark, judged by readings with the light off or by the least sensitive channel."""
    plant = Plant(state)
    room = twin_residuals(data, plant).room
    # Small errors of the gains leave hundreds of counts in the bright channels, which are not ambient light.
    least = int(plant.arrays.gain.max(axis=1).argmin())
    dark: NDArray[np.bool_] = np.where(room.fitted, room.counts[:, least], np.fmax.reduce(room.counts, axis=1)) < DARK
    return dark
