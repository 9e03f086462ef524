"""The pairs of settings and readings: a hundred readings of the twin on the paper's day, or the last of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from sdl.arrays import Ints
from sdl.core.events import Event, Measured
from sdl.errors import ConfigError, Problem, translated_value_errors
from sdl.inverse.dataset import data_from
from sdl.paper.published import CHANNELS, GOAL, INPUTS, ROWS, SPLIT, STATE, TEST
from sdl.runner import run
from sdl.solvers.base import Data
from sdl.store import datasets
from sdl.twin.led.model import Plant
from sdl.twin.led.state import load
from sdl.types import Channel, Input, Reading

MIN_ROWS = 20  # with fewer rows there are too few to test on
SATURATION = 65535.0  # counts at which a channel is saturated (section 2)
_INPUTS = tuple(Input(name=name) for name in INPUTS)
_CHANNELS = tuple(Channel(name=name, low=0.0, high=SATURATION) for name in CHANNELS)


@dataclass(frozen=True)
class Pairs:
    """Settings with their readings, split into training and test rows.

    Attributes:
        data: all rows, (n, 3) settings and (n, 4) readings.
        train: (n_train,) indices of the training rows, in the order of measurement.
        test: (n_test,) indices of the test rows.
        source: origin of the rows.
        notes: remarks about the rows.
        state: state of the twin; None for a log.
        plant: gives noise-free readings; None for a log, for which they are unknown.
        seconds: duration of the measurement by the instrument's clock; None if unknown.
    """

    data: Data
    train: Ints
    test: Ints
    source: str
    notes: tuple[str, ...] = ()
    state: str | None = None
    plant: Plant | None = None
    seconds: float | None = None

    @property
    def learnt(self) -> Data:
        """The training rows."""
        columns = ("X", "Y", "saturated", "age", "session")
        return replace(self.data, **{name: getattr(self.data, name)[self.train] for name in columns})


def from_twin(state: str = STATE, seed: int = 0) -> Pairs:
    """Readings of the twin at a Latin hypercube of settings, as in section 2; the seed is that of design and noise.

    Raises:
        ConfigError: there is no such state, or it lacks an input or channel of the paper.
    """
    with translated_value_errors("--state"):
        condition = load(state)
    names = [*condition.inputs, *condition.channels]
    if missing := [name for name in (*INPUTS, *CHANNELS) if name not in names]:
        raise ConfigError(Problem(f"{state} has no {', '.join(missing)}, which the paper uses", "--state"))
    measured: list[Measured] = []

    def watch(event: Event, _: object) -> None:
        if isinstance(event, Measured):
            measured.append(event)

    campaign = {
        "name": "paper",
        "instrument": {"kind": "twin", "state": state},
        "design": {"kind": "latin-hypercube", "trials": ROWS},
        "seed": seed,
    }
    run(campaign, runs=None, collect=True, watch=watch)
    rows = [
        datasets.DatasetRow(Reading(e.applied, e.readings, e.background, e.saturated, e.fault), 0, "")
        for e in measured
        if not set(CHANNELS) & set(e.saturated)
    ]
    omitted = len(measured) - len(rows)
    notes = (f"{omitted} left out: saturated in one of the four channels",) if omitted else ()
    seconds = (measured[-1].at - measured[0].at) * len(measured) / (len(measured) - 1)
    source = f"{len(measured)} readings of the twin {state}, Latin hypercube, seed {seed}"
    return replace(_split(rows, source, notes), state=state, plant=Plant(condition, seed), seconds=seconds)


def from_log(path: Path, last: int = ROWS) -> Pairs:
    """The last readings of a run, a record or a Claude-Light log.

    Raises:
        ConfigError: it cannot be read, or has too few rows with all four channels below saturation.
        Damaged: a record was changed after it was written.
    """
    loaded = datasets.load(path, _INPUTS, _CHANNELS, CHANNELS)
    notes = list(loaded.omissions)
    if len(loaded.rows) < MIN_ROWS:
        message = f"{len(loaded.rows)} usable rows; at least {MIN_ROWS} with {', '.join(CHANNELS)} are needed"
        raise ConfigError(Problem("; ".join([message, *notes]), file=str(path)))
    rows = loaded.rows[-last:]
    sessions = len({row.session for row in rows})
    places = len({tuple(row.reading.applied.values()) for row in rows})
    remarks = {
        f"only the last {len(rows)} of {len(loaded.rows)} usable rows are used": len(rows) < len(loaded.rows),
        "the measured background is subtracted, and the goal excludes it": any(r.reading.background for r in rows),
        f"they are from {sessions} sessions, between which the background changed": sessions > 1,
        f"they have {places} different settings, so test rows may repeat training settings": places < len(rows),
    }
    notes += [text for text, holds in remarks.items() if holds]
    name = f"{path.parent.name}/{path.name}" if path.is_dir() else path.name  # the page may be passed on
    return _split(rows, f"{len(rows)} readings of {name}", notes)


def _split(rows: Sequence[datasets.DatasetRow], source: str, notes: Sequence[str]) -> Pairs:
    """The paper's test rows: chosen by scikit-learn with the paper's seed."""
    train, test = train_test_split(np.arange(len(rows)), test_size=TEST, random_state=SPLIT)
    return Pairs(data_from(rows, _INPUTS, _CHANNELS, GOAL), np.sort(train), np.sort(test), source, tuple(notes))
