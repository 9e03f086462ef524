"""Safe opening of the files of runs, labs and leases: regular files only, links not followed.

Such a folder may come from a colleague or an archive. A link in the place of one of our files may lead to any other
file, so it is not followed; opening a named pipe could block forever, so only regular files are read or written. A
*directory* may be a link: the user named it, or put it there.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader, BufferedWriter
from pathlib import Path

_MODE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_fd(path: Path, flags: int = os.O_RDONLY, mode: int = 0o644, *, follow: bool = False) -> int:
    """Open a regular file and return its descriptor.

    `flags` are those of `os.open`; a file that this process creates needs `O_CREAT | O_EXCL`. `follow` follows a link,
    for a file that the user named.

    Raises:
        OSError: it cannot be opened, is a link, or is not a regular file.
    """
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        fd = os.open(path, flags | _MODE, mode)
    except OSError as error:
        if not follow and os.path.islink(path):
            raise OSError(errno.ELOOP, "it is a link, and links are not followed here", str(path)) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is not a regular file", str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return fd


def open_existing(path: Path, *, follow: bool = False) -> BufferedReader:
    """Open a regular file for reading.

    Raises:
        OSError: as `open_fd`.
    """
    return os.fdopen(open_fd(path, follow=follow), "rb")


def open_new(path: Path, mode: int = 0o644) -> BufferedWriter:
    """Open an empty file for writing in place of an existing file or link of that name; a link's target is unchanged.

    Raises:
        OSError: it cannot be created.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")


def describe_change(fd: int, path: Path, length: int) -> str:
    """Describe what others did to a file that this process appends to, as a predicate; empty if nothing.

    `fd` is the open file `path`, with `length` bytes after this process's last write.

    Raises:
        OSError: the descriptor is closed.
    """
    held = os.fstat(fd)
    try:
        named = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        if not held.st_nlink:
            return "was deleted"
        return "is no longer there: its folder was moved, or its file system was unmounted"
    except OSError as error:
        return f"cannot be reached ({error.strerror})"
    if not os.path.samestat(held, named):
        return "was replaced by another file"
    if held.st_size < length:
        return f"was cut from {length} to {held.st_size} bytes"
    if held.st_size > length:
        return f"was also written to by another program ({held.st_size - length} bytes)"
    return ""
