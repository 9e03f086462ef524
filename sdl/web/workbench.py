"""The list of runs as a workbench: filters, order, sparklines, and links to sort and to turn pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

from sdl import formatting
from sdl.errors import ConfigError
from sdl.runs.index import Index
from sdl.runs.query import NEWEST, Query, is_date
from sdl.web.charts import spark

ROWS = 50
HEADS = (
    ("run", "campaign"),
    ("outcome", "outcome"),
    ("error", "ratio"),
    ("deviation by trial", ""),
    ("trials", "-trials"),
    ("goal", "goal"),
    ("instrument", "instrument"),
    ("started", "-started"),
    ("tags, note", ""),
)
"""Columns: heading, and the order that a first click on it gives; empty: not sortable."""
NUMBERS = ("error", "trials")
ORDERS = (
    ("-started", "newest first"),
    ("started", "oldest first"),
    ("ratio", "smallest error first"),
    ("-ratio", "largest error first"),
    ("-trials", "most trials first"),
    ("trials", "fewest trials first"),
    ("campaign", "campaign"),
    ("goal", "goal"),
    ("instrument", "instrument"),
    ("outcome", "outcome"),
)


def listing(index: Index, parameters: Mapping[str, str], zone: str) -> dict[str, Any]:
    """The values of the template of the list, from the parameters of its address.

    Raises:
        HTTPException: an invalid parameter.
    """
    query, number = parse_query(parameters, zone)
    complete = index.poke()
    rows, count = index.page(query, number, ROWS)
    kept = {key: value for key, value in parameters.items() if key != "page" and value}
    unsorted = {key: value for key, value in kept.items() if key != "sort"}
    first = (number - 1) * ROWS

    def address(**more: object) -> str:
        return "/runs?" + urlencode(unsorted | {key: str(value) for key, value in more.items()})

    def head(text: str, order: str) -> dict[str, Any]:
        up, down = order.removeprefix("-"), "-" + order.removeprefix("-")
        state = "" if not order else {up: "ascending", down: "descending"}.get(query.sort, "none")
        following = {"ascending": down, "descending": up}.get(state, order)
        link = address(sort=following) if order else ""
        return {"text": text, "state": state, "link": link, "number": text in NUMBERS}

    sort = {"sort": parameters["sort"]} if parameters.get("sort") else {}
    return {
        "query": query,
        "rows": [row | _cells(row) for row in rows],
        "heads": [head(*column) for column in HEADS],
        "orders": ORDERS if query.sort in dict(ORDERS) else [*ORDERS, (query.sort, query.sort)],
        "count": count,
        "number": number,
        "pages": -(-count // ROWS),
        "first": first + 1,
        "last": first + len(rows),
        "previous": address(**sort, page=number - 1),
        "next": address(**sort, page=number + 1),
        "this": address(**sort),
        "filtered": query.filtered,
        "reading": None if complete else (index.known, index.total),
        "trouble": index.trouble,
        "choices": {name: index.choices(name) for name in ("outcome", "tag", "instrument", "solver")},
    }


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the row of a run shows beside its stored values."""
    return {
        "id": row["run"].rpartition("-")[2],
        "error_text": formatting.percent(row["error"]) if row["error"] is not None else "",
        "ratio_text": formatting.tolerance_ratio(row["ratio"]) if row["ratio"] is not None else "",
        "spark": spark(row["curve"], row["objective"] or ""),
    }


def parse_query(given: Mapping[str, str], zone: str) -> tuple[Query, int]:
    """The filters and the page number given by the parameters of a URL.

    Raises:
        HTTPException: an invalid parameter.
    """
    texts = [given.get(name, "").strip()[:200] for name in ("q", "outcome", "solver", "tag", "goal", "instrument")]
    dates = {name: given.get(name, "").strip() for name in ("from", "to")}
    for name, text in dates.items():
        if text and not is_date(text, zone):
            raise HTTPException(400, f"{name}: must be a date such as 2026-11-23")
    number = given.get("page", "1")
    if not re.fullmatch(r"[1-9]\d{0,6}", number):
        raise HTTPException(400, "page: must be a whole number of at least 1")
    if not all(text.isprintable() for text in texts):
        raise HTTPException(400, "a filter must be one line of text")
    q, outcome, solver, tag, goal, instrument = texts
    try:
        query = Query(q, outcome, solver, tag, dates["from"], dates["to"], zone, goal, instrument,
                      sort=given.get("sort") or NEWEST)  # fmt: skip
    except ConfigError as error:
        raise HTTPException(400, str(error)) from None
    return query, int(number)
