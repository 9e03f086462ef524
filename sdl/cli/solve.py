"""The command for one shot on a data set: solve."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.options import RUNS, Json, Quiet, Runs, emit, near, number
from sdl.cli.words import count, reading, say, setting
from sdl.errors import ConfigError, NotEnoughData, SolverError

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
        {"kind": "bayes"},
        {"kind": "gp"},
    ),
    "paper": (
        {"kind": "linear", "intercept": False},
        {"kind": "pls", "level": False},
        {"kind": "gmm", "trend": "none"},
        {"kind": "forest", "trend": "none", "n_t": 50, "duplicate_K": 100, "n_estimators": 100},
    ),
}
"""`all`: the paper's four kinds as we would use them, its own linear one through the origin, bayes and gp.
`paper`: all four as the paper has them."""


def add_to(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(solve)


def solve(
    sources: Annotated[
        list[str], typer.Argument(metavar="DATA…", help="Runs (by name or directory), records or Claude-Light logs.")
    ],
    goals: Annotated[
        list[str],
        typer.Option(
            "--goal",
            metavar="CHANNEL=VALUE",
            help="Wanted reading; may be repeated. Limits: 'clear={at most: 60000}', at least, between: [1000, 60000].",
        ),
    ],
    solvers: Annotated[
        list[str] | None,
        typer.Option(
            "--solver",
            metavar="SOLVER",
            help="A kind, '{kind: linear, intercept: false}', `all` or `paper` (see above). [gmm]",
        ),
    ] = None,
    tolerance: Annotated[str, typer.Option(help="What counts as hit, for the verdict: 2% or counts.")] = "2%",
    prefer: Annotated[
        str | None,
        typer.Option(help="Which of the settings that reach it: '{minimise: power}', '{maximise: R}'."),
    ] = None,
    all_solutions: Annotated[
        bool, typer.Option("--all-solutions", help="Also list all other settings that reach it.")
    ] = False,
    validate: Annotated[
        bool,
        typer.Option("--validate/--no-validate", help="Cross-validate: whole days left out where there are several."),
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which settings give these readings, from data.

    \b
    sdl solve rgb.jsonl --goal 445nm=16384 --goal 515nm=16384 --goal 630nm=16384 --solver all
    sdl solve latest --goal 515nm=20000 --solver '{kind: gmm, components: bic}'

    `--solver paper`: linear, pls, gmm and forest as the paper has them. `--solver all`: the four with our defaults,
    linear through the origin, bayes and gp.

    The error is that of settings predicted for rows that were left out, in units of each input.
    """
    from sdl import yamlfile
    from sdl.locate import source as locate
    from sdl.oneshot import data_from, parse_prefer

    wanted = _goal(goals, tolerance)
    chosen = _solvers(solvers or ["gmm"])
    data_sets = [locate(source, Path(), runs) for source in sources]
    inputs, channels = _instrument(data_sets[0])
    names = [channel.name for channel in channels]
    for name in wanted.channels:
        if name not in names:
            raise ConfigError(f"--goal: unknown channel {name}; {near(name, names)}")
    found = [_load(source, inputs, channels, wanted) for source in data_sets]
    rows = [row for source in found for row in source.rows]
    if not rows:
        raise ConfigError(f"no usable row for this goal; {_left_out(found) or 'the data is empty'}")
    data = data_from(rows, inputs, channels, wanted.channels)
    if prefer is not None:
        data = replace(data, prefer=parse_prefer(yamlfile.scalar(prefer), inputs))
    if not json:
        say(f"{count(len(rows), 'row')} of {', '.join(map(str, data_sets))}; {_left_out(found) or 'none left out'}")
        say(f"goal: {wanted}")
    days = [row.day for row in rows]
    answers = [
        _one(solver, data, wanted, days, validate, seed, i, len(chosen), quiet) for i, solver in enumerate(chosen)
    ]
    if all_solutions:
        for solver, told in zip(chosen, answers, strict=True):
            told |= _others(solver, data, wanted, seed)
    if json:
        counts = {str(f.source): dict(f.left_out) for f in found}
        bands = {name: band.plain() for name, band in wanted.bands.items()}
        emit({"rows": len(rows), "left_out": counts, "goal": wanted.targets, "bands": bands, "answers": answers})
    else:
        _print(answers, inputs, wanted)
    if not any("settings" in answer for answer in answers):
        raise SolverError("no solver could answer")


def _one(
    solver: Solver, data: Data, goal: Goal, days: Sequence[str], validate: bool, seed: int, i: int, n: int, quiet: bool
) -> dict[str, Any]:
    import numpy as np

    from sdl.cli.progress import working
    from sdl.inverse import ask
    from sdl.oneshot import cross_validate

    name, began = _name(solver), time.perf_counter()
    told: dict[str, Any] = {"solver": name, "options": solver.model_dump(mode="json")}  # type: ignore[attr-defined]
    try:
        with working(f"{i + 1}/{n} {name}", quiet=quiet) as tell:
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
                "shortfall": answer.shortfall,
                "seconds": round(time.perf_counter() - began, 3),
            }
            if validate:
                checked = cross_validate(solver, data, days, seed, lambda k, parts: tell(1 + k, 1 + parts))
                told["validated"] = {
                    "rmse": checked.rmse,
                    "rows": checked.rows,
                    "folds": checked.folds,
                    "by": checked.by,
                }
    except SolverError as error:
        told["error"] = f"not enough data: {error}" if isinstance(error, NotEnoughData) else str(error)
    return told


NAME = 18
"""Characters a line of a solver's name and options."""

LEGEND = (
    ("spread", "spread: standard deviation of the settings for one noisy reading at the goal"),
    ("uncertainty", "uncertainty: the same for the noise-free goal, the model's own doubt"),
)


def _print(answers: Sequence[dict[str, Any]], inputs: Sequence[Input], goal: Goal) -> None:
    """A block a solver: what it says of each input on the left, the readings it expects on the right."""
    rows: list[tuple[str, ...]] = [("solver", "", "setting", "spread", "uncertainty", "error", "", "expected")]
    for told in answers:
        rows += _block(told, inputs, goal)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        cells = [t.ljust(w) if i < 2 else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())
    print()
    for key, text in LEGEND:
        if any(value is not None for told in answers for value in told.get(key, {}).values()):
            say(text)
    checked = next((told["validated"] for told in answers if "validated" in told), None)
    if checked:
        how = f"{checked['folds']} whole days" if checked["by"] == "day" else f"{checked['folds']} parts of the rows"
        say(f"error: root mean square of the settings predicted for {checked['rows']} rows, {how} left out in turn")
    for told in answers:
        if told.get("clipped"):
            raw = ", ".join(f"{name} {value:.4f}" for name, value in told["raw"].items())
            say(f"{told['solver']}: clipped to the bounds; it said {raw}")
        if "why" in told:
            say(f"{told['solver']}: {told['why']}")
        for line in _listed(told):
            say(line)
        if "error" in told:
            say(f"{told['solver']}: {'not validated' if 'settings' in told else 'no answer'}: {told['error']}")


def _block(told: Mapping[str, Any], inputs: Sequence[Input], goal: Goal) -> list[tuple[str, ...]]:
    """The rows of one solver: as many as it has lines of its own, inputs, or channels."""
    kind, _, options = told["solver"].partition(" (")
    own = [(text,) for text in (kind, *textwrap.wrap(options.removesuffix(")"), NAME))]
    if "settings" not in told:
        own.append(("no answer",))
        return [(*name, *[""] * 7) for name in own]
    own += [(text,) for text in textwrap.wrap(str(told["verdict"]), NAME)]
    parts = (told["settings"], told["spread"], told["uncertainty"], told.get("validated", {}).get("rmse", {}))
    left = [[item.name, *(_number(part.get(item.name)) for part in parts)] for item in inputs]
    for row, item in zip(left, inputs, strict=True):
        row[1] = setting(told["settings"][item.name], item.model_dump())
    came = told["expected"]
    right = [(n, "?" if came.get(n) is None else reading(came[n], goal.bands[n])) for n in goal.channels]
    lines = zip_longest(own, left, right)
    return [(*(a or ("",)), *(b or ("",) * 5), *(c or ("",) * 2)) for a, b, c in lines]


def _others(solver: Solver, data: Data, goal: Goal, seed: int) -> dict[str, Any]:
    """All settings that reach the goal, or why they cannot be listed."""
    import numpy as np

    from sdl.solutions import solutions

    try:
        found = solutions(solver.fit(data), data, goal, np.random.default_rng([seed, 1, 1]))
    except SolverError as error:
        return {"solutions": None, "no_solutions": str(error)}
    return {"solutions": [{"settings": s.settings, "expected": s.expected, "miss": s.miss} for s in found]}


def _listed(told: Mapping[str, Any]) -> list[str]:
    """A line a solution."""
    if "no_solutions" in told:
        return [f"{told['solver']}: {told['no_solutions']}"]
    found = told.get("solutions")
    if found is None:
        return []
    lines = [f"{told['solver']}: {count(len(found), 'solution')}{':' if found else ''}"]
    for one in found:
        settings = "  ".join(f"{name} {value:.4f}" for name, value in one["settings"].items())
        miss = "" if one["miss"] is None else f"  misses by {one['miss']:.2f} tolerances"
        lines.append(f"  {settings}{miss}")
    return lines


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"


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
    from sdl.solvers.forest import not_installed

    chosen: dict[str, Solver] = {}
    for text in given:
        try:
            for tree in PRESETS.get(text) or (yamlfile.scalar(text),):
                solver = config.parse_kind("solver", tree)
                if text in PRESETS and solver.kind == "forest" and (absent := not_installed()):
                    print(f"--solver {text} without forest: {absent}", file=sys.stderr)
                    continue
                chosen[_name(solver)] = solver
        except ConfigError as error:
            sets = " (`all` and `paper` are sets of solvers)" if text.isidentifier() else ""
            raise ConfigError(*(f"--solver {text}: {p.message}{sets}" for p in error.problems)) from error
    return list(chosen.values())


def _goal(given: Sequence[str], tolerance: str) -> Goal:
    from sdl.goal import Band, Goal, Tolerance
    from sdl.oneshot import parse_band

    try:
        width = Tolerance.parse(tolerance if tolerance.strip().endswith("%") else float(tolerance))
    except ValueError as error:
        raise ConfigError(f"--tolerance {tolerance}: must be 2% (of the target) or 300 (counts), above 0") from error
    bands: dict[str, Band] = {}
    for text in given:
        try:
            name, value = _limits(text) or number(text, "CHANNEL=NUMBER, such as 445nm=16384")
        except ConfigError as error:
            raise ConfigError(f"--goal {error}") from error
        if name in bands:
            raise ConfigError(f"--goal {text}: {name} is given twice")
        try:
            bands[name] = parse_band(name, value, width)
        except ConfigError as error:
            raise ConfigError(*(f"--goal {text}: {p.message}" for p in error.problems)) from error
    return Goal(bands)


def _limits(text: str) -> tuple[str, Any] | None:
    """Channel and mapping of `clear={at most: 60000}`; None where it is of another form."""
    from sdl import config

    if "={" not in text:
        return None
    return config.split(text)


def _instrument(source: Path) -> tuple[tuple[Input, ...], tuple[Channel, ...]]:
    """Inputs and channels: the record's own, else those of the reference instrument."""
    from sdl import config
    from sdl.events import Opened
    from sdl.readings import instrument_of
    from sdl.record import FILE, read

    file = source / FILE if source.is_dir() else source
    try:
        with file.open("rb") as stream:
            record = stream.readline(1 << 16).startswith(b'{"event": "Opened"')
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from error
    if record:
        opened = next(iter(read(file)))
        if isinstance(opened, Opened):
            return instrument_of(opened, file)
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
    return "; ".join(f"{n} left out: {reason}" for reason, n in total.items())
