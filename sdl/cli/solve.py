"""The command `sdl solve`: settings for a goal, from a data set alone."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sdl import config, yamlfile
from sdl.cli.display.progress import working
from sdl.cli.options import (
    RUNS,
    ChannelColumns,
    InputColumns,
    Json,
    Quiet,
    Runs,
    argument,
    columns_of,
    emit,
    number,
    option,
)
from sdl.cli.terminal import say
from sdl.config.goals import OBJECTIVES
from sdl.config.units import QUANTITY, strip_units
from sdl.core.goal import Band, Goal, Tolerance
from sdl.drivers.base import constraints_of, session_gap
from sdl.drivers.declared.derived import with_derived
from sdl.errors import ConfigError, NotEnoughData, SolverError, near, translated_os_errors
from sdl.formatting import aligned, count, display, reading, setting, setting_error
from sdl.grammar import Formula, LinearConstraint, parse_constraint
from sdl.solvers.base import Data, Solver
from sdl.store import datasets
from sdl.store.datasets import ColumnNames, Dataset, DatasetRow
from sdl.store.record import FILE
from sdl.store.resolve import source as locate
from sdl.types import Channel, Input, Settings

if TYPE_CHECKING:
    from sdl.inverse.propose import ModelOptimum, Proposal

PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "all": (
        {"kind": "linear", "intercept": False},
        *({"kind": kind} for kind in ("linear", "pls", "gmm", "forest", "bayes", "gp")),
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

Bounds = list[str] | None


def solve(
    sources: Annotated[list[str], argument("DATA…", "Runs (by name or directory), records, logs or tables.")],
    goals: Annotated[
        list[str],
        option(
            "--goal CHANNEL=VALUE",
            "Target reading, also with its unit: conductivity=3 mS/cm; repeatable. "
            "Limits: 'clear={at most: 60000}', at least, between: [1000, 60000]. "
            "For one channel: R=maximise or R=minimise.",
        ),
    ],
    solvers: Annotated[
        list[str] | None,
        option(
            "--solver SOLVER",
            "A kind, '{kind: linear, intercept: false}', `all` or `paper` (see above). [auto]",
        ),
    ] = None,
    tolerance: Annotated[
        str,
        option("--tolerance", "Tolerance, for the verdict: 2% or a number in the unit of the channel."),
    ] = "2%",
    prefer: Annotated[
        str | None,
        option(
            "--prefer",
            "Which settings to prefer among those that reach the goal: '{minimise: power}', '{maximise: R}'.",
        ),
    ] = None,
    all_solutions: Annotated[
        bool, option("--all-solutions", "Also list all other settings that reach the goal.")
    ] = False,
    validate: Annotated[
        bool, option("--validate/--no-validate", "Cross-validate: leave out whole days, levels or parts.")
    ] = True,
    inputs: InputColumns = None,
    channels: ChannelColumns = None,
    instrument: Annotated[
        str | None,
        option(
            "--instrument FILE",
            "Instrument of the data: a campaign, with the inputs that it fixes or narrows, or a kind (sdl-light).",
        ),
    ] = None,
    low: Annotated[Bounds, option("--low NAME=VALUE", "Lower bound of an input; repeatable.")] = None,
    high: Annotated[Bounds, option("--high NAME=VALUE", "Upper bound of an input; repeatable.")] = None,
    seed: Annotated[int, option("--seed", "Seed of all random numbers.", min=0)] = 0,
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
    goal, given = _goal(goals, tolerance)
    kinds = _solvers(solvers or ["auto"])
    _check(kinds, goal, prefer, all_solutions=all_solutions)
    columns, bounds = columns_of(inputs, channels), (_bounds("--low", low), _bounds("--high", high))
    paths = [locate(source, Path(), runs) for source in sources]
    question = _question(paths, goal, given, columns, instrument, *bounds)
    if prefer is not None:
        from sdl.inverse.dataset import parse_prefer

        preferred = parse_prefer(yamlfile.scalar(prefer), question.inputs) or ()
        by_input = {item.name: cost for item, cost in zip(question.inputs, preferred, strict=True)}
        question = replace(question, data=replace(question.data, prefer=question.data.space.cost(by_input)))
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
    held: Settings

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
    files: Sequence[Path],
    goal: Goal,
    given: Mapping[str, Any],
    columns: ColumnNames,
    instrument: str | None,
    low: Mapping[str, float],
    high: Mapping[str, float],
) -> _Question:
    """Read the data sets; `given` is the goal with its units.

    Raises:
        ConfigError: no usable row, an unknown channel or input, or another unit than that of a channel.
    """
    from sdl.inverse.dataset import data_from, hold
    from sdl.inverse.propose import objective_of

    rig = _instrument(files[0], columns, instrument, goal)
    names = [channel.name for channel in rig.channels]
    for name in goal.channels:
        if name not in names:
            raise ConfigError(f"--goal: unknown channel {name}; {near(name, names)}")
    _, wrong = strip_units(given, {channel.name: channel for channel in rig.channels if instrument or channel.unit})
    if wrong:
        raise ConfigError(*(f"--{problem.path.partition('.')[0]}: {problem.message}" for problem in wrong))
    derive = partial(with_derived, formulas=rig.derived, strict=False) if rig.derived else None
    parts = [
        datasets.load(
            file, rig.inputs, rig.channels, goal.channels, columns=columns, session_gap=rig.session_gap,
            derive=derive, derived=rig.derived, held=rig.fixed,
        )
        for file in files
    ]  # fmt: skip
    rows = [replace(row, session=session) for _, row, session in datasets.number_sessions(parts)]
    if not rows:
        raise ConfigError(f"no usable row for this goal; {_left_out(parts) or 'the data is empty'}")
    known = [item if isinstance(item, str) else rig.narrowed.get(item.name, item) for item in rig.inputs]
    inputs = _bounded(known, rows, low, high)
    rest = (objective_of(goal, rig.channels), rig.constraints)
    return _Question(goal, parts, rows, inputs, *hold(data_from(rows, inputs, rig.channels, goal.channels, *rest)))


def _answer(
    solver: Solver, question: _Question, seed: int, *, validate: bool, progress: Callable[..., None]
) -> dict[str, Any]:
    """One solver's answer and its cross-validation, or the error that prevented them; as `--json` prints it."""
    import numpy as np

    from sdl.inverse.dataset import cross_validate, optimise, with_held
    from sdl.inverse.propose import propose

    began, goal, data = time.perf_counter(), question.goal, question.data
    options = solver.model_dump(mode="json")  # type: ignore[attr-defined]
    answer: dict[str, Any] = {"solver": _name(solver), "options": options}
    try:
        if data.objective is not None:
            following, best = optimise(solver, data, goal, np.random.default_rng([seed, 1, 0]))
            return answer | _optimised(with_held(following, question.held), best, question)
        proposal = with_held(propose(solver, data, goal, np.random.default_rng([seed, 1, 0])), question.held)
        copied = ("settings", "raw", "clipped", "spread", "uncertainty", "verdict", "why", "shortfall")
        answer |= {
            **{name: getattr(proposal, name) for name in copied},
            "expected": {c: proposal.expected.get(c) for c in goal.channels},
            "seconds": round(time.perf_counter() - began, 3),
        }
        if validate:
            days = [row.day for row in question.rows]
            checked = cross_validate(solver, data, days, seed, lambda k, parts: progress(1 + k, 1 + parts))
            answer["validated"] = {name: getattr(checked, name) for name in ("rmse", "rows", "folds", "by")}
    except SolverError as error:
        answer["error"] = f"not enough data: {error}" if isinstance(error, NotEnoughData) else str(error)
    return answer


def _optimised(following: Proposal, best: ModelOptimum, question: _Question) -> dict[str, Any]:
    """The answer for a channel to maximise or minimise: the best settings in the model, and where to measure next."""
    copied = ("spread", "uncertainty", "verdict", "why", "shortfall")
    return {
        "settings": {**best.settings, **question.held},
        "expected": {name: best.expected.get(name) for name in question.goal.channels},
        "estimate": best.estimate,
        "estimate_error": best.estimate_error,
        "next": following.settings,
        "expected_improvement": following.expected_improvement,
        "best_measured": {**following.incumbent, **question.held} if following.incumbent else {},
        "best_measured_estimate": following.estimate,
        "best_measured_error": following.estimate_error,
        **{name: getattr(following, name) for name in copied},
    }


def _check(solvers: Sequence[Solver], goal: Goal, prefer: str | None, *, all_solutions: bool) -> None:
    """Refuse what has no meaning for a channel to maximise or minimise."""
    from sdl.inverse.dataset import check_objective

    if goal.objective is None:
        return
    given = [name for name, used in (("--prefer", prefer), ("--all-solutions", all_solutions)) if used]
    if given:
        raise ConfigError(f"{given[0]}: has no meaning with a channel to {goal.direction}")
    for solver in solvers:
        check_objective(solver, goal)


NAME = 18  # characters per line of a solver's name and options

LEGEND = {
    "spread": "spread: standard deviation of the settings for one noisy reading at the goal",
    "uncertainty": "uncertainty: the same for the noise-free goal: the model's own standard error",
}
PARTS = {
    "day": ("whole day", "whole days"),
    "level": ("level", "levels"),
    "day and level": ("level of a whole day", "levels of whole days"),
    "fold": ("part of the rows", "parts of the rows"),
}
"""What a cross-validation leaves out, in words: one, several."""


def _print(answers: Sequence[dict[str, Any]], inputs: Sequence[Input], goal: Goal) -> None:
    """Print a block per solver: its settings on the left, the readings it expects on the right."""
    rows: list[tuple[str, ...]] = [("solver", "", "setting", "spread", "uncertainty", "error", "", "expected")]
    for answer in answers:
        rows += _block(answer, inputs, goal)
    print("\n".join(["", *aligned(rows, range(2)), ""]))
    for key, text in LEGEND.items():
        if any(value is not None for answer in answers for value in answer.get(key, {}).values()):
            say(text)
    if checked := next((answer["validated"] for answer in answers if "validated" in answer), None):
        how = f"{checked['folds']} {PARTS[checked['by']][checked['folds'] > 1]}"
        predicted = count(checked["rows"], "prediction")
        say(f"error: root mean square error of the settings in {predicted}, {how} left out in turn")
    for answer in answers:
        for line in _remarks(answer, inputs):
            say(line)


def _block(answer: Mapping[str, Any], inputs: Sequence[Input], goal: Goal) -> list[tuple[str, ...]]:
    """The rows of one solver: as many as its longest column has."""
    kind, _, options = answer["solver"].partition(" (")
    own = [(text,) for text in (kind, *textwrap.wrap(options.removesuffix(")"), NAME))]
    if "settings" not in answer:
        return [(*name, *[""] * 7) for name in (*own, ("no answer",))]
    own += [(text,) for text in textwrap.wrap(display(answer["verdict"]), NAME)]
    parts = (answer["spread"], answer["uncertainty"], answer.get("validated", {}).get("rmse", {}))
    settings = [
        (
            i.name,
            setting(answer["settings"][i.name], i.model_dump()),
            *(setting_error(part.get(i.name), i.model_dump()) for part in parts),
        )
        for i in inputs
    ]
    expectations = [(name, answer["expected"].get(name)) for name in goal.channels]
    expected = [(name, "?" if value is None else reading(value, goal.bands[name])) for name, value in expectations]
    lines = zip_longest(own, settings, expected)
    return [(*(a or ("",)), *(b or ("",) * 5), *(c or ("",) * 2)) for a, b, c in lines]


def _remarks(answer: Mapping[str, Any], inputs: Sequence[Input]) -> list[str]:
    """The lines below the table about one solver: clipped settings, the reason, other solutions, the error."""
    name, lines = answer["solver"], []
    if answer.get("clipped"):
        lines.append(f"{name}: clipped to the bounds; unclipped: {_settings(answer['raw'], inputs, ', ')}")
    if "why" in answer:
        lines.append(f"{name}: {answer['why']}")
    if "no_solutions" in answer:
        lines.append(f"{name}: {answer['no_solutions']}")
    elif "solutions" in answer:
        from sdl.inverse.multiple import MAX_SOLUTIONS

        solutions = answer["solutions"]
        many = "at least " if len(solutions) >= MAX_SOLUTIONS else ""
        lines.append(f"{name}: {many}{count(len(solutions), 'solution')}{':' if solutions else ''}")
        lines += [f"  {_settings(one['settings'], inputs, '  ')}{_solution_facts(one)}" for one in solutions]
    if "next" in answer:
        lines.append(f"{name}: measure next: {_settings(answer['next'], inputs, ', ')}")
    if "error" in answer:
        lines.append(f"{name}: {'not validated' if 'settings' in answer else 'no answer'}: {answer['error']}")
    return lines


def _settings(values: Settings, inputs: Sequence[Input], separator: str) -> str:
    declared = {i.name: i.model_dump() for i in inputs}
    return separator.join(f"{name} {setting(value, declared.get(name, {}))}" for name, value in values.items())


def _solution_facts(one: Mapping[str, Any]) -> str:
    """`  (0.45 × tolerance, probability 85 %)`; empty where nothing is known."""
    facts = [] if one["miss"] is None else [f"{one['miss']:.2f} × tolerance"]
    facts += [] if one["probability"] is None else [f"probability {100 * one['probability']:.0f} %"]
    facts += ["one of a family of solutions"] if one["continuum"] else []
    return f"  ({', '.join(facts)})" if facts else ""


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


def _name(solver: Solver) -> str:
    """The kind and its options that differ from the defaults."""
    options = solver.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})  # type: ignore[attr-defined]
    text = ", ".join(
        f"{key} {str(value).lower() if isinstance(value, bool) else value}" for key, value in options.items()
    )
    return f"{solver.kind} ({text})" if text else solver.kind


def _solvers(given: Sequence[str]) -> list[Solver]:
    """The solvers of `--solver`, each once; of a preset without those that are not installed."""
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


def _goal(given: Sequence[str], tolerance: str) -> tuple[Goal, dict[str, Any]]:
    """The goal, and the values as they were given: with units, which are compared once the channels are known."""
    from sdl.inverse.dataset import parse_band

    values: dict[str, Any] = {}
    for text in given:
        wanted = text.partition("=")[2].strip()
        try:
            if "={" in text or wanted in OBJECTIVES or QUANTITY.fullmatch(wanted):
                name, value = config.split(text)
            else:
                name, value = number(text, "CHANNEL=NUMBER, such as 445nm=16384 or R='3 mS/cm'")
        except ConfigError as error:
            raise ConfigError(f"--goal {error}") from error
        if name in values:
            raise ConfigError(f"--goal {text}: {name} is given twice")
        values[name] = value
    tree = {"goal": values, "tolerance": tolerance}
    plain, _ = strip_units(tree, {})
    try:
        stripped = str(plain["tolerance"])
        width = Tolerance.parse(stripped if stripped.strip().endswith("%") else float(stripped))
    except ValueError as error:
        form = "2% (of the target) or 300 (the unit of the channel), above 0"
        raise ConfigError(f"--tolerance {tolerance}: must be {form}") from error
    bands: dict[str, Band] = {}
    for text, (name, value) in zip(given, plain["goal"].items(), strict=True):
        try:
            bands[name] = parse_band(name, value, width)
        except ConfigError as error:
            raise ConfigError(*(f"--goal {text}: {p.message}" for p in error.problems)) from error
    try:
        return Goal(bands), tree
    except ValueError as error:
        raise ConfigError(f"--goal: {error}") from error


@dataclass(frozen=True)
class _Rig:
    """The instrument that measured the rows, as given or as far as the data describe it.

    Attributes:
        inputs: only names if their bounds are unknown.
        channels: with the derived ones.
        session_gap: s; None: that of the data.
        constraints: on the inputs.
        narrowed: inputs within the limits of a campaign, by name.
        fixed: values of inputs that a campaign keeps; rows at other ones are not used.
        derived: formulas of channels that the data need not have.
    """

    inputs: Sequence[Input | str]
    channels: tuple[Channel, ...]
    session_gap: float | None = None
    constraints: tuple[LinearConstraint, ...] = ()
    narrowed: Mapping[str, Input] = field(default_factory=dict)
    fixed: Settings = field(default_factory=dict)
    derived: Mapping[str, Formula] = field(default_factory=dict)


def _instrument(source: Path, columns: ColumnNames, given: str | None, goal: Goal) -> _Rig:
    """The instrument as given, otherwise as found in the data.

    Raises:
        ConfigError: it is unknown which columns are inputs.
    """
    if given is not None:
        return _named(given, columns)
    file = source / FILE if source.is_dir() else source
    with translated_os_errors(source, "read"):
        opened = datasets.read_opened(file)
    if opened is not None:
        constraints = tuple(map(parse_constraint, opened.instrument.get("constraints", ())))
        return _Rig(*datasets.recorded_instrument(opened, file), None, constraints)
    has = datasets.describe_columns(file)
    light = config.parse_kind("instrument", "claude-light")
    names, light_channels = {item.name for item in light.inputs}, {item.name: item for item in light.channels}
    is_claude_light = {*has.inputs} == names if has.inputs else has.unnamed == len(names) or names <= {*has.columns}
    if not has.columns or (
        not columns.inputs and is_claude_light and {*light_channels} & {*has.columns, *columns.channels}
    ):
        inputs: Sequence[Input | str] = light.inputs
    else:
        inputs, light_channels = list(columns.inputs) or has.inputs, {}
    if not inputs:
        why = "the inputs are unknown: name the columns that are inputs"
        if has.unnamed:
            why = f"the file lists {has.unnamed} inputs without names: name them in that order"
        raise ConfigError(
            f"{source}: {why} (--input R or --input R=red for each), or give a campaign file of its instrument "
            f"(--instrument FILE); the columns are {', '.join(has.columns)}"
        )
    others = dict.fromkeys([*columns.channels, *(has.channels or goal.channels)])
    inputs = [_input(item, columns, has) for item in inputs]
    channels = light_channels | {name: Channel(name=name, unit="") for name in others if name not in light_channels}
    return _Rig(inputs, tuple(channels.values()))


def _input(item: Input | str, columns: ColumnNames, has: datasets.FileColumns) -> Input | str:
    """An input that the data names: one whose column holds texts has them as choices."""
    if isinstance(item, Input):
        return item
    place = datasets.find_column(columns.inputs.get(item, item), has.columns) or ""
    return Input(name=item, choices=has.texts[place]) if place in has.texts else item


def _named(given: str, columns: ColumnNames) -> _Rig:
    """The instrument of a campaign file, of an instrument's own file, or of a kind."""
    tree = yamlfile.read(Path(given)).value if Path(given).is_file() else yamlfile.scalar(given)
    try:
        part = tree.get("instrument", tree) if isinstance(tree, Mapping) else tree
        named = config.parse_kind("instrument", part, Path(given).parent)
        kept = tree.get("inputs", {}) if isinstance(tree, Mapping) and "instrument" in tree else {}
        campaign = config.parse({"name": "data", "instrument": named, "inputs": kept}, collect=True)
    except ConfigError as error:
        raise ConfigError(*(f"--instrument {given}: {p}" for p in error.problems)) from error
    for kind in ("input", "channel"):
        allowed = [item.name for item in getattr(named, f"{kind}s")]
        for name in getattr(columns, f"{kind}s"):
            if name not in allowed:
                raise ConfigError(f"--{kind} {name}: {given} has no such {kind}; {near(name, allowed)}")
    narrowed = {item.name: item for item in campaign.free_inputs}
    derived = getattr(named, "derived", {})
    gap, constraints = session_gap(named), constraints_of(named)
    return _Rig(named.inputs, named.channels, gap, constraints, narrowed, campaign.fixed, derived)


def _bounds(option: str, given: Sequence[str] | None) -> dict[str, float]:
    try:
        return dict(number(text, "NAME=NUMBER, such as R=300") for text in given or ())
    except ConfigError as error:
        raise ConfigError(f"{option} {error}") from error


def _bounded(
    known: Sequence[Input | str],
    rows: Sequence[DatasetRow],
    low: Mapping[str, float],
    high: Mapping[str, float],
) -> tuple[Input, ...]:
    """The inputs with their bounds: as given, otherwise the instrument's, otherwise those of the data."""
    import numpy as np

    from sdl.inverse.dataset import bounds_of

    inputs: dict[str, Input | str] = {item if isinstance(item, str) else item.name: item for item in known}
    numeric = {name: item for name, item in inputs.items() if isinstance(item, str) or item.numeric}
    for flag, given in (("--low", low), ("--high", high)):
        for name in given:
            if name not in numeric:
                raise ConfigError(f"{flag} {name}: no such numeric input; {near(name, [*numeric])}")
    ends = [
        [given.get(name, getattr(item, end, np.nan)) for name, item in numeric.items()]
        for end, given in (("low", low), ("high", high))
    ]
    x = np.array([[row.reading.applied[name] for name in numeric] for row in rows], float).reshape(len(rows), -1)
    bounds = dict(zip(numeric, zip(*(values.tolist() for values in bounds_of(x, *ends)), strict=True), strict=True))
    return tuple(_with_bounds(item, bounds.get(name, (0.0, 1.0))) for name, item in inputs.items())


def _with_bounds(item: Input | str, bounds: tuple[float, float]) -> Input:
    low, high = bounds
    if isinstance(item, str):
        return Input(name=item, low=low, high=high)
    return item.model_copy(update={"low": low, "high": high}) if item.numeric else item


def _left_out(data_sets: Sequence[Dataset]) -> str:
    return "; ".join(text for rows in data_sets for text in rows.omissions)
