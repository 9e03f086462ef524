"""Routing of notices: from the events of a lab to its outbox and its senders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from sdl.errors import ConfigError
from sdl.lab.config.conditions import disk_free
from sdl.lab.core.events import LabEvent
from sdl.lab.rules.notices import Notices
from sdl.lab.workers.base import WorkerUpdate
from sdl.notify import sender
from sdl.notify.model import Notice, Notify
from sdl.notify.outbox import Outbox

if TYPE_CHECKING:
    from sdl.lab.loop import LabLoop

DISK_SECONDS = 60.0  # between two checks of the free disk space
LOOK_BACK = 2 * 86400.0  # seconds; when a lab restarts, older events are not reported again


class Dispatcher:
    """The notifications of one lab process; a listener of its loop.

    Args:
        folder: of the outbox.
        base: directory of the lab file, to which files of secrets are relative.
        deliver: sends one message; Apprise by default.
        clock: seconds since 1970 UTC.
        loop: whose free disk space and journal are watched; None: neither.

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
        deliver: sender.Deliver | None = None,
        clock: Callable[[], float] = time.time,
        loop: LabLoop | None = None,
    ) -> None:
        self._notify, self._clock, self._loop, self._checked = notify, clock, loop, -float("inf")
        urls = addresses(notify, base)
        self._notices = Notices(lab, notify, zone)
        self.outbox = Outbox(folder, clock())
        self.senders = [
            sender.Sender(
                name, target, urls[name], self.outbox, deliver=deliver, zone=zone, keep=notify.keep, clock=clock
            )
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


def recipients(notify: Notify, notice: Notice) -> list[str]:
    """The names of the recipients of a notice."""
    return [
        name
        for name, target in notify.to.items()
        if notice.kind in target.tell and (not target.jobs or not notice.job or notice.job in target.jobs)
    ]


def addresses(notify: Notify, base: Path) -> dict[str, str]:
    """The secret address of each recipient.

    Raises:
        ConfigError: every address that is missing or that Apprise does not understand.
    """
    urls: dict[str, str] = {}
    wrong: list[str] = []
    for name, target in notify.to.items():
        try:
            urls[name] = target.url.read(base)
            sender.apprise_service(urls[name])
        except ConfigError as error:
            wrong.append(f"notify.to.{name}.url: {error}")
    if wrong:
        raise ConfigError(*wrong)
    return urls
