"""Rows as lines of CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def csv_lines(rows: Sequence[Mapping[str, Any]], units: Mapping[str, str] | None = None) -> Iterator[str]:
    """The header and the rows as lines; with `units`, the header has `name [unit]` where a column has one."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    header = {key: f"{key} [{unit}]" if (unit := (units or {}).get(key)) else key for key in columns}
    for row in (header, *rows):
        text = io.StringIO()
        csv.DictWriter(text, columns, restval="", lineterminator="").writerow(row)
        yield text.getvalue()
