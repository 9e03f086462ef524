"""Commands that only read: show, explain, check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.display.text import cause, count, display, reading, say, settings, units, worst
from sdl.cli.options import RUNS, Json, RunName, Runs, campaign_run, emit
from sdl.errors import ConfigError, SdlError

if TYPE_CHECKING:
    from sdl.cli.display.live_view import ShownTrials
    from sdl.core.events import Proposed
    from sdl.runs.runs import Run
    from sdl.store.record import Checked


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (show, explain, check):
        app.command()(command)


def show(name: RunName, runs: Runs = RUNS, json: Json = False) -> None:
    """Show a run: its goal, its trials, its end.

    \b
    sdl show latest
    sdl show led-16384                     the newest run of that campaign
    """
    from sdl.cli.display.live_view import followed, line
    from sdl.cli.display.outcome import report
    from sdl.cli.display.text import goal_line, headline, width
    from sdl.runs.listing import holder
    from sdl.runs.runs import open_run

    run = open_run(campaign_run(name, runs))
    reason, by = run.result.reason, ""
    if run.result.outcome is None:
        by = holder(run.folder)
        reason = f"it is running now ({by})" if by else f"{reason}; it can go on" if run.campaign.interrupted else ENDED
    if not json:
        trials = followed(run)
        say(headline(run.opened))
        say(goal_line(run.campaign.plan.goal))
        columns = width()
        if columns:
            _print_table(trials, run, columns)
        else:
            for shown in trials.shown:
                print(line(shown, run.campaign, run.opened))
        for note in trials.notes:
            say(f"     {note}", 7)
    report(run.result, json=json, reason=reason, running=bool(by))


ENDED = "its process was ended without a word, or runs on another machine"


def _print_table(trials: ShownTrials, run: Run, columns: int) -> None:
    from rich.console import Console

    from sdl.cli.display.table import trial_table

    console = Console(highlight=False)
    colour = console.color_system is not None and not console.no_color
    for text in trial_table(trials.shown, run.opened, run.campaign.plan.goal, columns, colour=colour):
        console.print(text)


def explain(
    name: RunName,
    trial: Annotated[int | None, typer.Argument(help="Which trial; all of them where it is left out.")] = None,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Say who proposed a trial, why, and what came of it.

    \b
    sdl explain latest 4
    """
    from sdl.runs.runs import open_run

    run = open_run(campaign_run(name, runs))
    if trial is not None and trial not in run.proposals:
        last, run_name = max(run.proposals, default=-1), f"{run.folder.parent.name}/{run.folder.name}"
        has = "no trial" if last < 0 else "trial 0 only" if last == 0 else f"trials 0 … {last}"
        raise ConfigError(f"trial {trial} is not in {run_name}; it has {has}")
    chosen = [run.proposals[trial]] if trial is not None else list(run.proposals.values())
    if json:
        emit({"run": str(run.folder), "trials": [_explained(run, proposed) for proposed in chosen]})
        return
    for proposed in chosen:
        for text in _sentences(_explained(run, proposed), run):
            say(text, 4)


def check(name: RunName, runs: Runs = RUNS, json: Json = False) -> None:
    """Check a record: was anything changed, lost or swapped?

    Exit code 0: sound; 5: damaged, with file and line. Nothing is changed. Also the journal of a lab.

    \b
    sdl check latest
    sdl check runs/lab-week.lab
    """
    from sdl.runs.runs import open_run
    from sdl.store import record
    from sdl.store.resolve import find

    lab = _lab(name, runs)
    folder = lab or find(name, runs)
    try:
        if lab is not None:
            found = _check_lab(lab)
        else:
            found = record.check(folder)
            open_run(folder)  # sound lines may still not follow from one another
    except SdlError as error:
        if json:
            emit({"run": str(folder), "sound": False, "reason": str(error), "exit_code": error.exit_code})
        raise
    if json:
        emit({"run": str(folder), "sound": True, **dataclasses.asdict(found)})
        return
    state = "a lab's journal" if lab is not None else "finished" if found.finished else "unfinished"
    print(f"{folder}: sound; {found.lines} events, {state}, sha {found.sha}")
    for note in found.notes:
        print(f"  {note}")


def _lab(name: str, runs: Path) -> Path | None:
    """The directory of a lab that is meant; None where it is a run."""
    from sdl.lab.journal import is_journal

    return next((path for path in (Path(name), runs / name) if is_journal(path)), None)


def _check_lab(folder: Path) -> Checked:
    """A lab's journal against its hashes, and each event against those before it."""
    from sdl.errors import Damaged, OutOfTurn
    from sdl.lab import journal
    from sdl.lab.core.state import Lab

    found, lab = journal.check(folder), Lab()
    for number, event in enumerate(journal.read(folder), 1):
        try:
            lab.handle(event)
        except OutOfTurn as error:
            raise Damaged(str(folder), number, f"cannot follow what is before it: {error}") from error
    return found


def _explained(run: Run, proposed: Proposed) -> dict[str, Any]:
    goal = run.campaign.plan.goal
    measured = run.measured(proposed.trial)
    names = goal.channels if goal else tuple(measured[0].readings if measured else ())
    values = {name: [e.readings[name] for e in measured if name in e.readings] for name in names}
    means = {name: math.fsum(part) / len(part) for name, part in values.items() if part}
    return {
        "trial": proposed.trial,
        "by": proposed.by,
        "why": proposed.why,
        "rows": proposed.rows,
        "settings": proposed.settings,
        "clipped": proposed.clipped,
        "spread": proposed.spread,
        "uncertainty": proposed.uncertainty,
        "verdict": proposed.verdict,
        "goal": goal.targets if goal else {},
        "bands": {name: band.plain() for name, band in goal.bands.items()} if goal else {},
        "shortfall": proposed.shortfall,
        "expected": {name: proposed.expected.get(name) for name in names},
        "measured": means,
        "readings": len(measured),
        "miss": goal.miss(means) if goal and means else None,
        "failed": [event.error for event in run.failed(proposed.trial)],
    }


def _sentences(told: Mapping[str, Any], run: Run) -> Iterator[str]:
    goal, asked_for = run.campaign.plan.goal, settings(told["settings"], run.opened)
    who = f"{told['by']} from {count(told['rows'], 'row')}" if told["verdict"] else f"the design ({told['by']})"
    yield f"trial {told['trial']}: proposed by {who}: {told['why']}"
    columns = {key: told[key] for key in ("spread", "uncertainty") if any(v is not None for v in told[key].values())}
    yield from _table(
        ["input", "setting", *columns],
        [[name, text, *(_known(part.get(name), 4) for part in columns.values())] for name, text in asked_for.items()],
    )
    if told["clipped"]:
        yield f"  clipped to the bounds: {', '.join(told['clipped'])}"
    if told["verdict"] is not None:
        yield f"  verdict: {display(told['verdict'])}"
    if told["measured"]:
        asked = any(value is not None for value in told["expected"].values())
        bands = goal.bands if goal else {}
        head = ["channel", *(["goal"] if goal else []), *(["expected"] if asked else []), "came"]
        rows = []
        for name, value in told["measured"].items():
            wanted = [str(bands[name])] if goal else []
            hoped, band = told["expected"].get(name), bands.get(name)
            hope = ["?" if hoped is None else reading(hoped, band)] if asked else []
            rows.append([name, *wanted, *hope, reading(value, band)])
        yield from _table(head, rows)
        yield f"  came: {'the mean of ' if told['readings'] > 1 else ''}{count(told['readings'], 'reading')}"
    if goal and told["miss"] is not None and told["measured"]:
        yield f"  worst: {worst(goal, told['measured'], units(run.opened))}" + (
            " (inside)" if told["miss"] <= 1 else ""
        )
    for error in told["failed"]:
        yield f"  failed: {cause(error)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  " + "  ".join(text.rjust(most) for text, most in zip(row, widths, strict=True))


def _known(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
