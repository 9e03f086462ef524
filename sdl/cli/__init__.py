"""The command line: thin commands over the same functions that Python users call.

`run.py` drives an instrument, `look.py` reads what is there, `files.py` is about campaign files, `solve.py` is the one
shot on a data set; `live.py` draws. Heavy modules are imported inside the commands, so that `sdl --help` is quick.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import Any

import typer

from sdl.cli import files, look, run, solve
from sdl.errors import SdlError

app = typer.Typer(
    name="sdl",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="""Closed-loop experiments on a small instrument, or on its twin.

    \b
    sdl run configs/quickstart.yaml        a campaign on the twin, to its goal
    sdl init my.yaml                       a commented campaign file to start from
    sdl explain latest 4                   who proposed trial 4 and why

    \b
    Exit codes: 0 reached, done · 1 spent, stalled, unreachable, aborted, a check not met · 2 a mistake in a file or
    an argument · 3 the instrument · 4 the solver · 5 the disk or a record · 70 a bug in sdl · 130, 143 interrupted
    """,
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"sdl {version('sdl')}")
        except PackageNotFoundError:
            print("sdl, not installed")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass


for part in (run, files, look, solve):
    part.add_to(app)


# Typer has a click of its own since 0.26; the root of its errors is reached through what it exports in every version.
_UsageError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def main() -> None:
    """Entry point of the `sdl` command; ends the process with the documented exit code."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no campaign ends because a log cannot spell ±
            stream.reconfigure(errors="backslashreplace")
    code = _run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has gone; Python would complain once more at exit
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _run() -> int:
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Abort:
        return 130
    except _UsageError as error:
        error.show()
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except SdlError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.exit_code == SdlError.exit_code:
            print("This is a bug in sdl: please report it with the command and the record.", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 0
    except Exception:
        import traceback

        traceback.print_exc()
        print("This is a bug in sdl: please report it with the lines above.", file=sys.stderr)
        return SdlError.exit_code
