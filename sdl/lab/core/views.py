"""The status, queue and history of a lab as `Control` returns them, and the texts that describe a pause.

The API, the commands, the metrics and the page read these mappings. Times are seconds since 1970 UTC; `run` is the
directory of a run below the lab's runs, empty before it has one. Further keys may be added; readers ignore unknown
ones.
"""

from __future__ import annotations

import re
from typing import TypedDict


class PauseStatus(TypedDict):
    """A requested pause in force. `what` is lab, instrument NAME, job NAME or start N."""

    what: str
    cause: str
    by: str
    at: float


class RunningStart(TypedDict):
    """A running start.

    `paused` is the cause of its pause, empty while it measures; `pauses` are the requested pauses that cover it, widest
    first; `resumable` is whether it has a pause of its own, which `resume` of this start ends.
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
    """An instrument. `lost` is why it could not be switched off, else empty; `busy` is the start that uses it."""

    name: str
    identity: str
    lost: str
    busy: int | None
    readings_today: int


class QueuedStart(TypedDict):
    """A waiting start, with `why` it waits; or a future scheduled time, with `start` None.

    `begun` is whether its campaign has begun and its process died: such a start can be aborted, not skipped.
    """

    start: int | None
    job: str
    instrument: str
    due: float
    why: str
    begun: bool


class EndedStart(TypedDict):
    """A start that ended. `fate` is ended, missed or gave up; `outcome` is the campaign's; `reason` is a sentence."""

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
    """A lab at one time."""

    lab: str
    at: float
    timezone: str
    process: int
    since: float
    instruments: list[InstrumentStatus]
    running: list[RunningStart]
    held: list[PauseStatus]
    next: list[QueuedStart]


_REQUESTED = re.compile(r"(?:the whole lab|(?:instrument|job|start) \S+) is paused\b")


def display_target(target: str) -> str:
    """A target as it stands in a sentence."""
    return "the whole lab" if target == "lab" else target


def pause_reason(target: str, cause: str) -> str:
    """The reason given by a requested pause: `the whole lab is paused: person in enclosure`."""
    return f"{display_target(target)} is paused" + (f": {cause}" if cause else "")


def is_requested_pause(cause: str) -> bool:
    """Whether the cause of a campaign's pause is a requested pause (`pause_reason`)."""
    return _REQUESTED.match(cause) is not None


def describe_pause(pause: PauseStatus, target: str) -> str:
    """A pause as described for a target that it covers: `paused with the whole lab by ada: person in enclosure`."""
    wider = "" if pause["what"] == target else f" with {display_target(pause['what'])}"
    by, cause = (f" by {pause['by']}" if pause["by"] else ""), (f": {pause['cause']}" if pause["cause"] else "")
    return f"paused{wider}{by}{cause}"
