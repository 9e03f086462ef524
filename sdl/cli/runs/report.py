"""The commands that write files from runs: report, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from sdl.cli.display.progress import tracked
from sdl.cli.options import RUN_HELP, RUNS, Json, Quiet, RunName, Runs, argument, campaign_run, emit, option
from sdl.errors import ConfigError
from sdl.export import ExportFormat, text_lines, write
from sdl.formatting import count


def report(
    names: Annotated[list[str], argument("RUN…", RUN_HELP)],
    output: Annotated[
        Path | None, option("--output -o FILE", "The page, or a directory for several; default: here.")
    ] = None,
    png: Annotated[Path | None, option("--png DIR", "Also write every figure as a PNG into this directory.")] = None,
    svg: Annotated[bool, option("--svg", "With --png: also as SVG.")] = False,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make one HTML page of a run, with its figures.

    \b
    sdl report latest
    sdl report led-16384 -o night.html --png figures

    The page is self-contained and needs no network. An existing file is replaced only if sdl made it.
    """
    from sdl.report import page
    from sdl.report.table import TrialTable
    from sdl.runs.runs import open_run

    if svg and png is None:
        raise ConfigError("--svg needs --png DIR, the directory of the figures")
    page.environment()  # reports a missing package before the work
    folders = list(dict.fromkeys(campaign_run(name, runs) for name in names))
    several = len(folders) > 1
    targets = [_target(folder, output, several=several) for folder in folders]
    for target in targets:
        page.check(target)  # before the work
    written = []
    for folder, target in tracked(list(zip(folders, targets, strict=True)), "reports", quiet=quiet or json):
        table = TrialTable(open_run(folder))
        page.write(target, page.run_page(table))
        files = []
        if png is not None:
            below = png / folder.name.rpartition("-")[2] if several else png
            files = page.figure_files(table, below, ["png", "svg"] if svg else ["png"])
        written.append({"run": str(folder), "page": str(target), "figures": [str(path) for path in files]})
        if not json:
            more = f", {count(len(files), 'figure')} in {files[0].parent}" if files else ""
            print(f"{target}: {target.stat().st_size / 1e6:.1f} MB{more}")
    if json:
        emit({"reports": written})


def _target(folder: Path, output: Path | None, *, several: bool) -> Path:
    name = f"{folder.parent.name}-{folder.name.rpartition('-')[2]}.html"
    if output is None:
        return Path(name)
    if output.is_dir():
        return output / name
    if several:
        raise ConfigError(f"-o {output}: for several runs it must be a directory that exists")
    return output


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
