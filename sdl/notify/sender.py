"""Senders of the outbox: one thread per recipient, so that a slow mail server delays neither the lab nor the others.

Apprise, imported with the first message, reports only success or failure; retries, the hourly limit and quiet hours are
decided here. No address appears in a log, since it may contain a password.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sdl.drivers.environment import problems_of_requests
from sdl.durations import format_duration
from sdl.errors import ConfigError, SdlError
from sdl.extras import require
from sdl.notify.model import Kind, Messages, Recipient, within_span
from sdl.notify.outbox import Message, Outbox

FIRST_WAIT, LONGEST_WAIT = 5.0, 900.0
"""Seconds to wait after the first failure, doubled with each further one, and the longest wait."""
CLOSE_SECONDS = 5.0  # to wait for the message that is being sent
POLL_SECONDS = 60.0  # interval in seconds at which a sender checks the time, since quiet hours end by the clock

URGENT: frozenset[Kind] = frozenset({"failed", "lost", "disk"})
"""Kinds that may need action: sent first, with a quarter of the messages per hour reserved for them."""

_log = logging.getLogger(__name__)

Deliver = Callable[[str, str, str], None]  # sends (address, title, body); raises `NotSent`


class NotSent(SdlError):
    """A message was not sent; the reason contains no address."""


class Sender:
    """The sender of the messages for one recipient.

    Args:
        url: its secret address.
        outbox: holds the waiting messages.
        deliver: sends one message; Apprise by default.
        zone: time zone of the lab, for quiet hours.
        keep: seconds after which a message is given up.
    """

    def __init__(
        self,
        name: str,
        target: Recipient,
        url: str,
        outbox: Outbox,
        *,
        deliver: Deliver | None = None,
        zone: tzinfo = UTC,
        keep: float = 7 * 86400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.failures = name, 0
        self._target, self._url, self._outbox, self._keep, self._zone = target, url, outbox, keep, zone
        self._deliver = deliver or send_by_apprise
        self._clock = clock
        self._recent: deque[float] = deque()
        self._retry_at = -float("inf")
        self._wake, self._ended = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name=f"sdl sender {name}", daemon=True)
        self.start, self.wake = self._thread.start, self._wake.set  # begin to send; look for new messages now

    def close(self) -> None:
        """End after the present message; waiting messages stay in the outbox."""
        self._ended = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    def step(self, now: float) -> float:
        """Send the messages that may be sent now.

        Returns:
            Seconds until the next call is needed, unless a new message arrives.
        """
        if old := [item for item in self._outbox.waiting(self.name) if item.at < now - self._keep]:
            self._outbox.finish(self.name, [item.id for item in old], now)
            titles = "; ".join(item.title for item in old[:5]) + ("; …" if len(old) > 5 else "")
            period = format_duration(self._keep)
            _log.error("%d messages to %s given up after %s: %s", len(old), self.name, period, titles)
        # If the clock was set back, times in the future must not delay the messages.
        self._retry_at = min(self._retry_at, now + LONGEST_WAIT)
        self._recent = deque(min(at, now) for at in self._recent)
        while waiting := self._outbox.waiting(self.name):
            if now < self._retry_at:
                return self._retry_at - now
            if within_span(self._target.quiet, now, self._zone):
                return POLL_SECONDS
            while self._recent and self._recent[0] <= now - 3600:
                self._recent.popleft()
            urgent = [item for item in waiting if item.kind in URGENT]
            allowed = self._target.an_hour - (0 if urgent else self._target.an_hour // 4) - len(self._recent)
            if allowed <= 0:
                return min(self._recent[-allowed] + 3600 - now, POLL_SECONDS)
            first = urgent or waiting
            self._send(first if len(first) > allowed else first[:1], now)
        return POLL_SECONDS

    def _send(self, messages: Sequence[Message], now: float) -> None:
        """Send messages as one; after a failure note when to try again."""
        title, body = compose(messages)
        try:
            self._deliver(self._url, title, body)
        except NotSent as error:
            self.failures += 1
            wait = min(FIRST_WAIT * 2 ** min(self.failures - 1, 20), LONGEST_WAIT)
            self._retry_at = now + wait
            _log.warning(
                "not sent to %s (attempt %d, again in %s): %s: %s",
                self.name, self.failures, format_duration(wait), title, error,
            )  # fmt: skip
            return
        self._recent.append(now)
        self._outbox.finish(self.name, [item.id for item in messages], now)
        self.failures = 0
        _log.info("sent to %s: %s", self.name, title)

    def _run(self) -> None:
        while not self._ended:
            self._wake.clear()
            try:
                wait = self.step(self._clock())
            except Exception:  # a bug here must not silence the lab for good
                _log.exception("sending to %s", self.name)
                wait = POLL_SECONDS
            self._wake.wait(max(wait, 0.05))


def compose(messages: Sequence[Message]) -> tuple[str, str]:
    """Title and body for one message, or for several in one; the body contains each id once."""
    if len(messages) == 1:
        item = messages[0]
        return item.title, f"{item.body}\n\n[{item.id}]"
    parts = [f"{item.title}\n{item.body}\n[{item.id}]" for item in messages]
    return f"{len(messages)} messages: {messages[-1].title}, …", "\n\n".join(parts)


def masked(url: str) -> str:
    """The scheme of an address, without its secret part: `mailto://…`."""
    scheme, mark, _ = url.partition("://")
    return f"{scheme}://…" if mark and scheme.isalnum() else "…"


def send_by_apprise(url: str, title: str, body: str) -> None:
    """Send one message with Apprise.

    Raises:
        NotSent: the message was not sent.
        ConfigError: Apprise does not understand the address, or is not installed.
    """
    service = apprise_service(url)
    try:
        result = service.notify(title=title, body=body, body_format="text")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a plug-in of Apprise raises, the message waits
        raise NotSent(f"{masked(url)}: {_clean(str(error), url) or type(error).__name__}") from None
    if not result:
        reasons = "; ".join(str(entry.message) for entry in (result.logs() if hasattr(result, "logs") else ()))
        broken = "".join(f"; {problem}" for problem in problems_of_requests())
        raise NotSent(f"{masked(url)}: {_clean(reasons, url) or 'no reason given'}{broken}")


def addresses(notify: Messages, base: Path) -> dict[str, str]:
    """The secret address of each recipient; relative files of secrets start from `base`.

    Raises:
        ConfigError: every address that is missing or that Apprise does not understand.
    """
    urls: dict[str, str] = {}
    wrong: list[str] = []
    for name, target in notify.to.items():
        try:
            urls[name] = target.url.read(base)
            apprise_service(urls[name])
        except ConfigError as error:
            wrong.append(f"notify.to.{name}.url: {error}")
    if wrong:
        raise ConfigError(*wrong)
    return urls


def apprise_service(url: str) -> Any:
    """The service of Apprise for an address; nothing is sent.

    Raises:
        ConfigError: Apprise does not understand the address, or is not installed.
    """
    require("notifications", "lab", "apprise")
    import apprise

    logging.getLogger("apprise").propagate = False  # its messages are logged here, without addresses
    service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="sdl", app_desc="sdl lab", async_mode=False))
    if not service.add(url):
        raise ConfigError(f"{masked(url)}: not an address that Apprise understands; see its list of services")
    return service


def _clean(text: str, url: str) -> str:
    """A message of a library on one line, without any part of the address."""
    pieces = re.split(r"[/:@?&=]+", url.partition("://")[2])
    secret = {part for piece in pieces for part in (piece, unquote(piece)) if len(part) > 3}
    for part in sorted(secret, key=len, reverse=True):
        text = text.replace(part, "…")
    return " ".join(text.split())[:400]
