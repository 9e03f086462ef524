"""Filters and order of a list of runs, for the page and for `sdl list`, as conditions of the index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

from sdl.errors import ConfigError

SORTS = {
    "started": "run",
    **{name: name for name in ("campaign", "instrument", "goal", "outcome", "error", "ratio", "trials", "solver")},
}
"""Names of the orders, with their columns; a name after `-` is the reverse order."""
NEWEST = "-started"
MAX_WORDS = 10
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Query:
    """Filters and order of a list of runs; an empty one accepts every run, the newest first.

    Attributes:
        text: words that must all occur in campaign, run, goal, solver, instrument, reason, note or tags.
        goal: words that must all occur in the goal, such as `515nm 20000`.
        outcome, solver, instrument, tag: exact values.
        since, until: dates such as 2026-11-23, inclusive.
        zone: time zone of the dates; empty: that of this machine.
        before: only runs that started before this time, as in names of runs: `20261122T230000`.
        sort: a key of `SORTS`, after `-` in reverse order.
    """

    text: str = ""
    outcome: str = ""
    solver: str = ""
    tag: str = ""
    since: str = ""
    until: str = ""
    zone: str = ""
    goal: str = ""
    instrument: str = ""
    before: str = ""
    sort: str = NEWEST

    def __post_init__(self) -> None:
        if self.sort.removeprefix("-") not in SORTS:
            raise ConfigError(
                f"sort {self.sort[:40]!r}: must be one of {', '.join(SORTS)}, or one of them with a leading -"
            )

    @property
    def filtered(self) -> bool:
        """Whether it accepts only some runs."""
        names = ("text", "outcome", "solver", "tag", "since", "until", "goal", "instrument", "before")
        return any(getattr(self, name) for name in names)

    def where(self) -> tuple[str, list[str]]:
        """The SQL condition and its values."""
        conditions = [("instr(words, ?) > 0", word) for word in _words(self.text)]
        conditions += [("instr(goals, ?) > 0", word) for word in _words(self.goal)]
        exact = ("outcome", "solver", "instrument")
        conditions += [(f"{key} = ?", value) for key in exact if (value := getattr(self, key))]
        if self.tag:
            conditions.append(("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)", self.tag))
        for sign, day, days in ((">=", self.since, 0), ("<", self.until, 1)):
            if day:
                conditions.append((f"started <> '' AND run {sign} ?", midnight(day, self.zone, days)))
        if self.before:
            conditions.append(("run < ?", self.before))
        return " AND ".join(["1", *(text for text, _ in conditions)]), [value for _, value in conditions]

    def order(self) -> str:
        """The SQL order; runs without a value come last, and equal ones the newest first."""
        column = SORTS[self.sort.removeprefix("-")]
        direction = "DESC" if self.sort.startswith("-") else "ASC"
        if column == "run":
            return f"run {direction}, campaign"
        return f"{column} IS NULL OR {column} = '', {column} {direction}, run DESC, campaign"


def _words(text: str) -> list[str]:
    return text.casefold().split()[:MAX_WORDS]


def is_date(text: str, zone: str) -> bool:
    """Whether a text is a date such as 2026-11-23 that a query can begin or end at."""
    try:
        return bool(_DATE.fullmatch(text) and midnight(text, zone, 1))
    except (ValueError, OverflowError):
        return False


def midnight(day: str, zone: str, days: int) -> str:
    """Midnight of a date plus a number of days, as in names of runs: UTC, `20261122T230000`."""
    begins = datetime.combine(
        date.fromisoformat(day) + timedelta(days=days), clock.min, ZoneInfo(zone) if zone else None
    )
    return f"{begins.astimezone(UTC):%Y%m%dT%H%M%S}"
