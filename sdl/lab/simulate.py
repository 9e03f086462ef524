"""A lab in virtual time: the same loop, with every instrument replaced by its twin and campaigns run in this process.

A campaign is carried out at once, from the moment at which it begins to the one at which it ends; its news is told when
the lab's time has come so far. What would make it pause (a window, a black-out, the day's readings, the conditions of
`suspend`) is judged by its gate at the time that it has reached, by the same functions that the loop uses.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdl import config, runner
from sdl.clock import Clock, VirtualClock
from sdl.core.campaign import Campaign
from sdl.core.events import Continued, Event, Paused
from sdl.drivers.base import Driver
from sdl.drivers.twin import Twin
from sdl.errors import ConfigError
from sdl.lab.config.conditions import Suspend
from sdl.lab.config.file import Loaded
from sdl.lab.core import scheduler
from sdl.lab.core.cron import NEVER
from sdl.lab.core.state import DAY, Lab
from sdl.lab.journal import Journal, MemoryJournal
from sdl.lab.loop import LabLoop, Listener
from sdl.lab.workers.base import News, Order
from sdl.lab.workers.gate import LabGate
from sdl.runner.gate import Abort, Decision, Pause
from sdl.runner.setup import load_priors, opening
from sdl.runs.runs import Result, fold
from sdl.store import datasets, record
from sdl.types import Input, Reading, SafeState

STEP = 60.0
"""Virtual seconds between two ticks at most."""
AGAIN = 30.0
"""Virtual seconds between two questions of a campaign that pauses."""
LAB_STARTED = 1.0
"""Virtual seconds before the begin at which the lab is there, so that the very first start is due."""


class _Relay:
    """The clock of whoever has a twin at present."""

    kind = "virtual"

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def now(self) -> float:
        return self.clock.now()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def interrupt(self) -> None:
        self.clock.interrupt()


class Standing:
    """A twin that stands in for an instrument through a whole simulation, whoever drives it.

    Only one campaign has it at a time, so that its clock is that of the campaign that opened it last. Faults that are
    counted in readings, or in seconds since the start, go on from campaign to campaign, as a real instrument's would.
    """

    def __init__(self, instrument: Any, start: float, seed: int) -> None:
        moment = datetime.fromtimestamp(start, UTC).isoformat()
        self._instrument, self._full = instrument, 1.0
        if isinstance(instrument, Twin):
            twin = instrument.model_copy(update={"realtime": False, "start": moment})
        elif instrument.kind == "claude-light":
            twin = Twin(background=instrument.background, seed=seed, start=moment)
        elif instrument.kind == "sdl-light":
            # Its own background comes with every answer, and its inputs are whole numbers from 0 to `most`.
            twin = Twin(state="sdl-light", background="each", seed=seed, start=moment)
            self._full = float(instrument.most)
        else:
            raise ConfigError(
                f"kind {instrument.kind} has no twin to simulate it with; allowed: twin, claude-light, sdl-light"
            )
        self._twin, self._relay = twin, _Relay(VirtualClock(start))
        self._driver = twin.open(self._relay)

    simulated = virtual = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instrument if name in ("kind", "model_dump") else self._twin, name)

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(self._instrument.inputs)

    def open(self, clock: Clock) -> Driver:
        """The twin, from now on in the time of `clock`."""
        self._relay.clock = clock
        return self

    def model_copy(self, *, update: Mapping[str, Any]) -> Standing:
        """Itself, for a look in the dark: what was to be changed costs nothing here, and its faults go on."""
        return self

    def measure(self, settings: Mapping[str, float]) -> Reading:
        """One reading."""
        if self._full == 1.0:
            return self._driver.measure(settings)
        found = self._driver.measure({name: value / self._full for name, value in settings.items()})
        applied = {name: round(value * self._full) for name, value in found.applied.items()}
        return Reading(applied, found.readings, found.background, found.saturated, found.fault)

    def safe(self) -> SafeState:
        """Switches the light off."""
        return self._driver.safe()

    def close(self) -> None:
        """The twin lives on."""


class Simulated:
    """Carries orders out in this process, in virtual time; see `sdl.lab.workers.base.Workers`.

    Args:
        loaded: the lab file.
        lab: the state of the lab, which says when a campaign has to pause.
        clock: the lab's.
        keep: whether records are written, each at once when its campaign has ended.
        end: of the simulation; no pause lasts longer.
    """

    def __init__(self, loaded: Loaded, lab: Lab, clock: VirtualClock, keep: bool = False, end: float = NEVER) -> None:
        self._lab, self._clock, self._keep, self._end = lab, clock, keep, end
        self._benches = {
            name: Standing(config.parse_kind("instrument", bench.instrument), clock.now(), seed)
            for seed, (name, bench) in enumerate(loaded.lab.instruments.items(), 1)
        }
        self._campaigns = loaded.campaigns
        self._news: list[tuple[float, int, News]] = []
        self._order = itertools.count()

    def begin(self, order: Order) -> None:
        start = self._lab.starts[order.start]
        bench = self._benches[order.instrument]
        chosen = self._campaigns[start.job].model_copy(update={"instrument": bench})
        gate = _Gate(self._lab, order, self._end)

        def watch(event: Event, campaign: Campaign) -> None:
            gate.inner.saw(event, campaign)
            if isinstance(event, Paused):
                self._say(News(order.start, "paused", f"{event.cause} ({event.by})", "", gate.readings, event.at))
            elif isinstance(event, Continued):
                self._say(News(order.start, "continued", event.by, "", gate.readings, event.at))

        done, ended = self._run(chosen, order, gate, watch)
        self._say(News(order.start, "ended", done.reason, str(done.outcome), done.readings, ended))

    def news(self) -> Sequence[News]:
        found = []
        while self._news and self._news[0][0] <= self._clock.now():
            found.append(heapq.heappop(self._news)[2])
        return found

    def next_news(self) -> float:
        """When there will be news; never where there will be none."""
        return self._news[0][0] if self._news else NEVER

    def pause(self, start: int, cause: str, by: str) -> None:
        """Nothing: its gate knows already."""

    def proceed(self, start: int, by: str) -> None:
        """Nothing: its gate knows already."""

    def resume(self, start: int, by: str) -> None:
        """Nobody asks in a simulation."""

    def abort(self, start: int, reason: str, by: str) -> None:
        """Nobody asks in a simulation."""

    def interrupt(self, start: int, by: str) -> None:
        """The simulation is over: what has not ended by now is left out."""
        self._news = [item for item in self._news if item[2].start != start]
        heapq.heapify(self._news)
        self._say(News(start, "died", f"interrupted by {by}", at=self._clock.now()))

    def make_safe(self, instrument: Mapping[str, Any]) -> str:
        return ""

    def close(self) -> None:
        """Nothing is left."""

    def _say(self, item: News) -> None:
        heapq.heappush(self._news, (item.at, next(self._order), item))

    def _run(self, chosen: config.CampaignFile, order: Order, gate: _Gate, watch: runner.Watch) -> tuple[Result, float]:
        """What `runner.run` does, in the lab's time and without a word on the disk before the end."""
        memory, clock = runner.MemoryRecord(), VirtualClock(self._clock.now())
        priors = load_priors(chosen)
        opened = opening(chosen, order.folder.name, memory, (), clock)
        memory.append(opened)
        campaign = fold(iter([opened]), None).campaign
        if priors:
            rows = [(row.reading, sitting) for _, row, sitting in datasets.numbered(priors)]
            campaign.history.add_prior(rows)
        done = runner.Runner(chosen, campaign, memory, clock, watch, gate=gate).go()
        if self._keep:
            record.write_whole(order.folder, memory.events)
        return done, clock.now()


class _Gate:
    """A simulated campaign's gate: the lab's reasons to pause first, then the conditions of the lab file."""

    def __init__(self, lab: Lab, order: Order, end: float) -> None:
        # The disk of this machine tells nothing of the lab's.
        self.inner = LabGate(Suspend.model_validate(order.suspend), order.folder, free=lambda _: 1 << 60, again=AGAIN)
        self.readings = 0
        self._lab, self._start, self._end = lab, lab.starts[order.start], end

    def ask(self, campaign: Campaign, now: float) -> Decision:
        self.readings = campaign.history.readings
        if now > self._end:  # of an instrument that never comes back, or one that no longer matches its twin
            return Abort("the simulation is over", "simulation")
        reason = scheduler.reason_to_pause(self._lab, self._start, now, self.readings)
        return self.inner.ask(campaign, now) if reason is None else Pause(*reason, again=AGAIN)

    def dark(self, readings: Mapping[str, float] | None, now: float) -> None:
        self.inner.dark(readings, now)


def simulate(
    loaded: Loaded,
    start: float,
    days: float,
    *,
    listeners: Sequence[Listener] = (),
    keep: Path | None = None,
    journal: Journal | None = None,
    progress: Callable[[float], None] = lambda at: None,
) -> Lab:
    """Runs a lab in virtual time.

    Args:
        loaded: the lab file.
        start: when it begins, seconds since 1970 UTC; a start that is due at this very moment is in.
        days: how long; a start due at the very end is out.
        listeners: told of every event, news and tick.
        keep: where records are written; nowhere by default.
        journal: where the lab's events go; nowhere by default.
        progress: told of the lab's time at every tick.

    Returns:
        The lab at the end.

    Raises:
        ConfigError: an instrument has no twin.
    """
    begin, end = start - LAB_STARTED, start + days * DAY
    clock, lab = VirtualClock(begin), Lab()
    processes = Simulated(loaded, lab, clock, keep is not None, end)
    loop = LabLoop(lab, journal or MemoryJournal(), processes, clock, runs=keep or loaded.runs, listeners=listeners)
    loop.open(loaded, 0, "simulation")
    while clock.now() < end:
        loop.tick()
        progress(clock.now())
        soon = min(scheduler.next_time(lab), processes.next_news(), clock.now() + STEP, end)
        clock.sleep(max(soon - clock.now(), 1e-6))
    loop.close("the end of the simulation")
    return lab
