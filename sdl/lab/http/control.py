"""What may be asked of a running lab: from any thread, done by the loop between two events.

Whatever is asked is written before it is done. A question waits for its answer, the loop never for a question.
"""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
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
from sdl.lab.core.views import (
    InstrumentStatus,
    LabStatus,
    PauseStatus,
    QueuedStart,
    RunningStart,
    describe_pause,
    display_target,
    pause_reason,
)
from sdl.lab.loop import LabLoop, LiveStart

ANSWER_SECONDS = 20.0
UPCOMING_PER_JOB = 5
"""So many due times to come are shown of each job."""

T = TypeVar("T")


class Controller:
    """`sdl.lab.workers.base.Control` of a loop. `requests` is what the loop calls once a tick."""

    def __init__(self, answer_seconds: float = ANSWER_SECONDS, base: Path = Path()) -> None:
        self._base = base
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._patience = answer_seconds
        self._loop: LabLoop | None = None

    # The loop's side ---------------------------------------------------------------------------------------------
    def serve(self, loop: LabLoop) -> None:
        """From now on this loop answers."""
        self._loop = loop

    def requests(self) -> None:
        """Does what was asked; called by the loop, in its thread."""
        while True:
            try:
                work = self._asked.get_nowait()
            except queue.Empty:
                return
            if work is not None:
                work()

    def wait(self, seconds: float) -> None:
        """Waits until so many seconds have passed or something is asked."""
        try:
            work = self._asked.get(timeout=seconds)
        except queue.Empty:
            return
        if work is not None:
            work()

    def wake(self) -> None:
        """Ends the present wait; may be called in a signal handler."""
        self._asked.put(None)

    # Anybody's side ----------------------------------------------------------------------------------------------
    def status(self) -> Mapping[str, Any]:
        return self._ask(_status)

    def queue(self) -> Sequence[Mapping[str, Any]]:
        return self._ask(lambda loop: [*_waits(loop), *_coming(loop)])

    def history(self, most: int = 100, job: str = "") -> Sequence[Mapping[str, Any]]:
        def newest(loop: LabLoop) -> list[Mapping[str, Any]]:
            found = [row for row in reversed(loop.lab.past) if job in ("", row["job"])]
            return list(found[: max(most, 0)])

        return self._ask(newest)

    def pause(self, target: str, reason: str, by: str) -> str:
        def hold(loop: LabLoop) -> str:
            _known(loop.lab, target)
            if (held := loop.lab.pauses.get(target)) is not None:
                raise ConfigError(f"{display_target(target)} is {describe_pause(_hold(held), target)} already")
            loop.write(Held(target, reason, by, loop.clock.now()))
            start = _start(loop.lab, target)
            if start is not None:
                return f"Pausing {target} " + ("after its current reading." if start.running else "before it begins.")
            return f"Pausing {display_target(target)}: nothing begins, and what runs pauses after its current reading."

        return self._ask(hold)

    def resume(self, target: str, by: str, since: str = "") -> str:
        def release(loop: LabLoop) -> str:
            hold = loop.lab.pauses.get(target)
            if hold is None:
                return _resume_own(loop, target, by)
            if since not in ("", repr(hold.at)):
                raise ConfigError(
                    f"{display_target(target)} was paused anew meanwhile; now it is {describe_pause(_hold(hold), target)}"
                )
            loop.write(Released(target, by, loop.clock.now()))
            left = _pauses(loop, target)
            still = f" What still pauses: {left}." if left else ""
            return f"Resumed {display_target(target)}, which was {describe_pause(_hold(hold), target)}.{still}"

        return self._ask(release)

    def abort(self, target: str, reason: str, by: str) -> str:
        def end(loop: LabLoop) -> str:
            _known(loop.lab, target)
            every = _of(loop.lab, target)
            starts = [s for s in every if s.abort is None]
            if not starts:
                raise ConfigError(f"{target}: " + ("is being aborted already" if every else "nothing runs or waits"))
            for start in starts:
                loop.write(Asked("abort", f"start {start.number}", reason, by, loop.clock.now()))
                if start.running:
                    loop.processes.abort(start.number, reason, by)
            return f"{_list(starts)}: aborted"

        return self._ask(end)

    def run_now(self, job: str, by: str) -> str:
        def begin(loop: LabLoop) -> str:
            _known(loop.lab, f"job {job}")
            now = loop.clock.now()
            spec = loop.lab.lab.jobs[job].model_copy(update={"between": None})
            if why := schedule_conflict(spec, loop.lab.lab, now):
                raise ConfigError(f"job {job}: {why}")
            loop.write(Asked("run-now", f"job {job}", "", by, now))
            return _queued(loop, job, loop.lab.lab.jobs[job].instrument)

        return self._ask(begin)

    def skip(self, target: str, reason: str, by: str) -> str:
        def leave_out(loop: LabLoop) -> str:
            _known(loop.lab, target)
            kind, _, name = target.partition(" ")
            waiting = [s for s in _of(loop.lab, target) if not s.attempts and s.skip is None]
            if kind not in ("start", "job"):
                raise ConfigError(f"{target}: only `start N` or `job NAME` can be skipped")
            if waiting:
                loop.write(Asked("skip", f"start {waiting[0].number}", reason, by, loop.clock.now()))
                return f"start {waiting[0].number} is skipped"
            if kind == "start":
                raise ConfigError(f"{target} has begun; abort it instead")
            if name in loop.lab.skips:
                raise ConfigError(f"the next start of {target} is skipped already, by {loop.lab.skips[name][1]}")
            if loop.lab.next_due(name) == NEVER:
                raise ConfigError(f"{target} has no next start")
            loop.write(Asked("skip", target, reason, by, loop.clock.now()))
            moment = datetime.fromtimestamp(loop.lab.next_due(name), loop.lab.lab.zone)
            return f"the next start of {target} is skipped, due {moment:%Y-%m-%d %H:%M}"

        return self._ask(leave_out)

    def check(self, campaign: str, instrument: str) -> str:
        found = self._campaign(campaign, instrument)
        most = count(found.plan().collect, "trial")
        return f"{found.name} on {instrument} ({found.instrument.identity}): at most {most}"

    def start(self, campaign: str, instrument: str, by: str) -> str:
        # Through text, so that what the lab's record gives back compares as the same.
        plain = json.loads(json.dumps(self._campaign(campaign, instrument).plain()))

        def begin(loop: LabLoop) -> str:
            _known(loop.lab, f"instrument {instrument}")
            loop.write(Asked("start", f"instrument {instrument}", "", by, loop.clock.now(), plain))
            return _queued(loop, single_job_name(plain), instrument)

        return self._ask(begin)

    def _campaign(self, text: str, instrument: str) -> config.CampaignFile:
        """Read and validated here, in the thread of whoever asks: the loop has other things to do."""

        def about(loop: LabLoop) -> tuple[Any, Path]:
            _known(loop.lab, f"instrument {instrument}")
            return loop.lab.lab.instruments[instrument].instrument, loop.runs

        found, runs = self._ask(about)
        return parse_text(text, found, base=self._base, runs=runs)

    def _ask(self, work: Callable[[LabLoop], T]) -> T:
        answer: Future[T] = Future()

        def perform() -> None:
            if not answer.set_running_or_notify_cancel():
                return  # nobody waits any more: it must not be done behind their back
            try:
                if self._loop is None:
                    raise ConfigError("the lab is not running yet")
                answer.set_result(work(self._loop))
            except Exception as error:
                answer.set_exception(error)

        self._asked.put(perform)
        try:
            return answer.result(self._patience)
        except TimeoutError:
            answer.cancel()
            raise TimeoutError(f"no answer within {self._patience:g} s") from None


def _known(lab: Lab, target: str) -> None:
    """Refuses a target that is not there."""
    kind, _, name = target.partition(" ")
    names: Sequence[Any] = {
        "instrument": list(lab.lab.instruments), "job": list(lab.lab.jobs), "start": [str(n) for n in lab.starts]
    }.get(kind, [])  # fmt: skip
    if target != "lab" and name not in names:
        if kind == "start":
            raise ConfigError(f"{target} does not run or wait; it may have ended: see the history")
        allowed = f"; allowed: {', '.join(names)}" if names else "; allowed: lab, instrument NAME, job NAME, start N"
        raise ConfigError(f"unknown {target!r}{allowed}")


def _of(lab: Lab, target: str) -> list[Start]:
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
    """What became of a start that was just asked for: its number, and the pause that it waits for."""
    due = [event for event in scheduler.new_starts(loop.lab, loop.clock.now()) if isinstance(event, Due)]
    number = max((event.start for event in due if (event.job, event.cause) == (job, "asked")), default=0)
    said = f"{job} is queued on {instrument}" + (f": start {number}" if number else "")
    pauses = loop.lab.pauses_of(number, job, instrument)
    return said + "".join(f"; it waits while {pause_reason(hold.what, hold.cause)}" for hold in pauses[:1])


def _hold(held: Held) -> PauseStatus:
    return PauseStatus(what=held.what, cause=held.cause, by=held.by, at=held.at)


def _pauses(loop: LabLoop, target: str) -> str:
    """The pauses that a start is under; of anything wider all there are in the lab; each with the words that end it."""
    if (start := _start(loop.lab, target)) is not None:
        holds, runs = loop.lab.pauses_of(start.number, start.job, start.instrument), list[Start]()
    else:
        holds, runs = list(loop.lab.pauses.values()), [run for run in loop.lab.running() if _resumable(loop, run)]
    found = {f"start {run.number}": f"paused: {loop.live[run.number].paused}" for run in runs}
    found |= {held.what: describe_pause(_hold(held), held.what) for held in holds}
    return "; ".join(f"{display_target(what)}, {text} (sdl lab resume {what})" for what, text in found.items())


def _resumable(loop: LabLoop, start: Start) -> bool:
    """Whether a start that runs has a pause of its own: asked for, or for a condition."""
    live = loop.live.get(start.number, LiveStart())
    return f"start {start.number}" in loop.lab.pauses or (bool(live.paused) and not live.told)


def _resume_own(loop: LabLoop, target: str, by: str) -> str:
    """Ends a campaign's pause for a condition: somebody says that all is well.

    Raises:
        ConfigError: there is no such pause. What else pauses is named, with the words that end it.
    """
    _known(loop.lab, target)
    left = _pauses(loop, target)
    start = _start(loop.lab, target)
    if start is None:
        raise ConfigError(f"{display_target(target)} is not paused" + (f"; what is: {left}" if left else ""))
    if start.running and _resumable(loop, start):
        cause = loop.live[start.number].paused
        loop.write(Asked("resume", target, "", by, loop.clock.now()))
        loop.processes.resume(start.number, by)
        return f"Resuming {target}, unless the cause of its pause still stands: {cause}."
    if left:
        raise ConfigError(f"{target} has no pause of its own; what pauses it: {left}")
    if pause := scheduler.reason_to_pause(loop.lab, start, loop.clock.now()):
        raise ConfigError(f"{target} is paused by the {pause[1]}: {pause[0]}; it goes on by itself when that is over")
    raise ConfigError(f"{target} is not paused")


def _start(lab: Lab, target: str) -> Start | None:
    """The start that is the target; None where that is something wider."""
    return _of(lab, target)[0] if target.startswith("start ") else None


def _list(starts: Sequence[Start]) -> str:
    return ", ".join(f"start {start.number}" for start in starts)


def _status(loop: LabLoop) -> dict[str, Any]:
    lab, now = loop.lab, loop.clock.now()
    benches = []
    for name, bench in lab.lab.instruments.items():
        on = lab.on(name)
        live = loop.live.get(on.number, LiveStart()).readings - on.readings if on is not None else 0
        benches.append(
            InstrumentStatus(
                name=name,
                identity=_identity(json.dumps(bench.instrument)),
                lost=lab.lost.get(name, ""),
                busy=on.number if on is not None else None,
                readings_today=lab.readings_last_day(name, now) + max(live, 0),
            )
        )
    running = []
    for start in lab.running():
        live_start = loop.live.get(start.number, LiveStart())
        running.append(
            RunningStart(
                start=start.number,
                job=start.job,
                instrument=start.instrument,
                run=start.run,
                since=start.begun or 0.0,
                attempt=start.attempts - 1,
                readings=live_start.readings,
                paused=live_start.paused,
                pauses=[_hold(held) for held in lab.pauses_of(start.number, start.job, start.instrument)],
                resumable=_resumable(loop, start),
            )
        )
    status = LabStatus(
        lab=lab.lab.name,
        at=now,
        timezone=lab.lab.timezone,
        process=os.getpid(),
        since=lab.since,
        instruments=benches,
        running=running,
        held=[_hold(held) for held in lab.pauses.values()],
        next=_coming(loop, 1),
    )
    jobs = [{"name": name, "instrument": job.instrument, "due": _due(loop, name)} for name, job in lab.lab.jobs.items()]
    return {**status, "trouble": loop.trouble, "jobs": jobs}


def _due(loop: LabLoop, job: str) -> float | None:
    """When it is due next by its schedule; None where nobody knows."""
    at = loop.lab.next_due(job)
    return at if at < NEVER else None


@lru_cache(maxsize=256)
def _identity(instrument: str) -> str:
    """What is driven, in its own words."""
    return str(config.parse_kind("instrument", json.loads(instrument)).identity)


def _waits(loop: LabLoop) -> list[QueuedStart]:
    """The starts that wait, the one that comes first in front."""
    lab, now = loop.lab, loop.clock.now()
    waiting = [start for start in lab.starts.values() if not start.running]
    waiting.sort(key=lambda s: (-s.spec.priority, not s.attempts, s.due, s.number))
    return [
        QueuedStart(
            start=s.number,
            job=s.job,
            instrument=s.instrument,
            due=s.due,
            why=scheduler.blocked(lab, s, now),
            begun=bool(s.attempts),
        )
        for s in waiting
    ]


def _coming(loop: LabLoop, most: int = UPCOMING_PER_JOB) -> list[QueuedStart]:
    """The next due times of every job, in order."""
    lab = loop.lab
    found = []
    for name, job in lab.lab.jobs.items():
        for i, at in enumerate(upcoming(job, lab.lab, max(lab.horizon[name], 0.0), most)):
            reason = lab.skips[name][0] if name in lab.skips and i == 0 else None
            why = "" if reason is None else f"skipped: {reason}" if reason else "skipped"
            found.append(QueuedStart(start=None, job=name, instrument=job.instrument, due=at, why=why, begun=False))
    return sorted(found, key=lambda row: row["due"])
