"""Readings as matrices, to hold a twin against: what the twin says of them, and what the room added to each sitting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdl.arrays import Floats
from sdl.store import datasets
from sdl.store.datasets import SAME_NAMES, ColumnNames
from sdl.twin.model import Plant
from sdl.twin.state import TwinState
from sdl.types import Reading

MOVES = 0.03
"""The light of a room moves by this part of itself within a sitting: 2.8 % in the middle of the real sittings."""
DARK = 60.0  # counts: a room that adds less is dark
WILD = 10.0
"""Usual deviations from the middle of its sitting beyond which a reading tells nothing of the room."""
FEW = 10  # fewer readings in a sitting do not tell how much its room moved
TELLS = 0.1
"""A channel tells of the room if it sees the inputs less than this part of what the brightest one sees."""


@dataclass(frozen=True)
class Evidence:
    """Readings of one instrument.

    Attributes:
        X: (n, d) settings as applied, columns as the state's inputs.
        Y: (n, m) counts, columns as the state's channels; NaN where not measured or saturated.
        background: (n, m) counts with the light off, taken with the reading; NaN where not taken.
        sitting: (n,) which readings were taken together.
        day: (n,) day of each reading, as text.
        sources: what was read, a line each.
    """

    X: Floats
    Y: Floats
    background: Floats
    sitting: NDArray[np.intp]
    day: NDArray[np.str_]
    sources: tuple[str, ...] = ()

    def only(self, rows: NDArray[np.bool_]) -> Evidence:
        """The same data with these rows only."""
        part = {name: getattr(self, name)[rows] for name in ("X", "Y", "background", "sitting", "day")}
        return replace(self, **part)


@dataclass(frozen=True)
class RoomOffsets:
    """What the room added.

    Attributes:
        counts: (n, m) for each reading.
        fitted: (n,) it is the mean of what the twin leaves unexplained; else the readings say it themselves.
        told: how it was found, in words.
    """

    counts: Floats
    fitted: NDArray[np.bool_]
    told: str


def collect(
    sources: Sequence[Path], state: TwinState, days: Sequence[str] = (), columns: ColumnNames = SAME_NAMES
) -> Evidence:
    """Reads records, logs and tables.

    Args:
        sources: files, or directories of runs.
        state: its inputs and channels are read; others are left out.
        days: only these (ISO dates); all if empty.
        columns: where the files call inputs and channels otherwise.

    Raises:
        ConfigError: a file cannot be read or understood.
        ValueError: nothing usable in them.
    """
    inputs, channels = state.input_list(), state.channel_list()
    found: list[tuple[Reading, int, str]] = []
    told = []
    for source in sources:
        loaded = datasets.load(source, inputs, channels, (), columns=columns)
        first = 1 + max((sitting for _, sitting, _ in found), default=-1)
        rows = [row for row in loaded.rows if not days or row.day in days]
        found += [(row.reading, row.session + first, row.day) for row in rows]
        told.append("; ".join([f"{source}: {len(rows)} readings", *loaded.omissions]))
    if not found:
        raise ValueError(f"no readings{' of ' + ', '.join(days) if days else ''} in {', '.join(map(str, sources))}")
    return matrices(found, state, told)


def matrices(found: Sequence[tuple[Reading, int, str]], state: TwinState, told: Iterable[str] = ()) -> Evidence:
    """Readings with their sitting and day, as arrays."""

    def table(values: Iterable[Sequence[float]]) -> Floats:
        return np.array(list(values), dtype=float).reshape(len(found), -1)

    names = list(state.channels)
    nan = float("nan")
    return Evidence(
        table([reading.applied[name] for name in state.inputs] for reading, _, _ in found),
        table(
            [nan if name in reading.saturated else reading.readings.get(name, nan) for name in names]
            for reading, _, _ in found
        ),
        table([(reading.background or {}).get(name, nan) for name in names] for reading, _, _ in found),
        np.array([sitting for _, sitting, _ in found]),
        np.array([day for _, _, day in found]),
        tuple(told),
    )


def light_of(plant: Plant, X: Floats) -> Floats:
    """(n, d) light of the inputs at settings (n, d), as a part of full light, without noise."""
    return plant.light(plant.duty(X))


def noise_of(plant: Plant, X: Floats, Y: Floats) -> Floats:
    """(n, m) standard deviation of readings about `Y` counts when they are repeated at once, rounding included."""
    a, state = plant.arrays, plant.state
    rest = (state.proportional_noise * Y) ** 2 + state.dark_noise**2 + 1 / 12
    noise: Floats = np.sqrt(a.jitter[a.window, 0] ** 2 * jitter_of(plant, X) + rest)
    return noise


def jitter_of(plant: Plant, X: Floats) -> Floats:
    """(n, m) variance that the jitter of a window gives its channels, counts², for a jitter of 1."""
    a = plant.arrays
    duty = plant.duty(X)
    together = a.mix.T @ a.mix  # (d, d) correlation of the inputs' jitter
    parts = a.gain[None] * np.sqrt(duty * (1 - duty))[:, None, :]  # (n, m, d)
    variance: Floats = np.einsum("nmi,ij,nmj->nm", parts, together, parts)
    return variance


def ambient_of(data: Evidence, left: Floats, noise: Floats) -> RoomOffsets:
    """What the room added to each reading: its own background, else its sitting's dark rows, else the sitting's offset.

    Args:
        data: the readings.
        left: (n, m) readings, and the half count that rounding takes, less what the twin says of the inputs' light.
        noise: (n, m) standard deviation of a reading.
    """
    counts, fitted = data.background + 0.5, np.zeros(len(data.X), bool)  # counts are rounded down
    off = ~data.X.any(axis=1)
    own, by_rows, by_fit = ~np.isnan(counts).all(axis=1), 0, 0
    for sitting in np.unique(data.sitting):
        here = (data.sitting == sitting) & ~own
        if not here.any():
            continue
        dark = here & off
        told = dark if dark.any() else here
        by_rows, by_fit = by_rows + bool(dark.any()), by_fit + (not dark.any())
        fitted[here] = not dark.any()
        for column in range(counts.shape[1]):
            there = told & ~np.isnan(left[:, column])
            if there.any():
                counts[here, column] = _middle(left[there, column], noise[there, column])
    ways = [
        f"{int(own.sum())} readings with a background of their own" if own.any() else "",
        f"{by_rows} sittings by their own dark readings" if by_rows else "",
        f"{by_fit} sittings by a fitted offset" if by_fit else "",
    ]
    return RoomOffsets(counts, fitted, "; ".join(way for way in ways if way))


def _middle(values: Floats, noise: Floats) -> float:
    """Mean weighted by the noise, without outliers; an offset, so that it may be negative."""
    middle = float(np.median(values))
    # By the sitting's usual noise: a quiet reading tells most of the room, even where the loud ones disagree with it.
    near = np.abs(values - middle) <= WILD * np.median(noise)
    return float(np.average(values[near], weights=noise[near] ** -2)) if near.any() else middle


@dataclass(frozen=True)
class Left:
    """What a twin leaves unexplained.

    Attributes:
        counts: (n, m) readings less the twin's inputs and the room.
        noise: (n, m) standard deviation of each reading, were it repeated at once.
        due: (n, m) standard deviation of `counts` if the twin is right: noise, the room's moves, the day's own gain.
        light: (n, d) light of the inputs, part of full light.
        room: what was taken for the room's light.
    """

    counts: Floats
    noise: Floats
    due: Floats
    light: Floats
    room: RoomOffsets


def left_over(data: Evidence, plant: Plant) -> Left:
    """Compares every reading with the twin; half a count is added because counts are rounded down."""
    light = light_of(plant, data.X)
    lit = light @ plant.arrays.gain.T + plant.bent(plant.duty(data.X)).sum(axis=-1)
    daily = plant.state.drift.daily if plant.state.drift else 0.0
    around, moves = np.zeros_like(lit), np.full((len(lit), 1), MOVES)
    for _ in range(3):  # a bright or restless room weakens its readings, and so the weights that it is found with
        noise = noise_of(plant, data.X, lit + around)
        due = np.sqrt(noise**2 + (moves * around) ** 2 + (daily * lit) ** 2)
        room = ambient_of(data, data.Y + 0.5 - lit, due)
        around = np.nan_to_num(room.counts).clip(0)
        counts = data.Y + 0.5 - lit - room.counts
        moves = _moves(data, plant, counts, around)
    return Left(counts, noise, due, light, room)


def _moves(data: Evidence, plant: Plant, left: Floats, around: Floats) -> Floats:
    """(n, 1) relative variation of ambient light in each session, from the channel least sensitive to the inputs."""
    least = int(plant.arrays.gain.max(axis=1).argmin())
    moves = np.full((len(left), 1), MOVES)
    for sitting in np.unique(data.sitting):
        here = (data.sitting == sitting) & (around[:, least] > DARK) & ~np.isnan(left[:, least])
        if here.sum() >= FEW and plant.arrays.gain[least].max() < TELLS * plant.arrays.gain.max():
            part = left[here, least] / around[here, least]
            moves[data.sitting == sitting] = np.sqrt(np.mean(part**2))
    return moves


def dark_sittings(data: Evidence, state: TwinState) -> NDArray[np.bool_]:
    """(n,) which readings were taken in a dark room, by dark rows, else by the channel that sees the inputs least."""
    plant = Plant(state)
    room = left_over(data, plant).room
    # A twin with gains a little off leaves hundreds of counts in its bright channels, which are not the room's.
    least = int(plant.arrays.gain.max(axis=1).argmin())
    dark: NDArray[np.bool_] = np.where(room.fitted, room.counts[:, least], np.fmax.reduce(room.counts, axis=1)) < DARK
    return dark
