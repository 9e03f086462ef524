"""Commands that only read: list, show, explain, check, export."""

from __future__ import annotations

import csv
import dataclasses
import io
import json as jsonlib
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.options import RUNS, Json, RunName, Runs, emit
from sdl.errors import ConfigError, SdlError

if TYPE_CHECKING:
    from sdl.cli.live import Trials
    from sdl.events import Proposed
    from sdl.runs import Run


class Form(StrEnum):
    """What `sdl export` writes."""

    CSV = "csv"
    JSONL = "jsonl"
    CLAUDE_LIGHT = "claude-light"


def add_to(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("list")(list_runs)
    for command in (show, explain, check, export):
        app.command()(command)


def list_runs(runs: Runs = RUNS, json: Json = False) -> None:
    """List the runs, the newest last.

    \b
    sdl list --runs runs
    """
    from sdl.runs import Run, folders

    rows: list[dict[str, Any]] = []
    for folder in folders(runs):
        row: dict[str, Any] = {"run": str(folder)}
        try:
            opened = Run(folder)
            done = opened.result
            row |= {
                "outcome": done.outcome or "unfinished",
                "trials": done.trials,
                "readings": done.readings,
                "error": done.error,
                "solver": opened.config["solver"]["kind"]
                if opened.config.get("goal")
                else opened.config["design"]["kind"],
                "instrument": opened.opened.instrument["identity"],
            }
        except SdlError as error:
            row |= {"outcome": "unreadable", "reason": str(error)}
        rows.append(row)
    if json:
        emit({"runs": rows})
        return
    if not rows:
        print(f"no runs in {runs}")
    width = max((len(row["run"]) for row in rows), default=0)
    for row in rows:
        if row["outcome"] == "unreadable":
            print(f"{row['run']:<{width}}  unreadable   {row['reason']}")
            continue
        off = f"error {row['error'] * 100:5.2f} %" if row["error"] is not None else ""
        print(
            f"{row['run']:<{width}}  {row['outcome']:<11} {row['trials']:>5} trials  {row['solver']:<15} {off}".rstrip()
        )


def show(name: RunName, runs: Runs = RUNS, json: Json = False) -> None:
    """Show a run: its goal, its trials, its end.

    \b
    sdl show latest
    """
    from sdl.cli.live import headline, line, trial_table
    from sdl.cli.run import report

    run, trials = _follow(name, runs)
    goal = run.campaign.plan.goal
    if not json:
        print(headline(run.opened, goal))
        if sys.stdout.isatty():
            from rich.console import Console

            Console().print(trial_table(trials.shown, run.opened, goal))
        else:
            for shown in trials.shown:
                print(line(shown))
        for note in trials.notes:
            print(f"     {note}")
    report(run.result, run.result.reason, json=json)


def explain(
    name: RunName,
    trial: Annotated[int | None, typer.Argument(help="Which trial; all of them where it is left out.")] = None,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Say who proposed a trial and why, from how many rows, what was expected and what came.

    \b
    sdl explain latest 4
    """
    run, _ = _follow(name, runs)
    if trial is not None and trial not in run.proposals:
        last = max(run.proposals, default=-1)
        raise ConfigError(
            f"trial {trial} is not in this run; it has 0 … {last}" if last >= 0 else "this run has no trial"
        )
    chosen = [run.proposals[trial]] if trial is not None else list(run.proposals.values())
    if json:
        emit({"run": str(run.folder), "trials": [_explained(run, proposed) for proposed in chosen]})
        return
    for proposed in chosen:
        print("\n".join(_sentences(_explained(run, proposed))))


def check(name: RunName, runs: Runs = RUNS, json: Json = False) -> None:
    """Read a whole record against its hashes: was anything changed, lost or swapped?

    Exit code 0: sound; 5: damaged, with file and line. Nothing is changed.

    \b
    sdl check latest
    """
    from sdl import record
    from sdl.runs import find, open_run

    folder = find(name, runs)
    try:
        found = record.check(folder)
        open_run(folder)  # sound lines may still not follow from one another
    except SdlError as error:
        if json:
            emit({"run": str(folder), "sound": False, "reason": str(error), "exit_code": error.exit_code})
        raise
    if json:
        emit({"run": str(folder), "sound": True, **dataclasses.asdict(found)})
        return
    print(f"{folder}: sound; {found.lines} events, {'finished' if found.finished else 'unfinished'}, sha {found.sha}")
    for note in found.notes:
        print(f"  {note}")


def export(
    name: RunName,
    to: Annotated[
        Form, typer.Option("--to", help="csv: a row a reading; jsonl: the same; claude-light: the paper's log.")
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout.")] = None,
    runs: Runs = RUNS,
) -> None:
    """Write the readings of a run in another form.

    \b
    sdl export latest --to csv -o readings.csv
    """
    from sdl.runs import find

    if output is not None and output.exists():
        raise ConfigError(f"{output} exists already; name another file")
    folder = find(name, runs)
    if output is None:
        for text in _export(folder, to):
            print(text)
    else:
        write_export(folder, to, output)


def write_export(folder: Path, to: str, output: Path | None) -> None:
    """Writes the readings of a run to `output`; nothing without one.

    Raises:
        ConfigError: the file cannot be written.
    """
    if output is None:
        return
    try:
        with output.open("x", encoding="utf-8", newline="\n") as stream:
            stream.writelines(f"{text}\n" for text in _export(folder, to))
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {error.strerror}") from error


def _export(folder: Path, to: str) -> Iterator[str]:
    from sdl.readings import claude_light_line
    from sdl.runs import open_run

    run = open_run(folder)
    if to == Form.CLAUDE_LIGHT:
        inputs = [str(item["name"]) for item in run.opened.instrument["inputs"]]
        for event in run.measured():
            yield jsonlib.dumps(claude_light_line(event, inputs), allow_nan=False)
        return
    rows = run.rows()
    if to == Form.JSONL:
        for row in rows:
            yield jsonlib.dumps(row, allow_nan=False, ensure_ascii=False)
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for row in ({key: key for key in columns}, *rows):
        text = io.StringIO()
        csv.DictWriter(text, columns, restval="", lineterminator="").writerow(row)
        yield text.getvalue()


def _follow(name: str, runs: Path) -> tuple[Run, Trials]:
    """A run, and its trials as they are shown."""
    from sdl.cli.live import Trials
    from sdl.runs import find, open_run, steps

    run, trials = open_run(find(name, runs)), Trials()
    for event, folded in steps(iter(run.events), run.folder):
        trials.take(event, folded.campaign)
    return run, trials


def _explained(run: Run, proposed: Proposed) -> dict[str, Any]:
    goal = run.campaign.plan.goal
    measured = run.measured(proposed.trial)
    names = goal.channels if goal else tuple(measured[0].readings if measured else ())
    means = {n: sum(e.readings[n] for e in measured) / len(measured) for n in names} if measured else {}
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
        "expected": {name: proposed.expected.get(name) for name in names},
        "measured": means,
        "readings": len(measured),
        "miss": goal.miss(means) if goal and means else None,
        "failed": [event.error for event in run.failed(proposed.trial)],
    }


def _sentences(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"trial {told['trial']}: proposed by {told['by']} from {told['rows']} rows: {told['why']}"
    for name, value in told["settings"].items():
        spread, doubt = told["spread"].get(name), told["uncertainty"].get(name)
        known = [f"spread {spread:.4f}"] if spread is not None else []
        known += [f"uncertainty {doubt:.4f}"] if doubt is not None else []
        clipped = ["clipped to its bounds"] if name in told["clipped"] else []
        yield f"  {name:>8} {value:.4f}  {', '.join(known + clipped)}".rstrip()
    if told["verdict"] is not None:
        yield f"  verdict: {told['verdict']}"
    for name, value in told["measured"].items():
        wanted = f"goal {told['goal'][name]:.0f}, " if name in told["goal"] else ""
        expected = told["expected"].get(name)
        thought = f"expected {expected:.0f}, " if expected is not None else ""
        yield f"  {name:>8} {wanted}{thought}came {value:.0f} (mean of {told['readings']})"
    if told["miss"] is not None:
        yield f"  missed by {told['miss']:.2f} tolerances" + (" (inside)" if told["miss"] <= 1 else "")
    for error in told["failed"]:
        yield f"  failed: {error}"
