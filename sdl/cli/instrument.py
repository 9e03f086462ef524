"""Commands about instruments: `sdl instrument check` and `sdl instrument new`."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdl import config
from sdl.cli.instrument_new import new
from sdl.cli.options import Json, Set, argument, emit, option

if TYPE_CHECKING:
    from sdl.drivers.base import Driver
    from sdl.types import SafeState

instrument = typer.Typer(no_args_is_help=True, help="Test an instrument before a campaign.")
instrument.command()(new)
MARKS = {True: "ok", False: "NOT OK", None: ""}


@instrument.command()
def check(
    file: Annotated[Path, argument("FILE", "A campaign file (YAML); a goal is not needed.")],
    changes: Set = None,
    repeats: Annotated[int, option("--repeats -n", "Readings in the middle of the inputs.", min=1, max=1000)] = 5,
    json: Json = False,
) -> None:
    """Test the instrument of a campaign file.

    It takes about twelve readings and reports their duration, the background, the noise, whether the settings are
    applied, whether the goal is within the range of the channels, and whether the instrument is off at the end.
    Nothing is recorded. It is refused while a campaign on this machine uses the instrument. Progress is on stderr.

    \b
    sdl instrument check led.yaml
    sdl instrument check led.yaml --set instrument.url=http://127.0.0.1:5000/api

    Exit code 1 if a campaign could not run with it, 3 if it gives no reading.
    """
    from sdl import runner
    from sdl.drivers.commissioning import Examination

    campaign = config.load(file, changes or (), collect=True)
    instrument, findings = campaign.instrument, []
    clock, say = runner.clock_for(instrument), partial(print, file=sys.stderr, flush=True)
    watched = {} if instrument.virtual else {"begun": partial(say, end=" … "), "ended": say}

    def make_safe(driver: Driver) -> SafeState:
        return runner.switch_off(driver, instrument, clock)

    with runner.instrument_lease(instrument, "instrument check"):
        for finding in Examination(instrument, clock, campaign.goals(), make_safe, repeats, **watched).findings():
            findings.append(finding)
            if not json:
                print(f"{finding.what:14} {MARKS[finding.good]:6} {finding.says}", flush=True)
    bad = [finding.what for finding in findings if finding.good is False]
    if json:
        plain = [{"what": f.what, "good": f.good, "says": f.says, "figures": f.figures} for f in findings]
        emit({"findings": plain, "not_ok": bad, "exit_code": 1 if bad else 0})
    raise typer.Exit(1 if bad else 0)
