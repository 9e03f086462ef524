"""Commands for those who drive their instrument themselves: ask, tell, attach, skip, correct."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.display.outcome import print_outcome
from sdl.cli.options import RUNS, Json, RunName, Runs, Set, argument, campaign_run, emit, number, option
from sdl.cli.terminal import say
from sdl.errors import ConfigError, near
from sdl.formatting import best_trial, cause, count, display, instrument_spec, reading

if TYPE_CHECKING:
    from sdl.asktell import OpenCampaign, Request

Readings = Annotated[list[str] | None, argument("CHANNEL=NUMBER…", "The reading of every channel: R=140.2 G=42.")]
Trial = Annotated[int | None, option("--trial N", "Number of the trial; default: the one that is open.", min=0)]
By = Annotated[str, typer.Option(hidden=True)]  # of a server: whose token the request had
Repeat = Annotated[int | None, option("--repeat K", "Which of its readings, from 0; default: the open one.", min=0)]


def ask(
    name: Annotated[str, argument("FILE|RUN", "A campaign file (YAML), or a run: its name or directory.")],
    changes: Set = None,
    new: Annotated[bool, option("--new", "Begin a new run of FILE.")] = False,
    collect: Annotated[bool, option("--collect", "Measure only the design of FILE, without its goal.")] = False,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Ask for the next settings; you drive the instrument.

    \b
    sdl ask my.yaml                        the settings of the next reading
    sdl tell latest R=140.2 G=42           the reading at these settings
    sdl ask latest --set stop.trials=80    go on, with changed rules

    FILE means its newest unfinished run, or a new one where there is none. The same settings are given
    until their reading is told. At the end `--json` prints {"settings": null, "outcome": …}; the exit
    code is that of `sdl run`.
    """
    from sdl.asktell import open_campaign
    from sdl.asktell.open import SUFFIXES
    from sdl.runner import exit_code

    what = name if Path(name).suffix in SUFFIXES else campaign_run(name, runs)
    campaign = open_campaign(what, runs=runs, changes=changes or (), new=new, collect=collect)
    request = campaign.ask()
    if request is not None:
        if json:
            emit(dataclasses.asdict(request) | {"run": str(campaign.folder)})
        else:
            _print_request(campaign, request)
        return
    done = campaign.result
    print_outcome(done, json=json, more={"settings": None} if json else None)
    raise typer.Exit(exit_code(done))


def tell(
    name: RunName,
    readings: Readings = None,
    applied: Annotated[
        list[str] | None, option("--applied INPUT=VALUE", "An input that was set otherwise. May be repeated.")
    ] = None,
    failed: Annotated[str, option("--failed WHY", "Why there is no reading: its trial ends as failed.")] = "",
    trial: Trial = None,
    repeat: Repeat = None,
    note: Annotated[str, option("--note TEXT", "Kept beside the reading.")] = "",
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Tell the reading at the settings that `sdl ask` gave.

    \b
    sdl tell latest R=140.2 G=42
    sdl tell latest R=140.2 G=42 --applied red=85 --note "lamp changed"
    sdl tell latest --failed "bubble in line 2"

    The reading is on the disk when the command ends. Telling the same values again changes nothing; other
    values are refused (use `sdl correct`). A script that may be killed names the reading, as `sdl ask
    --json` gave it: --trial 3 --repeat 0.
    """
    campaign = _opened(name, runs)
    place = _place(campaign, trial, repeat)
    values = dict(number(word, "CHANNEL=NUMBER, such as R=140.2") for word in readings or ())
    set_to = _settings(campaign, applied or ())
    campaign.tell(place, values or None, failed=failed, applied=set_to, note=note)
    _print_state(campaign, place, json=json)


def attach(
    name: RunName,
    values: Annotated[list[str], argument("NAME=VALUE…", "Every input and every channel: red=30 R=140.2.")],
    note: Annotated[str, option("--note TEXT", "Kept beside the reading.")] = "",
    runs: Runs = RUNS,
    json: Json = False,
    by: By = "",
) -> None:
    """Give the solver a reading that it did not ask for.

    \b
    sdl attach latest red=30 yellow=5 R=140.2 G=42

    It is not a trial: no stopping rule counts it, and it never ends the campaign.
    """
    campaign = _opened(name, runs)
    inputs = [item.name for item in campaign.config.instrument.inputs]
    settings = [word for word in values if word.partition("=")[0].strip() in inputs]
    readings = dict(number(word, "NAME=VALUE, such as R=140.2") for word in values if word not in settings)
    campaign.attach(_settings(campaign, settings), readings, note, by=by)
    if json:
        emit({"run": str(campaign.folder), "attached": readings})
    else:
        print(f"attached: {', '.join(f'{name} {value:g}' for name, value in readings.items())}")


def skip(
    name: RunName,
    why: Annotated[str, option("--why TEXT", "The reason, for the record.")],
    trial: Trial = None,
    runs: Runs = RUNS,
    json: Json = False,
    by: By = "",
) -> None:
    """Leave out the trial that is open.

    \b
    sdl skip latest --why "out of reagent"

    It counts as a trial but not as a failure; the solver keeps the readings already told.
    """
    campaign = _opened(name, runs)
    place = _place(campaign, trial, None if trial is None else 0)
    campaign.skip(place[0], why, by=by)
    _print_state(campaign, place, json=json)


def correct(
    name: RunName,
    readings: Readings = None,
    trial: Annotated[int, option("--trial N", "Number of the trial.", min=0)] = ...,  # type: ignore[assignment]
    repeat: Annotated[int, option("--repeat K", "Which of its readings, from 0.", min=0)] = 0,
    exclude: Annotated[bool, option("--exclude", "The reading no longer counts.")] = False,
    why: Annotated[str, option("--why TEXT", "The reason, for the record.")] = ...,  # type: ignore[assignment]
    runs: Runs = RUNS,
    json: Json = False,
    by: By = "",
) -> None:
    """Correct a reading, or exclude it.

    \b
    sdl correct latest R=140.2 --trial 3 --why "read 1402 off the display"
    sdl correct latest --exclude --trial 5 --repeat 1 --why "lid was open"

    Channels left out keep their values. Solver, means and reports use the new
    values; the record keeps the old ones. This also works for finished runs and for those of `sdl run`, unless
    a process is driving them. A finished trial stays finished; if the goal is no longer reached, the campaign
    can continue.
    """
    if exclude == bool(readings):
        raise ConfigError("give either the right values, R=140.2, or --exclude")
    campaign = _opened(name, runs)
    values = dict(number(word, "CHANNEL=NUMBER, such as R=140.2") for word in readings or ())
    campaign.correct(trial, repeat, None if exclude else values, why, by=by)
    _print_state(campaign, (trial, repeat), json=json)


def _opened(name: str, runs: Path) -> OpenCampaign:
    from sdl.asktell import open_campaign

    return open_campaign(campaign_run(name, runs), runs=runs)


def _place(campaign: OpenCampaign, trial: int | None, repeat: int | None) -> tuple[int, int]:
    """The trial and the repeat that were given, by default those that are open."""
    if trial is not None and repeat is not None:
        return trial, repeat
    request = campaign.open_request
    if request is None:
        raise ConfigError(f"{campaign.folder}: nothing is asked for; first: sdl ask {campaign.folder}")
    if trial is not None and trial != request.trial:
        raise ConfigError(f"the open trial is {request.trial}, not {trial}; for trial {trial} give --repeat as well")
    return request.trial, request.repeat if repeat is None else repeat


def _settings(campaign: OpenCampaign, words: Sequence[str]) -> dict[str, Any]:
    """Values of inputs: numbers, or the texts of choices."""
    inputs = {item.name: item for item in campaign.config.instrument.inputs}
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not equals or name not in inputs:
            raise ConfigError(f"{word}: must be INPUT=VALUE; {near(name, tuple(inputs))}")
        values[name] = text if inputs[name].choices else number(word, "INPUT=NUMBER, such as red=85")[1]
    return values


def _print_request(campaign: OpenCampaign, request: Request) -> None:
    from sdl.runs.runs import open_run

    run = open_run(campaign.folder)
    spec = instrument_spec(run.opened)
    say(f"trial {request.trial}, repeat {request.repeat}: {request.why}")
    for name, value in request.settings.items():
        unit = spec.units.get(name, "")
        text = spec.settings({name: value})[name] if name in spec.specs else value
        say(f"  set   {name} = {text}{f' {unit}' if unit else ''}", 8)
    names = " ".join(f"{channel.name}=…" for channel in campaign.told_channels)
    say(f"  then  sdl tell {campaign.folder} {names}", 8)


def _print_state(campaign: OpenCampaign, place: tuple[int, int], *, json: bool) -> None:
    """Print how a trial stands, and what comes next."""
    from sdl.runs.runs import open_run

    run = open_run(campaign.folder)
    trial, goal, history = run.trials[place[0]], run.campaign.plan.goal, run.campaign.history
    stop = run.campaign.stop
    if json:
        values: dict[str, Any] = {"run": str(campaign.folder), "trial": place[0], "repeat": place[1]}
        values |= {"state": str(trial.state), "mean": trial.mean, "miss": trial.miss}
        emit(values | {"ends": str(stop.outcome) if stop else None, "reason": stop.reason if stop else ""})
        return
    bands = goal.bands if goal else {}
    means = ", ".join(f"{name} {reading(value, bands.get(name))}" for name, value in trial.mean.items())
    taken = f"{count(trial.readings, 'reading')}{f', mean {means}' if means else ''}"
    say(f"trial {trial.trial} ({trial.state}): {taken}")
    if best := best_trial(history.best):
        say(f"  {best}")
    if stop is not None:
        say(f"  ends:  {display(stop.outcome)}: {cause(stop.reason)}")
