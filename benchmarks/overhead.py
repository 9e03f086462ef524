"""What the loop costs beside the instrument.

A driver that answers at once and the `random` solver, 10,000 trials. Durable: cost of a trial against its floor, two
JSON lines of the same length appended and fsynced, taken in turn with the events of the same run, so that both meet the
same disk in the same mood. In memory: the same campaign without a record. Growth: the last 100 trials against the first
100.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import sdl
from sdl import registry
from sdl.clock import Clock
from sdl.core.events import Event, Measured, Proposed
from sdl.types import Channel, Frozen, Input, Power, Reading, SafeState

CHANNELS = ("415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir")


class Instant(Frozen):
    """An instrument that takes no time."""

    kind: Literal["instant"] = "instant"
    identity: str = "instant"
    simulated: bool = True
    virtual: bool = True
    reading_seconds: float = 0.0

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(Input(name=name) for name in "RGB")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(Channel(name=name, low=0.0, high=65535) for name in CHANNELS)

    def open(self, clock: Clock) -> Instant:
        return self

    def measure(self, settings: Mapping[str, float]) -> Reading:
        return Reading(dict(settings), {name: 1000 + i for i, name in enumerate(CHANNELS)})

    def safe(self) -> SafeState:
        return SafeState(Power.NOT_NEEDED)

    def close(self) -> None: ...


def campaign(trials: int) -> dict[str, object]:
    return {
        "name": "overhead",
        "instrument": {"kind": "instant"},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "solver": {"kind": "random"},
        "stop": {"trials": trials},
    }


def timed(trials: int, runs: Path | None, between: Callable[[Event], None] = lambda _: None) -> list[float]:
    """Seconds of each trial, from one proposal to the next; `between`, called after each event, is not counted."""
    took: list[float] = []
    began = spent = 0.0

    def watch(event: Event, _: object) -> None:
        nonlocal began, spent
        now = time.perf_counter()
        if isinstance(event, Proposed):
            if event.trial:
                took.append(now - began - spent)
            began, spent = now, 0.0
        between(event)
        spent += time.perf_counter() - now

    sdl.run(campaign(trials), runs=runs, watch=watch)
    return took


def lines(folder: Path) -> tuple[bytes, bytes]:
    """A Proposed and a Measured line as this benchmark writes them."""
    run = sdl.open_run(sdl.run(campaign(20), runs=folder).run)
    rows = (run.folder / "record.jsonl").read_bytes().splitlines(keepends=True)
    kinds = [type(event) for event in run.events]
    last = len(kinds) - 1 - kinds[::-1].index(Proposed)
    if kinds[last + 1] is not Measured:
        raise RuntimeError("a reading should follow its proposal")
    return rows[last], rows[last + 1]


class Floor:
    """Two JSON lines made, appended and fsynced: what nobody who keeps a durable record can do without.

    One of them after each event of every second trial, so that they meet the same disk after the same pauses.
    """

    def __init__(self, folder: Path, pair: tuple[bytes, bytes]) -> None:
        self._bodies = dict(zip((Proposed, Measured), map(json.loads, pair), strict=True))
        self._fd = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.took: dict[type, list[float]] = {kind: [] for kind in self._bodies}

    def __call__(self, event: Event) -> None:
        kind = type(event)
        if kind in self._bodies and event.trial % 2:
            began = time.perf_counter()
            os.write(self._fd, (json.dumps(self._bodies[kind]) + "\n").encode())
            os.fsync(self._fd)
            self.took[kind].append(time.perf_counter() - began)

    def seconds(self) -> list[float]:
        """Of both lines together, one value for each trial they were taken in."""
        return [a + b for a, b in zip(*self.took.values(), strict=False)]

    def close(self) -> None:
        os.close(self._fd)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--dir", type=Path, help="where to write; default: a temporary directory")
    asked = parser.parse_args()
    registry.OURS["drivers"]["instant"] = f"{__name__}:Instant"
    with tempfile.TemporaryDirectory(dir=asked.dir) as name:
        folder = Path(name)
        floor = Floor(folder, lines(folder))
        durable = timed(asked.trials, folder, floor)
        floor.close()
    memory = timed(asked.trials, None)
    median = statistics.median
    rows = [
        ("durable, against two fsynced JSON appends", median(durable), median(floor.seconds())),
        ("durable: last 100, against the first 100", median(durable[-100:]), median(durable[:100])),
        ("in memory, against 0.5 ms", median(memory), 0.5e-3),
        ("in memory: last 100, against the first 100", median(memory[-100:]), median(memory[:100])),
    ]
    print(f"{asked.trials} trials, medians\n\n| what | ms a trial | against, ms | ratio |\n|---|--:|--:|--:|")
    for what, value, base in rows:
        print(f"| {what} | {value * 1e3:.3f} | {base * 1e3:.3f} | {value / base:.2f} |")


if __name__ == "__main__":
    main()
