"""From what happened to who is told: the notices of a lab, into its outbox, to its senders."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, tzinfo
from pathlib import Path

from sdl.errors import ConfigError
from sdl.lab.core.events import LabEvent
from sdl.lab.rules.notices import Notices
from sdl.lab.workers.base import WorkerUpdate
from sdl.notify import sender
from sdl.notify.model import Notify
from sdl.notify.notice import Notice
from sdl.notify.outbox import Outbox

LOOK_BACK = 2 * 86400.0
"""Seconds: what happened before that is not told when a lab comes back; its outbox has it, or nobody wants it now."""

_log = logging.getLogger(__name__)


class Dispatcher:
    """Tells people what happens in a lab; made once for each process of it.

    Args:
        lab: its name.
        notify: the key of the lab file.
        folder: where the outbox is.
        base: what relative files of secrets start from: the lab file's directory.
        zone: the lab's.
        deliver: what sends; Apprise by default.
        clock: seconds since 1970 UTC.

    Raises:
        ConfigError: secrets that are not there, or addresses that are none: all of them at once.
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
    ) -> None:
        self._lab, self._notify, self._clock = lab, notify, clock
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
        """Folds what happened before, tells what nobody was told of, and begins to send."""
        now = self._clock()
        for event in events:
            self._put([n for n in self._notices.handle(event) if n.at > now - LOOK_BACK])
        for each in self.senders:
            each.start()

    def handle(self, event: LabEvent) -> None:
        """An event was written."""
        self._put(self._notices.handle(event))

    def update(self, item: WorkerUpdate) -> None:
        """Word of a running campaign."""
        self._put(self._notices.update(item))

    def tick(self, now: float, disk_free: float | None = None, lost: str = "") -> None:
        """Time has passed."""
        self._put(self._notices.tick(now, disk_free, lost))

    def close(self) -> None:
        """Stops sending; what waits is sent after the next start."""
        for each in self.senders:
            each.close()
        self.outbox.close()

    def _put(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            new = self.outbox.put(notice, recipients(self._notify, notice), self._clock())
            for each in self.senders:
                if each.name in new:
                    each.wake()


def recipients(notify: Notify, notice: Notice) -> list[str]:
    """The targets that want to know."""
    return [
        name
        for name, target in notify.to.items()
        if notice.kind in target.tell and (not target.jobs or not notice.job or notice.job in target.jobs)
    ]


def addresses(notify: Notify, base: Path) -> dict[str, str]:
    """The secret address of each target.

    Raises:
        ConfigError: every one that is not there or that Apprise does not understand.
    """
    found: dict[str, str] = {}
    wrong: list[str] = []
    for name, target in notify.to.items():
        try:
            url = target.url.read(base)
            sender.check(url)
            found[name] = url
        except ConfigError as error:
            wrong.append(f"notify.to.{name}.url: {error}")
    if wrong:
        raise ConfigError(*wrong)
    return found
