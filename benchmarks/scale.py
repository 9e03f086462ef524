"""Lists of many runs and records of many events: `sdl list` cold and warm, `sdl show`, the page of a run.

    python benchmarks/scale.py                         10,000 runs, 200,000 events, a live page of 5,000 trials
    python benchmarks/scale.py --runs 500 --events 20000

Complete commands, imports included; medians. `s` is wall time, `cpu_s` that of the processor, children included: on a
busy machine only the second says something. The runs are copies of one campaign of the twin; the long records repeat
its trials under other numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import web

import sdl
from sdl.core.events import Measured, Opened, Proposed, Stopped
from sdl.store import record

REPEATS = 3
STAMP = "20261101T000000.000000Z"


def main() -> None:
    """Measures, and prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--trials", type=int, default=5_000, help="of the live page")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sdl-scale-") as place:
        many, long = Path(place, "many"), Path(place, "long")
        web.fill(many, given.runs)
        cold = [command(["list"], many, before=lambda: shutil.rmtree(many / ".sdl-cache", True)) for _ in range(2)]
        told: dict[str, Any] = {"list_cold": middle(cold)}
        told["list_warm"] = middle([command(["list"], many) for _ in range(REPEATS)])
        told["list_filtered"] = middle([command(["list", "--goal", "445nm", "night-7"], many) for _ in range(REPEATS)])
        for name, readings in (("one_reading_each", 1), ("ninety_nine_readings_each", 99)):
            write_long(long / name, given.events // (1 + readings), readings)
            told[name] = {
                "show": middle([command(["show", "latest"], long / name) for _ in range(REPEATS)]),
                "page": first_page(long / name, Path(place)),
            }
        write_long(long / "live", given.trials, 1)
        told["live_page"] = first_page(long / "live", Path(place))
    print(json.dumps(told, indent=2))


def write_long(runs: Path, trials: int, readings: int) -> None:
    """A finished record of so many trials, with so many readings each."""
    source = runs.parent / "source"
    campaign = {**web.CAMPAIGN, "goal": {"445nm": {"target": 16384, "tolerance": 1}}, "solver": "random"}
    events = sdl.open_run(sdl.run(campaign | {"stop": {"trials": 80}}, runs=source).run).events
    opened, stopped = events[0], events[-1]
    assert isinstance(opened, Opened)
    pairs = [(p, m) for p, m in itertools.pairwise(events) if isinstance(p, Proposed)]
    config = {**opened.config, "average": readings, "stop": {**opened.config["stop"], "trials": trials}}
    written: list[Any] = [dataclasses.replace(opened, run=f"long/{STAMP}-long", campaign="long", config=config)]
    for trial in range(trials):
        proposed, measured = pairs[trial % len(pairs)]
        assert isinstance(measured, Measured)
        written.append(dataclasses.replace(proposed, trial=trial))
        written += [dataclasses.replace(measured, trial=trial, repeat=repeat) for repeat in range(readings)]
    ended = next(event for event in events if isinstance(event, Stopped)) if stopped else stopped
    written.append(dataclasses.replace(ended, best=0))
    record.write_whole(runs / "long" / f"{STAMP}-long", written)


def command(words: Sequence[str], runs: Path, before: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Wall and processor seconds and the largest memory of one command of `sdl`."""
    before()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun, environ = time.perf_counter(), {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    wrapped = [sys.executable, "-c", PEAK, *[sys.executable, "-m", "sdl", *words, "--runs", str(runs)]]
    done = subprocess.run(wrapped, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return {"s": seconds, "cpu_s": cpu, "MB": int(done.stderr.split()[-1]) / 1024}


PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
)
"""Runs a command, and prints the kilobytes of its largest process on stderr."""


def first_page(runs: Path, state: Path) -> dict[str, float]:
    """The first and the median later answer of the page of the run, and the memory that the server took for it."""
    environ = {**os.environ, "XDG_STATE_HOME": str(state), "OPENBLAS_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "sdl", "web", "--runs", str(runs)], env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=120) as http:
            http.get("/start")  # what every page needs is loaded
            before, cpu, taken = web.memory(server.pid), web.spent(server.pid), []
            web.timed(http, f"/runs/long/{STAMP}-long", taken)
            first_cpu = web.spent(server.pid) - cpu
            for _ in range(30):
                web.timed(http, f"/runs/long/{STAMP}-long", taken)
            more = (web.memory(server.pid) - before) / 1e6
        later = web.ms(statistics.median(taken[1:]))
        return {"first_s": round(taken[0], 2), "first_cpu_s": round(first_cpu, 2), "later_ms": later, "MB": round(more)}
    finally:
        server.terminate()
        server.wait(30)


def middle(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    """The medians of several measurements."""
    return {key: round(statistics.median(one[key] for one in measured), 2) for key in measured[0]}


if __name__ == "__main__":
    main()
