"""The command for one shot on a data set: solve."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.options import Json, Quiet, emit
from sdl.errors import ConfigError, SolverError

if TYPE_CHECKING:
    from sdl.goal import Goal
    from sdl.readings import Rows
    from sdl.solvers.base import Data, Solver
    from sdl.types import Channel, Input

PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "all": (
        {"kind": "linear", "intercept": False},
        {"kind": "linear"},
        {"kind": "pls"},
        {"kind": "gmm"},
        {"kind": "forest"},
    ),
    "paper": (
        {"kind": "linear", "intercept": False},
        {"kind": "pls"},
        {"kind": "gmm"},
        {"kind": "forest", "trend": "none", "n_t": 50, "duplicate_K": 100, "n_estimators": 100},
    ),
}
"""`all`: each solver as we would use it, and the paper's linear one. `paper`: all four as the paper has them."""


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(solve)


def solve(
    sources: Annotated[list[Path], typer.Argument(metavar="DATA…", help="Runs, records or Claude-Light logs.")],
    goals: Annotated[
        list[str], typer.Option("--goal", metavar="CHANNEL=VALUE", help="Wanted reading; may be repeated.")
    ],
    solvers: Annotated[
        list[str] | None,
        typer.Option(
            "--solver", metavar="SOLVER", help="A kind, '{kind: linear, intercept: false}', `all` or `paper`. [gmm]"
        ),
    ] = None,
    tolerance: Annotated[str, typer.Option(help="What counts as hit, for the verdict: 2% or counts.")] = "2%",
    validate: Annotated[
        bool,
        typer.Option("--validate/--no-validate", help="Cross-validate: whole days left out where there are several."),
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Which settings give these readings, from data that is there already.

    \b
    sdl solve rgb.jsonl --goal 445nm=16384 --goal 515nm=16384 --goal 630nm=16384 --solver all
    sdl solve runs/led-16384/2026… --goal 515nm=20000 --solver '{kind: gmm, components: bic}'

    The error is that of settings predicted for rows that were left out, in units of each input.
    """
    from sdl.oneshot import data_from

    wanted = _goal(goals, tolerance)
    inputs, channels = _instrument(sources[0])
    unknown = [name for name in wanted.channels if name not in {c.name for c in channels}]
    if unknown:
        raise ConfigError(
            f"--goal: unknown channel {', '.join(unknown)}; allowed: {', '.join(c.name for c in channels)}"
        )
    found = [_load(source, inputs, channels, wanted) for source in sources]
    rows = [row for source in found for row in source.rows]
    if not rows:
        raise ConfigError(f"no usable row for this goal; {_left_out(found) or 'the data is empty'}")
    data = data_from(rows, inputs, channels, wanted.channels)
    chosen = _solvers(solvers or ["gmm"])
    if not json:
        print(f"{len(rows)} rows of {', '.join(map(str, sources))}; {_left_out(found) or 'none left out'}")
    days = [row.day for row in rows]
    answers = [
        _one(solver, data, wanted, days, validate, seed, i, len(chosen), quiet) for i, solver in enumerate(chosen)
    ]
    if json:
        counts = {str(f.source): dict(f.left_out) for f in found}
        emit({"rows": len(rows), "left_out": counts, "goal": wanted.targets, "answers": answers})
    else:
        _print(answers, inputs, wanted)
    if not any("settings" in answer for answer in answers):
        raise SolverError("no solver could answer")


def _one(
    solver: Solver, data: Data, goal: Goal, days: Sequence[str], validate: bool, seed: int, i: int, n: int, quiet: bool
) -> dict[str, Any]:
    import numpy as np

    from sdl.inverse import ask
    from sdl.oneshot import cross_validate

    name, began = _name(solver), time.perf_counter()
    if not quiet:
        print(f"  {i + 1}/{n} {name} …", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
    told: dict[str, Any] = {"solver": name, "options": solver.model_dump(mode="json")}  # type: ignore[attr-defined]
    try:
        answer = ask(solver, data, goal, np.random.default_rng([seed, 1, 0]))
        told |= {
            "settings": answer.settings,
            "raw": answer.raw,
            "clipped": answer.clipped,
            "spread": answer.spread,
            "uncertainty": answer.uncertainty,
            "expected": {c: answer.expected.get(c) for c in goal.channels},
            "verdict": answer.verdict,
            "why": answer.why,
            "seconds": round(time.perf_counter() - began, 3),
        }
        if validate:
            checked = cross_validate(solver, data, days, seed)
            told["validated"] = {"rmse": checked.rmse, "rows": checked.rows, "folds": checked.folds, "by": checked.by}
    except SolverError as error:
        told["error"] = f"{type(error).__name__}: {error}"
    return told


def _print(answers: Sequence[dict[str, Any]], inputs: Sequence[Input], goal: Goal) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("solver")
    for item in inputs:
        table.add_column(item.name, justify="right")
    for title in ("± spread", "± uncertainty", "expected", "verdict", "error (left out)"):
        table.add_column(title, justify="left" if title == "verdict" else "right")
    for told in answers:
        if "settings" not in told:
            table.add_row(told["solver"], *("" for _ in inputs), "", "", "", told["error"], "")
            continue
        expected = [told["expected"].get(name) for name in goal.channels]
        table.add_row(
            told["solver"],
            *(f"{told['settings'][item.name]:.4f}" for item in inputs),
            _triple(told["spread"]),
            _triple(told["uncertainty"]),
            " ".join("?" if value is None else f"{value:.0f}" for value in expected),
            str(told["verdict"]),
            _triple(told["validated"]["rmse"]) if "validated" in told else told.get("error", ""),
        )
    console = Console()
    Console(width=max(console.width, 150) if not console.is_terminal else None).print(table)
    checked = next((told["validated"] for told in answers if "validated" in told), None)
    if checked:
        how = f"{checked['folds']} whole days" if checked["by"] == "day" else f"{checked['folds']} parts of the rows"
        print(f"error: root mean square of the settings predicted for {checked['rows']} rows, {how} left out in turn")
    for told in answers:
        if told.get("clipped"):
            raw = ", ".join(f"{name} {value:.4f}" for name, value in told["raw"].items())
            print(f"{told['solver']}: clipped to the bounds; it said {raw}")
        if "why" in told:
            print(f"{told['solver']}: {told['why']}")


def _triple(values: dict[str, float | None]) -> str:
    return " ".join("?" if value is None else f"{value:.4f}" for value in values.values())


def _name(solver: Solver) -> str:
    """The kind, and the options that are not its defaults."""
    options = solver.model_dump(mode="json", exclude_defaults=True)  # type: ignore[attr-defined]
    options.pop("kind", None)
    text = ", ".join(
        f"{key} {str(value).lower() if isinstance(value, bool) else value}" for key, value in options.items()
    )
    return f"{solver.kind} ({text})" if text else solver.kind


def _solvers(given: Sequence[str]) -> list[Solver]:
    from sdl import config, yamlfile

    trees: list[Any] = []
    for text in given:
        trees += PRESETS.get(text, (yamlfile.scalar(text),))
    return list({_name(solver): solver for solver in (config.parse_kind("solver", tree) for tree in trees)}.values())


def _goal(given: Sequence[str], tolerance: str) -> Goal:
    from sdl import config
    from sdl.goal import Band, Goal, Tolerance

    try:
        width = Tolerance.parse(tolerance if tolerance.strip().endswith("%") else float(tolerance))
    except ValueError as error:
        raise ConfigError(f"--tolerance {error}") from error
    bands: dict[str, Band] = {}
    for text in given:
        name, value = config.split(text)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or abs(value) == float("inf")
            or value != value
        ):
            raise ConfigError(f"--goal {text}: must be CHANNEL=NUMBER, such as 445nm=16384")
        if name in bands:
            raise ConfigError(f"--goal {text}: {name} is given twice")
        try:
            bands[name] = Band.around(float(value), width.of(float(value)))
        except ValueError as error:
            raise ConfigError(f"--goal {text}: a tolerance of {width} of it is 0; give counts") from error
    return Goal(bands)


def _instrument(source: Path) -> tuple[tuple[Input, ...], tuple[Channel, ...]]:
    """Inputs and channels: the record's own, else those of the reference instrument."""
    from sdl import config
    from sdl.events import Opened
    from sdl.record import FILE, read
    from sdl.types import Channel, Input

    file = source / FILE if source.is_dir() else source
    try:
        with file.open("rb") as stream:
            record = stream.readline(1 << 16).startswith(b'{"event": "Opened"')
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from error
    if record:
        opened = next(iter(read(file)))
        if isinstance(opened, Opened):
            about = opened.instrument
            inputs = tuple(Input.model_validate(item) for item in about["inputs"])
            return inputs, tuple(Channel.model_validate(item) for item in about["channels"])
    instrument = config.parse_kind("instrument", "claude-light")
    return instrument.inputs, instrument.channels


def _load(source: Path, inputs: Sequence[Input], channels: Sequence[Channel], goal: Goal) -> Rows:
    from sdl import readings

    return readings.load(source, [item.name for item in inputs], channels, goal.channels)


def _left_out(found: Sequence[Rows]) -> str:
    total: dict[str, int] = {}
    for rows in found:
        for reason, n in rows.left_out.items():
            total[reason] = total.get(reason, 0) + n
    return ", ".join(f"{n} left out: {reason}" for reason, n in total.items())
