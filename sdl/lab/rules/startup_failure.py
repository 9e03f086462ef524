"""Word of a lab that cannot run: a mistake in its file, a damaged record, a full disk, another process that has it.

There is no loop and no outbox then, and perhaps no valid lab file: whoever can still be read out of `notify` is told by
this process itself, before it ends. systemd starts it again every few seconds, so what was told leaves a mark: an empty
file, for which even a full disk has room, and the same is not told again for six hours. Without a mark nothing is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from sdl import yamlfile
from sdl.config.durations import format_duration
from sdl.errors import ConfigError
from sdl.lab.http import token
from sdl.notify.model import Recipient, inside
from sdl.notify.sender import Deliver, NotSent, by_apprise

AGAIN, RETRY = 6 * 3600.0, 300.0
"""Seconds after which the same is told again; after which it is tried again where it could not be sent."""
LONGEST = 2000
"""Signs of an error that are told."""

log = logging.getLogger("sdl.lab")


def tell(
    file: Path,
    error: BaseException,
    *,
    deliver: Deliver = by_apprise,
    clock: Callable[[], float] = time.time,
) -> list[str]:
    """Tells everybody who wants to know of failures that a lab cannot run. Never raises.

    Args:
        file: the lab file.
        error: why.
        deliver: what sends.
        clock: seconds since 1970 UTC.

    Returns:
        Who was told now.
    """
    try:
        tree = yamlfile.read(file).value
    except Exception:  # not there, or no YAML: then nobody is known either
        return []
    told: list[str] = []
    if isinstance(tree, Mapping):
        lab = str(tree.get("name", file.stem))
        for name, target in _targets(tree):
            try:
                if _one(lab, name, target, _zone(tree), file, error, deliver, clock()):
                    told.append(name)
            except Exception as problem:  # whatever it is, it must not hide the error itself
                log.warning("%s could not be told that the lab cannot run: %s", name, problem)
    return told


def _targets(tree: Mapping[str, Any]) -> Iterator[tuple[str, Recipient]]:
    """Each that can be understood, whatever is wrong with the others."""
    notify = tree.get("notify")
    to = notify.get("to") if isinstance(notify, Mapping) else None
    for name, value in to.items() if isinstance(to, Mapping) else ():
        with contextlib.suppress(ValidationError):
            target = Recipient.model_validate(value)
            if "failed" in target.tell:
                yield str(name), target


def _zone(tree: Mapping[str, Any]) -> Any:
    try:
        return ZoneInfo(str(tree.get("timezone", "UTC")))
    except (ValueError, OSError, KeyError):
        return UTC


def _one(
    lab: str, name: str, target: Recipient, zone: Any, file: Path, error: BaseException, deliver: Deliver, now: float
) -> bool:
    if inside(target.quiet, datetime.fromtimestamp(now, zone).strftime("%H:%M")):
        return False  # the first try after it will do
    text = (str(error) or type(error).__name__)[:LONGEST]
    same = re.sub(r"\d+", "#", text)  # of another process, at another line, with some bytes less
    key = hashlib.sha256("\0".join([str(file.absolute()), name, same]).encode()).hexdigest()[:16]
    if _known(key, now):
        return False
    url = target.url.read(file.parent)
    if not _mark(key, now):
        raise ConfigError("nothing can be written down of it, and it would be told every few seconds")
    again = f"It is tried again where systemd keeps the lab; the same is told again after {format_duration(AGAIN)}."
    try:
        deliver(url, f"{lab}: the lab cannot run", f"{text}\n{again}\n\n[failed-lab-{key}-{now:.0f}]")
    except NotSent:
        _mark(key, now - AGAIN + RETRY)
        raise
    log.info("%s was told that the lab cannot run", name)
    return True


def _folders() -> list[Path]:
    """Where marks may lie; the second is in memory on many machines, and has room where a disk has none."""
    return [token.folder(), Path(tempfile.gettempdir())]


def _known(key: str, now: float) -> bool:
    for folder in _folders():
        with contextlib.suppress(OSError):
            found = (folder / f"sdl-told-{key}").lstat()
            if _ours(found) and 0 <= now - found.st_mtime < AGAIN:
                return True
    return False


def _mark(key: str, at: float) -> bool:
    """Writes down that something was told; whether that worked."""
    for folder in _folders():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"sdl-told-{key}"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                if _ours(os.fstat(fd)):
                    os.utime(fd if os.utime in os.supports_fd else path, (at, at))
                    return True
            finally:
                os.close(fd)
    return False


def _ours(found: os.stat_result) -> bool:
    """In a directory of everybody's others could leave marks for us."""
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
