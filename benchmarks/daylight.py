"""Campaigns in full daylight, with the room's light measured beside every reading, and without.

The twin in an office from seven in the morning to seven in the evening: sun, clouds and lamps (docs/how-to/twin.md). 50
campaigns at 2 % start evenly over the day, each on a day of its own; time is virtual. Good ends: reached, or
unreachable with the light of the room named. A verdict is wrong where a campaign ended unreachable although at that
moment, by the twin without noise, settings inside the bounds would have hit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

import sdl
from sdl.clock import VirtualClock
from sdl.config import parse_kind
from sdl.core.events import Event, Measured, Stopped

GOAL = {"445nm": 16384, "515nm": 16384, "630nm": 16384}
TOLERANCE = 0.02
SOLVERS = ("linear", "pls", "gmm", "bayes")
DAY = datetime(2025, 10, 6, tzinfo=timezone(timedelta(hours=-4)))


@dataclass(frozen=True)
class Ended:
    """How one campaign ended."""

    outcome: str
    trials: int
    named: bool
    wrong: bool
    light: float


def start(n: int, of: int) -> datetime:
    """The n-th of so many starts between seven and seven, each on another day."""
    return DAY + timedelta(days=n, hours=7 + 12 * (n + 0.5) / of)


def one(solver: str, background: str, n: int, of: int, trials: int, latency: float | None) -> Ended:
    """One campaign."""
    instrument: dict[str, Any] = {"kind": "twin", "ambient": "day", "background": background, "latency": latency}
    instrument["start"] = start(n, of).isoformat()
    tree: dict[str, Any] = {
        "name": "daylight",
        "instrument": instrument,
        "goal": GOAL,
        "tolerance": f"{100 * TOLERANCE:g}%",
        "solver": {"kind": solver},
        "stop": {"trials": trials},
        "seed": n,
    }
    events: list[Event] = []
    done = sdl.run(tree, runs=None, watch=lambda event, _: events.append(event))
    end = next(event for event in events if isinstance(event, Stopped))
    readings = [event for event in events if isinstance(event, Measured)]
    at = readings[-1].at
    model = parse_kind("instrument", {**instrument, "seed": n})
    plant = model.open(VirtualClock(at)).plant
    dark = plant.noise_free(dict.fromkeys("RGB", 0.0), at)
    unreachable = done.outcome == "unreachable"
    wrong = unreachable and possible(plant, at)
    return Ended(str(done.outcome), done.trials, "background alone" in end.reason, wrong, dark["515nm"])


def possible(plant: Any, at: float) -> bool:
    """Whether settings inside the bounds hit the goal at that time, without noise."""
    from scipy.optimize import least_squares

    want = np.array([float(value) for value in GOAL.values()])

    def miss(x: np.ndarray) -> np.ndarray:
        got = plant.noise_free(dict(zip("RGB", x, strict=True)), at)
        return np.array([got[name] for name in GOAL]) / want - 1

    found = least_squares(miss, [0.5, 0.3, 0.5], bounds=(0.0, 1.0))
    return bool(np.abs(found.fun).max() <= TOLERANCE)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--latency", type=float, help="seconds a reading takes; 60: the room changes meanwhile")
    parser.add_argument("--solvers", nargs="*", default=list(SOLVERS))
    parser.add_argument("--backgrounds", nargs="*", default=["each", "none"])
    asked = parser.parse_args()
    print("| solver | background | good | reached | unreachable, light named | wrong verdicts | other ends | trials |")
    print("|---|---|--:|--:|--:|--:|---|--:|")
    short = False
    for solver in asked.solvers:
        for background in asked.backgrounds:
            began = time.process_time()
            ends = [one(solver, background, n, asked.starts, asked.trials, asked.latency) for n in range(asked.starts)]
            reached = sum(end.outcome == "reached" for end in ends)
            named = sum(end.outcome == "unreachable" and end.named for end in ends)
            wrong = sum(end.wrong for end in ends)
            others = Counter(
                end.outcome
                for end in ends
                if end.outcome != "reached" and not (end.outcome == "unreachable" and end.named)
            )
            said = ", ".join(f"{n} {outcome}" for outcome, n in others.most_common()) or "–"
            trials = statistics.median(end.trials for end in ends)
            print(
                f"| {solver} | {background} | {reached + named}/{len(ends)} | {reached} | {named} | {wrong} | {said} "
                f"| {trials:g} |",
                flush=True,
            )
            print(f"{solver} {background}: {time.process_time() - began:.0f} s of CPU", file=sys.stderr)
            short = short or (background == "each" and (reached + named < 0.96 * len(ends) or wrong > 0))
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
