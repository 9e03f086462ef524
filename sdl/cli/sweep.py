"""The command `sdl sweep`: many campaigns at once."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from sdl.cli.display.text import count
from sdl.cli.options import LIMIT, Json, Limit, Quiet, emit, limit_of
from sdl.errors import SolverError

if TYPE_CHECKING:
    from sdl.sweep import SweepOutcome, SweepPlan

HOME = Path("runs/sweeps")
"""Where a sweep's results are unless told otherwise, in a directory of its name."""


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(sweep)


def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="What is varied, on which campaign (YAML).")],
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Processes of this machine; its cores by default.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler, tcp://host:8786; local: one made here.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help=f"Where the results are; {HOME}/NAME by default."),
    ] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Check everything, say how many campaigns, run none.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the summary; needs the extra report.")
    ] = None,
    limit: Limit = LIMIT,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run many campaigns: a base file, keys that are varied, seeds.

    \b
    sdl sweep configs/sweeps/solvers.yaml
    sdl sweep big.yaml --cluster tcp://lab-7:8786 -o big

    Every campaign is parsed before the first one runs. Interrupted in any way, the same command goes on: what is done
    is not run again, and the results are the same whatever the number of workers.
    """
    from sdl.sweep import load

    plan = load(file)
    if dry:
        _tell_plan(plan, json=json)
        return
    from sdl.sweep.results import needs_pyarrow

    needs_pyarrow()
    folder = out or HOME / plan.sweep.name
    told = _run(plan, folder, jobs, cluster, limit_of(limit), quiet=quiet or json)
    _tell(plan, told, json=json)
    if plot is not None:
        from sdl.sweep.summary import draw, groups

        draw(groups(told.data, list(plan.sweep.grid)), list(plan.sweep.grid), plot, plan.sweep.name)
    if told.cannot:
        raise typer.Exit(SolverError.exit_code)


def _run(
    plan: SweepPlan, folder: Path, jobs: int | None, cluster: str | None, limit: float | None, *, quiet: bool
) -> SweepOutcome:
    from sdl.cli.display.progress import ProgressBar
    from sdl.sweep import run

    stopped = []

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.append(number)
        raise KeyboardInterrupt(signal.Signals(number).name)

    done = [0, len(plan)]
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with ProgressBar("campaigns", quiet=quiet) as bar:

            def progress(now: int, of: int) -> None:
                done[0] = now
                bar(now, of)
                if stopped:  # and something on the way took the exception for its own
                    raise KeyboardInterrupt

            return run(plan, folder, jobs=jobs, cluster=cluster, limit=limit, progress=progress)
    except KeyboardInterrupt as error:
        terminated = stopped or getattr(error, "signal", "") == "SIGTERM"  # a campaign in this process may take it
        said = f"interrupted: {done[0]} of {count(done[1], 'campaign')} done, in {folder}; the same command goes on"
        print(said, file=sys.stderr)
        raise typer.Exit(143 if terminated else 130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell_plan(plan: SweepPlan, *, json: bool) -> None:
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


def _tell(plan: SweepPlan, told: SweepOutcome, *, json: bool) -> None:
    from sdl.sweep.summary import groups, table

    for name, (then, now) in told.changed.items():
        if told.before:
            print(f"warning: results so far were made with {name} {then}, now it is {now}", file=sys.stderr)
    keys = list(plan.sweep.grid)
    found = groups(told.data, keys) if told.data.exists() else []
    if json:
        counts = {"campaigns": told.campaigns, "before": told.before, "ran": told.ran, "cannot": list(told.cannot)}
        emit({"sweep": plan.sweep.name, "data": str(told.data), **counts, "groups": [g.plain(keys) for g in found]})
    else:
        print("\n".join(table(found, keys)))
        print(f"\n{told.data}: {count(told.before + told.ran, 'campaign')}, one row each")
    if told.cannot:
        few = told.cannot[:3]
        said = f"{count(len(told.cannot), 'campaign')} without a result; the same command tries again"
        print("\n".join([f"error: {said}", *few, *(["…"] if told.cannot[3:] else [])]), file=sys.stderr)
