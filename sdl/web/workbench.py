"""The list of runs as a workbench: filters, order, sparklines, and links to sort and to turn pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from sdl import formatting
from sdl.runs.index import Index
from sdl.web.query import parse_query
from sdl.web.spark import spark

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
