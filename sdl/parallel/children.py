"""How the processes that `sdl` starts begin: the same way everywhere.

Python looks for modules in the working directory first when it is started with `-c` or `-m`, as `multiprocessing` and
Dask start it. A `random.py` beside a campaign file would then be run in place of the library's module, and an `sdl`
folder in place of the installed package. No process that is started here does so. What is installed, or named by
PYTHONPATH, is found as before.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SAFE_PATH = "PYTHONSAFEPATH"
"""Set to any text, it keeps the working directory out of a Python's path; `-P` does the same."""
BY_SDL = "sdl"
"""Our text in it, so that a child can tell it from the user's own."""
MAX_PATH_BYTES = 70
"""Bytes of a folder's path in which `multiprocessing` can make a socket; the system allows 104 with its name."""


def command(*words: str) -> list[str]:
    """The command line of another `sdl`, by this Python."""
    return [sys.executable, "-P", "-m", "sdl", *words]


@contextlib.contextmanager
def child_environment(**values: str) -> Iterator[None]:
    """What is started inside does not import from the working directory, and has `values` in its environment."""
    values = {SAFE_PATH: os.environ.get(SAFE_PATH) or BY_SDL, **values}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def restore_environment() -> None:
    """Says, in a child, that it has begun: the programs that a plug-in starts find their modules as they always do."""
    if os.environ.get(SAFE_PATH) == BY_SDL:
        del os.environ[SAFE_PATH]


def default_signals() -> None:
    """Gives a child, and the programs that a plug-in starts there, the signals that a program expects.

    They are inherited: the background of a script ignores Ctrl-C, and the warm process blocks SIGTERM. A Ctrl-C that
    waited until now is forgotten.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.default_int_handler)


def fork_server(preload: Sequence[str]) -> Any:
    """A `multiprocessing` context that copies processes from one with `preload` loaded, inside `child_environment`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    temporary_folder()  # its socket lies there
    return context


_lock_held: list[int] = []
"""Open for as long as this process lives: the lock on its folder."""


def temporary_folder() -> str | None:
    """A folder for this process's temporary files; None where the usual one must do.

    It goes with the process. That of one that was killed stays, and is removed by the next that asks for its own.
    """
    if os.name != "posix":
        return None
    folder = Path(tempfile.gettempdir()) / f"sdl-{os.getuid()}"
    if len(os.fsencode(folder)) > MAX_PATH_BYTES:
        return None
    try:
        return multiprocessing.util.get_temp_dir() if _lock_held else _make_temporary_folder(folder)
    except OSError:
        return None


def _make_temporary_folder(folder: Path) -> str:
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise PermissionError(f"{folder} is not ours alone")
    gate = _locked(folder, wait=True)
    try:
        for old in folder.iterdir():
            with contextlib.suppress(OSError):  # its process lives
                os.close(_locked(old))
                shutil.rmtree(old)
        before, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            made = multiprocessing.util.get_temp_dir()
        finally:
            tempfile.tempdir = before
        _lock_held.append(_locked(Path(made)))
        return made
    finally:
        os.close(gate)


def _locked(folder: Path, *, wait: bool = False) -> int:
    """An open folder that is locked until it is closed, by this process or one that was copied from it."""
    import fcntl

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(fd)
        raise
    return fd
