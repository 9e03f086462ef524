"""The command `sdl bench`: compare solvers on an instrument."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sdl import registry
from sdl.cli.display.progress import ProgressBar
from sdl.cli.options import (
    LIMIT,
    RUNS,
    ChannelColumns,
    InputColumns,
    Jobs,
    Json,
    Limit,
    Quiet,
    Runs,
    columns_of,
    emit,
    option,
)  # fmt: skip
from sdl.cli.terminal import say
from sdl.errors import ConfigError, RecordError, translated_os_errors, translated_value_errors
from sdl.formatting import count
from sdl.store import resolve
from sdl.store.datasets import ColumnNames
from sdl.twin.fitted.state import FittedState, is_fitted
from sdl.twin.led.state import TwinState, load

if TYPE_CHECKING:
    from sdl.bench.campaigns import BenchCampaign
    from sdl.bench.days import DaysScore
    from sdl.bench.report import SolverSummary
    from sdl.twin.led.evidence import Evidence


def bench(
    data: Annotated[
        list[str] | None, option("--data READINGS", "Runs, logs or tables of your instrument; may be repeated.")
    ] = None,
    inputs: InputColumns = None,
    columns: ChannelColumns = None,
    twin: Annotated[str, option("--twin STATE", "A twin: name of a state, or a .toml file.")] = "night-2025-10",
    instrument: Annotated[
        Path | None, option("--instrument FILE", "Take the twin that the instrument of this file names (YAML).")
    ] = None,
    solvers: Annotated[
        str | None, option("--solvers LIST", "Kinds, with options: 'linear gmm:trend=none'; all by default.")
    ] = None,
    goals: Annotated[int, option("--goals", "Number of random goals.", min=1, max=10_000)] = 10,
    seeds: Annotated[int, option("--seeds", "Number of noise seeds per goal.", min=1, max=10_000)] = 2,
    channels: Annotated[str | None, option("--channels LIST", "Channels of the goals; default: one per input.")] = None,
    tolerance: Annotated[
        str, option("--tolerance", "Tolerance of every channel: 2% of the goal, or a number in its unit.")
    ] = "2%",
    trials: Annotated[int, option("--trials", "Largest number of trials per campaign.", min=1, max=10_000)] = 40,
    seed: Annotated[int, option("--seed", "Seed of the goals.", min=0)] = 0,
    jobs: Jobs = None,
    out: Annotated[Path | None, option("--report FILE", "A page (.html) or the figure (.png).")] = None,
    limit: Limit = LIMIT,
    runs: Runs = RUNS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare solvers on your instrument: its twin, or a log of it.

    \b
    sdl bench --solvers 'linear pls gmm'
    sdl bench --data night.jsonl --goals 40 --report bench.html
    sdl bench --twin my-lamp.toml --channels '445nm 515nm'
    sdl bench --instrument rig.yaml            the twin that it names, with its settling and constraints

    With --data a twin is first fitted to the readings, starting from --twin; if they span several days, every solver
    also predicts the settings of each day from all others.
    """
    from sdl.bench import BenchGoals, campaigns, days_left_out, recommend, solver_of, summarise
    from sdl.bench import fitted as of_any
    from sdl.bench.campaigns import channels_of, goals_of
    from sdl.bench.report import days_table, solver_table
    from sdl.parallel.pool import cores

    if out is not None and out.suffix not in (".png", ".html"):
        raise ConfigError(f"--report {out}: must end in .png or .html")
    labels = list(dict.fromkeys(solvers.split())) if solvers else list(registry.kinds("solvers"))
    if not labels:
        raise ConfigError(f"--solvers: name some of {', '.join(registry.kinds('solvers'))}")
    for label in labels:
        solver_of(label)
    processes, quiet = jobs or cores(), quiet or json
    given = tuple((channels or "").replace(",", " ").split())
    state: TwinState | None = None
    evidence: Evidence | None = None
    notes: list[str] = []
    if instrument is None and not is_fitted(twin):
        state, evidence, notes = _instrument(data or (), columns_of(inputs, columns), twin, runs)
        names = given or channels_of(state)
        tree, drawn = {"kind": "twin", "state": twin}, goals_of(state, names, goals, seed)
    else:
        tree, fitted = _fitted(instrument, twin, data or ())
        names = given or of_any.channels_of(fitted)
        drawn = of_any.goals_of(fitted, names, goals, seed)
    with contextlib.ExitStack() as stack:
        if state is not None and evidence is not None:
            tree = {"kind": "twin", "state": _written(state, stack)}
        goals_to_run = BenchGoals(tree, drawn, tuple(range(seeds)), tolerance, trials)
        with ProgressBar("campaigns", quiet=quiet) as bar:
            ended = campaigns(goals_to_run, labels, processes, bar, limit)
    scores = []
    if state is not None and evidence is not None:
        with ProgressBar("days", quiet=quiet) as bar:
            scores = days_left_out(evidence, state, names, labels, processes, bar, limit)
    summaries = summarise(ended, trials)
    advice = recommend(summaries, goals, scores)
    description = f"{count(goals, 'goal')} of {', '.join(names)} within {tolerance}, {count(seeds, 'noise seed')} each"
    if json:
        plain = {"solvers": [summary.plain() for summary in summaries], "days": [score._asdict() for score in scores]}
        emit({"solver": advice.solver, "sentence": advice.sentence, **plain})
    else:
        print("\n".join([*notes, f"on the twin: {description}", "", *solver_table(summaries), ""]))
        for line in summaries:
            if line.why:
                say(f"{line.solver}: {line.why}")
        if scores:
            head = "settings of each day predicted from all other days; errors as fractions of an input's range:"
            print("\n".join([head, "", *days_table(scores), ""]))
        say(advice.sentence)
    if out is not None:
        _write_report(out, (ended, summaries, trials, description), advice.sentence, scores)
        if not json:
            print(f"written: {out}")


def _write_report(
    file: Path,
    drawn: tuple[Sequence[BenchCampaign], Sequence[SolverSummary], int, str],
    advice: str,
    scores: Sequence[DaysScore],
) -> None:
    """Write the figure as .png, or a page with the figure and the tables as .html."""
    from sdl.bench.report import days_rows, draw, figure_of, solver_rows
    from sdl.report import page, style
    from sdl.report.tables_page import TableSection, tables_page

    _, summaries, trials, description = drawn
    if file.suffix != ".html":
        with translated_os_errors(file, kind=RecordError):
            page.save(file, draw(*drawn))
        return
    head, *rows = solver_rows(summaries)
    sections = [TableSection(f"On the twin: {description}", head, rows)]
    if scores:
        head, *rows = days_rows(scores)
        note = "Settings of each day predicted from all other days; errors are fractions of an input's range."
        sections.append(TableSection("Days left out", head, rows, note=note))
    with style.styled():
        figure = figure_of(*drawn[:3], "")
        figure.set_size_inches(style.WIDTH, figure.get_figheight())  # its text is readable on a phone
    caption = f"Goals reached by trial, one row per solver. The point is the median; at most {trials} trials."
    page.write(
        file,
        tables_page("Which solver for this instrument?", advice, sections, [(figure, "Goals reached", caption)]),
    )


def _fitted(instrument: Path | None, twin: str, data: Sequence[str]) -> tuple[dict[str, Any], FittedState]:
    """The twin of a declared instrument, as in a campaign file, and its state."""
    from sdl.cli.twin.fitted_commands import declared_in
    from sdl.drivers.twin.fitted import FittedTwin
    from sdl.twin.fitted.state import load as load_fitted

    if data:
        how = "fit one with `sdl twin fit --instrument`, then name it with --twin"
        raise ConfigError(f"--data fits the twin of a Claude-Light; {how}")
    if instrument is None:
        with translated_value_errors():
            return {"kind": "twin", "state": twin}, load_fitted(twin)
    declared = declared_in(instrument)
    if not hasattr(declared, "simulation"):
        raise ConfigError(f"{instrument}: kind {declared.kind} has no twin")
    simulated = declared.simulation(None, 0)
    if not isinstance(simulated, FittedTwin):
        raise ConfigError(f"{instrument}: kind {declared.kind} has the twin of a Claude-Light; leave --instrument out")
    tree = simulated.model_dump(mode="json", exclude={"seed"})
    return tree, simulated.condition


def _instrument(
    sources: Sequence[str], columns: ColumnNames, start: str, runs: Path
) -> tuple[TwinState, Evidence | None, list[str]]:
    """The twin, the readings it was fitted to (if any), and lines about them."""
    with translated_value_errors():
        state = load(start)
        if not sources:
            return state, None, []
        from sdl.twin.led.evidence import collect
        from sdl.twin.led.fit import fit

        evidence = collect([resolve.source(source, Path(), runs) for source in sources], state, columns=columns)
        fitted = fit(evidence, state)
    note = f"a twin was fitted to these readings, starting from {start}: {fitted.check.verdict}"
    return fitted.state, evidence, [*evidence.sources, note]


def _written(state: TwinState, stack: contextlib.ExitStack) -> str:
    """The path of a file with the state, which is removed when the stack closes."""
    from sdl.parallel import children
    from sdl.twin.led.write import toml

    temporary = tempfile.TemporaryDirectory(prefix="sdl-bench-", dir=children.temporary_folder())
    file = Path(stack.enter_context(temporary)) / "fitted.toml"
    file.write_text(toml(state), encoding="utf-8")
    return str(file)
