"""The notices (emails, messages) that a lab sends: their text, from its events. Pure: sends nothing and reads no clock.

The id of a notice follows from the events alone. After a crash the events are folded again and yield the same ids; the
outbox accepts each id once, so no notice is lost between journal and outbox.

Failures of the same job are reported once per `notify.again`; the next notice counts those left out, and the digest
counts all.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from sdl.durations import format_duration
from sdl.formatting import count, display
from sdl.lab.config.model import NO_READING
from sdl.lab.core import events as ev
from sdl.lab.core.views import is_requested_pause
from sdl.lab.workers.base import WorkerUpdate
from sdl.notify.model import OUTCOME_KINDS, Kind, Notice, Notify
from sdl.runner.shutdown import MAY_BE_ON

DAY = 86400.0
UNREACHABLE = re.compile(r"\b(?:Unreachable|BadReply): |: not asked: \d+ requests in a row failed")
"""Matches the reason of a campaign that failed because its instrument did not answer."""
EXPECTED_CAUSES = ("skipped", "aborted before", "black-out")
"""Requested causes of a missed start, which are not reported."""
LOST_AFTER = 300.0  # seconds without readings after which an instrument is reported as lost
RATE_LIMITED: tuple[Kind, ...] = ("failed", "unreachable", "missed")


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
    reported: bool = False
    waits_for: str = ""  # an instrument


@dataclass(slots=True)
class _Asked:
    reading: str  # trial 3, reading 1
    body: str
    since: float
    reminders: int = 0


@dataclass
class Notices:
    """The notices of one lab, in its time zone; `notify` says what to report, and how often."""

    lab: str
    notify: Notify
    zone: tzinfo = UTC
    _new: list[Notice] = field(default_factory=list)
    _starts: dict[int, _Start] = field(default_factory=dict)
    _requested: dict[str, _Pause] = field(default_factory=dict)  # by target
    _conditions: dict[str, _Pause] = field(default_factory=dict)  # by start
    _asked: dict[int, _Asked] = field(default_factory=dict)  # by start, what a person is asked for
    _lost: dict[str, float] = field(default_factory=dict)
    _last: dict[tuple[str, str], float] = field(default_factory=dict)  # by kind and subject, time of the last notice
    _left_out: Counter[tuple[str, str]] = field(default_factory=Counter)  # notices left out since
    _counts: deque[tuple[float, str, int]] = field(default_factory=deque)  # time, what happened, readings
    _opened: float | None = None
    _digest: float | None = None
    _running: bool = False
    _disk_low: bool = False
    _journal_lost: bool = False

    def handle(self, event: ev.LabEvent) -> list[Notice]:
        """The notices of one journal event."""
        match event:
            case ev.LabOpened():
                self._opened = event.at if self._opened is None else self._opened
            case ev.LabStarted():
                if self._running:
                    body = "The lab's process ended without being stopped. Campaigns that were running are resumed."
                    self._add("failed", "lab", f"{event.at:.0f}", "restarted after a crash", body, event.at)
                self._running = True
            case ev.LabStopped():
                self._running = False
            case ev.Due():
                self._starts[event.start] = _Start(event.job, event.due)
            case ev.Started():
                if start := self._starts.get(event.start):
                    start.instrument, start.run = event.instrument, event.run
                self._count(event.at, "started" if event.attempt == 0 else "resumed")
            case ev.Ended():
                self._ended(event)
            case ev.Missed():
                start = self._forget(event.start)
                self._count(event.at, "missed")
                if not event.cause.startswith(EXPECTED_CAUSES):
                    body = f"Due at {self._time(start.due)}: {event.cause}."
                    self._add_of_job("missed", start, event.start, "start missed", body, event.at)
            case ev.GaveUp():
                start = self._forget(event.start)
                self._count(event.at, "given up")
                body = f"Start {event.start} on {start.instrument or 'its instrument'}: {event.reason}."
                if start.run and not event.reason.startswith("Lost: "):  # which names the copy to resume
                    body += f"\nRecord: {start.run}. Resume it with `sdl resume`."
                self._add_of_job("failed", start, event.start, "given up", body, event.at)
            case ev.Died():
                self._conditions.pop(f"start {event.start}", None)
                self._asked.pop(event.start, None)
                if event.own:
                    self._count(event.at, "died")
            case ev.MadeSafe(error=""):
                self._instrument_back(event.instrument, event.at)
            case ev.MadeSafe():
                self._instrument_lost(event.instrument, event.error, event.at)
            case ev.Held():
                cause = f"{event.cause} ({event.by})" if event.by else event.cause
                self._requested.setdefault(event.what, _Pause(event.at, cause))
                self._count(event.at, "paused by request")
            case ev.Released():
                self._requested.pop(event.what, None)
            case ev.Submitted(decision="waits"):
                title = f"{event.campaign['name']} of {event.agent} waits for approval"
                body = f"Submission {event.number} on {event.instrument}, at most {count(event.readings, 'reading')}: "
                body += f"{'; '.join(event.reasons)}. Approve or refuse it on the page."
                self._add("approval", f"agent {event.agent}", f"{event.number}", title, body, event.at)
        return self._take()

    def update(self, item: WorkerUpdate) -> list[Notice]:
        """The notices of one worker update: an instrument answers again, a person is asked for a reading.

        `tick` reports long pauses, and repeats requests for a reading.
        """
        key, start = f"start {item.start}", self._starts.get(item.start)
        if item.what != "running":  # the next reading is asked for, or none any more
            self._asked.pop(item.start, None)
        if item.what == "asked" and start is not None:
            reading, _, body = item.text.partition("\n")
            self._asked[item.start] = _Asked(reading, body, item.at)
            self._ask(item.start, "requested", item.at)
        if item.what == "paused" and start is not None and not is_requested_pause(item.text):
            if key not in self._conditions:
                self._count(item.at, "paused")
            waits_for = start.instrument if item.text.startswith(NO_READING) else ""
            self._conditions.setdefault(key, _Pause(item.at, item.text, start.job, waits_for=waits_for))
        elif item.what in ("running", "continued") and (ended := self._conditions.pop(key, None)):
            self._instrument_back(ended.waits_for, item.at)
        return self._take()

    def tick(self, now: float, disk_free: float | None = None, lost: str = "") -> list[Notice]:
        """The notices that follow from the time, the free disk space in bytes (None: not measured) and the journal.

        `lost` says how the journal was deleted, replaced or truncated; it is empty if the journal is intact.
        """
        for what, pause in self._pauses():
            if pause.waits_for and now - pause.since >= LOST_AFTER:
                self._instrument_lost(pause.waits_for, pause.cause, pause.since)
            if not pause.reported and now - pause.since >= self.notify.paused:
                pause.reported = True
                subject = f"job {pause.job}" if pause.job else what
                title = f"{subject}: paused for {format_duration(self.notify.paused)}"
                body = f"Paused since {self._time(pause.since)}: {pause.cause or 'no reason given'}."
                self._add("paused", subject, f"{what}-{pause.since:.0f}", title, body, now, pause.job)
        for number, asked in self._asked.items():
            due = int((now - asked.since) // self.notify.remind) if self.notify.remind is not None else 0
            if due > asked.reminders:
                asked.reminders = due
                waiting = format_duration(due * (self.notify.remind or 0.0))
                self._ask(number, f"still waiting after {waiting}", now, f"-{due}")
        limit = self.notify.disk_mb * 1e6
        if disk_free is not None:
            known, self._disk_low = self._disk_low, disk_free < limit * (1.2 if self._disk_low else 1.0)
            if self._disk_low and not known:
                body = f"{disk_free / 1e6:.0f} MB are free at the directory of the runs, less than {limit / 1e6:g} MB."
                period = int(now // self.notify.again)  # a restart with a full disk must not repeat the notice
                self._add("disk", "disk", f"{period}", "disk nearly full", body, now)
        if lost and not self._journal_lost:
            body = f"No campaign begins until the journal is back; running campaigns continue.\n{lost}"
            self._add("failed", "journal", f"{now:.0f}", "journal lost", body, now)
        self._journal_lost = bool(lost)
        if self.notify.digest is not None:
            self._daily(self.notify.digest, now)
        return self._take()

    def _ended(self, event: ev.Ended) -> None:
        pause = self._conditions.get(f"start {event.start}")
        start = self._forget(event.start)
        self._count(event.at, event.outcome, event.readings)
        if event.outcome == "failed" and UNREACHABLE.search(event.reason):
            self._instrument_lost(start.instrument, event.reason, event.at)
        elif event.readings and not (pause and pause.waits_for):
            self._instrument_back(start.instrument, event.at)
        outcome = display(event.outcome)
        body = (
            f"Start {event.start} on {start.instrument} ended ({outcome}) after {count(event.readings, 'reading')}: "
            f"{event.reason}\nRecord: {start.run}"
        )
        self._add_of_job(OUTCOME_KINDS.get(event.outcome, "finished"), start, event.start, outcome, body, event.at)

    def _ask(self, number: int, what: str, at: float, suffix: str = "") -> None:
        """Add the notice that a reading is asked for; the same again has the same id, and is sent once."""
        start, asked = self._starts[number], self._asked[number]
        body = f"{asked.body}\n{self.notify.link(start.run) or f'Run: {start.run}'}"
        key = f"{asked.reading}{suffix}".replace(", ", "-")
        self._add("asked", f"start {number}", key, f"{start.job}: {asked.reading}: {what}", body, at, start.job)

    # Notices -----------------------------------------------------------------------------------------------------
    def _instrument_lost(self, name: str, error: str, at: float) -> None:
        if name not in self._lost:
            self._lost[name] = at
            what = "in use by another process" if error.startswith("InUse: ") else "no answer"
            title = f"{name}: {'not known to be off' if MAY_BE_ON in error else what}"
            self._add("lost", f"instrument {name}", f"{at:.0f}", title, error, at)

    def _instrument_back(self, name: str, at: float) -> None:
        if (since := self._lost.pop(name, None)) is not None:
            body = f"It did not answer for {format_duration(at - since)}, since {self._time(since)}."
            self._add("back", f"instrument {name}", f"{since:.0f}", f"{name}: answers again", body, at)

    def _daily(self, clock: str, now: float) -> None:
        """Add the digest of the latest digest time, once; none for a time before the lab was opened."""
        today = datetime.fromtimestamp(now, self.zone).replace(
            hour=int(clock[:2]), minute=int(clock[3:]), second=0, microsecond=0, fold=0
        )
        moment = next(at for back in (0, 1, 2) if (at := (today - timedelta(days=back)).timestamp()) <= now)
        last = next(at for at in (self._digest, self._opened, now) if at is not None)
        self._digest = max(last, moment)
        if moment <= last:
            return
        day = [(what, readings) for at, what, readings in self._counts if moment - DAY < at <= moment]
        counts = Counter(what for what, _ in day)
        text = ", ".join(f"{display(what)} {n}" for what, n in sorted(counts.items())) or "nothing"
        lines = [f"In the last 24 h: {text}; {count(sum(readings for _, readings in day), 'reading')}."]
        lines += [f"{what}: paused since {self._time(pause.since)}: {pause.cause}" for what, pause in self._pauses()]
        lines += [f"instrument {name}: no answer since {self._time(at)}" for name, at in self._lost.items()]
        date = datetime.fromtimestamp(moment, self.zone).date()
        self._new.append(Notice(f"digest-{date}", "digest", "lab", f"{self.lab}: {date}", "\n".join(lines), now))

    def _add_of_job(self, kind: Kind, start: _Start, number: int, title: str, body: str, at: float) -> None:
        """Add a notice about a start; its subject, for the rate limit, is the job unless the start just finished."""
        subject = f"start {number}" if kind == "finished" else f"job {start.job}"
        self._add(kind, subject, f"{number}", f"{start.job}: {title}", body, at, start.job)

    def _add(self, kind: Kind, subject: str, key: str, title: str, body: str, at: float, job: str = "") -> None:
        """Add a notice, unless a rate-limited one of this kind and subject was sent within `notify.again`."""
        if kind in RATE_LIMITED:
            limited = kind, subject
            last = self._last.get(limited, -float("inf"))
            if at - last < self.notify.again:
                self._left_out[limited] += 1
                return
            if left_out := self._left_out.pop(limited, 0):
                body += f"\nSince {self._time(last)}, {count(left_out, 'similar notice')} left out."
            self._last[limited] = at
        id = f"{kind}-{subject}-{key}".replace(" ", "-")
        self._new.append(Notice(id, kind, subject, f"{self.lab}: {title}", body, at, job))

    def _take(self) -> list[Notice]:
        new, self._new = self._new, []
        return new

    def _pauses(self) -> Iterator[tuple[str, _Pause]]:
        yield from (*self._requested.items(), *self._conditions.items())

    def _forget(self, start: int) -> _Start:
        self._requested.pop(f"start {start}", None)
        self._conditions.pop(f"start {start}", None)
        self._asked.pop(start, None)
        return self._starts.pop(start, _Start(f"start {start}", 0.0))

    def _count(self, at: float, what: str, readings: int = 0) -> None:
        self._counts.append((at, what, readings))
        while self._counts[0][0] < at - 3 * DAY:
            self._counts.popleft()

    def _time(self, at: float) -> str:
        return datetime.fromtimestamp(at, self.zone).strftime("%Y-%m-%d %H:%M")
