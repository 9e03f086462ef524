"""The gate of a lab's campaign: evaluates the conditions of the lab file and receives commands of the lab.

The runner queries it before each action and reports every event to it. `pause`, `proceed`, `resume` and `abort`
come from another thread and take effect at the next query, within half a second unless a reading is in progress.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from sdl.core.campaign import Campaign
from sdl.core.events import Continued, Event, Failed, Measured
from sdl.durations import format_duration
from sdl.formatting import count
from sdl.lab.config.model import NO_READING, Suspend, disk_free
from sdl.runner.gate import POLL_SECONDS, Abort, Decision, Pause, Proceed
from sdl.runner.observers import TwinMonitor

CONDITION = "suspend"  # `by` of a pause for a condition
AWAY_AFTER = 3  # consecutive failed attempts at a reading after which the instrument counts as away


class LabGate:
    """Decides whether a campaign of a lab may continue.

    Args:
        folder: directory of the run, whose free space is checked.
        free: bytes free at a path.
        again: seconds between two queries while paused.
        beat: called at every query.
    """

    def __init__(
        self,
        suspend: Suspend,
        folder: Path,
        *,
        free: Callable[[Path], float] = disk_free,
        again: float = POLL_SECONDS,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.beat = beat
        self._suspend, self._folder, self._free, self._again = suspend, folder, free, again
        self._monitor = TwinMonitor(state) if (state := suspend.state) is not None else None
        self._lock = threading.RLock()
        self._requested: Pause | None = None  # requested by the lab
        self._abort: Abort | None = None
        self._by = ""  # who ended the last pause
        self._paused = self._over = False  # the last decision; whether that pause has ended, even if another follows
        self._background = ""  # why the background is too high, if it is
        self._mismatch = ""  # how the instrument differs from its twin, if it does
        self._looked = 0.0  # time of the last background
        self._cause = ""  # of the present pause for a condition
        self._by_ambient = False  # whether the background was a cause during this pause
        self._good_since: float | None = None
        self._failed = 0  # consecutive failed attempts at a reading
        self._away = ""  # why the instrument counts as away, if it does
        self._away_since: float | None = None

    # from any thread -------------------------------------------------------------------------------------------------
    def pause(self, cause: str, by: str) -> None:
        """Pause until `proceed`, replacing any other requested pause."""
        with self._lock:
            requested = Pause(cause, by, poll_after=self._again)
            if requested != self._requested:
                self._over, self._by = True, "lab"
            self._requested = requested

    def proceed(self, by: str) -> None:
        """End the requested pause; a pause for a condition stays."""
        with self._lock:
            self._requested, self._by, self._over = None, by, True

    def resume(self, by: str) -> None:
        """End a pause for a condition, unless the condition persists; a requested pause stays."""
        with self._lock:
            self._by = by
            self._reset_away()
            self._mismatch = self._cause = ""  # set again if the condition persists
            if self._monitor is not None:
                self._monitor.reset()

    def abort(self, reason: str, by: str) -> None:
        """End the campaign; the first request is kept."""
        with self._lock:
            self._abort = self._abort or Abort(reason, by)

    @property
    def aborted(self) -> bool:
        return self._abort is not None

    # from the runner -------------------------------------------------------------------------------------------------
    def observe(self, event: Event, campaign: Campaign) -> None:
        with self._lock:
            if isinstance(event, Failed):
                self._count_failure(event, campaign)
            elif isinstance(event, (Measured, Continued)):
                self._reset_away()
            if isinstance(event, Measured):
                if event.background is not None:
                    self._compare(event.background, event.at)
                if self._monitor is not None:
                    self._mismatch = self._monitor.observe(event) or ""

    def on_background(self, readings: Mapping[str, float] | None, now: float) -> None:
        """Receive a background reading taken while paused; None if it failed, which changes nothing."""
        with self._lock:
            self._looked = now
            if readings is None:
                return
            if self._away:
                self._reset_away()
                self._by = f"{CONDITION}: it gives readings again"
            self._compare(readings, now)

    def ask(self, campaign: Campaign, now: float) -> Decision:
        """Whether to continue at `now`.

        Between two pauses it returns Proceed once, so that the runner records the end of the first before the second.
        """
        self.beat()
        with self._lock:
            decision = self._abort or self._pause(now) or Proceed(self._by)
            if self._paused and self._over and isinstance(decision, Pause):
                decision = Proceed(self._by)
            self._paused, self._over = isinstance(decision, Pause), False
            return decision

    # with the lock ---------------------------------------------------------------------------------------------------
    def _pause(self, now: float) -> Pause | None:
        ambient, bad = self._suspend.ambient, self._background or self._mismatch or self._disk()
        if bad:
            self._cause, self._good_since = bad, None
            self._by_ambient = self._by_ambient or bool(self._background)
        elif self._cause:
            self._good_since = min(now if self._good_since is None else self._good_since, now)  # the clock may be set
            if now - self._good_since >= self._suspend.good_for:
                self._cause, self._by = "", f"{CONDITION}: good for {format_duration(self._suspend.good_for)}"
        if not self._cause:
            self._by_ambient = False
            return self._requested or self._while_away(now)
        look = ambient is not None and self._by_ambient and not 0 <= now - self._looked < ambient.look
        return self._requested or Pause(self._cause, CONDITION, sample_background=look, poll_after=self._again)

    def _count_failure(self, event: Failed, campaign: Campaign) -> None:
        """Count failed attempts that a pause may cure; pause before the last attempt, so that no trial is lost."""
        if event.stage == "measure" and event.retryable and self._suspend.away is not None:
            self._failed += 1
            if self._failed >= min(AWAY_AFTER, max(campaign.plan.retries, 1)):
                self._away = f"{NO_READING} in {count(self._failed, 'attempt')}; last error: {event.error}"

    def _while_away(self, now: float) -> Pause | None:
        """The pause while the instrument is away: attempts at doubling intervals, up to `suspend.away`."""
        if not self._away or self._suspend.away is None:
            return None
        self._away_since = now if self._away_since is None else min(self._away_since, now)
        interval = min(max(self._looked - self._away_since, 1.0), self._suspend.away)
        sample = not 0 <= now - self._looked < interval
        return Pause(self._away, CONDITION, sample_background=sample, poll_after=self._again)

    def _reset_away(self) -> None:
        self._failed, self._away, self._away_since = 0, "", None

    def _compare(self, background: Mapping[str, float], at: float) -> None:
        if self._suspend.ambient is not None:
            texts = [
                f"{name} reads {background[name]:g}, above {limit:g}"
                for name, limit in self._suspend.ambient.above.items()
                if background.get(name, 0.0) > limit
            ]
            self._looked, self._background = at, f"the background is too high: {', '.join(texts)}" if texts else ""

    def _disk(self) -> str:
        least = self._suspend.disk
        if least is not None and (free := self._free(self._folder)) < least:
            return f"the disk is nearly full: {free / 1e6:.0f} MB free, less than {least / 1e6:.0f} MB"
        return ""
