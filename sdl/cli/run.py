"""Commands that drive an instrument: run, resume, collect, measure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.options import RUNS, Json, Quiet, RunName, Runs, Set, emit
from sdl.errors import ConfigError, SdlError

if TYPE_CHECKING:
    from sdl.runner import Watch
    from sdl.runs import Result

File = Annotated[Path, typer.Argument(metavar="FILE", help="A campaign file (YAML).")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (run, resume, collect, measure):
        app.command()(command)


def run(file: File, changes: Set = None, runs: Runs = RUNS, json: Json = False, quiet: Quiet = False) -> None:
    """Run a campaign until its goal is reached or a rule stops it.

    \b
    sdl run configs/quickstart.yaml
    sdl run my.yaml --set solver.kind=pls --set seed=3 --json

    Ctrl-C once finishes the reading, makes the instrument safe and leaves a run that `sdl resume` goes on with; twice
    does so at once.
    """
    from sdl import runner

    _drive(lambda watch: runner.run(file, runs=runs, changes=changes or (), watch=watch), json=json, quiet=quiet)


def resume(name: RunName, changes: Set = None, runs: Runs = RUNS, json: Json = False, quiet: Quiet = False) -> None:
    """Go on with a run: after Ctrl-C, kill -9 or a power cut, or with changed rules.

    \b
    sdl resume latest
    sdl resume led-16384/20261123T0810 --set stop.trials=80
    """
    from sdl import runner
    from sdl.runs import find

    folder = find(name, runs)
    _drive(lambda watch: runner.resume(folder, changes=changes or (), watch=watch), json=json, quiet=quiet)


def collect(
    file: File,
    changes: Set = None,
    runs: Runs = RUNS,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="LOG", help="Also write the readings as a Claude-Light log."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure the design only, without a goal or a solver: a data set.

    \b
    sdl collect configs/collect.yaml
    sdl collect my.yaml --set design.kind=latin-hypercube --set design.trials=100 -o rgb.jsonl
    """
    from sdl import runner
    from sdl.cli.look import write_export

    def act(watch: Watch | None) -> Result:
        return runner.run(file, runs=runs, changes=changes or (), watch=watch, collect=True)

    if output is not None and output.exists():
        raise ConfigError(f"{output} exists already; name another file")
    _drive(act, json=json, quiet=quiet, after=lambda done: write_export(Path(done.run), "claude-light", output))


def measure(
    file: File,
    settings: Annotated[list[str], typer.Argument(metavar="INPUT=VALUE…", help="Every input of the instrument.")],
    times: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many readings.")] = 1,
    changes: Set = None,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take readings at given settings, recorded like everything else. The file says which instrument.

    \b
    sdl measure configs/quickstart.yaml R=.47 G=.23 B=.52 -n 5
    """
    from sdl import config, runner

    point: dict[str, Any] = {}
    for setting in settings:
        name, value = config.split(setting)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{setting}: must be INPUT=NUMBER, such as R=.47")
        point[name] = value
    tree = config.load(file, changes or (), collect=True).plain()
    tree |= {"goal": None, "design": {"kind": "points", "points": [point]}, "average": times, "prior": []}
    tree["description"] = f"sdl measure {' '.join(settings)} -n {times}"

    def table(done: Result) -> None:
        from sdl.runs import open_run

        if not json:
            _print_readings([dict(event.readings) for event in open_run(done.run).measured()])

    _drive(lambda watch: runner.run(tree, runs=runs, collect=True), json=json, quiet=quiet, after=table)


def _drive(
    act: Callable[[Watch | None], Result],
    *,
    json: bool,
    quiet: bool,
    after: Callable[[Result], None] | None = None,
) -> None:
    """Runs something that ends in a result, shows it and exits with its code."""
    from sdl.cli.live import watching
    from sdl.runner import INTERRUPTED, CampaignInterrupted, exit_code

    try:
        with watching(json=json, quiet=quiet) as watch:
            done = act(watch)
    except CampaignInterrupted as stopped:
        report(
            stopped.result, f"interrupted ({stopped.signal}); go on with: sdl resume {stopped.result.run}", json=json
        )
        raise typer.Exit(INTERRUPTED[stopped.signal]) from None
    except SdlError as error:
        if json:
            emit({"outcome": None, "reason": str(error), "exit_code": error.exit_code})
        raise
    with contextlib.suppress(BrokenPipeError):  # nobody reads any more; the exit code still tells
        if after:
            after(done)
        report(done, done.reason, json=json)
    raise typer.Exit(exit_code(done))


def report(done: Result, reason: str, *, json: bool) -> None:
    """The end of a campaign, for people or for programs."""
    if json:
        emit(
            {
                "outcome": done.outcome,
                "reason": reason,
                "trials": done.trials,
                "readings": done.readings,
                "settings": done.settings,
                "applied": done.applied,
                "measured": done.measured,
                "error": done.error,
                "miss": done.miss,
                "best": done.best,
                "by": done.by,
                "run": done.run,
            }
        )
        return
    print(f"{done.outcome or 'unfinished'}: {reason}")
    if done.best is not None:
        settings = ", ".join(f"{name} {value:.4f}" for name, value in done.settings.items())
        error = f"; error {done.error * 100:.2f} %" if done.error is not None else ""
        off = f", {done.miss:.2f} of the tolerance" if done.miss is not None else ""
        print(f"  best: trial {done.best} at {settings}{error}{off}")
    print(f"  {done.trials} trials, {done.readings} readings; record: {done.run}")


def _print_readings(rows: list[dict[str, float]]) -> None:
    """Each channel's readings, and what they scatter."""
    for name in rows[0] if rows else ():
        values = [row[name] for row in rows if name in row]
        mean = math.fsum(values) / len(values)
        scatter = ""
        if len(values) > 1:
            sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
            scatter = f"  mean {mean:.1f}  sd {sd:.1f}"
        print(f"  {name:>8}  {' '.join(f'{v:g}' for v in values[:10])}{' …' if len(values) > 10 else ''}{scatter}")
