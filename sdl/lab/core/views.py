"""What `Control` shows of a lab: the keys of its status, queue and history, and how a pause is named.

The loop makes them; the API, the commands, the metrics and the page read them. Times are seconds since 1970 UTC;
`run` is the directory of a run below the lab's runs, empty before it has one.
Further keys may be added; a reader leaves alone what it does not know.
"""

from __future__ import annotations

import re
from typing import TypedDict


class PauseStatus(TypedDict):
    """A pause that somebody asked for and nobody has ended. `what` is lab, instrument NAME, job NAME or start N."""

    what: str
    cause: str
    by: str
    at: float


class RunningStart(TypedDict):
    """A start whose process is there.

    `paused` is the cause of its pause, empty while it measures; `pauses` are those asked for that it is under, the
    widest first; `resumable` says whether it has a pause of its own, which `resume` of this start ends.
    """

    start: int
    job: str
    instrument: str
    run: str
    since: float
    attempt: int
    readings: int
    paused: str
    pauses: list[PauseStatus]
    resumable: bool


class InstrumentStatus(TypedDict):
    """An instrument. `lost` is why it could not be made safe, empty where it answers; `busy` the start on it."""

    name: str
    identity: str
    lost: str
    busy: int | None
    readings_today: int


class QueuedStart(TypedDict):
    """A start that waits (`start` is its number, `why` what for), or a due time to come (`start` is None).

    `begun` says whether its campaign has begun and died: such a start can be aborted, not skipped.
    """

    start: int | None
    job: str
    instrument: str
    due: float
    why: str
    begun: bool


class EndedStart(TypedDict):
    """A start that ended. `fate` is ended, missed or gave up; `outcome` the campaign's; `reason` or cause in words."""

    start: int
    job: str
    instrument: str
    run: str
    due: float
    begun: float | None
    ended: float
    fate: str
    outcome: str
    reason: str
    readings: int


class LabStatus(TypedDict):
    """A lab at one moment."""

    lab: str
    at: float
    timezone: str
    process: int
    since: float
    instruments: list[InstrumentStatus]
    running: list[RunningStart]
    held: list[PauseStatus]
    next: list[QueuedStart]


_ASKED = re.compile(r"(?:the whole lab|(?:instrument|job|start) \S+) is paused\b")


def display_target(target: str) -> str:
    """A target in a sentence."""
    return "the whole lab" if target == "lab" else target


def pause_reason(target: str, cause: str) -> str:
    """Why nothing of a target begins: `the whole lab is paused: person in enclosure`."""
    return f"{display_target(target)} is paused" + (f": {cause}" if cause else "")


def is_requested_pause(cause: str) -> bool:
    """Whether a campaign's pause follows from one that somebody asked for (`pause_reason`)."""
    return _ASKED.match(cause) is not None


def describe_pause(hold: PauseStatus, target: str) -> str:
    """A pause as it is told of a target that it covers: `paused with the whole lab by ada: person in enclosure`."""
    wider = "" if hold["what"] == target else f" with {display_target(hold['what'])}"
    by, cause = (f" by {hold['by']}" if hold["by"] else ""), (f": {hold['cause']}" if hold["cause"] else "")
    return f"paused{wider}{by}{cause}"
