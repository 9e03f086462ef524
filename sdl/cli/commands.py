"""The commands by name, each with its module, which is imported only where the command is called or helped with."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer

COMMANDS = {
    "run": "run:run",
    "resume": "run:resume",
    "collect": "run:collect",
    "measure": "run:measure",
    "ask": "ask:ask",
    "tell": "ask:tell",
    "attach": "ask:attach",
    "skip": "ask:skip",
    "correct": "ask:correct",
    "validate": "campaign_files:validate",
    "forecast": "campaign_files:forecast",
    "schema": "campaign_files:schema",
    "init": "campaign_files:init",
    "list": "runs.show:list_runs",
    "show": "runs.show:show",
    "explain": "runs.show:explain",
    "check": "runs.show:check",
    "export": "runs.report:export",
    "import": "runs.report:import_run",
    "archive": "runs.archive:archive_runs",
    "watch": "runs.watch:watch",
    "report": "runs.report:report",
    "compare": "runs.compare:compare",
    "verify": "verify:verify",
    "replay": "runs.replay:replay",
    "solve": "solve:solve",
    "paper": "paper:paper",
    "web": "web:web",
    "mcp": "mcp:mcp",
    "sweep": "sweep:sweep",
    "bench": "bench:bench",
}
"""In the order of the help."""
GROUPS = {"twin": "twin.commands:twin", "instrument": "instrument:instrument", "lab": "lab.commands:lab"}
HELP = """Closed-loop experiments on a small instrument, or on its twin.

\b
sdl run configs/quickstart.yaml        a campaign on the twin, to its goal
sdl init my.yaml                       a commented campaign file to start from
sdl explain latest 4                   who proposed trial 4 and why

\b
Exit codes: 0 reached, done · 1 budget used up, stalled, unreachable, aborted,
a check not met · 2 a mistake in a file or argument · 3 the instrument ·
4 the solver · 5 the disk or a record · 70 a bug in sdl ·
130, 143 interrupted
"""


def _print_version(requested: bool) -> None:
    if requested:
        from sdl.extras import own_version

        version = own_version()
        print(f"sdl {version}" if version else "sdl, not installed")
        raise typer.Exit


def _common(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass


def make_app(name: str = "") -> typer.Typer:
    """The command `sdl`; with the name of one of its commands or groups that one only, which saves half a second."""
    app = typer.Typer(
        name="sdl",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        help=HELP,
    )
    app.callback()(_common)
    known = name in COMMANDS or name in GROUPS
    for command, place in COMMANDS.items():
        if command == name or not known:
            app.command(command)(_loaded(place))
    for group, place in GROUPS.items():
        if group == name or not known:
            app.add_typer(_loaded(place), name=group)
    return app


def _loaded(place: str) -> Any:
    """The function or the group of commands at `module:name` of `sdl.cli`."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"sdl.cli.{module}"), name)
