"""A lab without instruments: a file of small campaigns, and processes that do what a script says, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sdl import yamlfile
from sdl.clock import VirtualClock
from sdl.lab.config.file import ResolvedLab, load
from sdl.lab.core.events import Due, Ended, GaveUp, LabEvent, Missed, Started
from sdl.lab.core.state import Lab, fold
from sdl.lab.http.control import Controller
from sdl.lab.loop import LabLoop
from sdl.lab.workers.base import Command, JobOrder, WorkerUpdate
from sdl.runner import MemoryRecord

CAMPAIGN = {"name": "small", "goal": {"445nm": 16384}, "solver": "linear"}


def at(text: str) -> float:
    """Seconds since 1970 of `2026-03-08T01:30-05:00`."""
    return datetime.fromisoformat(text).timestamp()


BEGIN = at("2026-11-24T00:00+00:00")


def job(instrument: str = "a", **keys: Any) -> dict[str, Any]:
    return {"campaign": CAMPAIGN, "instrument": instrument, **keys}


def lab_file(folder: Path, jobs: Mapping[str, Any], **keys: Any) -> ResolvedLab:
    """A lab file with the instruments a, b, c (twins), written and loaded."""
    instruments = {name: {"instrument": {"kind": "twin", "seed": n}} for n, name in enumerate("abc")}
    tree = {"name": "test", "instruments": instruments, "jobs": jobs, **keys}
    path = folder / "lab.yaml"
    path.write_text(yamlfile.dump(tree), encoding="utf-8")
    return load(path)


@dataclass
class Fate:
    """What becomes of an attempt: after so many seconds it ended, or died, with so many readings in its record.

    Where it ended, `on` says why its instrument is not known to be off. `cost` is that of its readings.
    """

    seconds: float = 30.0
    outcome: str = "reached"
    died: str = ""
    readings: int = 5
    on: str = ""
    cost: float = 0.0


class Scripted:
    """Carries orders out by a script: (start, attempt) → Fate. Notes every word it is told."""

    def __init__(self, clock: VirtualClock, script: Callable[[int, int], Fate] = lambda start, attempt: Fate()) -> None:
        self.clock, self.script = clock, script
        self.orders: list[JobOrder] = []
        self.commands: list[tuple[Any, ...]] = []
        self.unsafe: dict[str, str] = {}
        self._attempts: dict[int, int] = {}
        self._updates: list[tuple[float, int, WorkerUpdate]] = []
        self._count = itertools.count()

    def say(self, item: WorkerUpdate) -> None:
        heapq.heappush(self._updates, (item.at, next(self._count), item))

    def begin(self, order: JobOrder) -> None:
        self.orders.append(order)
        attempt = self._attempts[order.start] = self._attempts.get(order.start, -1) + 1
        fate = self.script(order.start, attempt)
        when = self.clock.now() + fate.seconds
        if fate.died:
            self.say(WorkerUpdate(order.start, "died", fate.died, "", fate.readings, when, cost=fate.cost))
        else:
            self.say(
                WorkerUpdate(order.start, "ended", "so it was", fate.outcome, fate.readings, when, fate.on, fate.cost)
            )

    def updates(self) -> Sequence[WorkerUpdate]:
        result = []
        while self._updates and self._updates[0][0] <= self.clock.now():
            result.append(heapq.heappop(self._updates)[2])
        return result

    def command(self, start: int, verb: Command, *given: str) -> None:
        self.commands.append((verb, start, *given))
        if verb == "pause":
            self.say(WorkerUpdate(start, "paused", f"{given[0]} ({given[1]})", at=self.clock.now()))
        elif verb == "proceed":
            self.say(WorkerUpdate(start, "continued", given[0], at=self.clock.now()))
        elif verb == "abort":
            self._end(WorkerUpdate(start, "ended", given[0], "aborted", 1, self.clock.now()))

    def interrupt(self, start: int, by: str) -> None:
        self._end(WorkerUpdate(start, "died", f"interrupted by {by}", at=self.clock.now()))

    def _end(self, last: WorkerUpdate) -> None:
        """This update instead of all that the script has for the start."""
        self._updates = [item for item in self._updates if item[2].start != last.start]
        heapq.heapify(self._updates)
        self.say(last)

    def make_safe(self, instrument: Mapping[str, Any]) -> str:
        self.commands.append(("make_safe", instrument.get("seed")))
        return self.unsafe.get(str(instrument.get("seed")), "")

    def close(self) -> None:
        self.commands.append(("close",))


class Bench:
    """A lab that is opened and driven by hand. `events` is its journal."""

    def __init__(
        self,
        loaded: ResolvedLab,
        *,
        now: float = BEGIN,
        before: Sequence[LabEvent] = (),
        script: Callable[[int, int], Fate] = lambda start, attempt: Fate(),
        **keys: Any,
    ) -> None:
        self.loaded, self.clock = loaded, VirtualClock(now)
        self.processes = Scripted(self.clock, script)
        self.journal = MemoryRecord()
        self.journal.events += before
        self.loop = LabLoop(fold(before), self.journal, self.processes, self.clock, runs=loaded.runs, **keys)

    @property
    def lab(self) -> Lab:
        return self.loop.lab

    @property
    def events(self) -> list[LabEvent]:
        return self.journal.events

    def open(self) -> Bench:
        self.loop.open(self.loaded, 1, "ada")
        return self

    def tick(self, seconds: float = 0.0) -> Bench:
        """Lets time pass, then ticks once."""
        self.clock.sleep(seconds)
        self.loop.tick()
        return self

    def go(self, seconds: float, step: float = 10.0) -> Bench:
        """Ticks every so many seconds until so many have passed."""
        end = self.clock.now() + seconds
        self.loop.tick()
        while self.clock.now() < end:
            self.tick(min(step, end - self.clock.now()))
        return self

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def long(start: int, attempt: int) -> Fate:
    return Fate(600)


class Asking:
    """A bench with a controller; each request is executed by the next tick."""

    def __init__(self, loaded: ResolvedLab) -> None:
        self.desk = Controller(answer_seconds=30)
        self.bench = Bench(loaded, requests=self.desk.requests, script=long).open()
        self.desk.serve(self.bench.loop)

    def __call__(self, verb: str, *given: Any) -> Any:
        result: list[Any] = []

        def ask() -> None:
            try:
                result.append(getattr(self.desk, verb)(*given))
            except Exception as error:
                result.append(error)
            self.desk.wake()

        thread = threading.Thread(target=ask)
        thread.start()
        while not result:
            self.desk.wait(1.0)
        thread.join()
        self.bench.tick()
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]


def fates(events: Sequence[LabEvent]) -> dict[int, list[str]]:
    """What became of each start that was due: the names of its ends, of which there must be one at most."""
    result: dict[int, list[str]] = {event.start: [] for event in events if isinstance(event, Due)}
    for event in events:
        if isinstance(event, (Ended, Missed, GaveUp)):
            result[event.start].append(type(event).__name__)
    return result


def overlaps(events: Sequence[LabEvent]) -> list[LabEvent]:
    """Starts that began on an instrument while another was on it, by the journal's own account."""
    on: dict[str, int] = {}
    wrong: list[LabEvent] = []
    for event in events:
        if isinstance(event, Started):
            wrong += [event] if event.instrument in on else []
            on[event.instrument] = event.start
        elif type(event).__name__ in ("Ended", "Died"):
            on = {name: start for name, start in on.items() if start != event.start}  # type: ignore[union-attr]
    return wrong
