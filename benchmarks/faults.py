"""Every fault over HTTP: what a campaign makes of it, whether a reading is lost, whether the light is off at the end.

Each fault befalls campaigns at 2 % against a twin that is served on this machine, once a seed, with the driver's own
defaults (`background: each`) and short time-outs. `OUTCOMES` is what docs/reference/instruments.md promises; a run
that ends
otherwise, loses a reading, leaves the light on or waits longer than it may is printed and counted as wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sdl import runner
from sdl.core.events import Event, Failed, Measured, Proposed, Safe
from sdl.runner import SwitchOffPolicy
from sdl.store import record
from sdl.twin.faults import MEANING, Fault
from sdl.twin.led.serve import TwinServer
from sdl.types import Power

SPEED = 500.0
READ, CONNECT, WAIT = 1.0, 1.0, 0.2
"""Seconds: the driver's time-outs, and the first pause before another attempt."""
SAFE, SLACK = 5.0, 1.0
"""Seconds after the end within which the light must be off; seconds that a busy machine may add to a reading."""
SOMETIMES = 0.08
"""Chances that a fault befalls a request; every reading is two requests."""


@dataclass(frozen=True)
class Promise:
    """What is promised of a fault.

    Attributes:
        ends: outcomes that the campaign may have.
        says: words that every failure caused by it holds, one of them; empty where it causes none.
        fault: word on the readings that it befell.
        saturated: whether readings that it befell are marked saturated.
        plan: the fault with its options and times.
        loses: whether the last error is the reason of the end.
        safe: what is known of the light at the end.
    """

    ends: tuple[str, ...] = ("reached",)
    says: tuple[str, ...] = ()
    fault: str = ""
    saturated: bool = False
    plan: dict[str, Any] = field(default_factory=lambda: {"probability": SOMETIMES})
    loses: bool = False
    safe: Power = Power.OFF


def odd(word: str) -> Promise:
    return Promise(says=(f"515nm {word}",))


FOREVER = {"after": 1.0}
"""From the second reading or so, for good: in the twin's seconds."""
OUTCOMES: dict[str, Promise] = {
    "busy": Promise(plan={"probability": SOMETIMES, "seconds": 20}),
    "refused": Promise(says=("refused",), plan={"probability": 0.06}),
    "reset-before": Promise(says=("reset",)),
    "reset-after": Promise(says=("reset",)),
    "time-out": Promise(says=("no answer in time",), plan={"probability": 0.06, "seconds": 86400}),
    "slow-drip": Promise(says=("no whole answer within",), plan={"probability": 0.06, "seconds": 4000}),
    "html-500": Promise(says=("status 500",)),
    "truncated": Promise(says=("cut off",)),
    "not-json": Promise(says=("not the JSON",)),
    "missing-channel": odd("is missing"),
    "null-channel": odd("= 'None'"),
    "nan-channel": Promise(says=("NaN is not a number",)),
    "negative-channel": odd("= '-1'"),
    "text-channel": odd("= 'overflow'"),
    "huge-channel": odd("= '1e+300'"),
    "clamp": Promise(fault="not-applied", plan={"probability": SOMETIMES, "size": 0.3}),
    "swapped-channels": Promise(("reached", "spent", "unreachable"), says=("the room changed",)),
    "frozen": Promise(("failed",), says=("the sensor is frozen", "is dead"), plan=FOREVER, loses=True),
    "dead-led": Promise(("failed",), says=("no channel reads more",), plan=FOREVER, loses=True),
    "light-step": Promise(says=("the room changed",), plan={"after": 9.0, "size": 3000}),
    "saturating-light": Promise(("spent",), saturated=True, plan=FOREVER, safe=Power.UNKNOWN),
    "clock-jump": Promise(),
}


@dataclass(frozen=True)
class Run:
    """What came of one campaign."""

    fault: str
    seed: int
    outcome: str
    befell: int
    failures: int
    wrong: tuple[str, ...]
    seconds: float
    dark: float


def run(name: str, seed: int, folder: Path) -> Run:
    """One campaign with one fault.

    Args:
        name: of the fault.
        seed: of campaign and twin.
        folder: an empty directory.
    """
    promise = OUTCOMES[name]
    log = folder / "results.jsonl"
    events: list[tuple[float, Event]] = []
    befell = 0
    with TwinServer(plant(seed), speed=SPEED, faults=[Fault(name=name, **promise.plan)], log=log) as server:

        def watch(event: Event, _: Any) -> None:
            nonlocal befell
            events.append((time.monotonic(), event))
            befell = befell if isinstance(event, Safe) else server.world.befell[name]

        done = runner.run(campaign(server.url, seed), runs=folder, watch=watch, switch_off=SwitchOffPolicy(SAFE))
        ended = time.monotonic()
        while server.world.lit and time.monotonic() - ended < 2 * SAFE:
            time.sleep(0.01)
        dark = time.monotonic() - ended
    wrong = [*judged(promise, done, [event for _, event in events], befell), *kept(done, events, log)]
    if dark > SAFE:
        wrong.append(f"the light was still on {dark:.1f} s after the end")
    if done.safe is None or done.safe.state is not promise.safe:
        wrong.append(f"the end says of the light: {done.safe}")
    failures = sum(isinstance(event, Failed) for _, event in events)
    seconds = events[-1][0] - events[0][0]
    return Run(name, seed, str(done.outcome), befell, failures, tuple(wrong), seconds, dark)


def plant(seed: int) -> Any:
    from sdl.twin.led.model import Plant
    from sdl.twin.led.state import load

    return Plant(load("night-2025-10"), seed)


def campaign(url: str, seed: int) -> dict[str, Any]:
    return {
        "name": "faulty",
        "instrument": {"kind": "claude-light", "url": url, "read_timeout": READ, "connect_timeout": CONNECT},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "solver": {"kind": "linear"},
        "retry": {"wait": WAIT},
        "stop": {"trials": 25, "failures": 2},
        "seed": seed,
    }


def judged(promise: Promise, done: Any, events: Sequence[Event], befell: int) -> list[str]:
    """What of the outcome is not as promised."""
    wrong = []
    if done.outcome not in promise.ends:
        wrong.append(f"ended {done.outcome} ({done.reason}), not {' or '.join(promise.ends)}")
    measured = [event for event in events if isinstance(event, Measured)]
    failed = [event for event in events if isinstance(event, Failed)]
    for event in failed:
        if not any(word in event.error for word in promise.says):
            wrong.append(f"a failure that is not promised: {event.error}")
        if not event.retryable:
            wrong.append(f"a failure that is not tried again: {event.error}")
    if befell and promise.says and not failed and not promise.ends[1:] and "the room changed" not in promise.says:
        wrong.append(f"befell {befell} times and no failure says so")
    asked = {event.trial: event.settings for event in events if isinstance(event, Proposed)}
    for event in measured:
        named = promise.fault if dict(event.applied) != dict(asked[event.trial]) else None
        if event.fault != named:
            wrong.append(f"asked {asked[event.trial]}, applied {event.applied}, but its fault is {event.fault}")
    if promise.saturated and not any(event.saturated for event in measured):
        wrong.append("no reading is saturated")
    if promise.loses and not any(word in done.reason for word in promise.says):
        wrong.append(f"the reason of the end does not name it: {done.reason}")
    return wrong


def kept(done: Any, events: Sequence[tuple[float, Event]], log: Path) -> list[str]:
    """Readings that were lost or came from nowhere, and waits that were longer than they may be."""
    wrong = []
    folder = Path(done.run)
    written = list(record.read(folder / record.FILE))
    if written != [event for _, event in events]:
        wrong.append("what was told and what is written differ")
    if not record.check(folder).finished:
        wrong.append("the record is not whole")
    lines = iter([json.loads(line)["out"] for line in log.read_text(encoding="utf-8").splitlines()])
    for event in written:
        if isinstance(event, Measured) and not (
            dict(event.background or {}) in lines and dict(event.readings) in lines
        ):
            wrong.append(f"a reading that the server did not take, or not in this order: trial {event.trial}")
            break
    most = 2 * (READ + CONNECT) + WAIT * 2**2 + SLACK  # a pair of requests and the longest pause
    times = [at for at, event in events if not isinstance(event, Safe)]
    longest = max(later - at for at, later in pairwise(times))
    if longest > most:
        wrong.append(f"{longest:.1f} s between two events; at most {most:.1f} s may pass")
    return wrong


def main() -> int:
    """Runs them all and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(MEANING), default=list(MEANING))
    asked = parser.parse_args()
    print("| fault | runs | befell | failures | ends | wrong | dark after, at most |\n|---|--:|--:|--:|---|--:|--:|")
    total: list[Run] = []
    for name in asked.only:
        runs = []
        for seed in range(asked.first, asked.first + asked.seeds):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(run(name, seed, Path(folder)))
        total += runs
        ends = ", ".join(f"{n} {outcome}" for outcome, n in Counter(r.outcome for r in runs).most_common())
        befell, failures = sum(r.befell for r in runs), sum(r.failures for r in runs)
        wrong, dark = sum(bool(r.wrong) for r in runs), max(r.dark for r in runs)
        print(f"| {name} | {len(runs)} | {befell} | {failures} | {ends} | {wrong} | {dark:.2f} s |", flush=True)
        for bad in (r for r in runs if r.wrong):
            print(f"  seed {bad.seed}: {'; '.join(bad.wrong)[:400]}", file=sys.stderr, flush=True)
    bad = sum(bool(r.wrong) for r in total)
    print(f"\n{len(total)} runs, {bad} not as promised; the longest took {max(r.seconds for r in total):.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
