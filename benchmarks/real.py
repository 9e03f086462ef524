"""Real readings of Claude-Light: how well does each solver tell which settings gave them, on days it has not seen?

    python benchmarks/real.py [--solvers ...] [--data FILE]

Every reading of ten channels is turned round: its channels are the goal, its settings are what should come out. A
solver learns from the readings of all other days. Noise alone moves a setting by some .0022 (the paper's own standard
deviations are .0023, .0021 and .0021), which is the floor to compare with. The readings are not part of the project;
where they are not found nothing is measured, and the command says so.

The tables differ in the days: those evenings when the room was dark, on which all days are alike; all days, on which
nothing tells a solver how light the room is; all days with the first four readings of the session known.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from cells import solver_of
from numpy.typing import NDArray
from plants import FULL, GAINS, GOAL, SPECTRUM, targets_of_columns

from sdl.errors import SolverError
from sdl.registry import kinds
from sdl.solvers.base import Data
from sdl.space import Space
from sdl.types import Channel, Input

Floats = NDArray[np.float64]

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "claude_light.jsonl"
FLOOR = 0.0022
"""Standard deviation of a setting from the noise of one reading (paper, section 3.4)."""
GAP = 600.0
"""Seconds between two readings that make them two sessions."""
DARK = 50.0
"""Counts at nir that the LED does not explain, below which a room is dark."""
KNOWN = 4
"""Readings of a session that are known in the last table."""
CHANNELS = {"3 channels": GOAL, "8 channels": SPECTRUM[:8]}
INPUTS = tuple(Input(name=name) for name in "RGB")


@dataclass(frozen=True)
class Log:
    """Readings of ten channels, oldest first.

    Attributes:
        X: (n, 3) settings. Y: (n, 10) readings.
        day: (n,) number of the day. session: (n,) number of the session. dark: (n,) whether the room was.
    """

    X: Floats
    Y: Floats
    day: NDArray[np.intp]
    session: NDArray[np.intp]
    dark: NDArray[np.bool_]

    def data(self, rows: NDArray[np.intp], columns: Sequence[int]) -> Data:
        """Some rows, in the order given, as a solver gets them."""
        wanted = np.isin(np.arange(len(SPECTRUM)), columns)
        channels = tuple(Channel(name=name, low=0.0, high=FULL) for name in SPECTRUM)
        Y, age = self.Y[rows], np.arange(len(rows) - 1, -1, -1, dtype=float)
        return Data(self.X[rows], Y, Y >= FULL, wanted, age, self.session[rows].astype(float), INPUTS, channels)


def load(file: Path) -> Log:
    """The readings of ten channels that were taken in sessions and say when."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    full = sorted(
        (row for row in rows if row.get("time") and set(SPECTRUM) <= set(row["out"])), key=lambda r: r["time"]
    )
    time = np.array([row["time"] for row in full])
    X = np.array([row["in"] for row in full], dtype=float)
    Y = np.array([[row["out"][name] for name in SPECTRUM] for row in full], dtype=float)
    session = np.cumsum(np.diff(time, prepend=time[0]) > GAP)
    days = [datetime.fromtimestamp(t, UTC).date() for t in time]
    day = np.unique([d.toordinal() for d in days], return_inverse=True)[1]
    nir = SPECTRUM.index("nir")
    room = Y[:, nir] - X @ GAINS[nir]
    dark = np.array([abs(np.median(room[session == s])) < DARK for s in session])
    large = np.array([(session == s).sum() > 2 * KNOWN for s in session])
    return Log(X[large], Y[large], day[large], session[large], dark[large])


def folds(log: Log, which: str) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Rows to learn from and rows to predict."""
    among = np.flatnonzero(log.dark) if which.startswith("dark") else np.arange(len(log.X))
    if "known" not in which:
        for day in np.unique(log.day[among]):
            yield among[log.day[among] != day], among[log.day[among] == day]
        return
    for session in np.unique(log.session):
        rows = np.flatnonzero(log.session == session)
        others = np.flatnonzero(log.day != log.day[rows[0]])
        yield np.concatenate([others, rows[:KNOWN]]), rows[KNOWN:]


def misses(log: Log, which: str, label: str, columns: Sequence[int]) -> Floats | str:
    """(predicted rows, 3) settings found minus settings given; or why there are none."""
    found = []
    for learn, predict in folds(log, which):
        whole = (log.Y[predict][:, columns] < FULL).all(axis=1)
        if "no input" in which:
            whole &= ((log.X[predict] > 0.05) & (log.X[predict] < 0.95)).all(axis=1)
        predict = predict[whole]
        if not len(predict):
            continue
        goals = targets_of_columns(log.Y[predict][:, columns], 2.0, columns, len(SPECTRUM))
        try:
            now = float(log.session[predict[0]])
            data = replace(log.data(learn, columns), current_session=now)
            given = solver_of(label).fit(data).propose(goals, Space(data.inputs), np.random.default_rng(0))
        except SolverError as error:
            return str(error)
        found.append(np.clip(given.settings, 0, 1) - log.X[predict])
    return np.vstack(found)


SETS = (
    "dark evenings",
    "dark evenings, no input at an end",
    "all days",
    f"all days, first {KNOWN} readings of the session known",
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--solvers", nargs="+", default=list(kinds("solvers")))
    parser.add_argument("--data", type=Path, default=DATA, help="default: ../shared/data/claude_light.jsonl")
    given = parser.parse_args(arguments)
    if not given.data.exists():
        print(f"skipped: there are no real readings at {given.data}")
        return
    log = load(given.data)
    print(
        f"{len(log.X)} readings in {len(np.unique(log.session))} sessions on {len(np.unique(log.day))} days; ", end=""
    )
    print(f"{log.dark.sum()} in {len(np.unique(log.session[log.dark]))} dark sessions.")
    print(f"Root mean square error of the settings; floor {FLOOR}. Last column: all three over the floor.")
    for which in SETS:
        print(f"\n{which}\n\n| goal | solver | R | G | B | rows | of the floor |\n|---|---|--:|--:|--:|--:|--:|")
        for name, channels in CHANNELS.items():
            columns = [SPECTRUM.index(channel) for channel in channels]
            for label in given.solvers:
                off = misses(log, which, label, columns)
                if isinstance(off, str):
                    print(f"| {name} | {label} | {off} | | | | |")
                    continue
                each, all_three = np.sqrt((off**2).mean(axis=0)), float(np.sqrt((off**2).mean()))
                cells = " | ".join(f"{value:.4f}" for value in each)
                print(f"| {name} | {label} | {cells} | {len(off)} | {all_three / FLOOR:.2f} |", flush=True)


if __name__ == "__main__":
    main()
