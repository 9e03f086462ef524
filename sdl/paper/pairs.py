"""The pairs to learn from: a hundred readings of the twin on the paper's day, or the last of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

from sdl.arrays import Ints
from sdl.errors import ConfigError, Problem
from sdl.paper.published import CHANNELS, GOAL, INPUTS, ROWS, SPLIT, TEST
from sdl.types import Channel, Input, Reading

if TYPE_CHECKING:
    from sdl.solvers.base import Data
    from sdl.store.datasets import DatasetRow
    from sdl.twin.model import Plant


STATE = "paper-2025-03"
"""The twin as it was on the day of the paper."""
LEAST = 20
"""Rows: with fewer there is nothing to test on."""
FULL = 65535.0
"""Counts at which a channel is saturated (section 2)."""


@dataclass(frozen=True)
class Pairs:
    """Settings with their readings, and which of them are kept for testing.

    Attributes:
        data: all rows, (n, 3) settings and (n, 4) readings.
        train: (n_train,) rows that are learnt from, in the order in which they were measured.
        test: (n_test,) the others.
        source: what they are, in a few words.
        notes: what is worth knowing of them, a few words each.
        state: the twin's; None for a log.
        plant: knows the noise-free readings; None for a log, of which nobody knows them.
        seconds: what measuring them took, on the clock of the instrument; None where it is not known.
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
        """The rows that are learnt from."""
        data, which = self.data, self.train
        return replace(
            data,
            X=data.X[which],
            Y=data.Y[which],
            saturated=data.saturated[which],
            age=data.age[which],
            session=data.session[which],
        )


def from_twin(state: str = STATE, seed: int = 0) -> Pairs:
    """A Latin hypercube of readings of the twin, as in section 2.

    Args:
        state: the twin on one day, as a campaign file names it.
        seed: of the design and of the noise.

    Raises:
        ConfigError: no such state, or one without the paper's inputs and channels.
    """
    from sdl.core.events import Event, Measured
    from sdl.runner import run
    from sdl.store.datasets import DatasetRow
    from sdl.twin.model import Plant
    from sdl.twin.state import load

    try:
        condition = load(state)
    except ValueError as error:
        raise ConfigError(Problem(str(error), "--state")) from error
    have = [*condition.inputs, *condition.channels]
    if missing := [name for name in (*INPUTS, *CHANNELS) if name not in have]:
        raise ConfigError(Problem(f"{state} has no {', '.join(missing)}, which the paper is about", "--state"))
    rows: list[DatasetRow] = []
    times: list[float] = []

    def watch(event: Event, _: object) -> None:
        if isinstance(event, Measured):
            reading = Reading(event.applied, event.readings, event.background, event.saturated, event.fault)
            rows.append(DatasetRow(reading, 0, ""))
            times.append(event.at)

    campaign = {
        "name": "paper",
        "instrument": {"kind": "twin", "state": state},
        "design": {"kind": "latin-hypercube", "trials": ROWS},
        "seed": seed,
    }
    run(campaign, runs=None, collect=True, watch=watch)
    usable = [row for row in rows if not set(CHANNELS) & set(row.reading.saturated)]
    full = len(rows) - len(usable)
    notes = (f"{full} left out: saturated in one of the four channels",) if full else ()
    took = (times[-1] - times[0]) * len(times) / (len(times) - 1)
    source = f"{len(rows)} readings of the twin {state}, Latin hypercube, seed {seed}"
    return replace(_split(usable, source, notes), state=state, plant=Plant(condition, seed), seconds=took)


def from_log(path: Path, last: int = ROWS) -> Pairs:
    """The last readings of a record or of a Claude-Light log.

    Args:
        path: a run's directory, its record.jsonl, or a log.
        last: at most so many rows; the paper's form of the forest takes time by the row.

    Raises:
        ConfigError: it cannot be read, or has too few rows with all four channels below saturation.
        Damaged: a record that is not as it was written.
    """
    from sdl.store.datasets import load

    found = load(
        path,
        [Input(name=name) for name in INPUTS],
        [Channel(name=name, low=0.0, high=FULL) for name in CHANNELS],
        CHANNELS,
    )
    said = list(found.omissions)
    if len(found.rows) < LEAST:
        why = "".join(f"; {text}" for text in said)
        channels = ", ".join(CHANNELS)
        raise ConfigError(
            Problem(f"{len(found.rows)} usable rows; at least {LEAST} with {channels} are needed{why}", file=str(path))
        )
    rows = found.rows[-last:]
    if len(rows) < len(found.rows):
        said.append(f"the last {len(rows)} of {len(found.rows)} usable rows are taken")
    if any(row.reading.background for row in rows):
        said.append("the background is taken off where it was measured, and the goal is meant without it")
    sittings = len({row.session for row in rows})
    if sittings > 1:
        said.append(f"they are of {sittings} sittings, between which the light of the room changed")
    places = len({tuple(row.reading.applied.values()) for row in rows})
    if places < len(rows):
        said.append(f"they are at {places} different settings, so test rows may repeat settings that were learnt")
    name = f"{path.parent.name}/{path.name}" if path.is_dir() else path.name  # the page is for others to see
    return _split(rows, f"{len(rows)} readings of {name}", said)


def _split(rows: Sequence[DatasetRow], source: str, notes: Sequence[str]) -> Pairs:
    """The paper's choice of test rows: by scikit-learn, with its seed."""
    from sdl.inverse.dataset import data_from

    inputs = tuple(Input(name=name) for name in INPUTS)
    channels = tuple(Channel(name=name, low=0.0, high=FULL) for name in CHANNELS)
    data = data_from(rows, inputs, channels, GOAL)
    train, test = train_test_split(np.arange(len(rows)), test_size=TEST, random_state=SPLIT)
    return Pairs(data, np.sort(train), np.sort(test), source, tuple(notes))
