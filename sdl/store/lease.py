"""Leases: at most one campaign drives an instrument of this machine.

A lease is an operating-system lock (`sdl.store.lock`) on a file named after the instrument's identity, in a directory
that all users of the machine share. It ends with the process of its holder; the file remains and blocks nobody. An
instrument with several names, such as a host name and its addresses, is leased under all of them or none.

The directory is `sdl-leases` below the system's directory for temporary files, or the one that SDL_LEASES names.
XDG_RUNTIME_DIR belongs to one user, so two users would not see each other's leases. Since every user may write to the
directory, nothing in it is trusted: links are not followed, only regular files with a single name are written to, a
directory in which others could replace our files is refused, and the holder's name in a file is shown but never acted
on. A user who can write there can hold a lease without a reason: leases coordinate users who cooperate. Processes with
a private temporary directory (PrivateTmp of systemd, containers) need SDL_LEASES.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sdl.errors import InUse, RecordError
from sdl.store.lock import Lock, acquire
from sdl.store.plainfile import open_fd

# Environment variable with another directory for the leases; it must be the same in all processes.
DIRECTORY_VARIABLE = "SDL_LEASES"
# Attempts to take a lease, and seconds between them: a process that reads the holder locks it for a moment.
TRIES, PAUSE = 10, 0.02


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a lease: a description, and since when (seconds since 1970 UTC)."""

    name: str
    since: float


@contextlib.contextmanager
def lease(identity: str, purpose: str = "", names: Iterable[str] = ()) -> Iterator[None]:
    """Hold the lease of an instrument inside the block.

    Raises:
        InUse: another process of this machine drives it; the message names the holder.
        RecordError: the directory or the file cannot be used.
    """
    with contextlib.ExitStack() as held:
        for name in sorted({identity, *names}):  # in one order, so that one of several contenders gets it
            held.callback(_acquire(name, identity, purpose).release)
        yield


def holder(*names: str) -> Holder | None:
    """The present holder of an instrument, by any of its names; None if there is none. Creates nothing.

    Raises:
        RecordError: the directory cannot be used.
    """
    return next((present for name in names if (present := _holder(name)) is not None), None)


def _holder(name: str) -> Holder | None:
    folder = directory()
    if not folder.exists():
        return None
    try:
        fd = _open(file(name), create=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{folder / _file(name)}: cannot be read: {error.strerror}") from error
    try:
        try:
            acquire(fd)
        except OSError:
            text = os.read(fd, 400).decode(errors="replace")
            return Holder(_printable(text), os.fstat(fd).st_mtime)
        return None
    finally:
        os.close(fd)


def file(identity: str) -> Path:
    """The file of the lease of an instrument."""
    return directory() / _file(identity)


def directory() -> Path:
    """The directory of the leases of this machine."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    # Not tempfile's own choice, which TMPDIR sets and which is another one for each user on macOS.
    shared = Path(tempfile.gettempdir()) if sys.platform == "win32" else Path("/tmp")
    return Path(given) if given else shared / "sdl-leases"


def _acquire(name: str, identity: str, purpose: str) -> Lock:
    folder = directory()
    _prepare(folder)
    path = folder / _file(name)
    present = ""
    for _ in range(TRIES):
        try:
            return Lock(path, purpose, opener=_opener, what=identity)
        except InUse as error:
            present = error.holder
            time.sleep(PAUSE)
    raise InUse(identity, _printable(present))


def _prepare(folder: Path) -> None:
    """Create the directory for all users; refuse one in which others could replace our files."""
    try:
        try:
            folder.mkdir(mode=0o700, parents=DIRECTORY_VARIABLE in os.environ)
        except FileExistsError:
            pass
        else:
            folder.chmod(0o1777)
        status = folder.lstat()
    except OSError as error:
        raise RecordError(
            f"{folder}: cannot be created: {error.strerror}; name another with {DIRECTORY_VARIABLE}"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise RecordError(
            f"{folder}: is no directory (a link is not followed); remove it, or name another with {DIRECTORY_VARIABLE}"
        )
    if sys.platform != "win32" and status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
        raise RecordError(
            f"{folder}: others could replace what is in it; `chmod +t` it, or name another with {DIRECTORY_VARIABLE}"
        )


def _opener(path: Path) -> int:
    """Open the file of a lease; create it, writable for all users, if it does not exist."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return _open(path, create=False)
        with contextlib.suppress(FileExistsError):
            return _open(path, create=True)


def _open(path: Path, *, create: bool) -> int:
    # Never O_CREAT on a file that is there: Linux refuses that in a shared directory where another user owns the file.
    fd = open_fd(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), 0o600)
    try:
        if os.fstat(fd).st_nlink > 1:
            raise OSError(22, "it has a second name")
        if create and hasattr(os, "fchmod"):
            os.fchmod(fd, 0o666)
    except OSError:
        os.close(fd)
        raise
    return fd


def _file(identity: str) -> str:
    """A readable, unique file name for an identity."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", identity)[:60]
    return f"{plain}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.lock"


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text.strip())
