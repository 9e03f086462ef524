"""Write runs for other programs, and import what was exported.

This module writes readings: CSV, JSON lines, Parquet and the Claude-Light log.

crate       a whole run as an RO-Crate, a directory or an `.eln` file
importing   the runs of such a directory or file
people      authors with ORCID
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdl.errors import ConfigError, translated_os_errors
from sdl.extras import missing

if TYPE_CHECKING:
    from sdl.runs.runs import Run


class ExportFormat(StrEnum):
    """A format for exported readings, or for a whole run."""

    CSV = "csv"
    JSONL = "jsonl"
    CLAUDE_LIGHT = "claude-light"
    PARQUET = "parquet"
    ELN = "eln"
    CRATE = "crate"

    @property
    def whole(self) -> bool:
        """Whether it holds the whole run, not its readings alone."""
        return self in (ExportFormat.ELN, ExportFormat.CRATE)


def text_lines(run: Run, to: ExportFormat) -> Iterator[str]:
    """The readings of a run as lines of CSV, JSON lines or the Claude-Light log."""
    if to is ExportFormat.CLAUDE_LIGHT:
        from sdl.store.datasets import claude_light_line

        inputs = [str(item["name"]) for item in run.opened.instrument["inputs"]]
        yield from (json.dumps(claude_light_line(event, inputs), allow_nan=False) for event in run.measured())
        return
    rows = run.rows()
    if to is ExportFormat.JSONL:
        yield from (json.dumps(row, allow_nan=False, ensure_ascii=False) for row in rows)
        return
    yield from csv_lines(rows)


def csv_lines(rows: Sequence[Mapping[str, Any]], units: Mapping[str, str] | None = None) -> Iterator[str]:
    """The header and the rows as lines; with `units`, the header has `name [unit]` where a column has one."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    header = {key: f"{key} [{unit}]" if (unit := (units or {}).get(key)) else key for key in columns}
    for row in (header, *rows):
        text = io.StringIO()
        csv.DictWriter(text, columns, restval="", lineterminator="").writerow(row)
        yield text.getvalue()


def write(run: Run, to: ExportFormat, output: Path) -> int:
    """Write the readings of a run to a new file.

    Returns:
        The number of lines, or of rows in a Parquet file.

    Raises:
        ConfigError: the file exists or cannot be written (a partial file is removed), or pyarrow is not installed.
    """
    if to is ExportFormat.PARQUET:
        content, count = _parquet(run)
    else:
        lines = [f"{text}\n" for text in text_lines(run, to)]
        content, count = "".join(lines).encode(), len(lines)
    if output.exists():
        raise ConfigError(f"{output} exists already; name another file")
    with translated_os_errors(output), output.open("xb") as stream:
        try:
            stream.write(content)
            stream.flush()
        except OSError:
            output.unlink(missing_ok=True)
            raise
    return count


def _parquet(run: Run) -> tuple[bytes, int]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(f"--to parquet: {missing('Parquet files', 'sweep', error)}") from error
    rows = run.rows()
    columns = dict.fromkeys(key for row in rows for key in row)
    stream = pa.BufferOutputStream()
    pq.write_table(pa.table({key: [row.get(key) for row in rows] for key in columns}), stream)
    return stream.getvalue().to_pybytes(), len(rows)
