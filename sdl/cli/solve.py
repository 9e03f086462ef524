"""The command `sdl solve`: settings for a goal, from a data set alone."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.display.progress import working
from sdl.cli.options import (
    RUNS,
    ChannelColumns,
    InputColumns,
    Json,
    Quiet,
    Runs,
    columns_of,
    emit,
    near,
    number,
)
from sdl.cli.terminal import aligned, say
from sdl.errors import ConfigError, NotEnoughData, SolverError
from sdl.formatting import count, display, reading, setting

if TYPE_CHECKING:
    from sdl.core.goal import Goal
    from sdl.solvers.base import Data, Solver
    from sdl.store.datasets import ColumnNames, Dataset, DatasetRow
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
"""`all`: the paper's four kinds with our defaults, linear through the origin, bayes and gp.
`paper`: the four kinds as in the paper."""


def solve(
    sources: Annotated[
        list[str], typer.Argument(metavar="DATA…", help="Runs (by name or directory), records, logs or tables.")
    ],
    goals: Annotated[
        list[str],
        typer.Option(
            "--goal",
            metavar="CHANNEL=VALUE",
            help="Target reading; repeatable. Limits: 'clear={at most: 60000}', at least, between: [1000, 60000].",
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
    tolerance: Annotated[str, typer.Option(help="Tolerance, for the verdict: 2% or counts.")] = "2%",
    prefer: Annotated[
        str | None,
        typer.Option(
            help="Which settings to prefer among those that reach the goal: '{minimise: power}', '{maximise: R}'."
        ),
    ] = None,
    all_solutions: Annotated[
        bool, typer.Option("--all-solutions", help="Also list all other settings that reach the goal.")
    ] = False,
    validate: Annotated[
        bool,
        typer.Option("--validate/--no-validate", help="Cross-validate: leave out whole days, levels or parts."),
    ] = True,
    inputs: InputColumns = None,
    channels: ChannelColumns = None,
    instrument: Annotated[
        str | None,
        typer.Option(
            "--instrument",
            metavar="FILE",
            help="Instrument that defines inputs, bounds and channels: a campaign, or a kind such as sdl-light.",
        ),
    ] = None,
    low: Annotated[
        list[str] | None, typer.Option("--low", metavar="NAME=VALUE", help="Lower bound of an input; repeatable.")
    ] = None,
    high: Annotated[
        list[str] | None, typer.Option("--high", metavar="NAME=VALUE", help="Upper bound of an input; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say which settings give these readings, from data.

    \b
    sdl solve rgb.jsonl --goal 445nm=16384 --goal 515nm=16384 --goal 630nm=16384 --solver all
    sdl solve latest --goal 515nm=20000 --solver '{kind: gmm, components: bic}'
    sdl solve dyes.csv --input red --input blue --high red=300 --goal R=140 --tolerance 3

    `--solver paper`: linear, pls, gmm and forest as the paper has them. `--solver all`: the four with our defaults,
    linear through the origin, bayes and gp.

    The error is that of settings predicted for rows that were left out, in the unit of each input.

    Data is a run, a log, or a table: CSV, JSON or Parquet, also gzipped. Bounds are those of the instrument, or given
    by --low and --high, or those of the data.
    """
    goal = _goal(goals, tolerance)
    kinds = _solvers(solvers or ["gmm"])
    question = _question(
        sources,
        goal,
        columns_of(inputs, channels),
        instrument,
        _bounds("--low", low),
        _bounds("--high", high),
        prefer,
        runs,
    )
    if not json:
        files = ", ".join(str(part.source) for part in question.data_sets)
        say(f"{count(len(question.rows), 'row')} of {files}; {_left_out(question.data_sets) or 'none left out'}")
        say(f"goal: {goal}")
    answers = []
    for i, solver in enumerate(kinds):
        with working(f"{i + 1}/{len(kinds)} {_name(solver)}", quiet=quiet) as progress:
            answers.append(_answer(solver, question, seed, validate=validate, progress=progress))
    if all_solutions:
        for solver, answer in zip(kinds, answers, strict=True):
            answer |= _all_solutions(solver, question, seed)
    if json:
        emit(question.plain() | {"answers": answers})
    else:
        _print(answers, question.inputs, goal)
    if all("settings" not in answer for answer in answers):
        raise SolverError("no solver could answer")


@dataclass(frozen=True)
class _Question:
    """What every solver is asked: a goal, and the rows to learn from."""

    goal: Goal
    data_sets: Sequence[Dataset]
    rows: Sequence[DatasetRow]
    inputs: tuple[Input, ...]
    data: Data
    held: Mapping[str, float]

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        parts = {str(part.source): part for part in self.data_sets}
        return {
            "rows": len(self.rows),
            "left_out": {source: dict(part.left_out) for source, part in parts.items()},
            "lines": {source: dict(part.lines) for source, part in parts.items()},
            "held": self.held,
            "goal": self.goal.targets,
            "bands": {name: band.plain() for name, band in self.goal.bands.items()},
        }


def _question(
    sources: Sequence[str],
    goal: Goal,
    columns: ColumnNames,
    instrument: str | None,
    low: Mapping[str, float],
    high: Mapping[str, float],
    prefer: str | None,
    runs: Path,
) -> _Question:
    """Read the data sets.

    Raises:
        ConfigError: no usable row, or an unknown channel or input.
    """
    from sdl import yamlfile
    from sdl.inverse.dataset import data_from, hold, parse_prefer
    from sdl.store import datasets
    from sdl.store.resolve import source as locate

    files = [locate(source, Path(), runs) for source in sources]
    known, measured, gap = _instrument(files[0], columns, instrument, goal)
    names = [channel.name for channel in measured]
    for name in goal.channels:
        if name not in names:
            raise ConfigError(f"--goal: unknown channel {name}; {near(name, names)}")
    data_sets = [
        datasets.load(file, known, measured, goal.channels, columns=columns, session_gap=gap) for file in files
    ]
    rows = [replace(row, session=session) for _, row, session in datasets.number_sessions(data_sets)]
    if not rows:
        raise ConfigError(f"no usable row for this goal; {_left_out(data_sets) or 'the data is empty'}")
    inputs = _bounded(known, rows, low, high)
    data = data_from(rows, inputs, measured, goal.channels)
    if prefer is not None:
        data = replace(data, prefer=parse_prefer(yamlfile.scalar(prefer), inputs))
    return _Question(goal, data_sets, rows, inputs, *hold(data))


def _answer(
    solver: Solver, question: _Question, seed: int, *, validate: bool, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """One solver's answer and its cross-validation, or the error that prevented them; as `--json` prints it."""
    import numpy as np

    from sdl.inverse.dataset import cross_validate, with_held
    from sdl.inverse.propose import propose

    began, goal, data = time.perf_counter(), question.goal, question.data
    answer: dict[str, Any] = {
        "solver": _name(solver),
        "options": solver.model_dump(mode="json"),  # type: ignore[attr-defined]
    }
    try:
        proposal = with_held(propose(solver, data, goal, np.random.default_rng([seed, 1, 0])), question.held)
        answer |= {
            "settings": proposal.settings,
            "raw": proposal.raw,
            "clipped": proposal.clipped,
            "spread": proposal.spread,
            "uncertainty": proposal.uncertainty,
            "expected": {c: proposal.expected.get(c) for c in goal.channels},
            "verdict": proposal.verdict,
            "why": proposal.why,
            "shortfall": proposal.shortfall,
            "seconds": round(time.perf_counter() - began, 3),
        }
        if validate:
            days = [row.day for row in question.rows]
            checked = cross_validate(solver, data, days, seed, lambda k, parts: progress(1 + k, 1 + parts))
            answer["validated"] = {
                "rmse": checked.rmse,
                "rows": checked.rows,
                "folds": checked.folds,
                "by": checked.by,
            }
    except SolverError as error:
        answer["error"] = f"not enough data: {error}" if isinstance(error, NotEnoughData) else str(error)
    return answer


NAME = 18
"""Characters per line of a solver's name and options."""

LEGEND = (
    ("spread", "spread: standard deviation of the settings for one noisy reading at the goal"),
    ("uncertainty", "uncertainty: the same for the noise-free goal: the model's own standard error"),
)


def _print(answers: Sequence[dict[str, Any]], inputs: Sequence[Input], goal: Goal) -> None:
    """Print a block per solver: its settings on the left, the readings it expects on the right."""
    rows: list[tuple[str, ...]] = [("solver", "", "setting", "spread", "uncertainty", "error", "", "expected")]
    for answer in answers:
        rows += _block(answer, inputs, goal)
    print("\n".join(["", *aligned(rows, range(2)), ""]))
    for key, text in LEGEND:
        if any(value is not None for answer in answers for value in answer.get(key, {}).values()):
            say(text)
    checked = next((answer["validated"] for answer in answers if "validated" in answer), None)
    if checked:
        what = {
            "day": "whole days",
            "level": "levels",
            "day and level": "levels of whole days",
            "fold": "parts of the rows",
        }
        how = f"{checked['folds']} {what[checked['by']]}"
        say(f"error: root mean square of the settings predicted for {checked['rows']} rows, {how} left out in turn")
    for answer in answers:
        if answer.get("clipped"):
            raw = ", ".join(f"{name} {value:.4f}" for name, value in answer["raw"].items())
            say(f"{answer['solver']}: clipped to the bounds; unclipped: {raw}")
        if "why" in answer:
            say(f"{answer['solver']}: {answer['why']}")
        for line in _listed(answer):
            say(line)
        if "error" in answer:
            say(f"{answer['solver']}: {'not validated' if 'settings' in answer else 'no answer'}: {answer['error']}")


def _block(answer: Mapping[str, Any], inputs: Sequence[Input], goal: Goal) -> list[tuple[str, ...]]:
    """The rows of one solver: as many as its longest column has."""
    kind, _, options = answer["solver"].partition(" (")
    own = [(text,) for text in (kind, *textwrap.wrap(options.removesuffix(")"), NAME))]
    if "settings" not in answer:
        own.append(("no answer",))
        return [(*name, *[""] * 7) for name in own]
    own += [(text,) for text in textwrap.wrap(display(answer["verdict"]), NAME)]
    parts = (answer["spread"], answer["uncertainty"], answer.get("validated", {}).get("rmse", {}))
    settings = [
        (i.name, setting(answer["settings"][i.name], i.model_dump()), *(_number(part.get(i.name)) for part in parts))
        for i in inputs
    ]
    expected = {name: answer["expected"].get(name) for name in goal.channels}
    readings = [(name, "?" if v is None else reading(v, goal.bands[name])) for name, v in expected.items()]
    lines = zip_longest(own, settings, readings)
    return [(*(a or ("",)), *(b or ("",) * 5), *(c or ("",) * 2)) for a, b, c in lines]


def _all_solutions(solver: Solver, question: _Question, seed: int) -> dict[str, Any]:
    """All settings that reach the goal, or why they cannot be listed."""
    import numpy as np

    from sdl.inverse.knowledge import fit
    from sdl.inverse.multiple import solutions

    rng = np.random.default_rng([seed, 1, 1])
    try:
        modes = solutions(fit(solver, question.data), question.data, question.goal, rng)
    except SolverError as error:
        return {"solutions": None, "no_solutions": str(error)}
    names = ("expected", "miss", "probability", "continuum")
    listed = [
        {"settings": {**mode.settings, **question.held}, **{name: getattr(mode, name) for name in names}}
        for mode in modes
    ]
    return {"solutions": listed}


def _listed(answer: Mapping[str, Any]) -> list[str]:
    """One line per solution."""
    if "no_solutions" in answer:
        return [f"{answer['solver']}: {answer['no_solutions']}"]
    if "solutions" not in answer:
        return []
    solutions = answer["solutions"]
    lines = [f"{answer['solver']}: {count(len(solutions), 'solution')}{':' if solutions else ''}"]
    for one in solutions:
        settings = "  ".join(f"{name} {value:.4f}" for name, value in one["settings"].items())
        facts = [] if one["miss"] is None else [f"{one['miss']:.2f} × tolerance"]
        facts += [] if one["probability"] is None else [f"probability {100 * one['probability']:.0f} %"]
        facts += ["one of a family of solutions"] if one["continuum"] else []
        lines.append(f"  {settings}" + (f"  ({', '.join(facts)})" if facts else ""))
    return lines


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"


def _name(solver: Solver) -> str:
    """The kind and its options that differ from the defaults."""
    options = solver.model_dump(mode="json", exclude_defaults=True)  # type: ignore[attr-defined]
    options.pop("kind", None)
    text = ", ".join(
        f"{key} {str(value).lower() if isinstance(value, bool) else value}" for key, value in options.items()
    )
    return f"{solver.kind} ({text})" if text else solver.kind


def _solvers(given: Sequence[str]) -> list[Solver]:
    from sdl import config, yamlfile
    from sdl.solvers.forest import not_installed

    solvers: dict[str, Solver] = {}
    for text in given:
        try:
            for tree in PRESETS.get(text) or (yamlfile.scalar(text),):
                solver = config.parse_kind("solver", tree)
                if text in PRESETS and solver.kind == "forest" and (absent := not_installed()):
                    print(f"--solver {text} without forest: {absent}", file=sys.stderr)
                    continue
                solvers[_name(solver)] = solver
        except ConfigError as error:
            sets = " (`all` and `paper` are sets of solvers)" if text.isidentifier() else ""
            raise ConfigError(*(f"--solver {text}: {p.message}{sets}" for p in error.problems)) from error
    return list(solvers.values())


def _goal(given: Sequence[str], tolerance: str) -> Goal:
    from sdl import config
    from sdl.core.goal import Band, Goal, Tolerance
    from sdl.inverse.dataset import parse_band

    try:
        width = Tolerance.parse(tolerance if tolerance.strip().endswith("%") else float(tolerance))
    except ValueError as error:
        raise ConfigError(f"--tolerance {tolerance}: must be 2% (of the target) or 300 (counts), above 0") from error
    bands: dict[str, Band] = {}
    for text in given:
        try:
            name, value = config.split(text) if "={" in text else number(text, "CHANNEL=NUMBER, such as 445nm=16384")
        except ConfigError as error:
            raise ConfigError(f"--goal {error}") from error
        if name in bands:
            raise ConfigError(f"--goal {text}: {name} is given twice")
        try:
            bands[name] = parse_band(name, value, width)
        except ConfigError as error:
            raise ConfigError(*(f"--goal {text}: {p.message}" for p in error.problems)) from error
    return Goal(bands)


def _instrument(
    source: Path, columns: ColumnNames, given: str | None, goal: Goal
) -> tuple[Sequence[Input] | Sequence[str], tuple[Channel, ...], float | None]:
    """Inputs (only names if their bounds are unknown), channels and session gap (s; None: that of the data).

    As given, otherwise as found in the data.

    Raises:
        ConfigError: it is unknown which columns are inputs.
    """
    from sdl import config
    from sdl.store.datasets import describe_columns, read_opened, recorded_instrument
    from sdl.store.record import FILE
    from sdl.types import Channel

    if given is not None:
        return _named(given, columns)
    file = source / FILE if source.is_dir() else source
    try:
        opened = read_opened(file)
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from error
    if opened is not None:
        return (*recorded_instrument(opened, file), None)
    has = describe_columns(file)
    light = config.parse_kind("instrument", "claude-light")
    names, seen = [item.name for item in light.inputs], {item.name: item for item in light.channels}
    is_claude_light = (
        {*has.inputs} == {*names} if has.inputs else has.unnamed == len(names) or {*names} <= {*has.columns}
    )
    if not has.columns or (not columns.inputs and is_claude_light and {*seen} & {*has.columns, *columns.channels}):
        inputs: Sequence[Input] | Sequence[str] = light.inputs
    else:
        inputs, seen = list(columns.inputs) or has.inputs, {}
    if not inputs:
        why = "which of its columns are inputs? Name them"
        if has.unnamed:
            why = f"its lines list {has.unnamed} inputs without names: name them in that order"
        raise ConfigError(
            f"{source}: {why}, --input R or --input R=red for each, or give the campaign of its instrument, "
            f"--instrument FILE; it has the columns {', '.join(has.columns)}"
        )
    others = dict.fromkeys([*columns.channels, *(has.channels or ()), *(goal.channels if not has.channels else ())])
    return inputs, (*seen.values(), *(Channel(name=name, unit="") for name in others if name not in seen)), None


def _named(given: str, columns: ColumnNames) -> tuple[Sequence[Input], tuple[Channel, ...], float]:
    """Inputs, channels and session gap (s) of an instrument: in a campaign, in a file of its own, or a kind."""
    from sdl import config, yamlfile
    from sdl.drivers.base import session_gap

    tree = yamlfile.read(Path(given)).value if Path(given).is_file() else yamlfile.scalar(given)
    try:
        named = config.parse_kind("instrument", tree.get("instrument", tree) if isinstance(tree, Mapping) else tree)
    except ConfigError as error:
        raise ConfigError(*(f"--instrument {given}: {p}" for p in error.problems)) from error
    for option in ("input", "channel"):
        allowed = [item.name for item in getattr(named, f"{option}s")]
        for name in getattr(columns, f"{option}s"):
            if name not in allowed:
                raise ConfigError(f"--{option} {name}: {given} has no such {option}; {near(name, allowed)}")
    return named.inputs, named.channels, session_gap(named)


def _bounds(option: str, given: Sequence[str] | None) -> dict[str, float]:
    try:
        return dict(number(text, "NAME=NUMBER, such as R=300") for text in given or ())
    except ConfigError as error:
        raise ConfigError(f"{option} {error}") from error


def _bounded(
    known: Sequence[Input] | Sequence[str],
    rows: Sequence[DatasetRow],
    low: Mapping[str, float],
    high: Mapping[str, float],
) -> tuple[Input, ...]:
    """The inputs with their bounds: as given, otherwise the instrument's, otherwise those of the data."""
    import numpy as np

    from sdl.inverse.dataset import bounds_of
    from sdl.types import Input

    inputs: dict[str, Input | str] = {item if isinstance(item, str) else item.name: item for item in known}
    for option, given in (("--low", low), ("--high", high)):
        for name in given:
            if name not in inputs:
                raise ConfigError(f"{option} {name}: no such input; {near(name, [*inputs])}")
    ends = [
        [given.get(name, getattr(item, end, np.nan)) for name, item in inputs.items()]
        for end, given in (("low", low), ("high", high))
    ]
    x = np.array([[row.reading.applied[name] for name in inputs] for row in rows], float)
    return tuple(
        Input(name=name, low=a, high=b) if isinstance(item, str) else item.model_copy(update={"low": a, "high": b})
        for (name, item), a, b in zip(inputs.items(), *(values.tolist() for values in bounds_of(x, *ends)), strict=True)
    )


def _left_out(data_sets: Sequence[Dataset]) -> str:
    return "; ".join(text for rows in data_sets for text in rows.omissions)
