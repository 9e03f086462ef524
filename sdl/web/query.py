"""The filters of a list of runs, from the parameters of a URL."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.exceptions import HTTPException

from sdl.errors import ConfigError
from sdl.runs.query import NEWEST, Query, midnight

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def parse_query(given: Mapping[str, str], zone: str) -> tuple[Query, int]:
    """The filters and the page number given by the parameters of a URL.

    Raises:
        HTTPException: an invalid parameter.
    """
    texts = [given.get(name, "").strip()[:200] for name in ("q", "outcome", "solver", "tag", "goal", "instrument")]
    dates = {name: given.get(name, "").strip() for name in ("from", "to")}
    for name, text in dates.items():
        try:
            if text and (not _DATE.fullmatch(text) or not midnight(text, zone, 1)):
                raise ValueError
        except (ValueError, OverflowError):
            raise HTTPException(400, f"{name}: must be a date such as 2026-11-23") from None
    number = given.get("page", "1")
    if not re.fullmatch(r"[1-9]\d{0,6}", number):
        raise HTTPException(400, "page: must be a whole number of at least 1")
    if not all(text.isprintable() for text in texts):
        raise HTTPException(400, "a filter must be one line of text")
    q, outcome, solver, tag, goal, instrument = texts
    try:
        query = Query(
            q,
            outcome,
            solver,
            tag,
            dates["from"],
            dates["to"],
            zone,
            goal,
            instrument,
            sort=given.get("sort") or NEWEST,
        )
    except ConfigError as error:
        raise HTTPException(400, str(error)) from None
    return query, int(number)
