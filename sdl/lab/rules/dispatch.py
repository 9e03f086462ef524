"""Routing of notices: from the events of a lab to its outbox and its senders; and the message that it cannot start.

A lab that cannot start (a mistake in its file, a damaged journal, a full disk, another process) has no loop and no
outbox, and perhaps no valid lab file. This process itself then notifies the recipients that can be parsed from
`notify`, before it ends. Since systemd restarts it every few seconds, each message leaves an empty marker file, which
fits even on a full disk, and is not repeated for six hours. Without a marker nothing is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sdl import yamlfile
from sdl.durations import format_duration
from sdl.errors import ConfigError
from sdl.lab.config.model import disk_free
from sdl.lab.core.events import LabEvent
from sdl.lab.http import token
from sdl.lab.loop import LabLoop
from sdl.lab.rules.notices import Notices
from sdl.lab.workers.base import WorkerUpdate
from sdl.notify.model import LOOK_BACK, Notice, Notify, Recipient, recipients, within_span
from sdl.notify.outbox import Outbox
from sdl.notify.sender import Deliver, NotSent, Sender, addresses, send_by_apprise

DISK_SECONDS = 60.0  # between two checks of the free disk space
REPEAT_SECONDS, RETRY_SECONDS = 6 * 3600.0, 300.0
"""Seconds before the message that a lab cannot start is repeated; before sending it is retried after a failure."""
MAX_TEXT = 2000  # characters of an error message that are sent

log = logging.getLogger("sdl.lab")


class Dispatcher:
    """The notifications of one lab process; a listener of its loop.

    Args:
        folder: directory of the outbox.
        base: directory of the lab file, to which files of secrets are relative.
        deliver: sends one message; Apprise by default.
        clock: seconds since 1970 UTC.
        loop: the loop whose free disk space and journal are watched; None: neither.

    Raises:
        ConfigError: every missing secret and invalid address at once.
    """

    def __init__(
        self,
        lab: str,
        notify: Notify,
        *,
        folder: Path,
        base: Path,
        zone: tzinfo = UTC,
        deliver: Deliver | None = None,
        clock: Callable[[], float] = time.time,
        loop: LabLoop | None = None,
    ) -> None:
        self._notify, self._clock, self._loop, self._checked = notify, clock, loop, -float("inf")
        urls = addresses(notify, base)
        self._notices = Notices(lab, notify, zone)
        self.outbox = Outbox(folder, clock())
        self.senders = [
            Sender(name, target, urls[name], self.outbox, deliver=deliver, zone=zone, keep=notify.keep, clock=clock)
            for name, target in notify.to.items()
        ]

    def start(self, events: Iterable[LabEvent]) -> None:
        """Fold the past events, queue what was not sent yet, and start sending."""
        now = self._clock()
        for event in events:
            self._put([n for n in self._notices.handle(event) if n.at > now - LOOK_BACK])
        for each in self.senders:
            each.start()

    def handle(self, event: LabEvent) -> None:
        self._put(self._notices.handle(event))

    def update(self, item: WorkerUpdate) -> None:
        if item.what != "running":  # what a person was asked for before is over
            self.outbox.withdraw(f"asked-start-{item.start}-", self._clock())
        self._put(self._notices.update(item))

    def tick(self, now: float) -> None:
        """Queue the notices that follow from the time, the journal and, once a minute, the free disk space."""
        free, lost = None, ""
        if self._loop is not None:
            lost = self._loop.trouble if self._loop.lost else ""
            if not 0 <= now - self._checked < DISK_SECONDS:
                self._checked, free = now, disk_free(self._loop.runs)
        self._put(self._notices.tick(now, free, lost))

    def close(self) -> None:
        """Stop sending; queued messages are sent after the next start."""
        for each in self.senders:
            each.close()
        self.outbox.close()

    def _put(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            new = self.outbox.put(notice, recipients(self._notify, notice))
            for each in self.senders:
                if each.name in new:
                    each.wake()


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
        listed = dict(tree["notify"]["to"])
    except Exception:  # missing, or without recipients
        return []
    lab, text = str(tree.get("name", file.stem)), (str(error) or type(error).__name__)[:MAX_TEXT]
    notified = []
    for name, value in listed.items():
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
