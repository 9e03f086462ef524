"""The gate of a lab's campaign: judges the conditions of the lab file, and hears what is asked from outside.

`ask` and `dark` are called by the runner, `saw` by it with every event; `pause`, `proceed`, `resume` and `abort` come
from any other thread and are obeyed at the next question, half a second later at most, unless a reading is under way.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from sdl.config.durations import format_duration
from sdl.core.campaign import Campaign
from sdl.core.events import Continued, Event, Failed, Measured
from sdl.lab.config.conditions import NO_READING, Suspend
from sdl.runner.gate import POLL_SECONDS, Abort, Decision, Pause, Proceed
from sdl.runner.observers import TwinMonitor

CONDITION = "suspend"
"""Who pauses for a condition."""
AWAY_AFTER = 3
"""After so many failed tries at a reading in a row the instrument counts as away."""


class LabGate:
    """Whether a campaign of a lab may go on.

    Args:
        suspend: the conditions.
        folder: the run's directory, or a directory above it that exists, for the free space.
        free: bytes free at a path.
        again: seconds between two questions while it is held.
    """

    def __init__(
        self,
        suspend: Suspend,
        folder: Path,
        *,
        free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        again: float = POLL_SECONDS,
    ) -> None:
        self._suspend, self._folder, self._free, self._again = suspend, folder, free, again
        self._against = TwinMonitor(state) if (state := suspend.state) is not None else None
        self._lock = threading.Lock()
        self._asked: Pause | None = None  # from outside
        self._abort: Abort | None = None
        self._by = ""  # who let go last
        self._paused = self._over = False  # what was said last; whether that pause is over, whatever follows it
        self._bright = ""  # why the room is too bright, if it is
        self._gone = ""  # how the instrument no longer matches its twin, if it has
        self._failed = 0  # tries at a reading, in a row
        self._away = ""  # why the instrument counts as away, if it does
        self._away_since: float | None = None
        self._looked = 0.0
        self._cause = ""  # of the present pause for a condition
        self._by_ambient = False  # whether it is, or was in the same pause, the room
        self._good_since: float | None = None

    # from any thread -------------------------------------------------------------------------------------------------
    def pause(self, cause: str, by: str) -> None:
        """Pauses until `proceed`, in place of any other pause."""
        with self._lock:
            asked = Pause(cause, by, poll_after=self._again)
            if asked != self._asked:
                self._over, self._by = True, "lab"
            self._asked = asked

    def proceed(self, by: str) -> None:
        """Ends the pause that was asked for; a condition pauses on."""
        with self._lock:
            self._asked, self._by, self._over = None, by, True

    def resume(self, by: str) -> None:
        """Ends a pause whose condition is over, or that waits for the instrument or its twin; not one asked for."""
        with self._lock:
            self._by = by
            self._answers()
            self._gone = self._cause = ""  # a condition that still holds gives its cause anew
            if self._against is not None:
                self._against.reset()

    def abort(self, reason: str, by: str) -> None:
        """Ends the campaign for good; the first to ask is kept."""
        with self._lock:
            self._abort = self._abort or Abort(reason, by)

    @property
    def aborted(self) -> bool:
        """Whether somebody asked for the end."""
        return self._abort is not None

    # from the runner -------------------------------------------------------------------------------------------------
    def saw(self, event: Event, campaign: Campaign) -> None:
        """Told of every event."""
        if isinstance(event, Failed):
            self._went_wrong(event, campaign)
        elif isinstance(event, (Measured, Continued)):
            with self._lock:
                self._answers()
        if not isinstance(event, Measured):
            return
        if event.background is not None:
            self._judge(event.background, event.at)
        if self._against is not None:
            with self._lock:
                self._gone = self._against.observe(event) or ""

    def on_background(self, readings: Mapping[str, float] | None, now: float) -> None:
        """A reading that was taken in the dark while paused; None where none came, which changes nothing."""
        with self._lock:
            self._looked = now
            if readings is not None and self._away:
                self._answers()
                self._by = f"{CONDITION}: it gives readings again"
        if readings is not None:
            self._judge(readings, now)

    def ask(self, campaign: Campaign, now: float) -> Decision:
        """Whether to go on at `now`.

        Between two pauses it says so once: the runner writes the end of the one, asks again before it does anything,
        and writes the cause of the other.
        """
        with self._lock:
            said = self._abort or self._held(now) or Proceed(self._by)
            if self._paused and self._over and isinstance(said, Pause):
                said = Proceed(self._by)
            self._paused, self._over = isinstance(said, Pause), False
            return said

    def _held(self, now: float) -> Pause | None:
        bad = self._bright or self._gone or self._disk()
        if bad:
            self._cause, self._good_since = bad, None
            self._by_ambient = self._by_ambient or bool(self._bright)
        elif self._cause:
            since = now if self._good_since is None else self._good_since
            self._good_since = min(since, now)  # the machine's time may have been set back
            if now - self._good_since >= self._suspend.good_for:
                self._cause, self._by = "", f"{CONDITION}: well for {format_duration(self._suspend.good_for)}"
        if not self._cause:
            self._by_ambient = False
            return self._asked or self._while_away(now)
        if self._asked is not None:
            return self._asked
        ambient = self._suspend.ambient
        look = ambient is not None and self._by_ambient and not 0 <= now - self._looked < ambient.look
        return Pause(self._cause, CONDITION, sample_background=look, poll_after=self._again)

    def _went_wrong(self, event: Failed, campaign: Campaign) -> None:
        """Counts what a pause may help against; before the last try at a reading, so that it costs no trial."""
        if event.stage != "measure" or not event.retryable or self._suspend.away is None:
            return
        with self._lock:
            self._failed += 1
            if self._failed >= min(AWAY_AFTER, max(campaign.plan.retries, 1)):
                tries = f"{self._failed} tries" if self._failed > 1 else "a try"
                self._away = f"{NO_READING} in {tries}; the last: {event.error}"

    def _while_away(self, now: float) -> Pause | None:
        """Asks at once, then after as long again as it has been away, and at last every `away` seconds."""
        if not self._away or self._suspend.away is None:
            return None
        self._away_since = now if self._away_since is None else min(self._away_since, now)
        patience = min(max(self._looked - self._away_since, 1.0), self._suspend.away)
        sample = not 0 <= now - self._looked < patience
        return Pause(self._away, CONDITION, sample_background=sample, poll_after=self._again)

    def _answers(self) -> None:
        self._failed, self._away, self._away_since = 0, "", None

    def _judge(self, dark: Mapping[str, float], at: float) -> None:
        if self._suspend.ambient is None:
            return
        over = {name: limit for name, limit in self._suspend.ambient.above.items() if dark.get(name, 0.0) > limit}
        told = ", ".join(f"{name} reads {dark[name]:g}, above {limit:g}" for name, limit in over.items())
        with self._lock:
            self._looked, self._bright = at, f"the room is too bright: with the light off {told}" if over else ""

    def _disk(self) -> str:
        least = self._suspend.disk
        if least is None:
            return ""
        place = next((folder for folder in (self._folder, *self._folder.parents) if folder.exists()), Path())
        have = self._free(place)
        return (
            f"the disk is nearly full: {have / 1e6:.0f} MB free, less than {least / 1e6:.0f} MB" if have < least else ""
        )
