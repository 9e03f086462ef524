"""Options of several commands, and JSON on stdout."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from sdl.errors import ConfigError
from sdl.store.resolve import RUNS as RUNS
from sdl.store.resolve import find
from sdl.types import is_number

if TYPE_CHECKING:
    from sdl.store.datasets import ColumnNames


def option(spec: str, text: str, **more: Any) -> Any:
    """An option of a command: `option("--output -o FILE", "The page to write.")`; `more` as for typer.Option."""
    flags = [word for word in spec.split() if word.startswith("-")]
    metavar = next((word for word in spec.split() if not word.startswith("-")), None)
    return typer.Option(*flags, metavar=metavar, help=text, **more)


def argument(metavar: str, text: str) -> Any:
    """An argument of a command."""
    return typer.Argument(metavar=metavar or None, help=text)


Set = Annotated[
    list[str] | None, option("--set KEY=VALUE", "Change one key of the file: --set solver.kind=pls. May be repeated.")
]
OnTwin = Annotated[
    bool, option("--on-twin", "Replace the instrument by its twin: the one that its key `twin` names, if it has one.")
]
Page = Annotated[
    bool,
    option("--page", "Have a person answer on the page of `sdl web`, or others by `sdl tell`: kinds manual, external."),
]
Runs = Annotated[Path, option("--runs DIR", "Directory of the runs.")]
Json = Annotated[bool, option("--json", "Print one JSON object on stdout, and nothing else there.")]
Quiet = Annotated[bool, option("--quiet -q", "Print no progress, only the result.")]
Trust = Annotated[
    bool,
    option(
        "--trust", "Accept a program, code or an address in the instrument of a campaign that another account wrote."
    ),
]
RUN_HELP = "`latest`, a campaign's name, a part of a run's name, or its directory."
RunName = Annotated[str, argument("RUN", RUN_HELP)]
LabPath = Annotated[Path, argument("FILE", "A lab file (YAML).")]
CampaignPath = Annotated[Path, argument("FILE", "A campaign file (YAML).")]
InputColumns = Annotated[
    list[str] | None,
    option(
        "--input NAME=COLUMN",
        "Column of an input in a table or log; NAME alone if the column has that name. May be repeated.",
    ),
]
ChannelColumns = Annotated[list[str] | None, option("--channel NAME=COLUMN", "Column of a channel, likewise.")]
Jobs = Annotated[int | None, option("--jobs -j", "Processes on this machine; default: one per core.", min=1)]
Limit = Annotated[
    float | None,
    option(
        "--limit SECONDS",
        "Real time after which a campaign is killed and counts as failed; 0: no limit.",
        min=0,
        callback=lambda seconds: seconds or None,
    ),
]
LIMIT = 600.0  # seconds; the slowest campaigns of our solvers take about ten


class Emitted:
    """Whether this process has already printed its one JSON object, and on which stream.

    Afterwards errors are printed on stderr only.
    """

    already = False
    to: TextIO | None = None
    """Stream of the object; None: stdout."""


def emit(value: Mapping[str, Any]) -> None:
    """Print one JSON object in ASCII; NaN and infinity become null."""
    Emitted.already = True
    print(json.dumps(_finite(value), allow_nan=False), file=Emitted.to)


def check_page(file: Path) -> None:
    """Check before the work that a page can be written to a file.

    Raises:
        ConfigError: it is no .html file, or the file was not made by sdl.
    """
    from sdl.report import page

    if file.suffix != ".html":
        raise ConfigError(f"--report {file}: must end in .html")
    page.check(file)


def campaign_run(name: str, runs: Path) -> Path:
    """The newest run of this name that has a goal; a newer one without a goal is reported on stderr."""
    run, newest = find(name, runs, goal=True), find(name, runs)
    if run != newest:
        short = newest.name.rpartition("-")[2]
        print(f"using the newest run with a goal; {short} is newer but has none (name it to use it)", file=sys.stderr)
    return run


def number(text: str, form: str) -> tuple[str, float]:
    """Parse `NAME=NUMBER`.

    Raises:
        ConfigError: the text has another form; the message shows `form`.
    """
    from sdl.yamlfile import scalar

    name, equals, given = text.partition("=")
    try:
        value = scalar(given) if equals else None
    except ConfigError:
        value = None
    if not name.strip() or not is_number(value) or not math.isfinite(value):
        raise ConfigError(f"{text}: must be {form}")
    return name.strip(), float(value)


def columns_of(inputs: Sequence[str] | None, channels: Sequence[str] | None) -> ColumnNames:
    """The columns given by `--input` and `--channel`.

    Raises:
        ConfigError: a name without a column, or twice.
    """
    from sdl.store.datasets import ColumnNames

    return ColumnNames(_columns("--input", inputs or ()), _columns("--channel", channels or ()))


def _columns(option: str, given: Sequence[str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for text in given:
        name, equals, place = (part.strip() for part in text.partition("="))
        if not name or (equals and not place):
            raise ConfigError(f"{option} {text}: must be NAME=COLUMN, such as R=red, or NAME")
        if name in columns:
            raise ConfigError(f"{option} {text}: {name} is given twice")
        columns[name] = place or name
    return columns


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
