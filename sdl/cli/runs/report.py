"""The commands that write files from runs, and read them: report, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sdl.cli.display.progress import tracked
from sdl.cli.options import RUN_HELP, RUNS, Json, Quiet, RunName, Runs, argument, campaign_run, emit, option
from sdl.errors import ConfigError
from sdl.export import ExportFormat, text_lines, write
from sdl.formatting import count

if TYPE_CHECKING:
    from sdl.runs.runs import Run


def report(
    names: Annotated[list[str], argument("RUN…", RUN_HELP)],
    output: Annotated[
        Path | None, option("--output -o FILE", "The page, or a directory for several; default: here.")
    ] = None,
    png: Annotated[Path | None, option("--png DIR", "Also write every figure as a PNG into this directory.")] = None,
    svg: Annotated[bool, option("--svg", "With --png: also as SVG.")] = False,
    figure: Annotated[
        list[str] | None,
        option("--figure NAME", "Draw this figure; repeat it for more. Default: those that say something."),
    ] = None,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make one HTML page of a run, with its figures.

    \b
    sdl report latest
    sdl report led-16384 -o night.html --png figures
    sdl report latest --figure story --figure slices

    The page is self-contained and needs no network. An existing file is replaced only if sdl made it.
    """
    from sdl.report import figures, page
    from sdl.report.table import TrialTable
    from sdl.runs.runs import open_run

    chosen = list(dict.fromkeys(figure or ()))
    for name in chosen:
        figures.check(name)  # before the work
    if svg and png is None:
        raise ConfigError("--svg needs --png DIR, the directory of the figures")
    folders = list(dict.fromkeys(campaign_run(name, runs) for name in names))
    several = len(folders) > 1
    targets = [_target(folder, output, several=several) for folder in folders]
    for target in targets:
        page.check(target)  # before the work
    written = []
    for folder, target in tracked(list(zip(folders, targets, strict=True)), "reports", quiet=quiet or json):
        table = TrialTable(open_run(folder))
        page.write(target, page.run_page(table, chosen))
        files: list[Path] = []
        if png is not None:
            below = png / folder.name.rpartition("-")[2] if several else png
            files = page.figure_files(table, below, ["png", "svg"] if svg else ["png"], chosen)
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
        ExportFormat,
        option(
            "--to",
            "csv, jsonl, parquet: one row per reading; claude-light: the paper's log; eln: the whole run as a file for "
            "electronic lab notebooks; crate: the same as a directory (RO-Crate).",
        ),
    ],
    output: Annotated[
        Path | None, option("--output -o FILE", "Instead of stdout; for eln and crate a name by default.")
    ] = None,
    author: Annotated[
        list[str] | None, option("--author NAME", "eln, crate: a person, `Ada Lovelace, 0000-0002-1825-0097` (ORCID).")
    ] = None,
    licence: Annotated[
        str, option("--licence ID", "eln, crate: SPDX identifier or address of the licence, such as CC-BY-4.0.")
    ] = "",
    lab: Annotated[Path | None, option("--lab FILE", "eln, crate: take people and licence from this lab file.")] = None,
    runs: Runs = RUNS,
) -> None:
    """Write a run, or its readings alone, for other programs.

    \b
    sdl export latest --to csv -o readings.csv
    sdl export latest --to eln --author "Ada Lovelace, 0000-0002-1825-0097" --licence CC-BY-4.0
    """
    from sdl.runs.runs import open_run

    if not to.whole and (author or licence or lab):
        raise ConfigError("--author, --licence and --lab belong to --to eln and --to crate")
    run = open_run(name, runs=runs)
    if to.whole:
        _export_whole(run, to, output, author or [], licence, lab)
    elif output is not None:
        noun = "row" if to is ExportFormat.PARQUET else "line"
        print(f"{output}: {count(write(run, to, output), noun)} written")
    elif to is ExportFormat.PARQUET:
        raise ConfigError("--to parquet: a Parquet file is not text for the terminal; name a file, -o FILE")
    else:
        for text in text_lines(run, to):
            print(text)


def _export_whole(
    run: Run, to: ExportFormat, output: Path | None, author: list[str], licence: str, lab: Path | None
) -> None:
    """Write a crate or an `.eln` file."""
    from sdl.export import crate
    from sdl.export.people import Person

    people = [Person.parse(text) for text in author]
    if lab is not None:
        from sdl.lab.config.file import load

        described = load(lab).lab
        people, licence = people or list(described.people), licence or described.licence
    write_to, suffix = (crate.write_eln, ".eln") if to is ExportFormat.ELN else (crate.write_crate, "-crate")
    target = output or Path(f"{run.folder.parent.name}-{run.folder.name.rpartition('-')[2]}{suffix}")
    print(f"{target}: {count(write_to(run, target, people, licence), 'file')} written")


def import_run(
    source: Annotated[Path, argument("FILE", "An .eln file, or the directory of a crate, that sdl export wrote.")],
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Import the run of an .eln file or a crate.

    \b
    sdl import led-16384-a1b2c3.eln

    The imported run is identical to the exported one: hashes and record are checked first. A run that is there already
    is left unchanged. `sdl resume` and `sdl replay` need --trust where the instrument of an
    imported run names a program, code or an address.
    """
    from sdl.export.importing import import_runs, plain

    done = import_runs(source, Path(runs))
    if json:
        emit({"imported": [plain(one) for one in done]})
        return
    for one in done:
        state = f"{count(one.checked.lines, 'event')} imported" if one.new else "was there already"
        print("; ".join([f"{one.folder}: {state}", *one.checked.notes]))
