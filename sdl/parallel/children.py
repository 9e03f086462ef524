"""Environment, signals and temporary folders of every child process that `sdl` starts.

Python started with `-c` or `-m`, as `multiprocessing` and Dask start it, looks for modules in the working directory
first: a `random.py` beside a campaign file would replace the library's module, and a folder `sdl` the installed
package. Processes started here do not. Installed modules and those on PYTHONPATH are found as before.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SAFE_PATH = "PYTHONSAFEPATH"
"""Any value of this variable keeps the working directory out of the import path, as `-P` does."""
BY_SDL = "sdl"
"""The value that we set, so that a child can distinguish it from the user's own."""
MAX_PATH_BYTES = 70
"""Longest path, in bytes, in which `multiprocessing` can create a socket; the system allows 104 with its name."""


def command(*words: str) -> list[str]:
    """The command line that runs `sdl` with this Python."""
    return [sys.executable, "-P", "-m", "sdl", *words]


def finished(words: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run `sdl` with these arguments in a process without input, and return what it printed.

    Raises:
        subprocess.TimeoutExpired: it took longer; it was killed.
    """
    with child_environment():
        return subprocess.run(
            command(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )


@contextlib.contextmanager
def child_environment(**values: str) -> Iterator[None]:
    """Start processes that do not import from the working directory, with `values` in their environment."""
    values = {SAFE_PATH: os.environ.get(SAFE_PATH) or BY_SDL, **values}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})


def restore_environment() -> None:
    """Remove our variable in a child, so that programs started by plug-ins find their modules as usual."""
    if os.environ.get(SAFE_PATH) == BY_SDL:
        del os.environ[SAFE_PATH]


def default_signals() -> None:
    """Restore the default signal handling in a child and in the programs that plug-ins start there.

    Handling is inherited: a script's background process ignores Ctrl-C, and the preloaded process blocks SIGTERM. A
    pending Ctrl-C is discarded.
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
"""Descriptor of the locked temporary folder, open until this process ends."""


def temporary_folder() -> str | None:
    """A folder for temporary files of this process, removed at its end; None if the default folder must be used.

    The folder of a killed process remains until the next process creates its own.
    """
    if os.name != "posix":
        return None
    shared = Path(tempfile.gettempdir()) / f"sdl-{os.getuid()}"
    if len(os.fsencode(shared)) > MAX_PATH_BYTES:
        return None
    with contextlib.suppress(OSError):
        if not _lock_held:
            _make_temporary_folder(shared)
        return multiprocessing.util.get_temp_dir()
    return None


def _make_temporary_folder(shared: Path) -> None:
    """Have `multiprocessing` create its folder in ours, locked as long as this process lives."""
    shared.mkdir(mode=0o700, exist_ok=True)
    status = shared.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{shared} can be written to by other users")
    gate = _locked(shared, wait=True)
    try:
        for old in shared.iterdir():
            with contextlib.suppress(OSError):  # its process lives
                os.close(_locked(old))
                shutil.rmtree(old)
        before, tempfile.tempdir = tempfile.tempdir, str(shared)
        try:
            _lock_held.append(_locked(Path(multiprocessing.util.get_temp_dir())))
        finally:
            tempfile.tempdir = before
    finally:
        os.close(gate)


def _locked(folder: Path, *, wait: bool = False) -> int:
    """Open and lock a folder; the lock lasts until this process and its forked children have closed it."""
    import fcntl

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(fd)
        raise
    return fd
