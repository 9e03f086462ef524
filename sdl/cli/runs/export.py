"""The command `sdl export`: the readings of a run in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sdl.cli.options import RUNS, RunName, Runs, option
from sdl.errors import ConfigError
from sdl.export import ExportFormat, text_lines, write
from sdl.formatting import count


def export(
    name: RunName,
    to: Annotated[
        ExportFormat, option("--to", "csv, jsonl, parquet: one row per reading; claude-light: the paper's log.")
    ],
    output: Annotated[Path | None, option("--output -o FILE", "Instead of stdout.")] = None,
    runs: Runs = RUNS,
) -> None:
    """Write the readings of a run in another form.

    \b
    sdl export latest --to csv -o readings.csv
    """
    from sdl.runs.runs import open_run

    run = open_run(name, runs=runs)
    if output is not None:
        noun = "row" if to is ExportFormat.PARQUET else "line"
        print(f"{output}: {count(write(run, to, output), noun)} written")
    elif to is ExportFormat.PARQUET:
        raise ConfigError("--to parquet: a Parquet file is not text for the terminal; name a file, -o FILE")
    else:
        for text in text_lines(run, to):
            print(text)
