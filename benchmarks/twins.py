"""Twins fitted to 60 readings: do they predict, and does a campaign on the twin take as long as on its instrument?

    python benchmarks/twins.py            three instruments, 5 logs of 60 rows, 20 campaigns on each twin and instrument
    python benchmarks/twins.py --quick    one log of each, 6 campaigns: about a minute

The instruments are simulated: a colour rig (three pumps in steps, a sum of at most 300 µL), a pH cell that settles
(two pumps, a first-order lag of 20 s, a wait of 90 s), and the shipped twin of a Claude-Light. Each log is a design of
60 points, measured as `sdl collect` does; `sdl twin fit` gets nothing else.

    rmse / noise    of 300 new readings at random settings: by channel, mean and largest over the logs; 1 is perfect
    trials          until the goal is reached (median of the campaigns); goals are readings at random settings
    week            `sdl lab simulate` for seven days, a campaign every six hours, on the file with its twin

Results are appended to OUT/twins.jsonl as they come; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq

from sdl import config, runner, yamlfile
from sdl.bench import markdown
from sdl.cli.twin.fitted_commands import declaration
from sdl.clock import Clock, VirtualClock
from sdl.drivers.declared.config import Declared
from sdl.drivers.twin.config import Twin
from sdl.drivers.twin.fitted import FittedTwin
from sdl.lab.config.file import load as load_lab
from sdl.lab.simulate import Usage, simulate
from sdl.space import Space
from sdl.twin.fitted.fit import fit
from sdl.twin.fitted.rows import collect
from sdl.twin.fitted.write import toml
from sdl.types import Power, Reading, SafeState, Settings

ROWS, HELD_OUT, CAMPAIGNS, LOGS, DAYS = 60, 300, 20, 5, 7
LED_CHANNELS = ("445nm", "515nm", "630nm")
ABSORBANCE = np.array(
    [[0.0006, 0.0075, 0.0055], [0.0002, 0.0009, 0.0080], [0.0070, 0.0035, 0.0008]]
)  # dye × RGB, per µL
LAG = {"pH": 20.0, "EC": 5.0}  # s
NOISE = {"R": 0.6, "G": 0.6, "B": 0.6, "pH": 0.02, "EC": 0.03}
COMMON: dict[str, dict[str, Any]] = {
    "colour rig": {
        "inputs": {name: {"low": 0, "high": 300, "step": 5, "unit": "uL"} for name in ("red", "yellow", "blue")},
        "channels": {name: {"unit": "counts", "low": 0, "high": 255} for name in "RGB"},
        "constraints": ("red + yellow + blue <= 300",),
        "off": {"red": 0, "yellow": 0, "blue": 0},
        "takes": "20 s",
    },
    "pH cell": {
        "inputs": {name: {"low": 0, "high": 3, "step": 0.05, "unit": "mL/min"} for name in ("acid", "base")},
        "channels": {"pH": {"low": 0, "high": 14, "resolution": 0.001}, "EC": {"unit": "mS/cm"}},
        "off": {"acid": 0, "base": 0},
        "takes": "2 s",
        "settle": "90 s",
    },
}
GOALS = {
    "colour rig": {"tolerance": 5},
    "pH cell": {"tolerance": 0.06},
    "Claude-Light": {"tolerance": "2%"},
}
COLUMNS = ("rmse / noise, mean (largest)", "trials on it", "trials on its twin", "week of its twin")


# The instruments -----------------------------------------------------------------------------------------------------
@cache
def acidity(acid: float, base: float) -> float:
    """PH of 10 mL/min of acetate buffer (0.1 M, half neutralised) with 0.1 M acid and base."""
    total = 10.0 + acid + base
    acetate, sodium, chloride = 1.0 / total, (0.5 + 0.1 * base) / total, 0.1 * acid / total

    def charge(ph: float) -> float:
        return sodium + 10**-ph - chloride - 1e-14 / 10**-ph - acetate * 10**-4.76 / (10**-4.76 + 10**-ph)

    return float(brentq(charge, 0.0, 14.0))


def settled(rig: str, settings: Mapping[str, Any]) -> dict[str, float]:
    """Readings in equilibrium, without noise."""
    if rig == "colour rig":
        volumes = np.array([settings[name] for name in ("red", "yellow", "blue")])
        return dict(zip("RGB", (240.0 * 10 ** -(volumes @ ABSORBANCE)).tolist(), strict=True))
    acid, base = settings["acid"], settings["base"]
    return {"pH": acidity(acid, base), "EC": 5.0 + 0.6 * acid + 0.4 * base - 0.01 * acid * base}


class SimulatedRig(Declared):
    """One of the declared instruments, simulated in virtual time."""

    kind: Literal["rig"] = "rig"
    rig: str = ""
    seed: int = 0

    @property
    def simulated(self) -> bool:  # type: ignore[override]
        return True

    @property
    def virtual(self) -> bool:  # type: ignore[override]
        return True

    @property
    def address(self) -> str:
        return f"{self.rig} {self.seed}"

    def connect(self, clock: Clock) -> RigDriver:
        return RigDriver(self, clock)


class RigDriver:
    """The physics, with a first-order lag."""

    def __init__(self, instrument: SimulatedRig, clock: Clock) -> None:
        self._instrument, self._clock = instrument, clock
        self._rng = np.random.default_rng([instrument.seed, 7])
        self._target = self._level = settled(instrument.rig, instrument.off or {})
        self._at = clock.now()

    def measure(self, settings: Settings) -> Reading:
        self._move()
        self._target = settled(self._instrument.rig, settings)
        self._clock.sleep(self._instrument.takes)
        self._move()
        readings = {}
        for channel in self._instrument.raw_channels:
            value = self._level[channel.name] + NOISE[channel.name] * self._rng.standard_normal()
            if channel.resolution:
                value = round(value / channel.resolution) * channel.resolution
            low, high = (math.inf if end is None else end for end in (channel.low, channel.high))
            readings[channel.name] = float(min(max(value, -low if math.isinf(low) else low), high))
        return Reading(dict(settings), readings)

    def safe(self) -> SafeState:
        self._move()
        self._target = settled(self._instrument.rig, self._instrument.off or {})
        return SafeState(Power.OFF, self._instrument.off)

    def close(self) -> None:
        """Nothing."""

    def _move(self) -> None:
        now = self._clock.now()
        for name, target in self._target.items():
            lag = LAG.get(name, 0.0)
            rest = math.exp(-(now - self._at) / lag) if lag else 0.0
            self._level = {**self._level, name: target + (self._level[name] - target) * rest}
        self._at = now


def instrument(rig: str, seed: int, twin: Path | None = None) -> Any:
    """The instrument, or with `twin` the one that `--on-twin` puts in its place."""
    if rig == "Claude-Light":
        options = {"kind": "twin", "seed": seed, **({} if twin is None else {"state": str(twin)})}
        return config.parse_kind("instrument", options)
    real = SimulatedRig.model_validate({**COMMON[rig], "rig": rig, "seed": seed, "twin": twin and str(twin)})
    return real if twin is None else real.simulation(None, seed)


def noise_free(rig: str, one: Any, settings: Settings) -> dict[str, float]:
    """The readings of an instrument without noise."""
    if rig == "Claude-Light":
        seen = one.open(VirtualClock(one.start_time)).plant.noise_free(settings)
        return {name: float(value) for name, value in seen.items()}
    return settled(rig, settings)


def random_settings(one: Any, n: int, seed: int) -> list[dict[str, Any]]:
    """Settings in the middle of the space, where goals are drawn from."""
    space, rng = Space(one.inputs, getattr(one, "constraints", ())), np.random.default_rng([seed, 9])
    return [space.project(space.decode(row))[0] for row in space.sample(n, rng)]


# The measures --------------------------------------------------------------------------------------------------------
def fitted(rig: str, seed: int, folder: Path) -> Path:
    """The file of a twin fitted to one log."""
    one = instrument(rig, seed)
    design = {"kind": "latin-hypercube", "trials": ROWS, "low": 0.0, "high": 1.0}
    tree = {"name": "log", "instrument": one, "design": design, "seed": seed}
    done = runner.run(tree, runs=folder, collect=True)
    what = declaration(one)
    rows = collect([Path(done.run)], what.inputs, what.channels, session_gap=what.session_gap)
    file = folder / f"{rig.replace(' ', '-')}-{seed}.toml"
    file.write_text(toml(fit(rows.rows, what).state), encoding="utf-8")
    return file


def held_out(rig: str, seed: int, file: Path) -> dict[str, float]:
    """Root mean square error over noise by channel, of new readings at random settings."""
    one, twin = instrument(rig, seed + 1000), instrument(rig, seed, file)
    surrogate = (twin if isinstance(twin, FittedTwin) else twin.plant).surrogate()
    surrogate = type(surrogate)(surrogate.state, noise=False)
    drawn = random_settings(one, HELD_OUT, seed)
    driver = one.open(VirtualClock(one.start_time if isinstance(one, Twin) else 0.0))
    squares: dict[str, list[tuple[float, float]]] = {}
    for settings in drawn:
        reading = driver.measure(settings).readings
        truth, guess = noise_free(rig, one, settings), surrogate.noise_free(settings)
        for name, value in reading.items():
            squares.setdefault(name, []).append(((value - guess[name]) ** 2, (value - truth[name]) ** 2))
    return {name: math.sqrt(np.mean(pairs, axis=0)[0] / np.mean(pairs, axis=0)[1]) for name, pairs in squares.items()}


def trials(rig: str, number: int, file: Path | None) -> int | None:
    """Trials that a campaign takes; None if it does not reach its goal."""
    one = instrument(rig, number, file)
    base = instrument(rig, 0)
    (settings,) = random_settings(base, 1, 500 + number)
    goal = noise_free(rig, base, settings)
    if rig == "Claude-Light":
        goal = {name: goal[name] for name in LED_CHANNELS}
    tree = {
        "name": "goal",
        "instrument": one,
        "goal": {name: round(value, 3) for name, value in goal.items()},
        **GOALS[rig],
        "solver": {"kind": "auto"},
        "stop": {"trials": 40},
        "seed": number,
    }
    if rig == "pH cell":
        tree["goal"]["EC"] = {"target": tree["goal"]["EC"], "tolerance": 0.1}
    done = runner.run(tree, runs=None)
    return done.trials if done.reached else None


def week(rig: str, file: Path, folder: Path) -> dict[str, Any]:
    """A simulated week of a lab: campaigns, those that reached their goal, and real seconds."""
    declared: dict[str, Any] = {"kind": "twin", "state": str(file), "seed": 1}
    if rig != "Claude-Light":
        declared = {**COMMON[rig], "kind": "command", "command": ["true"], "twin": str(file)}
    one = instrument(rig, 0)
    goals = [noise_free(rig, one, settings) for settings in random_settings(one, 3, 77)]
    jobs = {}
    for i, goal in enumerate(goals):
        wanted = {name: round(goal[name], 3) for name in (LED_CHANNELS if rig == "Claude-Light" else goal)}
        campaign = {
            "name": f"goal-{i}",
            "goal": wanted,
            **GOALS[rig],
            "solver": {"kind": "auto"},
            "stop": {"trials": 40},
        }
        jobs[f"goal-{i}"] = {
            "campaign": campaign, "instrument": "rig", "when": {"cron": f"{20 * i} */6 * * *"},
        }  # fmt: skip
    lab = {"name": "week", "instruments": {"rig": {"instrument": declared}}, "jobs": jobs, "runs": str(folder / "lab")}
    place = folder / "lab.yaml"
    place.write_text(yamlfile.dump(lab), encoding="utf-8")
    began = time.perf_counter()
    usage = Usage()
    simulate(load_lab(place), datetime(2026, 3, 2, tzinfo=UTC).timestamp(), DAYS, listeners=[usage])
    outcomes = sum((job.outcomes for job in usage.jobs.values()), Counter[str]())
    due = sum(job.due for job in usage.jobs.values())
    return {"due": due, "outcomes": dict(outcomes), "seconds": time.perf_counter() - began}


def measure(rig: str, logs: int, campaigns: int, out: Path) -> Iterator[dict[str, Any]]:
    """The results of one instrument that are not there yet, one after the other."""
    done = {(row["rig"], row["what"], row["number"]) for row in _results(out)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = {seed: fitted(rig, seed, folder) for seed in range(logs)}
        for seed, file in files.items():
            if (rig, "held out", seed) not in done:
                yield {"rig": rig, "what": "held out", "number": seed, "value": held_out(rig, seed, file)}
        for number in range(campaigns):
            for what, file in (("instrument", None), ("twin", files[number % logs])):
                if (rig, what, number) not in done:
                    yield {"rig": rig, "what": what, "number": number, "value": trials(rig, number, file)}
        if (rig, "week", 0) not in done:
            yield {"rig": rig, "what": "week", "number": 0, "value": week(rig, files[0], folder)}


def _results(out: Path) -> list[dict[str, Any]]:
    file = out / "twins.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The results as a table."""
    lines: dict[str, dict[str, str]] = {}
    for rig in dict.fromkeys(row["rig"] for row in rows):
        own = [row for row in rows if row["rig"] == rig]
        ratios = [row["value"] for row in own if row["what"] == "held out"]
        by_channel = [
            f"{name} {statistics.fmean(r[name] for r in ratios):.2f} ({max(r[name] for r in ratios):.2f})"
            for name in (ratios[0] if ratios else {})
        ]
        medians = []
        for what in ("instrument", "twin"):
            taken = [math.inf if row["value"] is None else row["value"] for row in own if row["what"] == what]
            medians.append(f"{statistics.median(taken):g} ({len(taken)} campaigns)" if taken else "")
        weeks = [row["value"] for row in own if row["what"] == "week"]
        reached = f"{weeks[0]['outcomes'].get('reached', 0)} of {weeks[0]['due']} reached" if weeks else ""
        cells = dict(zip(COLUMNS, [", ".join(by_channel), *medians, reached], strict=True))
        lines[rig] = cells
    return markdown("instrument", list(lines), COLUMNS, lambda rig, column: lines[rig][column])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one log and six campaigns of each")
    parser.add_argument("--rigs", nargs="+", default=list(GOALS), help=f"of {', '.join(GOALS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="default: runs/benchmarks")
    given = parser.parse_args(arguments)
    if unknown := set(given.rigs) - set(GOALS):
        parser.error(f"no such instrument: {', '.join(sorted(unknown))}; there are {', '.join(GOALS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    logs, campaigns = (1, 6) if given.quick else (LOGS, CAMPAIGNS)
    with (given.out / "twins.jsonl").open("a", encoding="utf-8") as stream:
        for rig in given.rigs:
            for row in measure(rig, logs, campaigns, given.out):
                print(json.dumps(row), file=stream, flush=True)
    print(table([row for row in _results(given.out) if row["rig"] in given.rigs]))


if __name__ == "__main__":
    main()
