"""Filters of the list of runs: parsed from URL parameters, translated to an SQL condition with bound values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from zoneinfo import ZoneInfo

from sdl.lab.http.auth import Refused

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Query:
    """The filters of a list of runs; an empty one accepts every run.

    Attributes:
        text: words that must all occur in campaign, run, goal, solver, instrument, reason, note or tags.
        outcome, solver, tag: exact values.
        since, until: dates such as 2026-11-23, inclusive.
        zone: time zone of the dates; empty: that of this machine.
    """

    text: str = ""
    outcome: str = ""
    solver: str = ""
    tag: str = ""
    since: str = ""
    until: str = ""
    zone: str = ""

    def where(self) -> tuple[str, list[str]]:
        """The SQL condition and its values."""
        parts, values = ["1"], []
        for word in self.text.casefold().split()[:10]:
            parts.append("words LIKE ? ESCAPE '\\'")
            values.append("%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
        for column, value in (("outcome", self.outcome), ("solver", self.solver)):
            if value:
                parts.append(f"{column} = ?")
                values.append(value)
        if self.tag:
            parts.append("(campaign, run) IN (SELECT campaign, run FROM tags WHERE tag = ?)")
            values.append(self.tag)
        for sign, value, days in ((">=", self.since, 0), ("<", self.until, 1)):
            if value:
                parts.append(f"started <> '' AND run {sign} ?")
                values.append(_midnight(value, self.zone, days))
        return " AND ".join(parts), values


def _midnight(day: str, zone: str, days: int) -> str:
    """Midnight of a date plus a number of days, as in names of runs: UTC, `20261122T230000`."""
    begins = datetime.combine(
        date.fromisoformat(day) + timedelta(days=days), clock.min, ZoneInfo(zone) if zone else None
    )
    return f"{begins.astimezone(UTC):%Y%m%dT%H%M%S}"


def parse_query(given: Mapping[str, str], zone: str = "") -> tuple[Query, int]:
    """The filters and the page number.

    Args:
        given: parameters of the URL.
        zone: time zone of the dates.

    Raises:
        Refused: an invalid parameter.
    """
    texts = {name: given.get(name, "").strip()[:200] for name in ("q", "outcome", "solver", "tag")}
    dates = {name: given.get(name, "").strip() for name in ("from", "to")}
    for name, text in dates.items():
        try:
            if text and (not _DATE.fullmatch(text) or not _midnight(text, zone, 1)):
                raise ValueError
        except (ValueError, OverflowError):
            raise Refused(400, f"{name}: must be a date such as 2026-11-23") from None
    number = given.get("page", "1")
    if not re.fullmatch(r"[1-9]\d{0,6}", number):
        raise Refused(400, "page: must be a whole number of at least 1")
    if not all(text.isprintable() for text in texts.values()):
        raise Refused(400, "a filter must be one line of text")
    query = Query(texts["q"], texts["outcome"], texts["solver"], texts["tag"], dates["from"], dates["to"], zone)
    return query, int(number)
