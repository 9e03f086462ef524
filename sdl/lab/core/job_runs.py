"""A start: one run of a job that was due or asked for, from Due to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sdl.lab.config.model import Job
from sdl.lab.core.views import EndedStart


class PendingStart(NamedTuple):
    """A start that has to be made due: it follows from an end, or was asked for; `spec` where no job has it."""

    job: str
    due: float
    cause: str
    by: str
    spec: Job | None = None


@dataclass(slots=True)
class Start:
    """A start that has not come to its end.

    Attributes:
        number, job, due, cause, by: as in Due.
        spec: the job as it was meant when the start was due, or began.
        single: its campaign was handed in with the request; no job of the lab file has it.
        running: whether its process is there, for all the lab knows.
        attempts: how often it was begun.
        deaths: of its process, those left out that were the lab's own end.
        lost: whether its record was deleted, replaced or cut while it was written.
        ready: seconds since 1970 UTC before which it is not begun again.
        readings: in its record, as far as is known.
        skip, abort: cause and person, where somebody asked for it.
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
        """The name of its instrument in the lab file."""
        return self.spec.instrument

    def ended(self, at: float, fate: str, outcome: str, reason: str) -> EndedStart:
        """What the history shows of it."""
        return EndedStart(
            start=self.number,
            job=self.job,
            instrument=self.instrument,
            run=self.run,
            due=self.due,
            begun=self.begun,
            ended=at,
            fate=fate,
            outcome=outcome,
            reason=reason,
            readings=self.readings,
        )
