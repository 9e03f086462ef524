"""Commands and queries of a running lab: submitted from any thread, executed by the loop between two events.

Commands are written to the journal before they take effect. A caller waits for the answer; the loop never waits for a
caller.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from sdl import config
from sdl.errors import ConfigError
from sdl.formatting import count
from sdl.lab.config.file import parse_text
from sdl.lab.core import scheduler
from sdl.lab.core.cron import NEVER, schedule_conflict, upcoming
from sdl.lab.core.events import Asked, Due, Held, Released
from sdl.lab.core.job_runs import Start
from sdl.lab.core.state import Lab, single_job_name
from sdl.lab.core.views import describe_pause, display_target, pause_reason
from sdl.lab.loop import LabLoop

ANSWER_SECONDS = 20.0
UPCOMING_PER_JOB = 5  # scheduled times listed per job

T = TypeVar("T")


class Controller:
    """The `sdl.lab.workers.base.Control` of a loop, which calls `requests` once per tick."""

    def __init__(self, answer_seconds: float = ANSWER_SECONDS, base: Path = Path()) -> None:
        self._base = base
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.answer_seconds = answer_seconds
        self._loop: LabLoop | None = None

    # Called by the loop ------------------------------------------------------------------------------------------
    def serve(self, loop: LabLoop) -> None:
        self._loop = loop

    def requests(self) -> None:
        while not self._requests.empty():
            self.wait(0.0)

    def wait(self, seconds: float) -> None:
        """Wait for a request, at most `seconds`, and execute it."""
        with contextlib.suppress(queue.Empty):
            if (request := self._requests.get(timeout=seconds)) is not None:
                request()

    def wake(self) -> None:
        """End the present `wait`; callable from a signal handler."""
        self._requests.put(None)

    # Called from any thread --------------------------------------------------------------------------------------
    def status(self) -> Mapping[str, Any]:
        return self._ask(_status)

    def queue(self) -> Sequence[Mapping[str, Any]]:
        return self._ask(lambda loop: [*_queue(loop), *_upcoming(loop)])

    def history(self, most: int = 100, job: str = "") -> Sequence[Mapping[str, Any]]:
        return self._ask(
            lambda loop: [row for row in reversed(loop.lab.past) if job in ("", row["job"])][: max(most, 0)]
        )

    def pause(self, target: str, reason: str, by: str) -> str:
        def pause(loop: LabLoop) -> str:
            _require(loop.lab, target)
            if (event := loop.lab.pauses.get(target)) is not None:
                raise ConfigError(f"{display_target(target)} is already {describe_pause(asdict(event), target)}")
            loop.write(Held(target, reason, by, loop.clock.now()))
            start = _start(loop.lab, target)
            if start is not None:
                return f"Pausing {target} " + ("after its current reading." if start.running else "before it begins.")
            return (
                f"Pausing {display_target(target)}: no start begins; running campaigns pause after the current reading."
            )

        return self._ask(pause)

    def resume(self, target: str, by: str, since: str = "") -> str:
        def resume(loop: LabLoop) -> str:
            event = loop.lab.pauses.get(target)
            if event is None:
                return _resume_own(loop, target, by)
            name, text = display_target(target), describe_pause(asdict(event), target)
            if since not in ("", repr(event.at)):
                raise ConfigError(f"{name} was paused again meanwhile; it is now {text}")
            loop.write(Released(target, by, loop.clock.now()))
            others = _pauses(loop, target)
            return f"Resumed {name}, which was {text}." + (f" Still paused: {others}." if others else "")

        return self._ask(resume)

    def abort(self, target: str, reason: str, by: str) -> str:
        def abort(loop: LabLoop) -> str:
            _require(loop.lab, target)
            every = _starts(loop.lab, target)
            starts = [s for s in every if s.abort is None]
            if not starts:
                raise ConfigError(
                    f"{target}: " + ("already being aborted" if every else "no start is running or waiting")
                )
            for start in starts:
                loop.write(Asked("abort", f"start {start.number}", reason, by, loop.clock.now()))
                if start.running:
                    loop.processes.command(start.number, "abort", reason, by)
            return f"Aborted {', '.join(f'start {start.number}' for start in starts)}."

        return self._ask(abort)

    def run_now(self, job: str, by: str) -> str:
        def queue_job(loop: LabLoop) -> str:
            _require(loop.lab, f"job {job}")
            now = loop.clock.now()
            spec = loop.lab.lab.jobs[job].model_copy(update={"between": None})
            if why := schedule_conflict(spec, loop.lab.lab, now):
                raise ConfigError(f"job {job}: {why}")
            loop.write(Asked("run-now", f"job {job}", "", by, now))
            return _queued(loop, job, loop.lab.lab.jobs[job].instrument)

        return self._ask(queue_job)

    def skip(self, target: str, reason: str, by: str) -> str:
        def skip(loop: LabLoop) -> str:
            _require(loop.lab, target)
            kind, _, name = target.partition(" ")
            waiting = [s for s in _starts(loop.lab, target) if not s.attempts and s.skip is None]
            if kind not in ("start", "job"):
                raise ConfigError(f"{target}: only `start N` or `job NAME` can be skipped")
            if waiting:
                loop.write(Asked("skip", f"start {waiting[0].number}", reason, by, loop.clock.now()))
                return f"Skipped start {waiting[0].number}."
            if kind == "start":
                raise ConfigError(f"{target} has begun; abort it instead")
            if name in loop.lab.skips:
                raise ConfigError(f"the next start of {target} is already skipped, by {loop.lab.skips[name][1]}")
            if loop.lab.next_due(name) == NEVER:
                raise ConfigError(f"{target} has no scheduled start")
            loop.write(Asked("skip", target, reason, by, loop.clock.now()))
            moment = datetime.fromtimestamp(loop.lab.next_due(name), loop.lab.lab.zone)
            return f"Skipped the next start of {target}, due {moment:%Y-%m-%d %H:%M}."

        return self._ask(skip)

    def check(self, campaign: str, instrument: str) -> str:
        parsed = self._campaign(campaign, instrument)
        trials = count(parsed.plan().collect, "trial")
        return f"{parsed.name} on {instrument} ({parsed.instrument.identity}): at most {trials}"

    def start(self, campaign: str, instrument: str, by: str) -> str:
        # Through text, so that what the lab's record gives back compares as the same.
        plain = json.loads(json.dumps(self._campaign(campaign, instrument).plain()))

        def queue_campaign(loop: LabLoop) -> str:
            _require(loop.lab, f"instrument {instrument}")
            loop.write(Asked("start", f"instrument {instrument}", "", by, loop.clock.now(), plain))
            return _queued(loop, single_job_name(plain), instrument)

        return self._ask(queue_campaign)

    def _campaign(self, text: str, instrument: str) -> config.CampaignFile:
        """Parse a campaign in the caller's thread, to keep the loop free."""

        def look_up(loop: LabLoop) -> tuple[Any, Path]:
            _require(loop.lab, f"instrument {instrument}")
            return loop.lab.lab.instruments[instrument].instrument, loop.runs

        plain, runs = self._ask(look_up)
        return parse_text(text, plain, base=self._base, runs=runs)

    def _ask(self, work: Callable[[LabLoop], T]) -> T:
        answer: Future[T] = Future()

        def perform() -> None:
            if not answer.set_running_or_notify_cancel():
                return  # the caller has timed out, so the request must not be executed
            try:
                if self._loop is None:
                    raise ConfigError("the lab is not running yet")
                answer.set_result(work(self._loop))
            except Exception as error:
                answer.set_exception(error)

        self._requests.put(perform)
        try:
            return answer.result(self.answer_seconds)
        except TimeoutError:
            answer.cancel()
            raise TimeoutError(f"no answer within {self.answer_seconds:g} s") from None


def _require(lab: Lab, target: str) -> None:
    """Raise ConfigError unless the target exists."""
    kind, _, name = target.partition(" ")
    names: Sequence[Any] = {
        "instrument": list(lab.lab.instruments), "job": list(lab.lab.jobs), "start": [str(n) for n in lab.starts]
    }.get(kind, [])  # fmt: skip
    if target != "lab" and name not in names:
        if kind == "start":
            raise ConfigError(f"{target} is neither running nor waiting; the history lists starts that have ended")
        allowed = f"; allowed: {', '.join(names)}" if names else "; allowed: lab, instrument NAME, job NAME, start N"
        raise ConfigError(f"unknown {target!r}{allowed}")


def _starts(lab: Lab, target: str) -> list[Start]:
    """The starts of a target that have not ended."""
    kind, _, name = target.partition(" ")
    fits: dict[str, Callable[[Start], bool]] = {
        "lab": lambda s: True,
        "instrument": lambda s: s.instrument == name,
        "job": lambda s: s.job == name,
        "start": lambda s: str(s.number) == name,
    }
    return [start for start in lab.starts.values() if fits[kind](start)]


def _queued(loop: LabLoop, job: str, instrument: str) -> str:
    """The answer to a request for a start: its number, and the pause that delays it."""
    due = [event for event in scheduler.new_starts(loop.lab, loop.clock.now()) if isinstance(event, Due)]
    number = max((event.start for event in due if (event.job, event.cause) == (job, "asked")), default=0)
    text = f"Queued {job} on {instrument}" + (f" as start {number}." if number else ".")
    pauses = loop.lab.pauses_of(number, job, instrument)
    return text + "".join(f" It waits: {pause_reason(event.what, event.cause)}." for event in pauses[:1])


def _pauses(loop: LabLoop, target: str) -> str:
    """The pauses that cover a start, or all of the lab for a wider target, each with the command that ends it."""
    start = _start(loop.lab, target)
    if start is not None:
        events, runs = loop.lab.pauses_of(start.number, start.job, start.instrument), list[Start]()
    else:
        events, runs = list(loop.lab.pauses.values()), [run for run in loop.lab.running() if _resumable(loop, run)]
    texts = {f"start {run.number}": f"paused: {loop.live_of(run).paused}" for run in runs}
    texts |= {event.what: describe_pause(asdict(event), event.what) for event in events}
    return "; ".join(f"{display_target(what)}, {text} (sdl lab resume {what})" for what, text in texts.items())


def _resumable(loop: LabLoop, start: Start) -> bool:
    """Whether a running start has a pause of its own, requested or for a condition."""
    live = loop.live_of(start)
    return f"start {start.number}" in loop.lab.pauses or (bool(live.paused) and not live.pause_sent)


def _resume_own(loop: LabLoop, target: str, by: str) -> str:
    """End a campaign's pause for a condition.

    Raises:
        ConfigError: there is no such pause; the message names the other pauses and the commands that end them.
    """
    _require(loop.lab, target)
    others = _pauses(loop, target)
    start = _start(loop.lab, target)
    if start is None:
        raise ConfigError(f"{display_target(target)} is not paused" + (f"; paused: {others}" if others else ""))
    if start.running and _resumable(loop, start):
        loop.write(Asked("resume", target, "", by, loop.clock.now()))
        loop.processes.command(start.number, "resume", by)
        return f"Resuming {target}, unless the cause of its pause persists: {loop.live_of(start).paused}."
    if others:
        raise ConfigError(f"{target} has no pause of its own; it is paused by: {others}")
    if pause := scheduler.reason_to_pause(loop.lab, start, loop.clock.now()):
        raise ConfigError(f"{target} is paused by the {pause[1]}: {pause[0]}; it continues automatically afterwards")
    raise ConfigError(f"{target} is not paused")


def _start(lab: Lab, target: str) -> Start | None:
    """The start that a target names; None for a wider target."""
    return _starts(lab, target)[0] if target.startswith("start ") else None


def _status(loop: LabLoop) -> dict[str, Any]:
    lab = loop.lab
    return {
        "lab": lab.lab.name,
        "at": loop.clock.now(),
        "timezone": lab.lab.timezone,
        "process": os.getpid(),
        "since": lab.since,
        "trouble": loop.trouble,
        "instruments": [_instrument(loop, name) for name in lab.lab.instruments],
        "running": [_running(loop, start) for start in lab.running()],
        "held": [asdict(event) for event in lab.pauses.values()],
        "next": _upcoming(loop, 1),
        "jobs": [
            {"name": name, "instrument": job.instrument, "due": due if (due := lab.next_due(name)) < NEVER else None}
            for name, job in lab.lab.jobs.items()
        ],
    }


def _instrument(loop: LabLoop, name: str) -> dict[str, Any]:
    lab, start = loop.lab, loop.lab.on(name)
    new = 0 if start is None else loop.live_of(start).readings - start.readings
    return {
        "name": name,
        "identity": _identity(json.dumps(lab.lab.instruments[name].instrument)),
        "lost": lab.lost.get(name, ""),
        "busy": None if start is None else start.number,
        "readings_today": lab.readings_last_day(name, loop.clock.now()) + max(new, 0),
    }


@lru_cache(maxsize=256)
def _identity(instrument: str) -> str:
    """The identity of an instrument given as JSON."""
    return str(config.parse_kind("instrument", json.loads(instrument)).identity)


def _running(loop: LabLoop, start: Start) -> dict[str, Any]:
    live = loop.live_of(start)
    return {
        "start": start.number,
        "job": start.job,
        "instrument": start.instrument,
        "run": start.run,
        "since": start.begun or 0.0,
        "attempt": start.attempts - 1,
        "readings": live.readings,
        "paused": live.paused,
        "pauses": [asdict(event) for event in loop.lab.pauses_of(start.number, start.job, start.instrument)],
        "resumable": _resumable(loop, start),
    }


def _row(start: int | None, job: str, instrument: str, due: float, why: str, begun: bool = False) -> dict[str, Any]:
    return {"start": start, "job": job, "instrument": instrument, "due": due, "why": why, "begun": begun}


def _queue(loop: LabLoop) -> list[dict[str, Any]]:
    """The waiting starts in queue order."""
    waiting = (start for start in loop.lab.starts.values() if not start.running)
    return [
        _row(s.number, s.job, s.instrument, s.due, scheduler.blocked(loop.lab, s, loop.clock.now()), bool(s.attempts))
        for s in sorted(waiting, key=scheduler.queue_order)
    ]


def _upcoming(loop: LabLoop, per_job: int = UPCOMING_PER_JOB) -> list[dict[str, Any]]:
    """The next scheduled times of all jobs, in order."""
    lab, rows = loop.lab, []
    for name, job in lab.lab.jobs.items():
        for i, at in enumerate(upcoming(job, lab.lab, max(lab.horizon[name], 0.0), per_job)):
            skipped = f"skipped: {lab.skips[name][0]}".removesuffix(": ") if i == 0 and name in lab.skips else ""
            rows.append(_row(None, name, job.instrument, at, skipped))
    return sorted(rows, key=lambda row: row["due"])
