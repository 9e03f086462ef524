"""Messages about one run, to the people whom its campaign names under `notify`.

A message is in the outbox of the run's directory before the campaign continues, and is sent by a thread. Messages that
could not be sent before the process ends are sent by the next process that drives the run.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from sdl import formatting
from sdl.config import ResolvedCampaign
from sdl.core.campaign import Campaign
from sdl.core.events import Event, Failed, Measured, Safe, Skipped, Stopped
from sdl.durations import format_duration
from sdl.formatting import AskedReading, count
from sdl.notify.model import LOOK_BACK, OUTCOME_KINDS, Kind, Messages, Notice, recipients
from sdl.notify.outbox import Outbox
from sdl.notify.sender import Deliver, Sender, addresses
from sdl.runner.observers import Watch, notify

log = logging.getLogger("sdl")

CLOSE_SECONDS = 10.0  # to send what waits before the process ends


class Messenger:
    """The messages of one run; an observer of its events.

    Args:
        notify: recipients, and the address of the page.
        folder: the run's directory, which gets the outbox.
        deliver: sends one message; Apprise by default.
        clock: seconds since 1970 UTC.

    Raises:
        ConfigError: every missing secret and invalid address at once.
    """

    def __init__(
        self,
        notify: Messages,
        folder: Path,
        *,
        deliver: Deliver | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        urls = addresses(notify, Path())
        self._notify, self._clock = notify, clock
        self._asked: AskedReading | None = None
        self._reminders = 0
        self._campaign, self._run = folder.parent.name, f"{folder.parent.name}/{folder.name}"
        self._outbox, zone = Outbox(folder, clock()), datetime.now().astimezone().tzinfo or UTC
        self._senders = [
            Sender(name, one, urls[name], self._outbox, deliver=deliver, zone=zone, keep=notify.keep, clock=clock)
            for name, one in notify.to.items()
        ]
        for sender in self._senders:
            sender.start()

    def __call__(self, event: Event, campaign: Campaign) -> None:
        """Put the messages of one event into the outbox."""
        match event:
            case Stopped():
                self._ended(event, campaign)
            case Safe() if not event.proven:
                text = formatting.not_off(event)
                self._put("lost", f"{event.at:.3f}", "the instrument may still be on", text, event.at)
            case Measured() | Failed() | Skipped():
                self._asked = None
                self._outbox.withdraw(f"asked-{self._run}-", self._clock())

    def asked(self, request: AskedReading) -> None:
        """Tell people that a reading is asked for, and remind them until it was told."""
        self._asked, self._reminders = request, 0
        self._ask("requested")

    def tick(self) -> None:
        """Remind people of the reading that is asked for."""
        if self._asked is None or self._notify.remind is None:
            return
        due = int((self._clock() - self._asked.at) // self._notify.remind)
        if due > self._reminders:
            self._reminders = due
            waiting = format_duration(due * self._notify.remind)
            self._ask(f"still waiting after {waiting}", f"-{due}")

    def close(self) -> None:
        """Send what waits, for at most `CLOSE_SECONDS`; the rest stays in the outbox."""
        until = time.monotonic() + CLOSE_SECONDS
        while self._outbox.count() and time.monotonic() < until:
            time.sleep(0.05)
        for sender in self._senders:
            sender.close()
        if left := self._outbox.count():
            log.warning("%s not sent yet; the next process that continues the run tries again", count(left, "message"))
        self._outbox.close()

    def _ask(self, what: str, suffix: str = "") -> None:
        if (asked := self._asked) is not None:
            title = f"trial {asked.trial}, reading {asked.repeat + 1}: {what}"
            at = self._clock() if suffix else asked.at
            self._put("asked", f"{asked.trial}-{asked.repeat}{suffix}", title, asked.body, at)

    def _ended(self, event: Stopped, campaign: Campaign) -> None:
        history = campaign.history
        best = f"\n{line}" if (line := formatting.best_so_far(history)) else ""
        body = f"{formatting.counts(history)}; {formatting.cause(event.reason)}{best}"
        kind = OUTCOME_KINDS.get(event.outcome, "finished")
        self._put(kind, f"{event.at:.3f}", formatting.display(event.outcome), body, event.at)

    def _put(self, kind: Kind, key: str, title: str, body: str, at: float) -> None:
        if at < self._clock() - LOOK_BACK:
            return
        link = self._notify.link(self._run)
        text = f"{body}\n{link or f'Run: {self._run}'}"
        notice = Notice(f"{kind}-{self._run}-{key}", kind, f"run {self._run}", f"{self._campaign}: {title}", text, at)
        new = self._outbox.put(notice, recipients(self._notify, notice))
        for sender in self._senders:
            if sender.name in new:
                sender.wake()


def require_recipients(config: ResolvedCampaign) -> None:
    """Check that every recipient of a campaign can be addressed.

    Raises:
        ConfigError: a secret is missing, or an address is invalid.
    """
    if _has_messages(config) and config.notify is not None:
        addresses(config.notify, Path())


def _has_messages(config: ResolvedCampaign) -> bool:
    return config.notify is not None and bool(config.notify.to) and not config.instrument.virtual


@contextlib.contextmanager
def messenger(config: ResolvedCampaign, folder: Path | None) -> Iterator[Messenger | None]:
    """The messenger of a run, closed after the block; None where it names no recipients, or time is virtual.

    Raises:
        ConfigError: a secret is missing, or an address is invalid.
    """
    if folder is None or config.notify is None or not _has_messages(config):
        yield None
        return
    with contextlib.closing(Messenger(config.notify, folder)) as opened:
        yield opened


def both(first: Watch | None, second: Watch | None) -> Watch | None:
    """An observer that passes every event to two others."""
    if first is None or second is None:
        return first or second
    left: list[Watch] = [first, second]

    def observe(event: Event, campaign: Campaign) -> None:
        left[:] = [one for one in left if notify(one, event, campaign) is not None]

    return observe
