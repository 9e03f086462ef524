"""Every fault of an SDL-Light device behind a real broker: what a campaign makes of it, and whether the light is off.

Each fault befalls the experiments of a campaign by chance, five seeds each; `broker` kills the broker once in the
middle and starts it again a second later, `gone` takes it away for good. The broker is mosquitto where it is installed,
else the one of the tests (amqtt). `OUTCOMES` is what docs/reference/instruments.md promises.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the broker is that of the tests

import sdl
from sdl.core.events import Event, Failed, Measured
from sdl.store import record
from sdl.twin.led.sdl_light import FAULTS, SdlLightDevice
from tests.drivers.broker import MqttBroker

SAFE = 5.0
"""Seconds after the end within which the light must be off."""
CHANCE = 0.15


@dataclass(frozen=True)
class Promise:
    """What is promised: the end, the words of each failure, the fault named on a reading, whether one must fail."""

    ends: tuple[str, ...] = ("reached",)
    says: tuple[str, ...] = ()
    fault: str | None = None


OUTCOMES: dict[str, Promise] = {
    "silent": Promise(says=("no answer came",)),
    "error": Promise(says=("the device reports an error",)),
    "repeated": Promise(),
    "foreign": Promise(),
    "garbled": Promise(),
    "retained": Promise(),
    "missing": Promise(says=("is missing",)),
    "null": Promise(says=("'None'",)),
    "nan": Promise(says=("'nan'",)),
    "negative": Promise(says=("'-7'",)),
    "text": Promise(says=("'bright'",)),
    "huge": Promise(says=("'1000000000'",)),
    "clamp": Promise(fault="not-applied"),
    "no-echo": Promise(says=("does not repeat the settings",)),
    "broker": Promise(says=("Unreachable",)),
    "gone": Promise(ends=("failed",), says=("Unreachable",)),
}


def befalls(name: str, seed: int) -> tuple[Callable[[int], str | None], list[int]]:
    """When a fault befalls: at least once among the first few, then by chance; and the experiments it befell."""
    rng, befell = random.Random(f"{name} {seed}"), []
    first = rng.randrange(1, 5)

    def fault(n: int) -> str | None:
        if name in FAULTS and (n == first or rng.random() < CHANCE):
            befell.append(n)
            return name
        return None

    return fault, befell


def run(name: str, seed: int, folder: Path) -> tuple[str, int, int, list[str], float]:
    """One campaign with one fault: its outcome, how often it befell, failures, what is wrong, seconds until dark."""
    promise = OUTCOMES[name]
    fault, befell = befalls(name, seed)
    events: list[Event] = []
    with (
        MqttBroker(folder) as broker,
        SdlLightDevice(port=broker.port, device=f"pico-{seed}", seed=seed, latency=0.05, fault=fault) as device,
    ):
        device.wait()

        def watch(event: Event, _: object) -> None:
            events.append(event)
            if (
                isinstance(event, Measured)
                and event.trial == seed % 3 + 1
                and name in ("broker", "gone")
                and not befell
            ):
                befell.append(device.experiments)
                broker.kill()
                if name == "broker":
                    threading.Timer(1.0, broker.start).start()

        done = sdl.run(campaign(broker.port, device.device, seed), runs=folder, watch=watch)
        ended = time.monotonic()
        while device.lit and time.monotonic() - ended < 2 * SAFE:
            time.sleep(0.01)
        dark = time.monotonic() - ended
        taken = list(device.applied)
    return str(done.outcome), len(befell), *judged(promise, done, events, len(befell), taken, dark), dark


def campaign(port: int, device: str, seed: int) -> dict[str, object]:
    return {
        "name": "mqtt",
        "instrument": {
            "kind": "sdl-light",
            **{"host": "127.0.0.1", "port": port, "tls": False, "device": device},
            **{"reply_timeout": 1.0, "connect_timeout": 2.0},
        },
        "goal": {"ch440": 3000, "ch510": 8000, "ch620": 3000},
        "tolerance": "4%",
        "confirm": 1,
        "solver": {"kind": "linear"},
        "stop": {"trials": 20},
        "retry": {"times": 6, "wait": 0.3, "longest": 1.0},
        "seed": seed,
    }


def judged(
    promise: Promise, done: sdl.Result, events: list[Event], befell: int, taken: list[tuple[int, int, int]], dark: float
) -> tuple[int, list[str]]:
    """The number of failures, and what is not as promised."""
    wrong = []
    if done.outcome not in promise.ends:
        wrong.append(f"ended {done.outcome} ({done.reason}), not {' or '.join(promise.ends)}")
    failed = [event for event in events if isinstance(event, Failed)]
    measured = [event for event in events if isinstance(event, Measured)]
    for event in failed:
        if not any(word in event.error for word in promise.says):
            wrong.append(f"a failure that is not promised: {event.error}")
    if befell and promise.says and not failed:
        wrong.append("it befell, and no failure says so")
    if befell and promise.fault and not any(event.fault == promise.fault for event in measured):
        wrong.append(f"it befell, and no reading is marked {promise.fault}")
    if not promise.fault and any(event.fault for event in measured):
        wrong.append("a reading is marked with a fault that did not befall")
    if not befell:
        wrong.append("it never befell")
    left = iter(taken)
    if not all(tuple(int(event.applied[name]) for name in "RGB") in left for event in measured):
        wrong.append("a reading that the device did not take, or not in this order")
    folder = Path(done.run)
    if list(record.read(folder / record.FILE)) != events or not record.check(folder).finished:
        wrong.append("the record is not whole")
    if dark > SAFE:
        wrong.append(f"the light was still on {dark:.1f} s after the end")
    return len(failed), wrong


def main() -> int:
    """Runs them all and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=list(OUTCOMES), default=list(OUTCOMES))
    asked = parser.parse_args()
    print("| fault | runs | befell | failures | ends | wrong | dark after, at most |\n|---|--:|--:|--:|---|--:|--:|")
    bad = count = 0
    for name in asked.only:
        rows = []
        for seed in range(asked.seeds):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(run(name, seed, Path(folder)))
            for text in rows[-1][3]:
                print(f"  {name}, seed {seed}: {text[:300]}", file=sys.stderr, flush=True)
        ends = ", ".join(f"{n} {outcome}" for outcome, n in Counter(row[0] for row in rows).most_common())
        wrong = sum(bool(row[3]) for row in rows)
        told = f"{sum(row[1] for row in rows)} | {sum(row[2] for row in rows)} | {ends} | {wrong}"
        print(f"| {name} | {len(rows)} | {told} | {max(row[4] for row in rows):.2f} s |", flush=True)
        bad, count = bad + wrong, count + len(rows)
    print(f"\n{count} runs, {bad} not as promised")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
