"""Commands about campaign files: validate, forecast, schema, init."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from sdl import config, yamlfile
from sdl.cli.lab.commands import described
from sdl.cli.options import RUNS, CampaignPath, Json, Runs, Set, argument, emit, option
from sdl.cli.terminal import say
from sdl.durations import format_duration
from sdl.errors import ConfigError, translated_os_errors
from sdl.formatting import count
from sdl.lab.config.file import load as load_lab

SCHEMA = "campaign.schema.json"
"""Schema file that the starter file names, so that an editor completes and checks it."""
MOST_FOLDERS = 200
"""Runs that a forecast searches for those of its instrument: the newest."""

STARTER = """\
# A campaign: find the settings that give these readings. `sdl validate FILE` checks it, `sdl run FILE` runs it.
# yaml-language-server: $schema=campaign.schema.json
name: my-campaign                       # runs are filed under runs/<name>/

instrument: {kind: twin}                # the simulated instrument; the real one:
#instrument: {kind: claude-light}       # its public address is the default; or url: https://…/api

goal:                                   # target of each channel (raw reading); others are free
  445nm: 16384
  515nm: 16384
  630nm: {target: 16384, tolerance: 400}  # a tolerance of its own, in counts
tolerance: 2%                           # of the target, or a number in the channel's unit; two-sided; for every channel
confirm: 2                              # further readings at settings within tolerance; their mean must be, too
average: 1                              # readings per trial

design: {kind: axis}                    # trials before the solver: axis, latin-hypercube, points, …
solver: {kind: auto}                    # auto, bayes, gp, broyden, linear, pls, gmm, forest, …
stop: {trials: 40, minutes: 30}         # also: failures, stagnation: {trials: 10, by: .05}, unreachable
prior: []                               # records or Claude-Light logs to start with
seed: 0                                 # the same file and seed give the same campaign on the twin
"""


def validate(
    files: Annotated[list[Path], argument("FILE…", "Campaign files (YAML).")],
    changes: Set = None,
    json: Json = False,
) -> None:
    """Check campaign and lab files and print what they would do.

    \b
    sdl validate configs/*.yaml
    """
    reports: list[dict[str, Any]] = []
    wrong: list[ConfigError] = []
    for file in files:
        try:
            if _is_lab(file):
                plan, sentences = described(load_lab(file), file)
                report: dict[str, Any] = {"lab": plan}
            else:
                report, sentences = _checked(file, changes or ())
        except ConfigError as error:
            wrong.append(error)
            problems = [{"file": p.file, "line": p.line, "path": p.path, "message": p.message} for p in error.problems]
            reports.append({"file": str(file), "valid": False, "problems": problems})
            continue
        reports.append({"file": str(file), "valid": True, "problems": [], **report})
        for sentence in [] if json else sentences:
            say(sentence, 4)
    if json:
        emit({"valid": not wrong, "files": reports})
    if wrong:
        raise ConfigError(*(problem for error in wrong for problem in error.problems))


def _checked(file: Path, changes: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The report on a valid campaign file, as JSON values and as lines of text."""
    campaign = config.load(file, changes, collect=True)
    if campaign.prior:  # only then: reading rows needs numpy
        from sdl.runner.setup import load_priors

        load_priors(campaign)
    cost, warnings = config.cost(campaign), [*_not_ready(campaign), *config.cautions(campaign)]
    report = {
        "warnings": warnings,
        "at_most": {"trials": cost.trials, "readings": cost.readings, "minutes": round(cost.seconds / 60, 2)},
        **({} if cost.price is None else {"cost_at_most": round(cost.price, 6)}),
        "with_every_retry": {"readings": cost.tries, "minutes": round(cost.longest / 60, 2)},
    }
    what = "" if campaign.goal else ", no goal: for `sdl collect`"
    sentence = (
        f"{file}: valid{what}; at most {count(cost.trials, 'trial')}, {count(cost.readings, 'reading')}, "
        f"{_minutes(cost.seconds)} of {campaign.instrument.identity}; "
        f"with every retry {cost.tries} readings, {_minutes(cost.longest)}"
        + ("" if cost.price is None else f"; cost at most {cost.price:g}")
    )
    return report, [sentence, *(f"{file}: warning: {warning}" for warning in warnings)]


def _minutes(seconds: float) -> str:
    """A time in minutes, or in hours and days if it is long: `1.6 minutes`, `6 h 16 min`."""
    return f"{seconds / 60:.1f} minutes" if seconds < 7200 else format_duration(seconds)


def _not_ready(campaign: config.CampaignFile) -> list[str]:
    """What the instrument lacks on this machine, such as a file; nothing is started."""
    if campaign.instrument.kind == "external":
        return []  # it has no driver
    try:
        getattr(campaign.instrument, "ready", lambda: None)()
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def _is_lab(file: Path) -> bool:
    """Whether a file has the key `jobs` of a lab file; a file that cannot be read is treated as a campaign."""
    try:
        value = yamlfile.read(file).value
    except ConfigError:
        return False
    return isinstance(value, dict) and "jobs" in value


def forecast(
    file: CampaignPath,
    changes: Set = None,
    campaigns: Annotated[int, option("--campaigns -n", "Number of simulated campaigns.", min=1, max=1000)] = 5,
    seconds: Annotated[float, option("--seconds", "Time after which no further one begins.", min=1, max=86400)] = 30,
    runs: Runs = RUNS,
    json: Json = False,
) -> None:
    """Simulate a campaign: how many trials will it take?

    \b
    sdl forecast my.yaml
    sdl forecast my.yaml --set tolerance=0.5% -n 20

    It runs on the twin of the instrument; where it has none, on one that is fitted to its latest runs. Nothing is
    measured or recorded.
    """
    from sdl.runner.forecast import earlier_runs
    from sdl.runner.forecast import forecast as forecast_campaign
    from sdl.store.resolve import folders

    campaign = config.load(file, changes or (), runs=runs)
    newest = folders(runs)[: -MOST_FOLDERS - 1 : -1]
    sources = [] if campaign.instrument.simulated else earlier_runs(newest, campaign.instrument.identity)
    found = forecast_campaign(campaign, campaigns=campaigns, seconds=seconds, sources=sources)
    if json:
        emit({**asdict(found), "good": found.good, "text": found.text()})
    else:
        say(found.text())


def schema() -> None:
    """Print the JSON Schema of the campaign file, for editors.

    \b
    sdl schema > campaign.schema.json
    """
    print(_schema_text(), end="")


def _schema_text() -> str:
    return jsonlib.dumps(config.schema(), indent=2, ensure_ascii=False) + "\n"


def init(
    file: Annotated[Path, argument("FILE", "Where to write it; - prints it.")] = Path("campaign.yaml"),
) -> None:
    """Write a commented campaign file to start from.

    The schema for editors is written next to it. An existing file is left unchanged.

    \b
    sdl init my.yaml && sdl run my.yaml
    """
    if str(file) == "-":
        print(STARTER, end="")
        return
    if file.exists():
        raise ConfigError(f"{file} exists already; name another file")
    with translated_os_errors(file):
        with file.open("x", encoding="utf-8") as stream:
            stream.write(STARTER)
        (file.parent / SCHEMA).write_text(_schema_text(), encoding="utf-8")
    print(f"{file} and {SCHEMA} written; try: sdl run {file}")
