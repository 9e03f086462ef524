"""The command `sdl instrument new`: write a commented campaign file for an instrument of one's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from sdl.cli.options import argument
from sdl.errors import ConfigError, near, translated_os_errors

# The script that a template names, by kind.
SCRIPTS = {"command": "rig.py", "python": "my_rig.py"}


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
