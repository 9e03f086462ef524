"""What `Control` shows of a lab: the keys of its status, queue and history.

The loop makes them; the API, the commands, the metrics and the page read them. Times are seconds since 1970 UTC;
`run` is the directory of a run below the lab's runs, empty before it has one.
Further keys may be added; a reader leaves alone what it does not know.
"""

from __future__ import annotations

from typing import TypedDict


class Hold(TypedDict):
    """A hold that has not been released. `what` is lab, instrument NAME, job NAME or start N."""

    what: str
    cause: str
    by: str
    at: float


class Running(TypedDict):
    """A start whose process is there. `paused` is the cause of its pause, empty while it measures."""

    start: int
    job: str
    instrument: str
    run: str
    since: float
    attempt: int
    readings: int
    paused: str


class Bench(TypedDict):
    """An instrument. `lost` is why it could not be made safe, empty where it answers; `busy` the start on it."""

    name: str
    identity: str
    lost: str
    busy: int | None
    readings_today: int


class Waiting(TypedDict):
    """A start that waits (`start` is its number, `why` what for), or a due time to come (`start` is None)."""

    start: int | None
    job: str
    instrument: str
    due: float
    why: str


class Past(TypedDict):
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


class Status(TypedDict):
    """A lab at one moment."""

    lab: str
    at: float
    timezone: str
    process: int
    since: float
    instruments: list[Bench]
    running: list[Running]
    held: list[Hold]
    next: list[Waiting]
