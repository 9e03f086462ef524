"""The commands that only read runs: list, show, explain, check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sdl.cli.display.progress import ProgressBar
from sdl.cli.options import RUNS, Json, RunName, Runs, argument, campaign_run, emit, option
from sdl.cli.terminal import print_table, say, width
from sdl.core.trials import CONFIRMATION
from sdl.durations import parse_duration
from sdl.errors import ConfigError, Damaged, OutOfTurn, SdlError
from sdl.formatting import (
    aligned,
    cause,
    count,
    display,
    goal_line,
    headline,
    instrument_spec,
    is_external,
    percent,
    reading,
    setting_error,
    settings,
    told_by_others,
    truncate,
    units,
    worst,
)
from sdl.runs.query import NEWEST, SORTS, Query, is_date
from sdl.store.resolve import find
from sdl.types import Outcome

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.core.trials import Trial
    from sdl.runs.runs import Run
    from sdl.store.record import Checked


OBJECTIVE_KEYS = ("incumbent", "estimate", "estimate_error", "expected_improvement")
MOST_TRIALS = 1000
"""Trials that `sdl show` lists, the latest ones, if not asked for all."""
LIST_COLUMNS = ("id", "campaign", "when", "outcome", "trials", "error", "solver", "goal", "run")


def list_runs(
    words: Annotated[
        list[str] | None, argument("WORD…", "Words in campaign, goal, instrument, solver, reason, note or tags.")
    ] = None,
    goal: Annotated[str, option("--goal WORDS", "Words in the goal: 515nm, '20000 at 515nm'.")] = "",
    tag: Annotated[str, option("--tag TAG", "Runs with this tag.")] = "",
    outcome: Annotated[str, option("--outcome WORD", "Runs with this outcome: reached, spent, running …")] = "",
    instrument: Annotated[str, option("--instrument NAME", "Runs on the instrument of this identity.")] = "",
    solver: Annotated[str, option("--solver KIND", "Runs with this solver.")] = "",
    since: Annotated[str, option("--since DATE", "Runs that began on this date or later: 2026-11-23.")] = "",
    until: Annotated[str, option("--until DATE", "Runs that began on this date or earlier.")] = "",
    older_than: Annotated[str | None, option("--older-than AGE", "Only runs that began longer ago: 90d, 12h.")] = None,
    sort: Annotated[
        str,
        option("--sort ORDER", f"{', '.join(SORTS)}; -ORDER: reversed. Default: {NEWEST}.", show_default=False),
    ] = NEWEST,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """List the runs, the newest first.

    \b
    sdl list
    sdl list --goal 515nm --tag blue --outcome reached
    sdl list --sort ratio night
    sdl show 2d2bf8                        a run by its id
    sdl list --older-than 90d

    `when` is local time; `error` that of the worst channel at the best trial, `ratio` its tolerance ratio.
    """
    from sdl.runs.index import began_before, list_indexed

    query = Query(
        text=" ".join(words or ()),
        outcome=_outcome(outcome),
        solver=solver,
        tag=tag,
        since=_date("--since", since),
        until=_date("--until", until),
        goal=goal,
        instrument=instrument,
        before=began_before(age_in_seconds(older_than)) if older_than else "",
        sort=sort,
    )
    with ProgressBar("runs", quiet=json, after=1.0) as bar:
        rows = list_indexed(runs, query, bar)
    if json:
        hidden = ("short_goal", "curve")
        emit({"runs": [{key: value for key, value in row.items() if key not in hidden} for row in rows]})
    elif not rows:
        print(f"no runs in {runs} match these filters" if query.filtered else f"no runs in {runs}")
    else:
        _print_list(rows)


def _outcome(text: str) -> str:
    """A stored outcome, given as stored or as it is displayed."""
    if not text:
        return ""
    known = (*map(str, Outcome), "running", "unfinished", "unreadable")
    found = next((word for word in known if text in (word, display(word))), None)
    if found is None:
        raise ConfigError(f"--outcome {text}: allowed: {', '.join(known)}")
    return found


def _date(name: str, text: str) -> str:
    if text and not is_date(text, ""):
        raise ConfigError(f"{name} {text}: must be a date such as 2026-11-23")
    return text


def age_in_seconds(text: str) -> float:
    """The seconds of an age such as 90d."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ConfigError(f"--older-than {text}: {error}") from error


def _print_list(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = width()
    shown = LIST_COLUMNS[:-1] if columns else LIST_COLUMNS
    table = [list(shown)]
    for row in rows:
        error = row.get("worst_error")
        cells = {**row, "when": str(row["when"] or "")[:16].replace("T", " ")}
        if columns:  # without the year and the directory: an id is enough to name a run
            cells |= {"when": cells["when"][5:], "outcome": display(row["outcome"]), "goal": row.get("short_goal", "")}
            cells["solver"] = truncate(str(row.get("solver", "")), 8 if columns > 90 else 6)
        cells["error"] = percent(error) if error is not None else ""
        if row["outcome"] == "unreadable":
            cells["goal"] = row["reason"]
        table.append([str(cells.get(name, "")) for name in shown])
    print_table(table, [i for i, name in enumerate(shown) if name not in ("trials", "error")])


def show(
    name: RunName,
    every: Annotated[bool, option("--all", f"All trials, also where a run has more than {MOST_TRIALS}.")] = False,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Show a run: its goal, its trials, its outcome.

    \b
    sdl show latest
    sdl show led-16384                     the newest run of that campaign
    """
    from sdl.cli.display.live_view import note
    from sdl.cli.display.outcome import print_outcome
    from sdl.runs.runs import open_run
    from sdl.store.lock import writing_process

    run = open_run(campaign_run(name, runs))
    reason, by = run.result.reason, ""
    if run.result.outcome is None:
        by = writing_process(run.folder)
        waiting = WAITING if is_external(run.opened) else FOR_A_PERSON if told_by_others(run.opened) else ENDED
        ended = f"{reason}; it can be resumed" if run.campaign.interrupted else waiting
        reason = f"running now ({by})" if by else ended
    if not json:
        say(headline(run.opened))
        say(goal_line(run.campaign.plan.goal))
        _print_trials(run, run.trials if every else run.trials[-MOST_TRIALS:])
        for text in filter(None, map(note, run.events)):
            say(f"     {text}", 7)
    print_outcome(run.result, run=run, json=json, reason=reason, running=bool(by))


WAITING = "it waits for a reading, or to be asked"
FOR_A_PERSON = "it waits for a person, on the page (`sdl web`), by `sdl tell`, or at a terminal with `sdl resume`"
ENDED = "its process was killed, or runs on another machine"


def _print_trials(run: Run, trials: Sequence[Trial]) -> None:
    """Print the latest trials: a table on a terminal, plain lines elsewhere."""
    from sdl.cli.display.live_view import line
    from sdl.cli.display.table import trial_table

    plan, columns = run.campaign.plan, width()
    if omitted := len(run.trials) - len(trials):
        say(f"The first {count(omitted, 'trial')} are left out; `sdl show --all` lists them.")
    if not columns:
        spec = instrument_spec(run.opened)
        for trial in trials:
            print(line(trial, plan, spec))
        return
    from rich.console import Console

    console = Console(highlight=False)
    colour = console.color_system is not None and not console.no_color
    for text in trial_table(trials, run.opened, plan, columns, colour=colour):
        console.print(text)


def explain(
    name: RunName,
    trial: Annotated[int | None, argument("", "Number of the trial; all of them by default.")] = None,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Explain a trial: who proposed it, why, and the result.

    \b
    sdl explain latest 4
    """
    from sdl.runs.runs import open_run

    run = open_run(campaign_run(name, runs))
    if trial is not None and trial not in run.proposals:
        last, run_name = len(run.trials) - 1, f"{run.folder.parent.name}/{run.folder.name}"
        has = "no trial" if last < 0 else "trial 0 only" if last == 0 else f"trials 0 … {last}"
        raise ConfigError(f"trial {trial} is not in {run_name}; it has {has}")
    explained = [_explained(run, one) for one in (run.trials if trial is None else [run.trials[trial]])]
    if json:
        emit({"run": str(run.folder), "trials": explained})
        return
    for text in (text for one in explained for text in _sentences(one, run)):
        say(text, 4)


def check(name: RunName, runs: Runs = RUNS, json: Json = False) -> None:
    """Check a record for changed, lost or swapped lines.

    Exit code 0: sound; 5: damaged, with file and line. Nothing is written. It also checks the journal of a lab.

    \b
    sdl check latest
    sdl check runs/lab-week.lab
    """
    from sdl.lab import journal
    from sdl.runs.runs import open_run
    from sdl.store import record

    lab = next((path for path in (Path(name), runs / name) if journal.is_journal(path)), None)
    folder = lab or find(name, runs)
    try:
        if lab is not None:
            checked = _check_lab(lab)
        else:
            checked = record.check(folder)
            open_run(folder)  # each line may be sound and still not follow from those before it
    except SdlError as error:
        if json:
            emit({"run": str(folder), "sound": False, "reason": str(error), "exit_code": error.exit_code})
        raise
    if json:
        emit({"run": str(folder), "sound": True, **dataclasses.asdict(checked)})
        return
    state = "a lab's journal" if lab is not None else "finished" if checked.finished else "unfinished"
    print(f"{folder}: sound; {checked.lines} events, {state}, sha {checked.sha}")
    for remark in checked.notes:
        print(f"  {remark}")


def _check_lab(folder: Path) -> Checked:
    """Check the hashes of a lab's journal, and that each event can follow those before it."""
    from sdl.lab import journal
    from sdl.lab.core.state import Lab

    checked, lab = journal.check(folder), Lab()
    for number, event in enumerate(journal.read(folder), 1):
        try:
            lab.handle(event)
        except OutOfTurn as error:
            raise Damaged(str(folder), number, f"cannot follow what is before it: {error}") from error
    return checked


def _explained(run: Run, trial: Trial) -> dict[str, Any]:
    """The JSON object of a trial."""
    goal, proposed = run.campaign.plan.goal, trial.proposed
    names = goal.channels if goal else tuple(trial.mean)
    means = {name: trial.mean[name] for name in names if not math.isnan(trial.mean.get(name, math.nan))}
    copied = ("by", "why", "rows", "settings", "clipped", "spread", "uncertainty", "verdict", "shortfall")
    return {
        "trial": trial.trial,
        **{key: getattr(proposed, key) for key in copied},
        "goal": goal.targets if goal else {},
        "bands": {name: band.plain() for name, band in goal.bands.items()} if goal else {},
        "expected": {name: proposed.expected.get(name) for name in names},
        "measured": means,
        "readings": trial.readings,
        "miss": goal.miss(means) if goal and means else None,
        "failed": [event.error for event in run.failed(trial.trial)],
        **({key: getattr(proposed, key) for key in OBJECTIVE_KEYS} if goal and goal.objective else {}),
    }


def _sentences(trial: Mapping[str, Any], run: Run) -> Iterator[str]:
    """The lines that explain a trial, from its JSON object."""
    origin = f"{trial['by']} from {count(trial['rows'], 'row')}" if trial["verdict"] else f"the design ({trial['by']})"
    origin = "the campaign" if trial["by"] == CONFIRMATION else origin
    yield f"trial {trial['trial']}: proposed by {origin}: {trial['why']}"
    yield from _settings_table(trial, run)
    if trial["clipped"]:
        yield f"  clipped to the bounds: {', '.join(trial['clipped'])}"
    if trial["verdict"] is not None:
        yield f"  verdict: {display(trial['verdict'])}"
    goal, means = run.campaign.plan.goal, trial["measured"]
    if trial.get("estimate") is not None:
        best = ", ".join(f"{name} {text}" for name, text in settings(trial["incumbent"], run.opened).items())
        yield f"  best before: {best}, estimated {trial['estimate']:.5g} ± {trial['estimate_error']:.2g}"
        yield f"  expected improvement: {trial['expected_improvement']:.2g}"
    if means:
        yield from _readings_table(trial, goal)
        yield f"  measured: {'mean of ' if trial['readings'] > 1 else ''}{count(trial['readings'], 'reading')}"
    if goal and goal.limited and means and trial["miss"] is not None:
        inside = ", within tolerance" if trial["miss"] <= 1 else ""
        yield f"  worst: {worst(goal, means, units(run.opened))}{inside}"
    for error in trial["failed"]:
        yield f"  failed: {cause(error)}"


def _settings_table(trial: Mapping[str, Any], run: Run) -> list[str]:
    """The settings, with their spread and uncertainty where the solver gave them."""
    columns = {key: trial[key] for key in ("spread", "uncertainty") if any(v is not None for v in trial[key].values())}
    rows, specs = [["input", "setting", *columns]], instrument_spec(run.opened).specs
    for name, text in settings(trial["settings"], run.opened).items():
        values = [part.get(name) for part in columns.values()]
        rows.append([name, text, *(setting_error(value, specs[name]) for value in values)])
    return [f"  {row}" for row in aligned(rows, ())]


def _readings_table(trial: Mapping[str, Any], goal: Goal | None) -> list[str]:
    """The mean readings, beside the goal and what the solver expected where there are any."""
    bands = goal.bands if goal else {}
    expected = trial["expected"] if any(value is not None for value in trial["expected"].values()) else {}
    rows = [["channel", *(["goal"] if goal else []), *(["expected"] if expected else []), "measured"]]
    for name, value in trial["measured"].items():
        band = bands.get(name)
        shown = [expected.get(name), value] if expected else [value]
        rows.append([name, *([str(band)] if band else []), *("?" if v is None else reading(v, band) for v in shown)])
    return [f"  {row}" for row in aligned(rows, ())]
