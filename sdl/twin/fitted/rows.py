"""Rows of an instrument from records, logs and tables, for a fit or a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdl.errors import ConfigError, Problem
from sdl.store import datasets
from sdl.store.datasets import SAME_NAMES, ColumnNames, DatasetRow
from sdl.types import Channel, Input


@dataclass(frozen=True)
class InstrumentRows:
    """Rows with the sessions of all sources numbered, and a line on each source."""

    rows: tuple[DatasetRow, ...]
    sources: tuple[str, ...]


def collect(
    sources: Sequence[Path],
    inputs: Sequence[Input],
    channels: Sequence[Channel],
    *,
    days: Sequence[str] = (),
    columns: ColumnNames = SAME_NAMES,
    session_gap: float | None = None,
) -> InstrumentRows:
    """Read records, logs and tables.

    Args:
        sources: files, or directories of runs.
        inputs: the instrument's inputs.
        channels: the instrument's channels; other columns are ignored.
        days: only these (ISO dates); all if empty.
        columns: inputs and channels with other names in the files.
        session_gap: seconds between two readings that begin a new session; None: as the records have it.

    Raises:
        ConfigError: a file cannot be read or does not fit the instrument, or there is no usable row.
    """
    loaded = [
        datasets.load(source, inputs, channels, (), columns=columns, session_gap=session_gap) for source in sources
    ]
    rows, lines, names = [], [], [channel.name for channel in channels]
    for dataset, source in zip(loaded, sources, strict=True):
        kept = [row for row in dataset.rows if not days or row.day in days]
        lines.append("; ".join([f"{source}: {len(kept)} readings", *dataset.omissions]))
        if kept and not any(name in row.reading.readings for row in kept for name in names):
            message = f"has no column of the instrument's channels {', '.join(names)}"
            raise ConfigError(Problem(message, file=str(source)))
    for _, row, session in datasets.number_sessions(loaded):
        if not days or row.day in days:
            rows.append(replace(row, session=session))
    if not rows:
        of = f" of {', '.join(days)}" if days else ""
        raise ConfigError(f"no readings{of} in {', '.join(map(str, sources))}")
    return InstrumentRows(tuple(rows), tuple(lines))
