"""The command line: thin commands over the functions that Python users call.

`run.py` drives an instrument, `ask.py` serves those who drive it themselves, `runs/` reads runs, `campaign_files.py`
checks and writes campaign files, `solve.py` answers from a data set, `lab/` and `twin/` are groups of commands;
`display/` has the views, `commands.py` names every command and its module, and imports those that are needed. Heavy
modules are imported inside the commands, so that `sdl --help` is quick.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import typer

from sdl.cli.commands import make_app
from sdl.cli.options import Emitted, emit
from sdl.cli.terminal import escaped
from sdl.errors import RecordError, SdlError

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
    gc.freeze()  # the events of a long record are not searched for cycles before the process ends
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
        code = make_app(next(iter(sys.argv[1:]), ""))(standalone_mode=False)
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
