"""The command `sdl sweep`: many campaigns."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdl.cli.display.progress import ProgressBar
from sdl.cli.options import LIMIT, Jobs, Json, Limit, OnTwin, Quiet, argument, check_page, emit, option
from sdl.errors import SolverError
from sdl.formatting import count

if TYPE_CHECKING:
    from sdl.sweep import SweepOutcome, SweepPlan

HOME = Path("runs/sweeps")  # default directory for the results of sweeps, each in a directory of its name


def sweep(
    file: Annotated[Path, argument("SWEEP.yaml", "A sweep file (YAML).")],
    jobs: Jobs = None,
    cluster: Annotated[
        str | None, option("--cluster ADDRESS", "A Dask scheduler, tcp://host:8786; local: start one here.")
    ] = None,
    out: Annotated[Path | None, option("--output -o DIR", f"Directory of the results; default: {HOME}/NAME.")] = None,
    dry: Annotated[
        bool, option("--dry-run", "Validate everything and print the number of campaigns; run none.")
    ] = False,
    plot: Annotated[Path | None, option("--plot FILE.png", "Draw the summary.")] = None,
    report: Annotated[Path | None, option("--report FILE.html", "Also write a page with table and figure.")] = None,
    limit: Limit = LIMIT,
    on_twin: OnTwin = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run many campaigns: a base file, varied keys, seeds.

    \b
    sdl sweep configs/sweeps/solvers.yaml
    sdl sweep big.yaml --cluster tcp://lab-7:8786 -o big

    All campaigns are validated before the first one runs. After an interruption the same command continues: finished
    campaigns are not repeated, and the results do not depend on the number of workers.
    """
    from sdl.sweep import load

    if report is not None:
        check_page(report)
    plan = load(file, on_twin=on_twin)
    if dry:
        _print_plan(plan, json=json)
        return
    from sdl.sweep.results import needs_pyarrow

    needs_pyarrow()
    folder = out or HOME / plan.sweep.name
    outcome = _run(plan, folder, jobs, cluster, limit, quiet=quiet or json)
    _print_outcome(plan, outcome, json=json)
    if plot is not None:
        from sdl.sweep.summary import draw, groups

        draw(groups(outcome.data, list(plan.sweep.grid)), list(plan.sweep.grid), plot, plan.sweep.name)
    if report is not None:
        _write_page(report, plan, outcome)
    if outcome.cannot:
        raise typer.Exit(SolverError.exit_code)


def _write_page(file: Path, plan: SweepPlan, outcome: SweepOutcome) -> None:
    """Write a page with the groups of the grid, and their figure unless there are too many."""
    from sdl.report import page, style
    from sdl.report.tables_page import TableSection, tables_page
    from sdl.sweep.summary import MAX_DRAWN, figure_of, groups, table_rows

    keys = list(plan.sweep.grid)
    found = groups(outcome.data, keys) if outcome.data.exists() else []
    head, *rows = table_rows(found, keys)
    total = count(outcome.before + outcome.ran, "campaign")
    note = f"{total}, one row for each in {outcome.data.name}."
    if len(found) > MAX_DRAWN:
        note += f" No figure: {len(found)} groups do not fit in one; at most {MAX_DRAWN}."
    figures = []
    if 0 < len(found) <= MAX_DRAWN:
        with style.styled():
            drawn = figure_of(found, keys, "")
            drawn.set_size_inches(style.WIDTH, drawn.get_figheight())  # its text is readable on a phone
        caption = f"Trials until the goal is reached, by {', '.join(keys) or 'all campaigns'}: from the fewest to the "
        figures.append((drawn, "Trials to reach the goal", caption + "95th percentile; mark: median."))
    lead = f"{total} of `{plan.base}`" + (f"; {len(outcome.cannot)} without a result" if outcome.cannot else "")
    section = TableSection("Results", head, rows, len(keys), note)
    page.write(file, tables_page(plan.sweep.name, lead, [section], figures, good=False if outcome.cannot else None))


def _run(
    plan: SweepPlan, folder: Path, jobs: int | None, cluster: str | None, limit: float | None, *, quiet: bool
) -> SweepOutcome:
    from sdl.sweep import run

    stopped: list[int] = []
    done = 0

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        raise KeyboardInterrupt(signal.Signals(number).name)

    def progress(now: int, of: int) -> None:
        nonlocal done
        done = now
        bar(now, of)
        if stopped:  # and something swallowed the exception
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with ProgressBar("campaigns", quiet=quiet) as bar:
            return run(plan, folder, jobs=jobs, cluster=cluster, limit=limit, progress=progress)
    except KeyboardInterrupt as error:
        terminated = stopped or getattr(error, "signal", "") == "SIGTERM"  # a campaign in this process may take it
        message = f"interrupted: {done} of {count(len(plan), 'campaign')} done, in {folder}; run it again to continue"
        print(message, file=sys.stderr)
        raise typer.Exit(143 if terminated else 130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_plan(plan: SweepPlan, *, json: bool) -> None:
    sweep = plan.sweep
    if json:
        emit({"sweep": sweep.name, "campaigns": len(plan), "points": len(plan.points), "seeds": len(sweep.seed_list)})
        return
    parts = [f"{key}: {count(len(values), 'value')}" for key, values in sweep.grid.items()]
    parts += [f"{count(sweep.random.draws, 'draw')} of {', '.join(sweep.random.keys)}"] if sweep.random else []
    parts += [count(len(sweep.seed_list), "seed")]
    parts += [f"each {sweep.repeats} times"] if sweep.repeats > 1 else []
    print(f"{sweep.name}: {count(len(plan), 'campaign')} on {plan.base}, all valid")
    print("\n".join(f"  {part}" for part in parts))


def _print_outcome(plan: SweepPlan, outcome: SweepOutcome, *, json: bool) -> None:
    from sdl.sweep.summary import groups, table

    for name, (then, now) in outcome.changed.items():
        if outcome.before:
            print(f"warning: earlier results were made with {name} {then}, now it is {now}", file=sys.stderr)
    keys = list(plan.sweep.grid)
    rows = groups(outcome.data, keys) if outcome.data.exists() else []
    if json:
        counts = {name: getattr(outcome, name) for name in ("campaigns", "before", "ran", "cannot")}
        emit({"sweep": plan.sweep.name, "data": str(outcome.data), **counts, "groups": [g.plain(keys) for g in rows]})
    else:
        print("\n".join(table(rows, keys)))
        print(f"\n{outcome.data}: {count(outcome.before + outcome.ran, 'campaign')}, one row per campaign")
    if outcome.cannot:
        few = outcome.cannot[:3]
        message = f"{count(len(outcome.cannot), 'campaign')} without a result; the same command tries again"
        print("\n".join([f"error: {message}", *few, *(["…"] if outcome.cannot[3:] else [])]), file=sys.stderr)
