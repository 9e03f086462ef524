"""The schema of a lab file: frozen models, each option with its default and description.

In the file `campaign` and `instrument` name files and kinds. `sdl.lab.config.file` resolves them to complete plain
values, which the journal keeps, so that later edits of a campaign file have no effect on it.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from sdl.config.mistakes import NAME
from sdl.drivers.base import Instrument, has_background
from sdl.durations import Duration
from sdl.errors import Problem
from sdl.export.people import Person
from sdl.lab.config.agents import AgentLimits, Tier
from sdl.notify.model import DaySpan, Notify
from sdl.twin.fitted.state import FittedState
from sdl.twin.led.state import TwinState
from sdl.twin.reference import checked_reference, load_reference, reference_of
from sdl.types import GOOD_OUTCOMES, Frozen, Outcome

NO_READING = "no reading"  # beginning of the cause of a pause that waits for an instrument
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|MB|GB|TB)\s*")


def parse_size(value: Any) -> int:
    """A size in bytes.

    Raises:
        ValueError: neither a positive number of bytes nor text such as `500MB`.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    size = round(float(match[1]) * _BYTES[match[2]]) if match else value
    if type(size) is int and size > 0:
        return size
    raise ValueError(f"must be a size such as 500MB or 2GB, not {value!r}")


Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema({"type": "string", "description": "500MB, 2GB"})]
"""A size, parsed to bytes."""


def disk_free(folder: Path) -> float:
    """Bytes free at a folder or its nearest existing parent; infinity if unknown."""
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return float(shutil.disk_usage(place).free)
    return math.inf


class Ambient(Frozen):
    """Limits of the background: from the campaign's own background readings, or samples taken while paused."""

    above: Mapping[str, float] = Field(
        min_length=1,
        description="background of a channel, in raw readings, above which campaigns pause: {clear: 2000}",
    )
    look: Duration = Field(60.0, description="interval of background readings while paused: 1min")

    @field_validator("above")
    @classmethod
    def _positive(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        if wrong := [name for name, limit in value.items() if not (math.isfinite(limit) and limit >= 0)]:
            raise ValueError(f"the limit of {wrong[0]} must be a number of at least 0")
        return value


class Suspend(Frozen):
    """When a campaign pauses: until all conditions have been good for `good_for`. Only `away` by default."""

    away: Duration | None = Field(
        60.0,
        description="pause while the instrument gives no readings; longest interval between attempts to reach it. "
        "null: no pause, so that `retry` and `stop.failures` end the campaign",
    )
    ambient: Ambient | None = Field(None, description="pause while the background is too high: {above: {clear: 2000}}")
    twin: str | None = Field(
        None,
        description="pause when the instrument no longer matches its twin: `twin` (its own, or the LED's), the name of "
        "a state, or the path of a .toml file; continues only on request, because a paused campaign takes no readings "
        "that could show recovery",
    )
    disk: Size | None = Field(
        None, description="pause while less than this is free at the directory of the runs: 500MB"
    )
    good_for: Duration = Field(
        300.0, description="how long all conditions must be good before a campaign continues: 5min"
    )

    @field_validator("twin")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return checked_reference(value)

    @property
    def state(self) -> TwinState | FittedState | None:
        """The state of the twin to compare with; None without comparison."""
        return None if self.twin is None else load_reference(reference_of(self.twin, None, None))


def unsupported_conditions(suspend: Suspend, instrument: Instrument) -> list[Problem]:
    """The conditions that an instrument cannot report; paths start below `suspend`."""
    problems = []
    if suspend.ambient is not None:
        channels = [channel.name for channel in instrument.channels]
        text = f"the instrument has no such channel; it has {', '.join(channels)}"
        problems += [Problem(text, f"ambient.above.{name}") for name in suspend.ambient.above if name not in channels]
        if not has_background(instrument):
            text = (
                f"the instrument (kind {instrument.kind}) does not measure its background; "
                "set its option `background: each` or `background: {every: 10}`"
            )
            problems.append(Problem(text, "ambient"))
    inputs = sorted(item.name for item in instrument.inputs)
    try:
        state = suspend.state
    except ValueError as error:
        problems.append(Problem(str(error), "twin"))
    else:
        if state is not None and inputs != sorted(state.inputs):
            text = f"{suspend.twin} has the inputs {', '.join(state.inputs)}, the instrument has {', '.join(inputs)}"
            problems.append(Problem(text, "twin"))
    return problems


def moment(value: str) -> str:
    """Check that a text is a date and time, and return it unchanged.

    Raises:
        ValueError: it is not a date and time.
    """
    try:
        year = datetime.fromisoformat(value).year
    except ValueError:
        raise ValueError(
            f"{value!r} is not a date and time such as 2026-12-24 20:00 or 2026-12-24T20:00+01:00"
        ) from None
    if not 1970 < year < 9999:
        raise ValueError(f"{value!r} is before 1971 or after 9998")
    return value


Moment = Annotated[str, AfterValidator(moment)]


class When(Frozen):
    """When a job is due: exactly one of cron, every, at, after, asked."""

    model_config = ConfigDict(populate_by_name=True)

    cron: str | None = Field(
        None, description='minute, hour, day, month, day of the week: `"0 * * * *"` is hourly, `"30 2 * * mon-fri"`'
    )
    every: Duration | None = Field(None, description="an interval in real time, at least 1min: 1h, 90min")
    from_: Moment | None = Field(
        None, alias="from", description="origin of `every`; midnight of 1 January 1970 by default"
    )
    at: tuple[Moment, ...] = Field(
        (), description='dates and times, "2026-12-24 20:00"; in the time zone of the lab unless given'
    )
    after: str | None = Field(None, description="name of another job: due whenever that job has ended")
    outcome: tuple[Annotated[Outcome, Field(strict=False)], ...] = Field(
        GOOD_OUTCOMES, description="for `after`: only if that job ended with one of these outcomes"
    )
    asked: bool = Field(False, description="true: only on request, `sdl lab run-now`")

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            from sdl.lab.core.due_times import cron_trigger

            cron_trigger(value)
        return value

    @field_validator("every")
    @classmethod
    def _not_too_often(cls, value: float | None) -> float | None:
        if value is not None and value < 60:
            raise ValueError(f"must be at least 1min, not {value:g} s")
        return value

    @model_validator(mode="after")
    def _one(self) -> When:
        given = {"cron": self.cron, "every": self.every, "at": self.at, "after": self.after, "asked": self.asked}
        named = [key for key, value in given.items() if value]
        if len(named) != 1:
            have = f"not {' and '.join(named)}" if named else "none is given"
            raise ValueError(f"must be exactly one of cron, every, at, after, asked; {have}")
        if self.from_ is not None and self.every is None:
            raise ValueError("`from` can be given only together with `every`")
        return self


SKIP_GRACE = 60.0  # seconds of delay allowed by `skip`


class Lateness(Frozen):
    """What happens to a start that cannot begin in time: `late`, `skip`, or `{grace: 10min}`."""

    grace: Duration | None = Field(None, description="longest delay after which it may still begin; null: no limit")

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in ("late", "skip"):
                raise ValueError(f"must be late, skip or {{grace: 10min}}, not {value!r}")
            return {"grace": SKIP_GRACE if value == "skip" else None}
        return value


class Job(Frozen):
    """A campaign and its schedule."""

    campaign: str | Mapping[str, Any] = Field(
        description="a campaign file, relative to this file, or a campaign written out"
    )
    instrument: str = Field(description="one of `instruments`; replaces the campaign's own")
    set: Mapping[str, Any] = Field({}, description="changed keys of the campaign: `{stop.trials: 20}`")
    when: When = Field(description="cron, every, at, after or asked")
    between: DaySpan | None = Field(
        None, description='only within these local times, "20:00-06:00"; a campaign still running at the end pauses'
    )
    missed: Lateness = Field(
        default_factory=Lateness,
        description="what happens to a start that cannot begin in time: late (runs once, as soon as possible), skip "
        "(recorded as missed after a minute), or {grace: 10min}",
    )
    clock_change: Literal["once", "twice"] | None = Field(
        None,
        description="a time of day that occurs twice in autumn: once (the first) or twice; by default once, twice if "
        "the cron hour is `*`. A time of day skipped in spring is shifted by the clock change",
    )
    priority: int = Field(
        0, ge=-1000, le=1000, description="of the jobs waiting for an instrument, the highest begins first"
    )

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The campaign as plain values, once `sdl.lab.config.file` has resolved it."""
        return {} if isinstance(self.campaign, str) else self.campaign


class LabInstrument(Frozen):
    """An instrument of the lab."""

    instrument: Any = Field(description="`kind` and its options, as in a campaign file")
    readings_a_day: int | None = Field(
        None, ge=1, description="limit of readings in 24 hours, all campaigns together; beyond it they wait or pause"
    )
    suspend: Suspend | None = Field(None, description="when its campaigns pause; replaces `suspend` of the lab")


class Blackout(Frozen):
    """A span in which no start begins and running campaigns pause."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Moment = Field(
        alias="from", description='begin, "2026-12-24 12:00"; in the time zone of the lab unless given'
    )
    to: Moment = Field(description="end")
    why: str = Field("", max_length=200, description="reason, for the log and messages")
    instruments: tuple[str, ...] = Field((), description="only these instruments; all by default")


class Supervise(Frozen):
    """Treatment of campaigns whose process dies or hangs."""

    hung: Duration = Field(900.0, description="time without an event after which a process counts as hung: 15min")
    restarts: int = Field(3, ge=0, le=100, description="how often a campaign whose process died is resumed")
    backoff: Duration = Field(30.0, description="delay before the first restart; doubles each time, at most 1h")


class LabFile(Frozen):
    """A lab: instruments, jobs, and how to run them unattended. One YAML file."""

    name: str = Field(pattern=NAME, description="name of the lab; its journal is in runs/NAME.lab")
    description: str = Field("", max_length=2000, description="free text")
    runs: str = Field("runs", min_length=1, description="directory of the runs, relative to this file")
    timezone: str = Field(
        "UTC", description="time zone of every time that names none: Europe/Berlin, America/New_York, …"
    )
    instruments: Mapping[str, LabInstrument] = Field(min_length=1, description="the instruments, by name")
    jobs: Mapping[str, Job] = Field(min_length=1, description="the jobs, by name")
    blackouts: tuple[Blackout, ...] = Field((), description="spans in which no start begins: {from, to, why}")
    suspend: Suspend = Field(default_factory=Suspend, description="when campaigns pause; instruments may override it")
    supervise: Supervise = Field(default_factory=Supervise, description="campaigns whose process dies or hangs")
    notify: Notify = Field(default_factory=Notify, description="recipients of messages")
    people: tuple[Person, ...] = Field(
        (), max_length=100, description="authors of exported runs (`sdl export --to eln --lab`): {name, orcid}"
    )
    licence: str = Field("", max_length=200, description="licence of exported runs: CC-BY-4.0, or an address")
    agents: Mapping[str, AgentLimits] = Field(
        {}, description="limits of agents, such as language models, by the name of their token (`sdl lab token`)"
    )

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

    @field_validator("instruments", "jobs", "agents")
    @classmethod
    def _names(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if wrong := [name for name in value if not re.fullmatch(NAME, name)]:
            raise ValueError(f"{wrong[0]!r} is not a valid name: 1 to 64 letters, digits, `.`, `_` or `-`")
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def tiers(self) -> dict[str, Tier]:
        """The tier of each agent."""
        return {name: limits.tier for name, limits in self.agents.items()}

    def suspend_of(self, instrument: str) -> Suspend:
        """The pause conditions that apply to an instrument."""
        if (item := self.instruments.get(instrument)) is None:
            return self.suspend
        suspend, plain = item.suspend or self.suspend, item.instrument
        declared = (plain.get("of") or plain) if isinstance(plain, Mapping) else {}  # a twin in its place
        if suspend.twin is None or declared.get("twin") is None:
            return suspend
        twin = reference_of(suspend.twin, declared["twin"], declared.get("folder"))
        return suspend.model_copy(update={"twin": twin})

    def plain(self) -> dict[str, Any]:
        """The file as plain values that `LabFile.model_validate` reads back unchanged."""
        return self.model_dump(mode="json", by_alias=True)
