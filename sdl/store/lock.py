"""File locks of the operating system: one holder per machine; a lock ends with the process of its holder.

The lock is on a separate file that names its holder. A killed holder leaves the file but no lock, so that a leftover
file blocks nobody; nor does a child that the holder forked. (The package `filelock` empties the file while it waits for
the lock, which would lose the name: docs/decisions/0003.)
"""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from sdl.errors import InUse, RecordError, translated_os_errors
from sdl.store.plainfile import open_existing, open_fd

LOCK = "record.lock"  # beside the record of a run

# In the directory of a run: held by the process that asks for its readings and waits until others have told them.
ATTENDED = "attend.lock"


class Lock:
    """A lock on `path`, held until `release` or the end of the process, and not inherited by child programs.

    Args:
        path: the lock file.
        purpose: shown to others.
        opener: opens the file for reading and writing, and creates it if needed.
        what: what is held, for the message; the file's directory by default.

    Raises:
        InUse: another process holds it; the message names the holder.
        RecordError: the file cannot be opened.
    """

    def __init__(
        self, path: Path, purpose: str = "", *, opener: Callable[[Path], int] | None = None, what: str = ""
    ) -> None:
        with translated_os_errors(path, "locked", RecordError):
            self._fd = opener(path) if opener else open_fd(path, os.O_RDWR | os.O_CREAT)
        try:
            acquire(self._fd)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
                os.close(self._fd)
                raise RecordError(f"{path}: this file system cannot lock: {error.strerror}") from error
            holder = os.read(self._fd, 400).decode(errors="replace").strip()
            os.close(self._fd)
            raise InUse(what or str(path.parent), holder) from error
        _held.add(self)
        try:
            if os.fstat(self._fd).st_nlink == 1:  # a second name may be anybody's file
                os.ftruncate(self._fd, 0)
                os.write(self._fd, f"process {os.getpid()} on {socket.gethostname()} {purpose}".rstrip().encode())
        except OSError:
            pass  # a full disk: the lock itself holds, only the name is missing

    def release(self) -> None:
        """Release the lock; may be called twice."""
        if self._fd >= 0:
            unlock(self._fd)  # closing it would not do: a copy of this process may have it open as well
            self._close()

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1
        _held.discard(self)


_held: set[Lock] = set()


def _forked() -> None:
    for lock in list(_held):
        lock._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file; True if that cannot be determined. Does not keep the lock."""
    try:
        fd = open_fd(path)
    except OSError:
        return False
    try:
        acquire(fd, shared=True)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


if sys.platform == "win32":  # pragma: no cover - tried on Linux only

    def acquire(fd: int, *, shared: bool = False) -> None:
        """Lock an open file, or raise OSError at once; closing the file unlocks it."""
        import msvcrt

        os.lseek(fd, 1 << 30, os.SEEK_SET)  # beyond the name, which others may read
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def unlock(fd: int) -> None:
        """Do nothing: closing the file unlocks it."""

else:

    def acquire(fd: int, *, shared: bool = False) -> None:
        """Lock an open file, or raise OSError at once; closing the file unlocks it."""
        try:
            import fcntl
        except ImportError:
            raise RecordError(
                "this system has no file locks, which a record needs; runs=None keeps it in memory"
            ) from None

        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def unlock(fd: int) -> None:
        """Unlock an open file."""
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_UN)


def writing_process(folder: Path) -> str:
    """The process of this machine that drives a run, or asks for its readings: `process 123`; empty without one."""
    return _holding_process(folder / LOCK) or _holding_process(folder / ATTENDED)


def is_attended(folder: Path) -> bool:
    """Whether a process of this machine asks for the readings of a run and waits until others have told them."""
    return is_locked(folder / ATTENDED)


def _holding_process(lock: Path) -> str:
    """The process of this machine that holds a lock: `process 123`; empty without one."""
    try:
        number = _lock_holder(lock)
        if number is None or sys.platform == "win32":  # there, os.kill would end the process
            return ""
        os.kill(number, 0)
    except PermissionError:
        pass  # it exists and belongs to another user
    except (OSError, OverflowError):
        return ""
    # Another process may have its number by now, so the lock itself is tested; not for a process that is gone, since
    # the test locks out a resume for a moment.
    return f"process {number}" if is_locked(lock) else ""


def is_abandoned(folder: Path) -> bool:
    """Whether no process can be writing to a run: the one in its lock is gone, or there is no lock."""
    try:
        return _lock_holder(folder / LOCK) is not None and not writing_process(folder) and sys.platform != "win32"
    except OSError:
        return True


def _lock_holder(lock: Path) -> int | None:
    """The process id in a lock; None where it names no process of this machine.

    Raises:
        OSError: the lock cannot be read.
    """
    with open_existing(lock) as stream:
        match = re.match(rb"process ([1-9][0-9]{0,9}) on (\S+)", stream.read(400))
    return int(match[1]) if match and match[2].decode(errors="replace") == socket.gethostname() else None
