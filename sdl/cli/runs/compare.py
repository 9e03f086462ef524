"""The command `sdl compare`: a table and a figure of several runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from sdl.cli.display.progress import tracked
from sdl.cli.options import RUNS, Json, Quiet, Runs, argument, emit, option
from sdl.cli.terminal import say, width
from sdl.errors import ConfigError, RecordError, near, translated_os_errors
from sdl.formatting import count, truncate, visible
from sdl.store.archived import opened
from sdl.store.resolve import FILE, every_run, locate, runs_inside

if TYPE_CHECKING:
    from sdl.report.comparison import RunGroup

SUFFIXES = (".html", ".png", ".svg")


def compare(
    names: Annotated[list[str], argument("RUN…|DIR", "Runs (by any name), campaigns, or directories with runs.")],
    output: Annotated[
        Path | None, option("--output -o FILE", "Also write a page (.html) or the figure (.png, .svg).")
    ] = None,
    by: Annotated[
        list[str] | None, option("--by KEY", "Group by this key, such as solver.kind. May be repeated.")
    ] = None,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs: trials to the goal, error, cost.

    \b
    sdl compare runs
    sdl compare led-16384 gmm-16384 -o solvers.html
    sdl compare runs --by solver.kind --by average

    A campaign's name or a directory stands for all of its runs. Runs are grouped by the keys that change the experiment
    and in which they differ. Medians have 95 % bootstrap intervals.
    """
    from sdl.report.comparison import differences, grouped, medians, run_result
    from sdl.runs.runs import Run

    if output is not None and output.suffix not in SUFFIXES:
        raise ConfigError(f"-o {output}: must end in {', '.join(SUFFIXES)}")
    results, left_out = [], []
    for folder, named in tracked(list(_folders(names, runs).items()), "runs", quiet=quiet or json):
        try:
            results.append(run_result(Run(opened(folder))))
        except (RecordError, ConfigError) as error:
            if named:
                raise
            left_out.append(str(error))
            print(f"left out: {error}", file=sys.stderr)
    if not results:
        raise ConfigError("none of these runs can be read")
    known = {key for run in results for key in run.config}
    for key in by or ():
        if key not in known:
            raise ConfigError(f"--by {key}: no run has this key; {near(key, sorted(known))}")
    groups = grouped(results, by or ())
    if json:
        kept = ("trials", "readings", "seconds", "reached", "outcome", "miss", "error")
        rows = {
            group.name: [{"run": str(run.folder), **{key: getattr(run, key) for key in kept}} for run in group.runs]
            for group in groups
        }
        values = {group.name: medians(group) for group in groups}
        texts = {key: dict(zip(rows, row, strict=True)) for key, row in differences(groups)}
        listed = [{"group": name, "runs": runs, "medians": values[name]} for name, runs in rows.items()]
        emit({"groups": listed, "differences": texts, "left_out": left_out})
    else:
        _print(groups)
    if output is not None:
        _write(output, groups, left_out)
        if not json:
            print(f"{output}: written")


def _folders(names: list[str], runs: Path) -> dict[Path, bool]:
    """The runs, and whether each was named itself rather than by its directory or campaign."""
    named: dict[Path, bool] = {}
    for name in names:
        given = Path(name)
        if not (given / FILE).is_file() and given.is_dir():
            inside = runs_inside(given)
            if not inside:
                raise ConfigError(f"{name}: has no run")
            named = dict.fromkeys(inside, False) | named
        else:
            campaign = [folder for folder in every_run(runs) if folder.parent.name == name]
            named = dict.fromkeys(campaign, False) | named if campaign else named | {locate(name, runs): True}
    return named


def _print(groups: list[RunGroup]) -> None:
    from sdl.report.comparison import HEAD, letter, table

    several = len(groups) > 1
    results = [[f"{letter(n)} {row[0]}" if several else row[0], *row[1:]] for n, row in enumerate(table(groups))]
    rows = [list(HEAD), *results]
    space = (width() or 201) - 1
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(HEAD)
    while last > 4 and min(widths[0], 24) + sum(widths[1:last]) + 2 * (last - 1) > space:
        last -= 1  # the cost is omitted first
    first = max(min(widths[0], 60, space - sum(widths[1:last]) - 2 * (last - 1)), 8)
    for row in rows:
        cells = [row[i].rjust(widths[i]) for i in range(1, last)]
        print("  ".join([truncate(visible(row[0]), first).ljust(first), *cells]).rstrip())
    print(f"medians of {count(sum(len(g.runs) for g in groups), 'run')}, with 95 % bootstrap intervals in brackets")
    if last < len(HEAD):
        say(f"not shown in {space + 1} columns: {', '.join(HEAD[last:])}")
    if several:
        _print_differences(groups)


def _print_differences(groups: list[RunGroup]) -> None:
    from sdl.report.comparison import differences, differing, shared_values

    found = differences(groups)
    named = differing([run for group in groups for run in group.runs])
    print("\ndifferences of the configurations")
    for key, values in found:
        if key in named:
            texts = (f"{', '.join(letters)}: {value}" for value, letters in shared_values(values))
            say(visible(f"  {key}  {'; '.join(texts)}"), 6)
    if rest := [key for key, _ in found if key not in named]:
        say(f"  also {', '.join(rest)}, which the keys above imply; -o FILE.html has their values", 6)


def _write(output: Path, groups: list[RunGroup], left_out: list[str]) -> None:
    from sdl.report import page, style
    from sdl.report.comparison import figure
    from sdl.report.comparison_page import comparison_page

    with translated_os_errors(output):
        if output.suffix == ".html":
            page.write(output, comparison_page(groups, left_out))
        else:
            drawn = figure(groups)
            page.save(output, style.png(drawn) if output.suffix == ".png" else style.svg(drawn))
