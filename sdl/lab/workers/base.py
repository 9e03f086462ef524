"""The interface between the loop (`sdl.lab.loop`) and the workers that run campaigns for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from sdl.core.events import Continued, Event, Paused

NOT_YET = "no answer yet"  # returned by `Workers.make_safe` until the result is known
FINISH, SAFE = 5.0, 30.0
"""Seconds that an interrupted process has to finish its reading; then to switch off and close its record."""


@dataclass(frozen=True, slots=True)
class JobOrder:
    """One campaign to run.

    Attributes:
        campaign: the resolved campaign (`CampaignFile.plain()`), with the lab's instrument.
        folder: directory of the run, recorded before anything begins; an existing record in it is resumed.
        hung: seconds without an event after which the process counts as hung.
        suspend: the resolved pause conditions (`sdl.lab.config.conditions`) as plain values.
    """

    start: int
    campaign: Mapping[str, Any]
    folder: Path
    instrument: str
    hung: float
    suspend: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WorkerUpdate:
    """A change in the state of a job order.

    Attributes:
        what: running (an event was written), paused, continued, ended or died.
        text: cause of a pause or death, reason of an end.
        outcome: of an end, as in the record.
        readings: taken in this run so far.
        on: of an end: why the instrument is not known to be off; empty if it is off.
    """

    start: int
    what: Literal["running", "paused", "continued", "ended", "died"]
    text: str = ""
    outcome: str = ""
    readings: int = 0
    at: float = 0.0
    on: str = ""


def update_of(event: Event, start: int, readings: int) -> WorkerUpdate:
    """The update that an event of a campaign causes; `readings` is the number taken so far."""
    match event:
        case Paused():
            return WorkerUpdate(start, "paused", f"{event.cause} ({event.by})", "", readings, event.at)
        case Continued():
            return WorkerUpdate(start, "continued", event.by, "", readings, event.at)
    return WorkerUpdate(start, "running", "", "", readings, event.at)


Command = Literal["pause", "proceed", "resume", "abort"]
"""A method of `sdl.lab.workers.gate.LabGate` that the lab calls while a campaign runs."""


class Workers(Protocol):
    """Runs job orders: `sdl.lab.workers.supervisor` in one process each, `sdl.lab.simulate` in this process."""

    def begin(self, order: JobOrder) -> None: ...
    def updates(self) -> Sequence[WorkerUpdate]: ...  # never blocks; one `ended` or `died` per order
    def command(self, start: int, verb: Command, *given: str) -> None: ...  # calls that method of `LabGate`
    def interrupt(self, start: int, by: str) -> None: ...  # stays resumable; update: died
    def make_safe(self, instrument: Mapping[str, Any]) -> str: ...  # never blocks; an error, NOT_YET, or empty
    def close(self) -> None: ...  # interrupts what runs, waits, kills the rest
