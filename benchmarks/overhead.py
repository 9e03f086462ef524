"""What the loop costs beside the instrument.

A driver that answers at once and the `random` solver, 10,000 trials. Durable: cost of a trial against its floor, two
JSON lines of the same length appended and fsynced, measured before, between and after in the same run. In memory: the
same campaign without a record. Growth: the last 100 trials against the first 100.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import sdl
from sdl import registry
from sdl.clock import Clock
from sdl.events import Event, Measured, Proposed
from sdl.types import Channel, Frozen, Input, Reading

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
        return tuple(Channel(name=name, saturation=65535) for name in CHANNELS)

    def open(self, clock: Clock) -> Instant:
        return self

    def measure(self, settings: Mapping[str, float]) -> Reading:
        return Reading(dict(settings), {name: 1000 + i for i, name in enumerate(CHANNELS)})

    def safe(self) -> None: ...
    def close(self) -> None: ...


def campaign(trials: int) -> dict[str, object]:
    return {
        "name": "overhead",
        "instrument": {"kind": "instant"},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "solver": {"kind": "random"},
        "stop": {"trials": trials},
    }


def timed(trials: int, runs: Path | None) -> list[float]:
    """Seconds of each trial, from one proposal to the next."""
    at: list[float] = []

    def watch(event: Event, _: object) -> None:
        if isinstance(event, Proposed):
            at.append(time.perf_counter())

    sdl.run(campaign(trials), runs=runs, watch=watch)
    return [b - a for a, b in itertools.pairwise(at)]


def lines(folder: Path) -> tuple[bytes, bytes]:
    """A Proposed and a Measured line as this benchmark writes them."""
    run = sdl.open_run(sdl.run(campaign(20), runs=folder).run)
    rows = (run.folder / "record.jsonl").read_bytes().splitlines(keepends=True)
    kinds = [type(event) for event in run.events]
    last = len(kinds) - 1 - kinds[::-1].index(Proposed)
    if kinds[last + 1] is not Measured:
        raise RuntimeError("a reading should follow its proposal")
    return rows[last], rows[last + 1]


def floor(folder: Path, pair: tuple[bytes, bytes], times: int) -> list[float]:
    """Seconds of two JSON lines made, appended and fsynced."""
    bodies = [json.loads(line) for line in pair]
    took = []
    fd = os.open(folder / f"floor-{time.monotonic_ns()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for _ in range(times):
        began = time.perf_counter()
        for body in bodies:
            os.write(fd, (json.dumps(body) + "\n").encode())
            os.fsync(fd)
        took.append(time.perf_counter() - began)
    os.close(fd)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--dir", type=Path, help="where to write; default: a temporary directory")
    asked = parser.parse_args()
    registry.OURS["drivers"]["instant"] = f"{__name__}:Instant"
    with tempfile.TemporaryDirectory(dir=asked.dir) as name:
        folder = Path(name)
        pair = lines(folder)
        floors, durable = floor(folder, pair, 1000), []
        for _ in range(2):  # the disk's mood changes: floors before, between and after
            durable.append(timed(asked.trials, folder))
            floors += floor(folder, pair, 1000)
    memory = timed(asked.trials, None)
    median = statistics.median
    rows = [("two fsynced JSON appends (floor)", median(floors), median(floors))]
    rows += [(f"durable, run {i + 1}", median(d), median(floors)) for i, d in enumerate(durable)]
    for name, took in (("durable, run 1", durable[0]), ("durable, run 2", durable[1]), ("in memory", memory)):
        rows.append((f"{name}: last 100 / first 100", median(took[-100:]), median(took[:100])))
    rows.append(("in memory, against 0.5 ms", median(memory), 0.5e-3))
    print(f"{asked.trials} trials, medians\n\n| what | ms a trial | against, ms | ratio |\n|---|--:|--:|--:|")
    for what, value, base in rows:
        print(f"| {what} | {value * 1e3:.3f} | {base * 1e3:.3f} | {value / base:.2f} |")


if __name__ == "__main__":
    main()
