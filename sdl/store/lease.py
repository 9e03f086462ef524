"""Who drives which instrument on this machine: at most one campaign each, whoever started it.

A lease is an operating-system lock (`sdl.store.lock`) on a file named after the instrument's identity, in a directory
that
all users of the machine share. It ends with its holder, however that ends; the file stays and blocks nobody. An
instrument with several names, such as a host's name and its addresses, is held by all of them or by none.

The directory is `sdl-leases` below the system's directory for temporary files, or the one that SDL_LEASES names.
XDG_RUNTIME_DIR would be tidier, but each user has one of his own, and two users would not see each other. Since anybody
may write there, nothing in it is trusted: no link is followed, only plain files with a single name are written to, a
directory that lets others replace our files is refused, and what a file says of its holder is shown, never acted on.
Whoever can write there can still hold a lease without a reason: leases are for users who wish each other well.
Processes with a private temporary directory (PrivateTmp of systemd, containers) need SDL_LEASES to be seen.
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

DIRECTORY_VARIABLE = "SDL_LEASES"
"""Environment variable: another directory for the leases; all processes that are to see each other need the same."""
TRIES, PAUSE = 10, 0.02
"""How often a lease is tried, and the seconds between: who only looks who holds it, locks it for a moment."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: in words, and since when (seconds since 1970 UTC)."""

    name: str
    since: float


@contextlib.contextmanager
def lease(identity: str, purpose: str = "", names: Iterable[str] = ()) -> Iterator[None]:
    """Holds an instrument for as long as the block lasts.

    Args:
        identity: of the instrument.
        purpose: what for; others are shown it.
        names: what else it is known by.

    Raises:
        InUse: somebody else on this machine drives it; the message names the holder.
        RecordError: the directory or the file cannot be used.
    """
    with contextlib.ExitStack() as held:
        for name in sorted({identity, *names}):  # in one order, so that of several who want it one gets it
            held.callback(_acquire(name, identity, purpose).release)
        yield


def holder(*names: str) -> Holder | None:
    """Who holds an instrument by one of its names now; None where nobody does. Nothing is created.

    Raises:
        RecordError: the directory cannot be used.
    """
    return next((found for name in names if (found := _holder(name)) is not None), None)


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
            said = os.read(fd, 400).decode(errors="replace")
            return Holder(_printable(said), os.fstat(fd).st_mtime)
        return None
    finally:
        os.close(fd)


def file(identity: str) -> Path:
    """Where the lease of an instrument is."""
    return directory() / _file(identity)


def directory() -> Path:
    """Where the leases of this machine are."""
    given = os.environ.get(DIRECTORY_VARIABLE)
    # Not tempfile's own choice, which TMPDIR sets and which is another one for each user on macOS.
    shared = Path(tempfile.gettempdir()) if sys.platform == "win32" else Path("/tmp")
    return Path(given) if given else shared / "sdl-leases"


def _acquire(name: str, identity: str, purpose: str) -> Lock:
    folder = directory()
    _prepare(folder)
    path = folder / _file(name)
    for left in reversed(range(TRIES)):
        try:
            return Lock(path, purpose, opener=_opener, what=identity)
        except InUse as error:
            if not left:
                raise InUse(identity, _printable(error.holder)) from None
            time.sleep(PAUSE)
    raise RecordError(f"{path}: cannot be locked")  # never reached


def _prepare(folder: Path) -> None:
    """Makes the directory, for everybody; refuses one in which others could replace our files."""
    try:
        try:
            folder.mkdir(mode=0o700, parents=DIRECTORY_VARIABLE in os.environ)
        except FileExistsError:
            pass
        else:
            folder.chmod(0o1777)
        found = folder.lstat()
    except OSError as error:
        raise RecordError(
            f"{folder}: cannot be made: {error.strerror}; name another with {DIRECTORY_VARIABLE}"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise RecordError(
            f"{folder}: is no directory (a link is not followed); remove it, or name another with {DIRECTORY_VARIABLE}"
        )
    if sys.platform != "win32" and found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise RecordError(
            f"{folder}: others could replace what is in it; `chmod +t` it, or name another with {DIRECTORY_VARIABLE}"
        )


def _opener(path: Path) -> int:
    """Opens the file of a lease, making it where there is none, for everybody to write his name into."""
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
    """A file name for an identity: readable, and its own."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", identity)[:60]
    return f"{plain}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.lock"


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text.strip())
