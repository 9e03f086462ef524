"""The borders inside a lab: who carries campaigns out (`Workers`), and who may tell the lab what to do (`Control`).

The loop (`sdl.lab.loop`) decides, by folding the lab's events; it does so the same way in real and in virtual time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

NOT_YET = "no answer yet"
"""What `Processes.make_safe` says as long as it knows neither."""


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One campaign to be carried out.

    Attributes:
        start: the number of the start.
        campaign: the resolved campaign, as `CampaignFile.plain()` gives it; its `instrument` is the lab's.
        folder: the run's directory, named by the lab before anything begins, so that no crash can lose it; where a
            record is in it already, the run is resumed.
        instrument: the name of the instrument in the lab file.
        hung: seconds without an event after which its process counts as hung.
        suspend: the conditions under which it pauses (`sdl.lab.config.conditions`), resolved, as plain values.
        after_death: whether a process died on it, so that the instrument may be in any state.
    """

    start: int
    campaign: Mapping[str, Any]
    folder: Path
    instrument: str
    hung: float
    suspend: Mapping[str, Any]
    after_death: bool = False


@dataclass(frozen=True, slots=True)
class WorkerUpdate:
    """What became of an order since the last look.

    Attributes:
        start: whose.
        what: running (an event of its record was written), paused, continued, ended, died.
        text: the cause of a pause or death; the reason of an end.
        outcome: of an end, as in its record.
        readings: taken in this run so far.
        at: seconds since 1970 UTC.
        on: of an end: why the instrument is not known to be off; empty where it is.
    """

    start: int
    what: Literal["running", "paused", "continued", "ended", "died"]
    text: str = ""
    outcome: str = ""
    readings: int = 0
    at: float = 0.0
    on: str = ""


class Workers(Protocol):
    """Carries orders out: `sdl.lab.workers.supervisor` with a process each, `sdl.lab.simulate` within this one."""

    def begin(self, order: JobOrder) -> None: ...
    def updates(self) -> Sequence[WorkerUpdate]: ...  # never blocks; ended and died come exactly once an order
    def pause(self, start: int, cause: str, by: str) -> None: ...
    def proceed(self, start: int, by: str) -> None: ...  # the lab's pause is over; its own, for a condition, stands
    def resume(self, start: int, by: str) -> None: ...  # somebody says that all is well: its own pause is over
    def abort(self, start: int, reason: str, by: str) -> None: ...  # light off, record closed, then news: ended
    def interrupt(self, start: int, by: str) -> None: ...  # resumable; then news: died
    def make_safe(self, instrument: Mapping[str, Any]) -> str: ...  # never blocks; the error, NOT_YET, or empty
    def close(self) -> None: ...  # interrupts what runs, waits a stated time, ends what does not listen


class Control(Protocol):
    """What may be asked of a running lab, from any thread; the API and the page speak to it.

    `target` is `lab`, `instrument NAME`, `job NAME` or `start N`; a verb acts on that and on nothing wider. Each
    returns what was done as a sentence. `since` is the `at` of the pause that somebody was shown, to end no later one.

    Raises:
        ConfigError: there is no such target, or it cannot be done in its present state; nothing was changed.
    """

    def status(self) -> Mapping[str, Any]: ...  # `sdl.lab.core.views.LabStatus`; plain values
    def queue(self) -> Sequence[Mapping[str, Any]]: ...  # what waits and what is due next, in order
    def history(self, most: int = 100, job: str = "") -> Sequence[Mapping[str, Any]]: ...  # newest first
    def pause(self, target: str, reason: str, by: str) -> str: ...
    def resume(self, target: str, by: str, since: str = "") -> str: ...  # the pause of this very target, no other
    def abort(self, target: str, reason: str, by: str) -> str: ...
    def run_now(self, job: str, by: str) -> str: ...
    def skip(self, target: str, reason: str, by: str) -> str: ...  # `start N`, or `job NAME`: its next start
    def check(self, campaign: str, instrument: str) -> str: ...  # a campaign's YAML: what it would be; changes nothing
    def start(self, campaign: str, instrument: str, by: str) -> str: ...  # that campaign, as soon as it is free
