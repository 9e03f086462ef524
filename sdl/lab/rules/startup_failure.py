"""Message about a lab that cannot start: a mistake in its file, a damaged journal, a full disk, another process.

Without loop and outbox, and perhaps without a valid lab file, this process itself notifies the recipients that can be
parsed from `notify`, before it ends. Since systemd restarts it every few seconds, each message leaves an empty marker
file, which fits even on a full disk, and is not repeated for six hours. Without a marker nothing is sent.
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
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sdl import yamlfile
from sdl.config.durations import format_duration
from sdl.errors import ConfigError
from sdl.lab.http import token
from sdl.notify.model import Recipient, within_span
from sdl.notify.sender import Deliver, NotSent, send_by_apprise

REPEAT_SECONDS, RETRY_SECONDS = 6 * 3600.0, 300.0
"""Seconds before a message is repeated; before sending is retried after a failure."""
MAX_TEXT = 2000  # characters of an error message that are sent

log = logging.getLogger("sdl.lab")


def report_startup_failure(
    file: Path,
    error: BaseException,
    *,
    deliver: Deliver = send_by_apprise,
    clock: Callable[[], float] = time.time,
) -> list[str]:
    """Notify every recipient of failures that the lab of a file cannot start. Never raises.

    Returns:
        The recipients notified now.
    """
    try:
        tree: Any = yamlfile.read(file).value
        recipients = dict(tree["notify"]["to"])
    except Exception:  # missing, or without recipients
        return []
    lab, text = str(tree.get("name", file.stem)), (str(error) or type(error).__name__)[:MAX_TEXT]
    notified = []
    for name, value in recipients.items():
        try:
            target = Recipient.model_validate(value)
            if "failed" in target.tell and _send(lab, str(name), target, _zone(tree), file, text, deliver, clock()):
                notified.append(str(name))
        except Exception as problem:  # must not hide the error itself
            log.warning("%s could not be notified that the lab cannot start: %s", name, problem)
    return notified


def _zone(tree: Mapping[str, Any]) -> tzinfo:
    try:
        return ZoneInfo(str(tree.get("timezone", "UTC")))
    except (ValueError, OSError, KeyError):
        return UTC


def _send(
    lab: str, name: str, target: Recipient, zone: tzinfo, file: Path, text: str, deliver: Deliver, now: float
) -> bool:
    """Send the message unless it is quiet time or it was sent recently; whether it was sent."""
    if within_span(target.quiet, now, zone):
        return False  # sent by the first start after the quiet hours
    without_numbers = re.sub(r"\d+", "#", text)  # process ids, line numbers, bytes
    key = hashlib.sha256("\0".join([str(file.absolute()), name, without_numbers]).encode()).hexdigest()[:16]
    if any(0 <= now - at < REPEAT_SECONDS for at in _marked(key)):
        return False
    url = target.url.read(file.parent)
    if not _mark(key, now):
        raise ConfigError("no marker file can be written, so the message would be repeated every few seconds")
    note = f"Under systemd the start is retried. This message is repeated after {format_duration(REPEAT_SECONDS)}."
    try:
        deliver(url, f"{lab}: the lab cannot start", f"{text}\n{note}\n\n[failed-lab-{key}-{now:.0f}]")
    except NotSent:
        _mark(key, now - REPEAT_SECONDS + RETRY_SECONDS)
        raise
    log.info("%s was notified that the lab cannot start", name)
    return True


def _folders() -> list[Path]:
    """Directories for marker files; the second is often in memory, with room when the disk is full."""
    return [token.folder(), Path(tempfile.gettempdir())]


def _marked(key: str) -> Iterator[float]:
    """The times in the marker files of a message."""
    for folder in _folders():
        with contextlib.suppress(OSError):
            marker = (folder / f"sdl-told-{key}").lstat()
            if _ours(marker):
                yield marker.st_mtime


def _mark(key: str, at: float) -> bool:
    """Write a marker file; False if that is impossible."""
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


def _ours(marker: os.stat_result) -> bool:
    """Whether this user wrote a marker; other users could leave one in a shared directory."""
    return not hasattr(os, "geteuid") or marker.st_uid == os.geteuid()
