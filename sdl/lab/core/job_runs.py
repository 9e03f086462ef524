"""A start: one run of a job, scheduled or requested, from Due to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sdl.lab.config.model import Job


class PendingStart(NamedTuple):
    """A start requested, or triggered by another, that is not yet Due; `spec` if no job of the file has it."""

    job: str
    due: float
    cause: str
    by: str
    spec: Job | None = None


@dataclass(slots=True)
class Start:
    """A start that has not ended.

    Attributes:
        number, job, due, cause, by: as in Due.
        spec: the job as configured when the start was created or begun.
        single: the campaign was submitted on its own and belongs to no job of the lab file.
        running: whether the journal says that its process is running.
        attempts: number of times its process was started.
        deaths: number of times its process died, without interruptions by the lab itself.
        lost: whether its record was deleted, replaced or truncated while being written.
        ready: earliest time of the next attempt, seconds since 1970 UTC.
        readings: number in its record, as far as known.
        last: cause of the last death.
        skip, abort: reason and requester, if requested.
    """

    number: int
    job: str
    due: float
    cause: str
    by: str
    spec: Job
    single: bool = False
    running: bool = False
    attempts: int = 0
    deaths: int = 0
    lost: bool = False
    ready: float = 0.0
    begun: float | None = None
    run: str = ""
    readings: int = 0
    last: str = ""
    skip: tuple[str, str] | None = None
    abort: tuple[str, str] | None = None

    @property
    def instrument(self) -> str:
        return self.spec.instrument

    def ended(self, at: float, fate: str, outcome: str, reason: str) -> dict[str, Any]:
        """Its row of the history (`sdl.lab.core.views`)."""
        return {
            "start": self.number, "job": self.job, "instrument": self.instrument, "run": self.run, "due": self.due,
            "begun": self.begun, "ended": at, "fate": fate, "outcome": outcome, "reason": reason,
            "readings": self.readings,
        }  # fmt: skip
