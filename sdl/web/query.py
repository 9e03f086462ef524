"""Which runs are wanted: from an address to a condition in SQL, every value apart from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sdl.lab.guard import Refused

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Query:
    """Which runs are wanted; what is empty wants nothing.

    Attributes:
        text: words that must all be found in campaign, run, goal, solver, instrument, reason, note or tags.
        outcome, solver, tag: exactly.
        since, until: local dates, 2026-11-23, both included.
    """

    text: str = ""
    outcome: str = ""
    solver: str = ""
    tag: str = ""
    since: str = ""
    until: str = ""

    def where(self) -> tuple[str, list[str]]:
        """The condition in SQL, and its values."""
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
        for sign, value in ((">=", self.since), ("<=", self.until)):
            if value:
                parts.append(f"substr(started, 1, 10) {sign} ?")
                values.append(value)
        return " AND ".join(parts), values


def asked_for(given: Mapping[str, str]) -> tuple[Query, int]:
    """What an address asks for, and the number of the page.

    Raises:
        Refused: something in it cannot be meant.
    """
    texts = {name: given.get(name, "").strip()[:200] for name in ("q", "outcome", "solver", "tag")}
    dates = {name: given.get(name, "").strip() for name in ("from", "to")}
    for name, text in dates.items():
        if text and not _DATE.fullmatch(text):
            raise Refused(400, f"{name}: a date such as 2026-11-23")
    number = given.get("page", "1")
    if not re.fullmatch(r"[1-9]\d{0,6}", number):
        raise Refused(400, "page: a whole number from 1")
    if not all(text.isprintable() for text in texts.values()):
        raise Refused(400, "a filter must be one line of text")
    query = Query(texts["q"], texts["outcome"], texts["solver"], texts["tag"], dates["from"], dates["to"])
    return query, int(number)
