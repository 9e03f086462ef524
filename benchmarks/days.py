"""`sdl twin check` on days: how many usual days fail, and how many changes of the light are found?

    python benchmarks/days.py [--days 500] [--data FILE]

A simulated day is one session of 30 readings of the twin `night-2025-10` at random settings, the first in the dark.
On a usual day the light of each input is off by a normal deviate with the standard deviation between the real days,
0.2 %. On a changed day the light of one input has besides become 1.5 % stronger or weaker. The last lines leave out
each day of the real readings in turn: the twin is fitted to the others, and the day is checked against it. They are
missing where the readings are not found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from real import DATA

from sdl.bench import markdown
from sdl.twin.led.check import check
from sdl.twin.led.evidence import Evidence, collect, matrices
from sdl.twin.led.fit import fit
from sdl.twin.led.model import Plant
from sdl.twin.led.state import TwinState, load

NIGHT = load("night-2025-10")
BETWEEN_DAYS = 0.002
"""Standard deviation of the light of an input between days, as a fraction."""
CHANGE = 0.015
READINGS, PERIOD = 30, 0.8  # s
LEAST_READINGS, LEAST_CHANNELS = 5, 8
"""Of a real day and of a real reading that take part."""


def day(seed: int, change: float) -> Evidence:
    """Readings of one simulated day; the light of one input is changed by the fraction `change`."""
    rng = np.random.default_rng([seed, 14])
    factors = 1 + BETWEEN_DAYS * rng.normal(size=len(NIGHT.inputs))
    factors[seed % len(factors)] += change
    factor = dict(zip(NIGHT.inputs, factors.tolist(), strict=True))
    channels = {
        name: one.model_copy(update={"gain": {i: gain * factor[i] for i, gain in one.gain.items()}})
        for name, one in NIGHT.channels.items()
    }
    plant = Plant(NIGHT.model_copy(update={"channels": channels}), seed, None, False)
    found = []
    for k in range(READINGS):
        settings = dict(zip(NIGHT.inputs, (rng.integers(0, 11, 3) / 10 * (k > 0)).tolist(), strict=True))
        found.append((plant.read(settings, NIGHT.start.timestamp() + PERIOD * k), 0, "2025-10-01"))
    return matrices(found, NIGHT, ["simulated"])


def real_days(file: Path) -> dict[str, str]:
    """The verdict on each real day, checked against a twin that is fitted to all other days."""
    data = collect([file], NIGHT)
    data = data.only(np.isfinite(data.Y).sum(axis=1) >= LEAST_CHANNELS)
    days = [one for one in np.unique(data.day) if (data.day == one).sum() >= LEAST_READINGS]
    found = {one: check(data.only(data.day == one), fit(data.only(data.day != one), NIGHT).state) for one in days}
    return {str(one): "failed" if result.divergent else "passed" for one, result in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=500, help="simulated days of each kind")
    parser.add_argument("--data", type=Path, default=DATA, help="real readings of Claude-Light")
    given = parser.parse_args()
    assert NIGHT.drift is not None
    state: TwinState = NIGHT.model_copy(
        update={"drift": NIGHT.drift.model_copy(update={"daily": max(BETWEEN_DAYS, NIGHT.drift.daily)})}
    )
    failed = {}
    for kind, change in (("usual", 0.0), (f"one input ± {100 * CHANGE:g} %", CHANGE)):
        number = sum(check(day(seed, change * (-1) ** seed), state).divergent for seed in range(given.days))
        failed[kind] = f"{100 * number / given.days:.1f} %"
    print(markdown(f"{given.days} simulated days of a kind", [*failed], ["fail"], lambda kind, _: failed[kind]))
    if given.data.exists():
        real = real_days(given.data)
        print(markdown("real day, left out", [*real], ["check"], lambda one, _: real[one]))
    else:
        print(f"real readings not found: {given.data}")


if __name__ == "__main__":
    main()
