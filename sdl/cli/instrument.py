"""Commands about instruments: `sdl instrument check` and `sdl instrument new`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial, reduce
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl import config, yamlfile
from sdl.cli.options import Json, Set, argument, emit, option
from sdl.errors import ConfigError, near, translated_os_errors

if TYPE_CHECKING:
    from sdl.config import CampaignFile
    from sdl.drivers.base import Driver
    from sdl.types import SafeState

instrument = typer.Typer(no_args_is_help=True, help="Test an instrument before a campaign.")
PART_UNASKED = 0.5  # of the way to the ends that is gone where nobody can be asked
MARKS = {True: "ok", False: "NOT OK", None: ""}
SCRIPTS = {"command": "rig.py", "python": "my_rig.py"}  # that a template names, by kind


@instrument.command()
def new(
    kind: Annotated[str, argument("KIND", "command, http, scpi, python, manual or external.")],
    file: Annotated[Path | None, argument("FILE", "Where to write it; by default KIND.yaml.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write a commented campaign file for an instrument of your own.

    For the kinds command and python a script is written beside it that stands in for the instrument, so that the
    campaign runs at once.

    \b
    sdl instrument new command rig.yaml
    sdl run rig.yaml
    """
    templates = files("sdl.drivers") / "templates"
    kinds = sorted(item.name.removesuffix(".yaml") for item in templates.iterdir() if item.name.endswith(".yaml"))
    if kind not in kinds:
        raise ConfigError(f"no template for kind {kind}; {near(kind, kinds)}")
    file = file or Path(f"{kind}.yaml")
    written = {file: (templates / f"{kind}.yaml").read_text(encoding="utf-8")}
    if kind in SCRIPTS:
        written[file.parent / SCRIPTS[kind]] = (templates / f"{kind}.py.txt").read_text(encoding="utf-8")
    if not force and (there := [str(path) for path in written if path.exists()]):
        raise ConfigError(f"{' and '.join(there)} exists already; name another file, or overwrite with --force")
    for path, text in written.items():
        with translated_os_errors(path):
            path.write_text(text, encoding="utf-8")
    print(f"{' and '.join(map(str, written))} written; try: sdl validate {file}")


@instrument.command()
def check(
    file: Annotated[
        Path, argument("FILE", "A campaign file (YAML), a goal is not needed; or the file of an instrument alone.")
    ],
    changes: Set = None,
    repeats: Annotated[int, option("--repeats -n", "Readings in the middle of the inputs.", min=2, max=1000)] = 5,
    yes: Annotated[bool, option("--yes -y", "Go to every end of the inputs without asking.")] = False,
    json: Json = False,
) -> None:
    """Test the instrument of a campaign file, one input at a time.

    It goes from off to the middle of the inputs, repeats readings there, then moves one input after the other to
    its ends and back. It reports noise, repeatability, settling time, resolution, inputs without effect, channels that
    several inputs change, whether settings are applied, whether the goal can be expected, and whether the instrument is
    off at the end. Constraints, `settle`, `ramp` and `limits` are kept.

    At a terminal it asks before it moves a real instrument outside the range visited so far. Without a terminal and
    without --yes it goes half of the way from the middle to the ends. Nothing is recorded. It is refused while a
    campaign on this machine uses the instrument. Progress is on stderr.

    \b
    sdl instrument check led.yaml
    sdl instrument check rig.yaml --yes --json
    sdl instrument check led.yaml --set instrument.url=http://127.0.0.1:5000/api

    Exit code 1 if a campaign could not run with it, 3 if it gives no reading.
    """
    from sdl import runner
    from sdl.drivers.commissioning.survey import Examination

    campaign = load_instrument(file, changes or ())
    instrument, findings = campaign.instrument, []
    clock, say = runner.clock_for(instrument), partial(print, file=sys.stderr, flush=True)
    watched: dict[str, Any] = {} if instrument.virtual else {"begun": partial(say, end=" … "), "ended": say}
    if not (yes or instrument.simulated):
        asked = sys.stdin.isatty() and sys.stderr.isatty()
        watched |= {"consent": Consent()} if asked else {"part": PART_UNASKED}

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


class Consent:
    """Asks at the terminal before the instrument is moved outside the range visited so far."""

    def __init__(self) -> None:
        self._all = False

    def __call__(self, place: str) -> bool:
        if self._all:
            return True
        answer = typer.prompt(f"Set {place}? [y]es, [n]o, [a]ll that follows", default="y", err=True)
        self._all = answer.strip().lower().startswith("a")
        return self._all or answer.strip().lower().startswith("y")


def load_instrument(file: Path, changes: Sequence[str]) -> CampaignFile:
    """Load a campaign file, whose goal may be missing, or the file of an instrument alone.

    Raises:
        ConfigError: lists every mistake.
    """
    tree = yamlfile.read(file)
    if tree.problems or not isinstance(tree.value, Mapping) or "kind" not in tree.value or "instrument" in tree.value:
        return config.load(file, changes, collect=True)
    plain: dict[str, Any] = {"name": "check", "instrument": {"use": file.name}}
    return config.parse(reduce(config.override, changes, plain), base=file.parent, collect=True)
