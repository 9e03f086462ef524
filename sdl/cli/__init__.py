"""The command line: thin commands over the functions that Python users call.

`run.py` drives an instrument, `ask.py` serves those who drive it themselves, `runs/` reads runs, `campaign_files.py`
checks and writes campaign files, `solve.py` answers from a data set, `lab/` and `twin/` are groups of commands;
`display/` has the views. Heavy modules are imported inside the commands, so that `sdl --help` is quick.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import typer

from sdl.cli import ask, bench, campaign_files, instrument, mcp, paper, replay, run, solve, sweep, verify, web
from sdl.cli.lab import commands as lab
from sdl.cli.options import Emitted, emit
from sdl.cli.runs import archive, compare, report, show, watch
from sdl.cli.terminal import escaped
from sdl.cli.twin import commands as twin
from sdl.cli.twin import forecast, serve
from sdl.errors import RecordError, SdlError

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
    Exit codes: 0 reached, done · 1 budget used up, stalled, unreachable, aborted,
    a check not met · 2 a mistake in a file or argument · 3 the instrument ·
    4 the solver · 5 the disk or a record · 70 a bug in sdl ·
    130, 143 interrupted
    """,
)


def _print_version(requested: bool) -> None:
    if requested:
        from sdl.extras import own_version

        version = own_version()
        print(f"sdl {version}" if version else "sdl, not installed")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass


COMMANDS = (
    *(run.run, run.resume, run.collect, run.measure),
    *(ask.ask, ask.tell, ask.attach, ask.skip, ask.correct),
    *(campaign_files.validate, forecast.forecast, campaign_files.schema, campaign_files.init),
    *(
        show.list_runs,
        show.show,
        show.explain,
        show.check,
        report.export,
        report.import_run,
        archive.archive_runs,
        watch.watch,
        report.report,
    ),
    *(
        compare.compare,
        verify.verify,
        replay.replay,
        solve.solve,
        paper.paper,
        web.web,
        mcp.mcp,
        sweep.sweep,
        bench.bench,
    ),
)
"""In the order of the help."""
for command in COMMANDS:
    app.command({show.list_runs: "list", report.import_run: "import", archive.archive_runs: "archive"}.get(command))(
        command
    )
for command in (serve.serve, serve.device):
    twin.twin.command()(command)
app.add_typer(twin.twin, name="twin")
app.add_typer(instrument.instrument, name="instrument")
lab.add_to(app)


# Typer contains its own copy of click since 0.26; the base of its errors is found through a class that it exports.
_UsageError: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


def main() -> None:
    """Entry point of the `sdl` command; ends the process with the documented exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a log that cannot encode ± must not end a campaign
            stream.reconfigure(errors="backslashreplace")
    if sys.stdout is None:  # closed by `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    sys.stdout = escaped(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = escaped(sys.stderr)
    os.environ.pop("MPLBACKEND", None)  # set by a notebook; figures are files and need no backend
    wanted = logging.getLevelNamesMapping().get(os.environ.get("SDL_LOG", "").upper(), logging.WARNING)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("sdl").setLevel(wanted)
    logging.getLogger("httpx").setLevel(logging.ERROR)
    out = sys.stdout
    if "--json" in sys.argv[1:]:
        with contextlib.suppress(OSError, ValueError):  # no stdout or stderr to separate
            out = Emitted.to = _apart()
    code = _run(sys.argv[1:])
    try:
        out.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            code = _unwritable(error)
        with contextlib.suppress(OSError):  # else Python reports it again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    sys.exit(code)


def _apart() -> TextIO:
    """Reserve stdout for one JSON object; redirect all other output of this process and its children to stderr."""
    sys.stdout.flush()
    here = sys.stdout.fileno()
    kept = os.dup(here)
    os.dup2(sys.stderr.fileno(), here)
    return open(kept, "w", encoding="ascii")


def _run(args: Sequence[str]) -> int:
    """Run the command; after an error, `--json` prints an object with its reason."""
    Emitted.already = False
    code, reason = _guarded()
    if reason and "--json" in args and not Emitted.already:
        with contextlib.suppress(OSError):
            emit({"outcome": None, "reason": reason, "exit_code": code})
    return code


def _guarded() -> tuple[int, str]:
    """Run the command; return its exit code, and after an error its reason, which is printed on stderr."""
    try:
        code = app(standalone_mode=False)
        return (code if isinstance(code, int) else 0), ""
    except typer.Abort:
        return 130, "interrupted"
    except _UsageError as error:
        error.message = error.message.replace("Value error, ", "")  # pydantic's prefix
        error.show()
        return int(error.exit_code), error.format_message()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130, "interrupted"
    except SdlError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.exit_code == SdlError.exit_code:
            print("This is a bug in sdl: please report it with the command and the record.", file=sys.stderr)
        return error.exit_code, str(error)
    except BrokenPipeError:
        return 0, ""
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
            return _unwritable(error), ""
        import traceback

        traceback.print_exc()
        print("This is a bug in sdl: please report it with the lines above.", file=sys.stderr)
        return SdlError.exit_code, f"a bug in sdl: {error!r}"


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""Errors of writing to stdout; those of files that we open are translated where they are opened."""


def _unwritable(error: OSError) -> int:
    with contextlib.suppress(OSError):
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
    return RecordError.exit_code
