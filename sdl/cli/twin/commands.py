"""The commands `sdl twin fit`, `sdl twin check` and `sdl twin faults`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdl.cli.options import RUNS, ChannelColumns, InputColumns, Json, Runs, argument, columns_of, emit, option
from sdl.cli.twin import fitted_commands, serve
from sdl.errors import ConfigError, translated_os_errors, translated_value_errors
from sdl.store import resolve
from sdl.store.datasets import ColumnNames, read_opened, recorded_instrument
from sdl.store.record import FILE
from sdl.twin.faults import MEANING
from sdl.twin.fitted.state import is_fitted
from sdl.twin.led.state import TwinState, load

if TYPE_CHECKING:
    from sdl.twin.comparison import Check
    from sdl.twin.led.evidence import Evidence
    from sdl.twin.led.fit import Fit

twin = typer.Typer(no_args_is_help=True, help="Fit the simulated instrument to readings, and check it.")

Sources = Annotated[list[str], argument("READINGS…", "Runs (by name or directory), records, logs or tables.")]
Dark = Annotated[bool, option("--dark", "Use only sessions in a dark room.")]
Days = Annotated[list[str] | None, option("--day DATE", "Use only readings of this day; may be repeated.")]


@twin.command()
def fit(
    sources: Sources,
    out: Annotated[Path, option("--output -o FILE", "The state to write, a .toml file.")],
    instrument: Annotated[
        Path | None, option("--instrument FILE", "The instrument or the campaign whose readings they are (YAML).")
    ] = None,
    start: Annotated[
        str | None, option("--from STATE", "State to start from: a name, or a .toml file; night-2025-10 by default.")
    ] = None,
    dark: Dark = False,
    days: Days = None,
    inputs: InputColumns = None,
    channels: ChannelColumns = None,
    plot: Annotated[Path | None, option("--plot FILE.png", "Draw the residual of each reading.")] = None,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Fit a twin to readings.

    With --instrument a twin of that instrument: its response to all inputs together, noise, differences between
    sessions, drift and settling. Without, one of a Claude-Light: gains, ranges, noise, ambient light and drift, with
    their standard errors.

    \b
    sdl twin fit log.csv --instrument rig.yaml -o rig-twin.toml     then, in rig.yaml: twin: rig-twin.toml
    sdl twin fit runs/*/* -o twin.toml     then: instrument: {kind: twin, state: ./twin.toml}
    """
    if out.suffix != ".toml":
        raise ConfigError(f"--output {out}: must end in .toml")
    if instrument is not None:
        if given := [name for name, value in (("--from", start), ("--dark", dark), ("--plot", plot)) if value]:
            raise ConfigError(f"{given[0]} is for a Claude-Light; leave it out with --instrument")
        fitted_commands.fit(sources, out, instrument, days or (), columns_of(inputs, channels), runs, json=json)
        return
    start = start or "night-2025-10"
    from sdl.twin.led.draw import draw
    from sdl.twin.led.fit import fit as fitted
    from sdl.twin.led.write import toml

    data, state = _read(sources, start, dark, days or (), columns_of(inputs, channels), runs)
    with translated_value_errors():
        result = fitted(data, state)
    parameters = _parameters(result)
    head = f"Fitted by `sdl twin fit`, starting from {start}, to"
    comments = [head, *data.sources, f"Ambient: {result.check.ambient}.", "", *parameters]
    with translated_os_errors(out):
        out.write_text(toml(result.state, comments), encoding="utf-8")
    if plot is not None:
        draw(data, result.state, plot)
    if json:
        emit(result.plain() | {"output": str(out)})
        return
    table = _table(result.check, f"ambient: {result.check.ambient}")
    print("\n".join([*data.sources, "", *parameters, "", *_days(result), *table]))
    print(f"\nwritten: {out}   instrument: {{kind: twin, state: ./{out.name}}}")


@twin.command()
def check(
    sources: Sources,
    state: Annotated[str, option("--twin STATE", "State of the twin: a name, or a .toml file.")] = "night-2025-10",
    dark: Dark = False,
    days: Days = None,
    inputs: InputColumns = None,
    channels: ChannelColumns = None,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Report how well a twin predicts new readings.

    \b
    sdl twin check night.jsonl --twin twin.toml
    sdl twin check latest                  the newest run against the shipped twin

    Exit code 1 if the instrument no longer matches its twin.
    """
    if is_fitted(state):
        if dark:
            raise ConfigError("--dark is for a Claude-Light; leave it out")
        result = fitted_commands.check(sources, state, days or (), columns_of(inputs, channels), runs)
        compared, where = result.sources, f"in {result.ambient}"
    else:
        from sdl.twin.led.check import check as checked

        data, loaded = _read(sources, state, dark, days or (), columns_of(inputs, channels), runs)
        with translated_value_errors():
            result = checked(data, loaded)
        compared, where = data.sources, f"ambient: {result.ambient}"
    if json:
        emit({"twin": state, **result.plain()})
    else:
        print("\n".join([*compared, "", *_table(result, where)]))
    raise typer.Exit(1 if result.divergent else 0)


@twin.command()
def faults(json: Json = False) -> None:
    """List the faults that a twin can simulate.

    \b
    sdl twin faults

    For each fault: its effect, and the outcome of a campaign that meets it.
    """
    if json:
        emit({name: {"does": row.does, "outcome": row.outcome} for name, row in MEANING.items()})
        return
    for name, row in MEANING.items():
        print(f"{name:18} {row.does}\n{'':18} -> {row.outcome}")


def _read(
    sources: Sequence[str], name: str, dark: bool, days: Sequence[str], columns: ColumnNames, runs: Path
) -> tuple[Evidence, TwinState]:
    """The readings, and the state of this name; runs of another instrument are left out."""
    from sdl.twin.led.evidence import collect, dark_sessions

    paths = [resolve.source(source, Path(), runs) for source in sources]
    with translated_value_errors():
        state = load(name)
        inputs = [item.name for item in state.input_list()]
        other = {path: have for path in paths if sorted(have := _inputs(path) or inputs) != sorted(inputs)}
        if len(other) == len(paths):
            path, have = next(iter(other.items()))
            raise ValueError(f"{path} has the inputs {', '.join(have)}; the twin {name} has {', '.join(inputs)}")
        data = collect([path for path in paths if path not in other], state, days, columns)
        omitted = [f"{path}: left out, it has the inputs {', '.join(have)}" for path, have in other.items()]
        data = replace(data, sources=(*data.sources, *omitted))
        if dark:
            data = data.only(dark_sessions(data, state))
            if not len(data.X):
                raise ValueError("no session was in a dark room; leave out --dark")
    return data, state


def _inputs(source: Path) -> list[str] | None:
    """The inputs of a run; None where the file does not name them (a log, or a damaged record)."""
    file = source / FILE if source.is_dir() else source
    opened = read_opened(file)
    return None if opened is None else [item.name for item in recorded_instrument(opened, file)[0]]


def _table(checked: Check, detail: str) -> list[str]:
    """The comparison of readings and twin by channel, the light of each input, and the verdict."""
    head = f"{'channel':8}{'n':>6}{'rmse':>9}{'noise':>9}{'ratio':>7}{'mean z':>8}{'sd z':>7}{'68 %':>7}{'typical':>9}"
    lines = [f"{checked.readings} readings compared, {checked.unused} not; {detail}", head]
    lines += [
        f"{c.channel:8}{c.readings:6}{c.rmse:9.4g}{c.noise:9.4g}{c.ratio:7.2f}{c.bias:8.2f}{c.spread:7.2f}"
        f"{c.coverage:7.2f}{c.typical:9.2f}{'  no longer matches' if c.left else ''}"
        for c in checked.channels
    ]
    lines += [
        f"light of {light.input}: {100 * light.more:+.2f} ± {100 * light.error:.2f} % of the twin's"
        for light in checked.lights
    ]
    return [*lines, checked.verdict]


def _parameters(fitted: Fit) -> list[str]:
    lines = [f"{'parameter':32}{'fitted':>12}{'error':>10}{'was':>12}"]
    for p in fitted.parameters:
        error = f"{p.error:10.2g}" if p.told and math.isfinite(p.error) else f"{'kept':>10}"
        lines.append(f"{p.name:32}{p.value:12.6g}{error}{p.was:12.6g}")
    return lines


def _days(fitted: Fit) -> list[str]:
    lines = [f"{d.day}  {d.input:4}{100 * d.more:+7.2f} ± {100 * d.error:.2f} %" for d in fitted.days]
    return ["light of the inputs by day, against the fit", *lines, ""] if lines else []


for command in (serve.serve, serve.device):
    twin.command()(command)
