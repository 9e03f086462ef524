"""Commands that drive an instrument: run, resume, collect, measure."""

from __future__ import annotations

import contextlib
import signal
import statistics
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl import config, yamlfile
from sdl.cli.display.live_view import watching
from sdl.cli.display.outcome import print_outcome
from sdl.cli.options import (
    RUNS,
    CampaignPath,
    Json,
    OnTwin,
    Page,
    Quiet,
    RunName,
    Runs,
    Set,
    Trust,
    argument,
    campaign_run,
    number,
    option,
)
from sdl.cli.terminal import say, width
from sdl.core.goal import decimals
from sdl.errors import ConfigError, near
from sdl.export import ExportFormat, write
from sdl.formatting import count, display
from sdl.types import GOOD_OUTCOMES

if TYPE_CHECKING:
    from sdl.runner import Watch
    from sdl.runs.runs import Result


def run(
    file: CampaignPath,
    changes: Set = None,
    on_twin: OnTwin = False,
    page: Page = False,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,  # of `sdl.web.start.launcher`
) -> None:
    """Run a campaign until its goal is reached or a rule stops it.

    \b
    sdl run configs/quickstart.yaml
    sdl run my.yaml --set solver.kind=pls --set seed=3 --json
    sdl run my.yaml --on-twin                          the same campaign on the twin of its instrument
    sdl run by-hand.yaml --page                        a person answers on the page of `sdl web`

    After Ctrl-C or SIGTERM the current reading is finished (a solver is interrupted), the instrument is switched off,
    and `sdl resume` can continue the run; a second signal does so at once. After SIGTERM a solver that cannot be
    interrupted is killed with its process (exit code 137), and another process does the rest; all within 10 s.
    """
    from sdl import runner

    if page:
        if on_twin:
            raise ConfigError("--page asks a person, and a twin needs none; give one of --page and --on-twin")
        _drive(partial(_attend, file, runs=runs, changes=changes or (), new=True), json=json, quiet=quiet, page=True)
    if on_twin:
        campaign = config.on_twin(config.load(file, changes or (), runs=runs))
        act = partial(runner.run, campaign, runs=runs, guarded=True)
    else:
        act = partial(runner.run, file, runs=runs, changes=changes or (), guarded=True, folder=folder)
    _drive(act, json=json, quiet=quiet)


def resume(
    name: RunName,
    changes: Set = None,
    page: Page = False,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
    trust: Trust = False,
    interrupted: Annotated[str, typer.Option(hidden=True)] = "",  # of `sdl.runner.guard`
) -> None:
    """Continue a run that was interrupted, killed or stopped.

    \b
    sdl resume latest
    sdl resume led-16384 --set stop.trials=80          its newest run, with changed rules

    Nothing is measured twice. A run that has reached its goal is left unchanged, except that its
    instrument is switched off if its record does not confirm that it is off.
    """
    from sdl import runner
    from sdl.runs.runs import open_run

    folder = campaign_run(name, runs)
    run = open_run(folder)
    before = run.result
    if page:
        _drive(partial(_attend, folder, runs=runs, changes=changes or ()), json=json, quiet=quiet, page=True)
    if before.outcome in GOOD_OUTCOMES and not runner.left_on(run.opened, run.campaign):
        if changes:
            runner.resume(folder, changes=changes, trust=trust)  # reports mistakes in them; nothing is written
        print_outcome(before, json=json, reason=f"already {display(before.outcome)}, nothing was done; {before.reason}")
        raise typer.Exit(runner.exit_code(before))
    act = partial(runner.resume, folder, changes=changes or (), guarded=True, interrupted=interrupted, trust=trust)
    _drive(act, json=json, quiet=quiet)


def collect(
    file: CampaignPath,
    changes: Set = None,
    runs: Runs = RUNS,
    output: Annotated[Path | None, option("--output -o LOG", "Also write the readings as a Claude-Light log.")] = None,
    adaptive: Annotated[
        bool, option("--adaptive", "Measure where a solver is most uncertain, instead of the file's design.")
    ] = False,
    trials: Annotated[
        int | None,
        option("--trials", "Number of points (design.trials); a file without a design gets `farthest`.", min=1),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure only the design: a data set, without a goal.

    \b
    sdl collect configs/collect.yaml
    sdl collect configs/quickstart.yaml --adaptive --trials 20
    sdl collect my.yaml --set design.kind=latin-hypercube --set design.trials=100 -o rgb.jsonl

    Exit code 3 if a point could not be measured; the others are recorded and written.
    """
    from sdl import runner
    from sdl.runs.runs import open_run

    if output is not None and output.exists():
        raise ConfigError(f"{output} exists already; name another file")
    all_changes = [*(changes or ()), *([f"design.trials={trials}"] if trials is not None else ())]
    all_changes = ["design.kind=adaptive", *all_changes] if adaptive else _with_design(file, all_changes)
    campaign = config.load(file, all_changes, collect=True, runs=runs)
    if adaptive and campaign.goal and not getattr(campaign.design, "channels", ()):
        design = campaign.design.model_copy(update={"channels": tuple(campaign.goal)})
        campaign = campaign.model_copy(update={"design": design})

    def written(done: Result) -> dict[str, Any]:
        if output is None:
            return {}
        if done.outcome is None:
            later = f"sdl export {done.run} --to claude-light -o {output}"
            return {"output": f"{output} is not written yet; once resumed: {later}"}
        if not done.readings:
            return {"output": f"{output} is not written: there is no reading"}
        try:
            write(open_run(done.run), ExportFormat.CLAUDE_LIGHT, output)
        except ConfigError as error:
            raise ConfigError(f"{error}; the readings are in {done.run}") from error
        return {"output": f"{output}: {count(done.readings, 'reading')} written"}

    act = partial(runner.run, campaign, runs=runs, collect=True, guarded=True)
    _drive(act, json=json, quiet=quiet, after=written)


def _with_design(file: Path, changes: list[str]) -> list[str]:
    """The changes, with a kind of design if only the number of its points is given."""
    tree = yamlfile.read(file).value
    named = not isinstance(tree, dict) or tree.get("design") is not None
    counted = any(change.startswith("design.trials=") for change in changes)
    return ["design.kind=farthest", *changes] if counted and not named else changes


def measure(
    file: CampaignPath,
    settings: Annotated[list[str], argument("INPUT=VALUE…", "Every input of the instrument.")],
    times: Annotated[int, option("-n", "Number of readings.", min=1, max=1000)] = 1,
    changes: Set = None,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take and record readings at given settings.

    \b
    sdl measure configs/quickstart.yaml R=.47 G=.23 B=.52 -n 5

    The file names the instrument. Exit code 3 if a reading failed; those before it are recorded.
    """
    from sdl import runner
    from sdl.runs.runs import open_run

    point = dict(number(setting, "INPUT=NUMBER, such as R=.47") for setting in settings)
    campaign = config.load(file, changes or (), collect=True)
    inputs = [item.name for item in campaign.free_inputs]
    if unknown := [name for name in point if name not in inputs]:
        raise ConfigError(f"unknown input {unknown[0]}; {near(unknown[0], inputs)}")
    if missing := [name for name in inputs if name not in point]:
        raise ConfigError(f"missing {', '.join(missing)}; give every input: {' '.join(f'{n}=…' for n in inputs)}")
    design = config.parse_kind("design", {"kind": "points", "points": [point]})
    description = f"sdl measure {' '.join(settings)} -n {times}"
    only = campaign.model_copy(update={"design": design, "average": times, "prior": (), "description": description})

    def print_readings(done: Result) -> dict[str, Any]:
        if not json:
            _print_readings([event.readings for event in open_run(done.run).measured()])
        seed = getattr(campaign.instrument, "seed", None)
        if not campaign.instrument.virtual or seed is None:
            return {}
        again = f"the same seed and start time give the same numbers; for others: --set instrument.seed={seed + 1}"
        return {"simulated": f"simulated: {again}"}

    def why(done: Result) -> str:
        taken = f"{done.readings} of {count(times, 'reading')} taken"
        errors = [event.error for event in open_run(done.run).failed()]
        return taken if done.readings == times else "; ".join([taken, *errors[-1:]])

    act = partial(runner.run, only, runs=runs, collect=True)
    waiting = not campaign.instrument.virtual  # in virtual time there is no progress to show
    _drive(act, json=json, quiet=quiet or not waiting, after=print_readings, why=why)


def _attend(campaign: Path, runs: Path, changes: Sequence[str], watch: Watch | None, new: bool = False) -> Result:
    """Ask for the readings of a campaign, and wait until they are told, to its end.

    Raises:
        CampaignInterrupted: Ctrl-C or SIGTERM; it can be continued.
    """
    from sdl.asktell import OpenCampaign, Request, open_campaign
    from sdl.asktell.attending import attend, require_told
    from sdl.runner import CampaignInterrupted
    from sdl.runner.messages import both, messenger, require_recipients

    if new:
        resolved = config.load(campaign, changes, runs=runs)
        require_told(resolved)
        require_recipients(resolved)
    begun = open_campaign(campaign if new else str(campaign), runs=runs, changes=changes, new=new)
    say(f"asks for readings on the page (`sdl web`), and takes them by `sdl tell {begun.folder}`")
    with messenger(begun.config, begun.folder) as people:
        opened = OpenCampaign(begun.folder, both(people, watch))

        def asked(request: Request) -> None:
            words = opened.in_words(request)
            print(f"trial {request.trial}, reading {request.repeat + 1}: {words.body}", file=sys.stderr, flush=True)
            if people is not None:
                people.asked(words)

        before = signal.signal(signal.SIGTERM, _interrupted)
        try:
            return attend(opened, on_request=asked, on_wait=people.tick if people is not None else lambda: None)
        except KeyboardInterrupt as error:
            raise CampaignInterrupted(str(error) or "SIGINT", opened.result) from None
        finally:
            signal.signal(signal.SIGTERM, before)


def _interrupted(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _drive(
    act: Callable[..., Result],
    *,
    json: bool,
    quiet: bool,
    after: Callable[[Result], dict[str, Any]] = lambda _: {},
    why: Callable[[Result], str] = lambda done: done.reason,
    page: bool = False,
) -> None:
    """Run something that ends in a result, print it and exit with its code.

    Args:
        act: what to run; its argument `watch` is the observer of events.
        json: print JSON.
        quiet: print no progress.
        after: returns further items to print with the result.
        why: returns the reason to print.
        page: it asks on the page.
    """
    from sdl.runner import INTERRUPTED, CampaignInterrupted, exit_code

    try:
        with watching(json=json, quiet=quiet) as watch:
            done = act(watch=watch)
        code, reason = exit_code(done), why(done)
    except CampaignInterrupted as stopped:
        done, code = stopped.result, INTERRUPTED[stopped.signal]
        reason = "interrupted by " + ("Ctrl-C" if stopped.signal == "SIGINT" else stopped.signal)
    with contextlib.suppress(BrokenPipeError):  # the reader is gone; the exit code remains
        print_outcome(done, json=json, reason=reason, more=after(done), page=page)
    raise typer.Exit(code)


def _print_readings(rows: Sequence[Mapping[str, float]]) -> None:
    """Print each channel's mean and standard deviation, and its first ten readings as far as they fit the line."""
    if not rows:
        return
    print("  channel      mean       sd  readings")
    for name in rows[0]:
        values = [row[name] for row in rows if name in row]
        mean, digits = statistics.fmean(values), max(1, decimals(statistics.fmean(values)))
        sd = f"{statistics.stdev(values, mean):.{digits}f}" if values[1:] else ""
        line = f"  {name:>7} {mean:9.{digits}f} {sd:>8}  "
        shown = " ".join([f"{value:g}" for value in values[:10]] + ["…"] * (len(values) > 10))
        print(line + textwrap.shorten(shown, max((width() or 1000) - len(line), 10), placeholder=" …"))
