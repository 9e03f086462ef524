"""What people are told: a fold of the lab's events. Pure; it sends nothing and knows no clock.

A notice has an id that follows from what happened alone. After a crash the events are folded again, the same notices
come again with the same ids, and the outbox takes each id once: nothing is lost between the record and the outbox.

The same about the same job or instrument is told once and then not again for a stated time (`again`); what was left
out is counted in the next one, and the digest counts everything.

Just over 300 lines: a short method for each thing that is told, and they share one state.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from sdl.config.durations import words
from sdl.formatting import display
from sdl.lab.config.conditions import AWAY
from sdl.lab.core.events import (
    Died,
    Due,
    Ended,
    GaveUp,
    Held,
    LabEvent,
    LabOpened,
    LabStarted,
    LabStopped,
    MadeSafe,
    Missed,
    Released,
    Started,
)
from sdl.lab.core.views import by_request
from sdl.lab.workers.base import News
from sdl.notify.model import Kind, Notify
from sdl.notify.notice import Notice
from sdl.runner.pursuit import NOT_OFF

DAY = 86400.0
NO_ANSWER = re.compile(r"\b(?:Unreachable|BadReply): |: not asked: \d+ requests in a row failed")
"""How a campaign's reason says that it failed because its instrument was gone; the last is a driver's that rests."""
KNOWN = ("skipped", "aborted before", "black-out")
"""Causes of a missed start that somebody asked for, or wrote into the lab file: nobody has to be told."""
LOST_AFTER = 300.0
"""Seconds that an instrument may be away from a campaign that waits for it, before people are told."""


@dataclass(slots=True)
class _Start:
    job: str
    due: float
    instrument: str = ""
    run: str = ""


@dataclass(slots=True)
class _Pause:
    since: float
    cause: str
    job: str = ""
    told: bool = False
    away: str = ""  # the instrument that it waits for


@dataclass(slots=True)
class _Told:
    at: float
    left_out: int = 0


@dataclass
class Notices:
    """Folds a lab's events into notices.

    Args:
        lab: its name.
        notify: what is told, and how often.
        zone: the lab's, for times of the day.
    """

    lab: str
    notify: Notify
    zone: tzinfo = UTC
    _starts: dict[int, _Start] = field(default_factory=dict)
    _pauses: dict[str, _Pause] = field(default_factory=dict)  # that somebody asked for, by what pauses
    _waits: dict[str, _Pause] = field(default_factory=dict)  # of campaigns, for a condition
    _lost: dict[str, float] = field(default_factory=dict)
    _told: dict[tuple[str, str], _Told] = field(default_factory=dict)
    _tally: deque[tuple[float, str]] = field(default_factory=deque)
    _opened: float | None = None
    _digest: float | None = None
    _running: bool = False
    _disk_low: bool = False
    _journal_lost: bool = False

    def handle(self, event: LabEvent) -> list[Notice]:
        """What an event of the lab's record is worth telling."""
        match event:
            case LabOpened():
                self._opened = event.at if self._opened is None else self._opened
            case LabStarted():
                return self._lab_started(event)
            case LabStopped():
                self._running = False
            case Due():
                self._starts[event.start] = _Start(event.job, event.due)
            case Started():
                if start := self._starts.get(event.start):
                    start.instrument, start.run = event.instrument, event.run
                self._count(event.at, "started" if event.attempt == 0 else "resumed")
            case Ended():
                return self._ended(event)
            case Missed():
                return self._missed(event)
            case GaveUp():
                return self._gave_up(event)
            case Died():
                self._waits.pop(f"start {event.start}", None)
                if event.own:
                    self._count(event.at, "died")
            case MadeSafe():
                if event.error:
                    return self._instrument_lost(event.instrument, event.error, event.at)
                return self._instrument_back(event.instrument, event.at)
            case Held():
                self._pauses.setdefault(event.what, _Pause(event.at, _held_by(event)))
                self._count(event.at, "held")
            case Released():
                self._pauses.pop(event.what, None)
        return []

    def news(self, item: News) -> list[Notice]:
        """What word of a running campaign is worth telling: only its pauses, once they last, and an instrument back."""
        key, start = f"start {item.start}", self._starts.get(item.start)
        if item.what == "paused" and start is not None and not by_request(item.text):
            if key not in self._waits:
                self._count(item.at, "paused")
            away = start.instrument if item.text.startswith(AWAY) else ""
            self._waits.setdefault(key, _Pause(item.at, item.text, start.job, away=away))
        elif item.what in ("running", "continued"):
            over = self._waits.pop(key, None)
            return self._instrument_back(over.away, item.at) if over is not None and over.away else []
        return []

    def tick(self, now: float, disk_free: float | None = None, lost: str = "") -> list[Notice]:
        """What the passing of time is worth telling.

        Args:
            now: seconds since 1970 UTC.
            disk_free: bytes free where the runs go; None where nobody looked.
            lost: how the lab's own record was deleted, replaced or cut; empty where it was not.
        """
        found: list[Notice] = []
        for what, pause in (*self._pauses.items(), *self._waits.items()):
            if pause.away and now - pause.since >= LOST_AFTER:
                found += self._instrument_lost(pause.away, pause.cause, pause.since)
            if not pause.told and now - pause.since >= self.notify.paused:
                pause.told = True
                about = f"job {pause.job}" if pause.job else what
                title = f"{about}: paused for {words(self.notify.paused)}"
                body = f"Since {self._time(pause.since)}: {pause.cause or 'no cause given'}."
                found += self._tell("paused", about, f"{what}-{pause.since:.0f}", title, body, now, pause.job)
        if disk_free is not None:
            found += self._disk(disk_free, now)
        if lost and not self._journal_lost:
            body = f"No campaign begins until it is back; those that run go on.\n{lost}"
            found += self._tell("failed", "journal", f"{now:.0f}", "the lab's journal is lost", body, now)
        self._journal_lost = bool(lost)
        return found + self._daily(now)

    def _lab_started(self, event: LabStarted) -> list[Notice]:
        crashed, self._running = self._running, True
        if not crashed:
            return []
        body = "Its process was gone without having been asked to end. What was running is resumed."
        return self._tell("failed", "lab", f"{event.at:.0f}", "the lab came back after a crash", body, event.at)

    def _ended(self, event: Ended) -> list[Notice]:
        waited = (pause := self._waits.get(f"start {event.start}")) is not None and pause.away
        start = self._gone(event.start)
        self._count(event.at, event.outcome, event.readings)
        lost = event.outcome == "failed" and bool(NO_ANSWER.search(event.reason))
        found: list[Notice] = []
        if lost:
            found = self._instrument_lost(start.instrument, event.reason, event.at)
        elif event.readings and not waited:
            found = self._instrument_back(start.instrument, event.at)
        kinds: dict[str, Kind] = {"failed": "failed", "unreachable": "unreachable"}
        kind = kinds.get(event.outcome, "finished")
        title = f"{start.job}: {display(event.outcome)}"
        body = (
            f"Start {event.start} on {start.instrument} ended ({display(event.outcome)}) after {event.readings} "
            f"readings: {event.reason}\nRecord: {start.run}"
        )
        about = f"start {event.start}" if kind == "finished" else f"job {start.job}"
        return found + self._tell(kind, about, f"{event.start}", title, body, event.at, start.job)

    def _missed(self, event: Missed) -> list[Notice]:
        start = self._gone(event.start)
        self._count(event.at, "missed")
        if event.cause.startswith(KNOWN):
            return []
        body = f"Due at {self._time(start.due)}: {event.cause}."
        title = f"{start.job}: a start was missed"
        return self._tell("missed", f"job {start.job}", f"{event.start}", title, body, event.at, start.job)

    def _gave_up(self, event: GaveUp) -> list[Notice]:
        start = self._gone(event.start)
        self._count(event.at, "given up")
        body = f"Start {event.start} on {start.instrument or 'its instrument'}: {event.reason}."
        if start.run and not event.reason.startswith("Lost: "):  # which names the copy to go on with
            body += f"\nRecord: {start.run}; sdl resume goes on with it."
        return self._tell(
            "failed", f"job {start.job}", f"{event.start}", f"{start.job}: given up", body, event.at, start.job
        )

    def _instrument_lost(self, name: str, error: str, at: float) -> list[Notice]:
        if name in self._lost:
            return []
        self._lost[name] = at
        what = "somebody else drives it" if error.startswith("InUse: ") else "no answer"
        title = f"{name}: {'not known to be off' if NOT_OFF in error else what}"
        return self._tell("lost", f"instrument {name}", f"{at:.0f}", title, error, at)

    def _instrument_back(self, name: str, at: float) -> list[Notice]:
        since = self._lost.pop(name, None)
        if since is None:
            return []
        body = f"It was gone for {words(at - since)}, since {self._time(since)}."
        return self._tell("back", f"instrument {name}", f"{since:.0f}", f"{name}: answers again", body, at)

    def _disk(self, free: float, now: float) -> list[Notice]:
        limit = self.notify.disk_mb * 1e6
        if free >= 1.2 * limit:
            self._disk_low = False
        if free >= limit or self._disk_low:
            return []
        self._disk_low = True
        body = f"{free / 1e6:.0f} MB are free where the runs go, less than {self.notify.disk_mb:g} MB."
        bucket = int(now // self.notify.again)  # a restart on a full disk tells nothing new
        return self._tell("disk", "disk", f"{bucket}", "the disk is nearly full", body, now)

    def _daily(self, now: float) -> list[Notice]:
        """The digest of the latest digest time, once; not for a time before the lab was there."""
        if self.notify.digest is None:
            return []
        moment = self._digest_moment(now)
        if self._digest is None:
            self._digest = self._opened if self._opened is not None else now
        if moment <= self._digest:
            return []
        self._digest = moment
        counts: Counter[str] = Counter()
        for at, what in self._tally:
            if moment - DAY < at <= moment:
                counts[what] += 1
        readings = sum(counts[key] * int(key.split()[1]) for key in counts if key.startswith("readings "))
        told = [f"{n} {what}" for what, n in sorted(counts.items()) if not what.startswith("readings ")]
        lines = [f"In the last day: {', '.join(told) or 'nothing'}; {readings} readings."]
        lasting = (*self._pauses.items(), *self._waits.items())
        lines += [f"{what}: paused since {self._time(p.since)}: {p.cause}" for what, p in lasting]
        lines += [f"instrument {name}: no answer since {self._time(at)}" for name, at in self._lost.items()]
        day = datetime.fromtimestamp(moment, self.zone).date()
        return [Notice(f"digest-{day}", "digest", "lab", f"{self.lab}: {day}", "\n".join(lines), now)]

    def _digest_moment(self, now: float) -> float:
        """The latest digest time up to `now`."""
        hour, minute = map(int, str(self.notify.digest).split(":"))
        day = datetime.fromtimestamp(now, self.zone).date()
        for back in (0, 1, 2):
            at = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone) - timedelta(days=back)
            if at.timestamp() <= now:
                return at.timestamp()
        return now - 3 * DAY

    def _tell(self, kind: Kind, about: str, what: str, title: str, body: str, at: float, job: str = "") -> list[Notice]:
        """The notice, unless the same about the same was told a short time ago."""
        before = self._told.get((kind, about))
        # Lost and back, pauses and the disk are told once each by what they are; a start ends once.
        if before is not None and kind in ("failed", "unreachable", "missed") and at - before.at < self.notify.again:
            before.left_out += 1
            return []
        if before is not None and before.left_out:
            body += f"\nLeft out since {self._time(before.at)}: {before.left_out} more like it."
        if kind in ("failed", "unreachable", "missed"):
            self._told[kind, about] = _Told(at)
        named = f"{self.lab}: {title}"
        return [Notice(f"{kind}-{about}-{what}".replace(" ", "-"), kind, about, named, body, at, job)]

    def _gone(self, start: int) -> _Start:
        self._pauses.pop(f"start {start}", None)
        self._waits.pop(f"start {start}", None)
        return self._starts.pop(start, _Start(f"start {start}", 0.0))

    def _count(self, at: float, what: str, readings: int = 0) -> None:
        self._tally.append((at, what))
        if readings:
            self._tally.append((at, f"readings {readings}"))
        while self._tally and self._tally[0][0] < at - 3 * DAY:
            self._tally.popleft()

    def _time(self, at: float) -> str:
        return datetime.fromtimestamp(at, self.zone).strftime("%Y-%m-%d %H:%M")


def _held_by(event: Held) -> str:
    return f"{event.cause} ({event.by})" if event.by else event.cause
