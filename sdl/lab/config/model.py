"""What a lab file may say: a tree of frozen models, each option with its default and a sentence for the docs.

As it was written, `campaign` and `instrument` name files and kinds; as `sdl.lab.config.file` resolves them, they are
complete
plain values, and that is what the lab's record keeps: no later edit of a campaign file changes what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, field_validator, model_validator

from sdl.config.durations import Duration
from sdl.config.mistakes import NAME
from sdl.lab.config.conditions import Suspend
from sdl.notify.model import Notify
from sdl.types import Frozen, Outcome

_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"
SPAN = re.compile(rf"{_CLOCK}-{_CLOCK}")


class When(Frozen):
    """When a job is due: exactly one of cron, every, at, after, asked."""

    model_config = ConfigDict(populate_by_name=True)

    cron: str | None = Field(
        None, description='minute, hour, day, month, day of the week: `"0 * * * *"` is hourly, `"30 2 * * mon-fri"`'
    )
    every: Duration | None = Field(
        None, description="an interval of at least 1min, whatever the clocks show: 1h, 90min"
    )
    from_: str | None = Field(
        None, alias="from", description="a time that `every` counts from; midnight of 1 January 1970 by default"
    )
    at: tuple[str, ...] = Field((), description='times, "2026-12-24 20:00": of the lab\'s zone where they name none')
    after: str | None = Field(None, description="another job: due whenever that has ended")
    outcome: tuple[Annotated[Outcome, Field(strict=False)], ...] = Field(
        (Outcome.REACHED, Outcome.DONE), description="with one of these outcomes (for `after`)"
    )
    asked: bool = Field(False, description="true: only when somebody asks for it, `sdl lab run-now`")

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            from sdl.lab.core.cron import cron_trigger

            cron_trigger(value)
        return value

    @field_validator("every")
    @classmethod
    def _not_too_often(cls, value: float | None) -> float | None:
        if value is not None and value < 60:
            raise ValueError(f"must be at least 1min, not {value:g} s")
        return value

    @field_validator("from_")
    @classmethod
    def _moment(cls, value: str | None) -> str | None:
        return None if value is None else moment(value)

    @field_validator("at")
    @classmethod
    def _moments(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(moment(item) for item in value)

    @model_validator(mode="after")
    def _one(self) -> When:
        given = {"cron": self.cron, "every": self.every, "at": self.at, "after": self.after, "asked": self.asked}
        named = [key for key, value in given.items() if value]
        if len(named) != 1:
            have = f"not {' and '.join(named)}" if named else "none is given"
            raise ValueError(f"must be exactly one of cron, every, at, after, asked; {have}")
        if self.from_ is not None and self.every is None:
            raise ValueError("`from` belongs to `every`")
        return self


SKIP_GRACE = 60.0
"""Seconds within which a start is in time."""


class Lateness(Frozen):
    """What a start does that cannot begin in time: `late`, `skip`, or `{grace: 10min}`."""

    grace: Duration | None = Field(None, description="how long after its time it may still begin; null: however late")

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in ("late", "skip"):
                raise ValueError(f"must be late, skip or {{grace: 10min}}, not {value!r}")
            return {"grace": SKIP_GRACE if value == "skip" else None}
        return value


class Job(Frozen):
    """A campaign, and when it runs."""

    campaign: str | Mapping[str, Any] = Field(
        description="a campaign file, relative to this file, or a campaign written out"
    )
    instrument: str = Field(description="one of `instruments`; takes the place of the campaign's own")
    set: Mapping[str, Any] = Field({}, description="keys of the campaign with other values: `{stop.trials: 20}`")
    when: When = Field(description="cron, every, at, after or asked")
    between: str | None = Field(
        None, description='only inside these local times, "20:00-06:00"; what still runs at the end pauses'
    )
    missed: Lateness = Field(
        default_factory=Lateness,
        description="a start that cannot begin in time: late (once, as soon as it can), skip (recorded as missed after "
        "a minute), or {grace: 10min}",
    )
    clock_change: Literal["once", "twice"] | None = Field(
        None,
        description="a time of day that comes twice in autumn: once (the first) or twice; once by default, twice where "
        "the cron's hour is `*`. One that spring leaves out is due as much later as the clocks are put forward",
    )
    priority: int = Field(0, ge=-1000, le=1000, description="of jobs that wait for one instrument the highest begins")

    @field_validator("between")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None and (not SPAN.fullmatch(value) or value[:5] == value[6:]):
            raise ValueError(f'must be two different times of the day in quotes, "20:00-06:00", not {value!r}')
        return value


class LabInstrument(Frozen):
    """An instrument of the lab."""

    instrument: Any = Field(description="`kind` and its options, as in a campaign file")
    readings_a_day: int | None = Field(
        None, ge=1, description="most readings in 24 hours, of all campaigns together; then they wait or pause"
    )
    suspend: Suspend | None = Field(None, description="when its campaigns pause; replaces the lab's")


class Blackout(Frozen):
    """A span in which no start begins and what runs pauses."""

    model_config = ConfigDict(populate_by_name=True)

    from_: str = Field(
        alias="from", description='its begin, "2026-12-24 12:00": of the lab\'s zone where it names none'
    )
    to: str = Field(description="its end")
    why: str = Field("", max_length=200, description="for people")
    instruments: tuple[str, ...] = Field((), description="only these; all by default")

    @field_validator("from_", "to")
    @classmethod
    def _moment(cls, value: str) -> str:
        return moment(value)


class Supervise(Frozen):
    """What is done about campaigns whose process dies or hangs."""

    hung: Duration = Field(900.0, description="longest time without an event before it counts as hung: 15min")
    restarts: int = Field(3, ge=0, le=100, description="how often a campaign whose process died is gone on with")
    backoff: Duration = Field(30.0, description="before the first of these; doubles each time, at most 1h")


class LabFile(Frozen):
    """A lab: instruments, jobs, and what happens when nobody looks. One YAML file."""

    name: str = Field(pattern=NAME, description="what its record is filed under: runs/NAME.lab")
    description: str = Field("", max_length=2000, description="a sentence for people")
    runs: str = Field("runs", min_length=1, description="where the runs go; relative to this file")
    timezone: str = Field("UTC", description="of every time without one: Europe/Berlin, America/New_York, …")
    instruments: Mapping[str, LabInstrument] = Field(min_length=1, description="each by a name of the lab's own")
    jobs: Mapping[str, Job] = Field(min_length=1, description="each by a name of its own")
    blackouts: tuple[Blackout, ...] = Field((), description="spans in which nothing begins: {from, to, why}")
    suspend: Suspend = Field(default_factory=Suspend, description="when campaigns pause, unless an instrument says so")
    supervise: Supervise = Field(default_factory=Supervise, description="of campaigns whose process dies or hangs")
    notify: Notify = Field(default_factory=Notify, description="who is told of what")

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError(
                f"unknown time zone {value!r}; write it as Europe/Berlin, America/New_York or UTC"
            ) from None
        return value

    @field_validator("instruments", "jobs")
    @classmethod
    def _names(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if wrong := [name for name in value if not re.fullmatch(NAME, name)]:
            raise ValueError(f"{wrong[0]!r} is no name: 1 to 64 letters, digits, `.`, `_` or `-`")
        return value

    @property
    def zone(self) -> ZoneInfo:
        """The lab's time zone."""
        return ZoneInfo(self.timezone)

    def suspend_of(self, instrument: str) -> Suspend:
        """The conditions under which campaigns on an instrument pause."""
        own = self.instruments[instrument].suspend if instrument in self.instruments else None
        return self.suspend if own is None else own

    def plain(self) -> dict[str, Any]:
        """The file as plain values that `LabFile.model_validate` reads back to the same."""
        return self.model_dump(mode="json", by_alias=True)


def moment(value: str) -> str:
    """The same text, where it is a date and time.

    Raises:
        ValueError: it is none.
    """
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not a date and time such as 2026-12-24 20:00 or 2026-12-24T20:00+01:00"
        ) from None
    if not 1970 < found.year < 9999:
        raise ValueError(f"{value!r} is before 1971 or after 9998")
    return value
