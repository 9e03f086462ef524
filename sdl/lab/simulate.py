"""A lab in virtual time: the same loop, with twins for instruments and campaigns in this process.

A campaign runs from beginning to end at once; its updates are delivered when the lab's clock reaches their times. Its
gate decides about pauses (windows, black-outs, quota, conditions of `suspend`) at the campaign's own time, with the
functions that the loop uses. `Usage` counts the starts and draws a text chart of the days.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sdl import config, runner
from sdl.clock import Clock, VirtualClock
from sdl.config.on_twin import kinds_with_twin
from sdl.core.campaign import Campaign
from sdl.core.events import Continued, Event, Paused
from sdl.drivers.base import Driver
from sdl.errors import ConfigError
from sdl.lab.config.file import ResolvedLab
from sdl.lab.config.model import Suspend
from sdl.lab.core import scheduler
from sdl.lab.core.due_times import NEVER
from sdl.lab.core.events import Died, Due, Ended, GaveUp, LabEvent, Missed, Started
from sdl.lab.core.state import DAY, Lab
from sdl.lab.loop import Journal, LabLoop, Listener
from sdl.lab.workers.base import Command, JobOrder, WorkerUpdate, update_of
from sdl.lab.workers.gate import LabGate
from sdl.runner.gate import Abort, Decision, Pause
from sdl.runner.setup import load_priors, opened_event, started_campaign
from sdl.store import record
from sdl.types import GOOD_OUTCOMES, Reading, SafeState, Settings, numbers

STEP = 60.0  # maximum virtual seconds between ticks
POLL_SECONDS = 30.0  # virtual seconds between two queries of the gate by a paused campaign
LEAD_SECONDS = 1.0  # virtual seconds by which the lab starts early, so that a start due at the very beginning counts
CELLS, HALF_HOUR = 48, 1800.0  # cells per day in the chart; seconds per cell
SYMBOLS = {"given up": "+", "missed": "x", "ended": "o", "reached": "#", "running": "-"}
"""Symbols of a cell, most important first; a dot if nothing happened."""
LEGEND = "# reached   o ended otherwise   - running or paused   x missed   + given up   . nothing"


class _CurrentClock:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def monotonic(self) -> float:
        """As its time, which goes on from campaign to campaign."""
        return self.clock.now()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.clock, name)


class SharedTwin:
    """The simulation of one instrument, shared by all campaigns of a lab, with the inputs of the instrument.

    One campaign uses it at a time, so it takes its time from the campaign that opened it last. Faults counted in
    readings or seconds continue from campaign to campaign, as those of a real instrument.

    Raises:
        ConfigError: the kind of the instrument has no simulation.
    """

    simulated = virtual = True

    def __init__(self, instrument: Any, start: float, seed: int) -> None:
        if not hasattr(instrument, "simulation"):
            allowed = ", ".join(kinds_with_twin())
            raise ConfigError(f"kind {instrument.kind} has no twin to simulate it with; allowed: {allowed}")
        self._instrument = instrument
        self._twin = instrument.simulation(datetime.fromtimestamp(start, UTC).isoformat(), seed)
        self._clock: Any = _CurrentClock(VirtualClock(start))
        self._driver: Driver = self._twin.open(self._clock)
        self._scale = {
            own.name: 1.0 if own == twin else own.high / twin.high
            for own, twin in zip(instrument.inputs, self._twin.inputs, strict=True)
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instrument if name in ("kind", "model_dump", "inputs") else self._twin, name)

    def open(self, clock: Clock) -> Driver:
        """The twin, with the time of `clock` from now on."""
        self._clock.clock = clock
        return self

    def model_copy(self, *, update: Mapping[str, Any]) -> SharedTwin:
        """Return this object: a changed `background` option makes no difference here, and the faults continue."""
        return self

    def measure(self, settings: Settings) -> Reading:
        """One reading, with the settings scaled to those of the twin and back."""
        if all(factor == 1.0 for factor in self._scale.values()):
            return self._driver.measure(settings)
        raw = self._driver.measure({name: value / self._scale[name] for name, value in numbers(settings).items()})
        applied = {name: round(value * self._scale[name], 6) for name, value in numbers(raw.applied).items()}
        return replace(raw, applied=applied)

    def safe(self) -> SafeState:
        return self._driver.safe()

    def close(self) -> None:
        """Do nothing: other campaigns use the twin."""


class SimulatedWorkers:
    """Runs job orders in this process in virtual time; see `sdl.lab.workers.base.Workers`.

    Args:
        lab: the state of the lab, which decides about pauses.
        keep: whether to write the record of each campaign when it ends.
        end: end of the simulation, at which every pause ends.
    """

    def __init__(
        self, loaded: ResolvedLab, lab: Lab, clock: VirtualClock, keep: bool = False, end: float = NEVER
    ) -> None:
        self._lab, self._clock, self._keep, self._end = lab, clock, keep, end
        self._twins = {
            name: SharedTwin(config.parse_kind("instrument", item.instrument), clock.now(), seed)
            for seed, (name, item) in enumerate(loaded.lab.instruments.items(), 1)
        }
        self._campaigns = loaded.campaigns
        self._updates: list[tuple[float, int, WorkerUpdate]] = []
        self._order = itertools.count()

    def begin(self, order: JobOrder) -> None:
        start = self._lab.starts[order.start]
        twin = self._twins[order.instrument]
        campaign_file = self._campaigns[start.job].model_copy(update={"instrument": twin})
        gate = _SimulatedGate(self._lab, order, self._end)

        def watch(event: Event, campaign: Campaign) -> None:
            gate.inner.observe(event, campaign)
            if isinstance(event, (Paused, Continued)):
                self._push(update_of(event, order.start, gate.readings))

        # As `runner.run`, in virtual time, with the record in memory until the end.
        memory, clock = runner.MemoryRecord(), VirtualClock(self._clock.now())
        opened = opened_event(campaign_file, order.folder.name, memory, (), clock)
        memory.append(opened)
        campaign = started_campaign(campaign_file, opened, None, load_priors(campaign_file))
        result = runner.Runner(campaign_file, campaign, memory, clock, watch, gate=gate).go()
        if self._keep:
            record.write_whole(order.folder, memory.events)
        self._push(WorkerUpdate(order.start, "ended", result.reason, str(result.outcome), result.readings, clock.now()))

    def updates(self) -> Sequence[WorkerUpdate]:
        due = []
        while self.next_update() <= self._clock.now():
            due.append(heapq.heappop(self._updates)[2])
        return due

    def next_update(self) -> float:
        """The time of the next update; infinity if there is none."""
        return self._updates[0][0] if self._updates else NEVER

    def command(self, start: int, verb: Command, *given: str) -> None:
        """Do nothing: the gate has decided about pauses, and no requests arrive."""

    def interrupt(self, start: int, by: str) -> None:
        """Discard what the campaign did after the end of the simulation."""
        self._updates = [item for item in self._updates if item[2].start != start]
        heapq.heapify(self._updates)
        self._push(WorkerUpdate(start, "died", f"interrupted by {by}", at=self._clock.now()))

    def make_safe(self, instrument: Mapping[str, Any]) -> str:
        return ""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def _push(self, item: WorkerUpdate) -> None:
        heapq.heappush(self._updates, (item.at, next(self._order), item))


class _SimulatedGate:
    """The gate of a simulated campaign: first the lab's reasons to pause, then the conditions of `suspend`."""

    def __init__(self, lab: Lab, order: JobOrder, end: float) -> None:
        # Free space is constant: the disk of this machine is not the lab's.
        self.inner = LabGate(
            Suspend.model_validate(order.suspend), order.folder, free=lambda _: 1 << 60, again=POLL_SECONDS
        )
        self.on_background, self.readings = self.inner.on_background, 0
        self._lab, self._start, self._end = lab, lab.starts[order.start], end

    def ask(self, campaign: Campaign, now: float) -> Decision:
        self.readings = campaign.history.readings
        if now > self._end:  # the instrument never recovered, or no longer matches its twin
            return Abort("the simulation is over", "simulation")
        reason = scheduler.reason_to_pause(self._lab, self._start, now, self.readings)
        return self.inner.ask(campaign, now) if reason is None else Pause(*reason, poll_after=POLL_SECONDS)


def simulate(
    loaded: ResolvedLab,
    start: float,
    days: float,
    *,
    listeners: Sequence[Listener] = (),
    keep: Path | None = None,
    journal: Journal | None = None,
    progress: Callable[[float], None] = lambda at: None,
) -> Lab:
    """Run a lab in virtual time.

    Args:
        loaded: the resolved lab file.
        start: begin, seconds since 1970 UTC, inclusive.
        days: duration; the end is exclusive.
        listeners: called with every event, update and tick.
        keep: directory for the records; None: not written.
        journal: receives the lab's events; None: not written.
        progress: called with the lab's time at every tick.

    Returns:
        The state of the lab at the end.

    Raises:
        ConfigError: an instrument has no twin.
    """
    begin, end = start - LEAD_SECONDS, start + days * DAY
    clock, lab = VirtualClock(begin), Lab()
    processes = SimulatedWorkers(loaded, lab, clock, keep is not None, end)
    loop = LabLoop(lab, journal, processes, clock, runs=keep or loaded.runs, listeners=listeners)
    loop.open(loaded, 0, "simulation")
    while clock.now() < end:
        loop.tick()
        progress(clock.now())
        soon = min(scheduler.next_time(lab), processes.next_update(), clock.now() + STEP, end)
        clock.sleep(max(soon - clock.now(), 1e-6))
    loop.close("the end of the simulation")
    return lab


@dataclass
class JobUsage:
    """Statistics of the starts of one job.

    Attributes:
        ran: number that began.
        outcomes: number that ended, by outcome.
        missed: number missed, by cause without numbers.
        late: longest delay of a start that began, seconds.
        spans: (begin, end) of each use of the instrument.
        marks: (time, key of SYMBOLS) of each end.
    """

    due: int = 0
    ran: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    gave_up: int = 0
    died: int = 0
    readings: int = 0
    late: float = 0.0
    spans: list[tuple[float, float]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)


class Usage:
    """The statistics of all jobs, from the events of a running loop (as its listener) or of a journal."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobUsage] = {}
        self.pauses: Counter[str] = Counter()
        self._starts: dict[int, tuple[JobUsage, float]] = {}
        self._begun: dict[int, float] = {}

    @property
    def open(self) -> int:
        return len(self._starts)

    def handle(self, event: LabEvent) -> None:
        if isinstance(event, Due):
            self._starts[event.start] = self.jobs.setdefault(event.job, JobUsage()), event.due
        if not isinstance(event, (Due, Started, Ended, Died, Missed, GaveUp)):
            return
        usage, due = self._starts[event.start]
        match event:
            case Due():
                usage.due += 1
            case Started():
                self._begun[event.start] = event.at
                if event.attempt == 0:
                    usage.ran += 1
                    usage.late = max(usage.late, event.at - due)
            case Ended():
                usage.outcomes[event.outcome] += 1
                usage.readings += event.readings
                self._end(event.start, event.at, "reached" if event.outcome in GOOD_OUTCOMES else "ended")
            case Died():
                usage.died += 1
                usage.spans.append((self._begun.pop(event.start), event.at))
            case Missed():
                usage.missed[generic_cause(event.cause)] += 1
                self._end(event.start, due, "missed")
            case GaveUp():
                usage.gave_up += 1
                self._end(event.start, event.at, "given up")

    def update(self, item: WorkerUpdate) -> None:
        """Count a pause by its cause."""
        if item.what == "paused":
            self.pauses[generic_cause(item.text)] += 1

    def tick(self, now: float) -> None:
        """Do nothing."""

    def _end(self, start: int, at: float, what: str) -> None:
        usage, _ = self._starts.pop(start)
        if start in self._begun:
            usage.spans.append((self._begun.pop(start), at))
        usage.marks.append((at, what))

    def chart(self, job: str, zone: ZoneInfo, begin: float, end: float) -> Iterator[tuple[str, str]]:
        """One line per day: the date, and a symbol per half hour of local time."""
        usage = self.jobs.get(job, JobUsage())
        marks = list(usage.marks)
        for low, high in usage.spans:
            steps = int((high - low) // HALF_HOUR) + 1
            marks += [(at, "running") for at in (*(low + n * HALF_HOUR for n in range(steps)), high)]
        cells: dict[tuple[date, int], set[str]] = {}
        for at, what in marks:
            cells.setdefault(_cell(at, zone), set()).add(what)
        day, last = _cell(begin, zone)[0], _cell(end - 1e-6, zone)[0]
        while day <= last:
            row = (cells.get((day, n), set()) for n in range(CELLS))
            symbols = (next((text for what, text in SYMBOLS.items() if what in cell), ".") for cell in row)
            yield day.strftime("%a %d %b"), "".join(symbols)
            day += timedelta(days=1)


def _cell(at: float, zone: ZoneInfo) -> tuple[date, int]:
    wall = datetime.fromtimestamp(at, zone)
    return wall.date(), (wall.hour * 60 + wall.minute) // 30


def generic_cause(text: str) -> str:
    """A cause without its numbers, for counting."""
    for pattern, replacement in (
        (r"\bthe later start \d+", "a later one"),
        (r"\bstart \d+", "another start"),
        (r"\b\d+ readings in", "readings in"),
        (r"\blate by [^(]*", "late "),
        (r"\breads [\d.]+,", "is"),
    ):
        text = re.sub(pattern, replacement, text)
    return text
