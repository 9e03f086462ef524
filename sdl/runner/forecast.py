"""A forecast of trials, readings and time: a few campaigns on the twin of the instrument, within a time limit."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdl import config
from sdl.config.model import CampaignFile
from sdl.core.campaign import Campaign
from sdl.core.events import Event
from sdl.core.goal import format_reading, format_shortfall
from sdl.drivers.declared.config import Declared
from sdl.drivers.twin.fitted import declaration
from sdl.errors import ConfigError
from sdl.formatting import count, display
from sdl.runner.gate import Abort, Decision, Proceed
from sdl.runner.start import run
from sdl.runs.runs import Result, open_run
from sdl.twin.fitted.fit import fit
from sdl.twin.fitted.rows import collect
from sdl.twin.fitted.write import toml
from sdl.types import GOOD_OUTCOMES, Outcome

FIRST_SEED = 1000
"""Seeds of the simulated campaigns: others than those of a campaign that is run on the same twin."""
MOST_SOURCES = 5
"""Earlier runs that a twin is fitted to, where the instrument names none: the latest."""
_TIME_IS_UP = "the time for the forecast is used up"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What simulated campaigns took.

    Attributes:
        campaigns: number of those that ended.
        outcomes: how often each outcome occurred.
        trials, readings, minutes: median, least and most of those that reached the goal or were done; empty without.
        nearest: the closest readings of a campaign that found the goal unreachable; empty if none did.
        best: the expected value of the channel to maximise or minimise; empty without one.
        source: origin of the twin.
        complete: whether all campaigns that were asked for ended in time.
    """

    campaigns: int
    outcomes: Mapping[str, int]
    trials: tuple[float, ...]
    readings: tuple[float, ...]
    minutes: tuple[float, ...]
    nearest: str
    best: str
    source: str
    complete: bool

    @property
    def good(self) -> int:
        """Number of campaigns that reached the goal or were done."""
        return sum(self.outcomes.get(str(outcome), 0) for outcome in GOOD_OUTCOMES)

    def text(self) -> str:
        """One or two sentences."""
        if not self.campaigns:
            return f"No simulated campaign {self.source} ended in time."
        whole = f"{count(self.campaigns, 'simulated campaign')} {self.source}"
        others = {word: n for word, n in self.outcomes.items() if word not in GOOD_OUTCOMES}
        ends = ", ".join(f"{display(word)} ({n})" for word, n in others.items())
        if not self.trials:
            text = f"Goal not reached in {whole}: {ends}."
        else:
            word = "Done" if Outcome.DONE in self.outcomes else "Goal reached"
            took = f"{_range(self.trials, 'trial')}, {_range(self.readings, 'reading')}"
            text = f"{word} in {self.good} of {whole}: {took}, about {_duration(self.minutes[0])}"
            text += (f"; best {self.best}" if self.best else "") + (f"; otherwise {ends}." if ends else ".")
        return f"{text} Closest readings: {self.nearest}." if self.nearest else text


def forecast(
    campaign: CampaignFile,
    *,
    campaigns: int = 5,
    seconds: float = 10.0,
    sources: Sequence[Path] = (),
) -> Forecast:
    """Run a campaign several times on the twin of its instrument, in virtual time and without a record.

    Args:
        campaign: a campaign on any instrument.
        campaigns: number of simulated campaigns, each with another seed.
        seconds: time limit, after which no further campaign begins and the one in progress is ended.
        sources: runs of the same instrument, the newest first, to which a twin is fitted if the instrument has none.

    Raises:
        ConfigError: there is no goal, so nothing to forecast; or there is neither a twin nor such a run.
    """
    if not campaign.goal:
        raise ConfigError("a campaign without a goal takes as many trials as its design has points")
    until = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        simulated, source = _simulated(campaign.instrument, sources, Path(folder))
        results = []
        for n in range(campaigns):
            seed = FIRST_SEED + n
            one = campaign.model_copy(update={"instrument": simulated(seed), "seed": seed, "notify": None})
            results.append(_one(one, until))
            if time.monotonic() > until:
                break
    ended = [result for result in results if result is not None]
    return _summary(campaign, ended, source, complete=len(ended) == campaigns)


@dataclass(frozen=True, slots=True)
class _End:
    result: Result
    minutes: float
    nearest: str


class _Deadline:
    """A gate that ends a campaign when the time is up."""

    def __init__(self, until: float) -> None:
        self._until = until

    def ask(self, campaign: Campaign, now: float) -> Decision:
        return Abort(_TIME_IS_UP, "sdl forecast") if time.monotonic() > self._until else Proceed()

    def on_background(self, readings: Mapping[str, float] | None, now: float) -> None:
        pass


def _one(campaign: CampaignFile, until: float) -> _End | None:
    """One simulated campaign; None if it did not end in time."""
    times: list[float] = []
    last: list[Campaign] = []

    def watch(event: Event, state: Campaign) -> None:
        times.append(event.at)
        last[:] = [state]

    result = run(campaign, runs=None, watch=watch, gate=_Deadline(until))
    if result.reason.endswith(_TIME_IS_UP):
        return None
    history = last[0].history
    nearest = format_shortfall(history.shortfall) if result.outcome is Outcome.UNREACHABLE else ""
    return _End(result, (times[-1] - times[0]) / 60.0, nearest)


def _summary(campaign: CampaignFile, ends: Sequence[_End], source: str, *, complete: bool) -> Forecast:
    good = [end for end in ends if end.result.outcome in GOOD_OUTCOMES]
    goal, best = campaign.goals(), ""
    if goal is not None and goal.objective is not None and good:
        values = [end.result.measured[goal.objective] for end in good if goal.objective in end.result.measured]
        best = f"{goal.objective} {format_reading(statistics.median(values))}" if values else ""
    return Forecast(
        len(ends),
        dict(Counter(str(end.result.outcome) for end in ends)),
        _spread([end.result.trials for end in good]),
        _spread([end.result.readings for end in good]),
        _spread([end.minutes for end in good]),
        next((end.nearest for end in ends if end.nearest), ""),
        best,
        source,
        complete,
    )


def _simulated(instrument: Any, sources: Sequence[Path], folder: Path) -> tuple[Callable[[int], Any], str]:
    """A function from a seed to the simulated instrument, and where that comes from."""
    if instrument.simulated and instrument.virtual:
        return lambda seed: _seeded(instrument, seed), "on this twin"
    if hasattr(instrument, "simulation") and (not isinstance(instrument, Declared) or instrument.twin is not None):
        return lambda seed: _seeded(instrument.simulation(None, seed), seed), "on its twin"
    if not sources:
        raise ConfigError(f"{instrument.kind} has no twin, and there is no earlier run of it to fit one to")
    twin, rows = _fitted(instrument, sources[:MOST_SOURCES], folder)
    return lambda seed: _seeded(twin, seed), f"on a twin fitted to {count(rows, 'earlier reading')}"


def _fitted(instrument: Any, sources: Sequence[Path], folder: Path) -> tuple[Any, int]:
    """A twin fitted to the readings of earlier runs, and the number of these."""
    options, file = declaration(instrument), folder / "twin.toml"
    try:
        rows = collect(sources, options.inputs, options.channels, session_gap=options.session_gap).rows
        fitted = fit(rows, options)
    except ValueError as error:
        raise ConfigError(f"no twin can be fitted to the earlier runs: {error}") from error
    file.write_text(toml(fitted.state), encoding="utf-8")
    if isinstance(instrument, Declared):
        twin = instrument.model_copy(update={"twin": str(file)}).simulation(None, 0)
    else:
        twin = config.parse_kind("instrument", {"kind": "twin", "state": str(file)})
    return twin, fitted.rows


def earlier_runs(folders: Sequence[Path], identity: str) -> list[Path]:
    """The runs of an instrument among these directories, the newest first; those that cannot be read are left out."""
    found = []
    for folder in folders:
        try:
            opened = open_run(folder).opened
        except Exception:  # a damaged record is reported where it is shown
            continue
        if opened.instrument.get("identity") == identity:
            found.append(folder)
        if len(found) == MOST_SOURCES:
            break
    return found


def _seeded(instrument: Any, seed: int) -> Any:
    known = "seed" in type(instrument).model_fields
    return instrument.model_copy(update={"seed": seed}) if known else instrument


def _spread(values: Sequence[float]) -> tuple[float, ...]:
    return (statistics.median(values), min(values), max(values)) if values else ()


def _range(spread: tuple[float, ...], noun: str) -> str:
    """`6 trials (5 to 9)`."""
    median, least, most = spread
    text = f"{median:g} {noun}{'' if median == 1 else 's'}"
    return text if least == most else f"{text} ({least:g} to {most:g})"


def _duration(minutes: float) -> str:
    return f"{minutes * 60:.2g} s" if minutes < 1 else f"{minutes:.2g} min" if minutes < 90 else f"{minutes / 60:.2g} h"
