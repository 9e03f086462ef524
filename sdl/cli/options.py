"""Options that several commands share, and JSON on stdout."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change one key of the file: --set solver.kind=pls. May be repeated."
    ),
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where the runs are.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the end.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Directory of a run, a part of its name, or `latest`.")]
RUNS = Path("runs")


def emit(value: Mapping[str, Any]) -> None:
    """Prints one JSON object, in ASCII whatever the terminal; what is not a number becomes null."""
    print(json.dumps(_finite(value), allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
