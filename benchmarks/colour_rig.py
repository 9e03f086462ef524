"""A colour rig of kind `command`: trials to the goal without and with a prior, and every command that it was sent.

    python benchmarks/colour_rig.py             20 goals, each without a prior and with one of 60 rows as CSV
    python benchmarks/colour_rig.py --goals 3

Three pumps dose dyes in steps of 5 uL into a well of 300 uL; a camera reads R, G and B with a noise of 0.6 counts.
The rig is a program of its own, as a user would write it. It logs what it is asked and refuses a volume above 300 uL.
Goals are colours of random mixtures, each channel ± 4 counts, confirmed once. The solver is the default, the budget
30 trials.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import sdl
from sdl import yamlfile

PUMPS, VOLUME, STEP, TOLERANCE, NOISE, ROWS = ("red", "yellow", "blue"), 300, 5, 4, 0.6, 60
ABSORBANCE = np.array([[0.0006, 0.0075, 0.0055], [0.0002, 0.0009, 0.0080], [0.0070, 0.0035, 0.0008]])  # per uL

RIG = f"""
import json, random, sys

ABSORBANCE = {ABSORBANCE.tolist()}
random.seed(int(sys.argv[1]))
log = open(sys.argv[2], "a")
for line in sys.stdin:
    ask = json.loads(line)
    log.write(line)
    log.flush()
    settings = ask.get("measure") or ask["off"]
    answer = {{"id": ask["id"], "applied": settings}}
    if "measure" in ask:
        if sum(settings.values()) > {VOLUME}:
            answer["error"] = "the well is full"
        clean = [240 * 10 ** -sum(v * a[c] for v, a in zip(settings.values(), ABSORBANCE)) for c in range(3)]
        answer["readings"] = {{n: min(max(v + random.gauss(0, {NOISE}), 0), 255) for n, v in zip("RGB", clean)}}
    print(json.dumps(answer), flush=True)
"""


def colour(volumes: Any) -> Any:
    """R, G and B without noise at the volumes of the three dyes, uL."""
    return 240 * 10 ** -(np.asarray(volumes, float) @ ABSORBANCE)


def mixtures(number: int, rng: np.random.Generator) -> Any:
    """Random mixtures that fit the well, in steps; their colours are no darker than 3 counts."""
    found: list[Any] = []
    while len(found) < number:
        volumes = np.round(rng.uniform(0, VOLUME, 3) / STEP) * STEP
        if 20 < volumes.sum() <= VOLUME and colour(volumes).min() > 3:
            found.append(volumes)
    return np.array(found)


def campaign(seed: int, target: Any) -> dict[str, Any]:
    """The campaign of one goal."""
    return {
        "name": "colour",
        "instrument": {
            "kind": "command",
            "command": [sys.executable, "rig.py", str(seed), "sent.jsonl"],
            "inputs": {name: {"low": 0, "high": VOLUME, "step": STEP, "unit": "uL"} for name in PUMPS},
            "channels": {name: {"unit": "counts", "low": 0, "high": 255} for name in "RGB"},
            "constraints": [" + ".join(PUMPS) + f" <= {VOLUME}"],
            "off": dict.fromkeys(PUMPS, 0),
        },
        "goal": {name: round(float(value), 2) for name, value in zip("RGB", target, strict=True)},
        "tolerance": TOLERANCE,
        "confirm": 1,
        "seed": seed,
        "stop": {"trials": 30},
    }


def violations(sent: Path) -> tuple[int, int]:
    """Number of commands, and of those outside bounds, steps or the constraint."""
    commands = [json.loads(line) for line in sent.read_text().splitlines()]
    settings = [ask.get("measure") or ask["off"] for ask in commands]
    outside = [
        s for s in settings
        if sum(s.values()) > VOLUME or any(not 0 <= v <= VOLUME or v % STEP for v in s.values()) or {*s} != {*PUMPS}
    ]  # fmt: skip
    return len(commands), len(outside)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goals", type=int, default=20)
    goals = mixtures(parser.parse_args().goals, np.random.default_rng(15))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rig.py").write_text(RIG)
        rng = np.random.default_rng(60)
        with (folder / "prior.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*PUMPS, *"RGB"])
            for volumes in mixtures(ROWS, rng):
                writer.writerow([*volumes, *np.clip(colour(volumes) + NOISE * rng.standard_normal(3), 0, 255).round(2)])
        for title, extra in (("without a prior", {}), (f"with {ROWS} rows", {"prior": ["prior.csv"]})):
            trials, outcomes = [], Counter[str]()
            for seed, volumes in enumerate(goals):
                file = folder / "colour.yaml"
                file.write_text(yamlfile.dump(campaign(seed, colour(volumes)) | extra))
                result = sdl.run(file, runs=folder / "runs")
                outcomes[result.outcome] += 1
                trials.append(result.trials if result.outcome == "reached" else 31)
                print(f"  {title}, goal {seed}: {result.outcome}, {result.trials} trials", flush=True)
            median, high = np.median(trials), np.quantile(trials, 0.95)
            print(f"{title}: {dict(outcomes)}, trials {median:g} (median), {high:g} (95th percentile)", flush=True)
        sent, outside = violations(folder / "sent.jsonl")
        print(f"{sent} commands sent, {outside} outside bounds, steps or the constraint")


if __name__ == "__main__":
    main()
