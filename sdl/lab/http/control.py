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
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sdl import config
from sdl.errors import ConfigError
from sdl.formatting import count
from sdl.lab.config.file import parse_text
from sdl.lab.config.instruments import describe_instrument, instrument_of
from sdl.lab.core import scheduler
from sdl.lab.core.agents import instrument_change
from sdl.lab.core.due_times import NEVER, schedule_conflict, upcoming
from sdl.lab.core.events import Asked, Due, Held, Released
from sdl.lab.core.state import Start, covering_targets, single_job_name, submission_row
from sdl.lab.core.views import describe_pause, display_target, pause_reason
from sdl.lab.http.resumable import resumable_run
from sdl.lab.loop import LabLoop

ANSWER_SECONDS = 20.0
UPCOMING_PER_JOB = 5  # scheduled times listed per job

P = ParamSpec("P")
T = TypeVar("T")


def _in_loop(method: Callable[Concatenate[Controller, P], T]) -> Callable[Concatenate[Controller, P], T]:
    """Execute a method in the thread of the loop, while its caller waits for the result."""

    @wraps(method)
    def submit(self: Controller, /, *args: P.args, **kwargs: P.kwargs) -> T:
        answer: Future[T] = Future()

        def perform() -> None:
            if not answer.set_running_or_notify_cancel():
                return  # the caller has timed out, so the request must not be executed
            try:
                answer.set_result(method(self, *args, **kwargs))
            except Exception as error:
                answer.set_exception(error)

        self._requests.put(perform)
        try:
            return answer.result(self.answer_seconds)
        except TimeoutError:
            answer.cancel()
            raise TimeoutError(f"no answer within {self.answer_seconds:g} s") from None

    return submit


class Controller:
    """Queries and commands of a running lab, callable from any thread; used by the API and the page.

    `target` is `lab`, `instrument NAME`, `job NAME` or `start N`; a command acts on exactly that. Commands return what
    was done as a sentence. Queries return plain values (`sdl.lab.core.views`).

    Args:
        answer_seconds: longest time in seconds that a caller waits for an answer.
        base: directory that relative paths of submitted campaigns refer to.

    Raises:
        ConfigError: unknown target, or not possible in its present state; nothing was changed.
        TimeoutError: the loop does not answer.
    """

    def __init__(self, answer_seconds: float = ANSWER_SECONDS, base: Path = Path()) -> None:
        self.base = base
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

    @_in_loop
    def perform(self, call: Callable[[LabLoop], T]) -> T:
        """The result of a call, executed in the thread of the loop."""
        return call(self.loop)

    # Queries -----------------------------------------------------------------------------------------------------
    @_in_loop
    def status(self) -> Mapping[str, Any]:
        loop, lab, file = self.loop, self.loop.lab, self.loop.lab.lab
        return {
            "lab": file.name,
            "at": loop.clock.now(),
            "timezone": file.timezone,
            "process": os.getpid(),
            "since": lab.since,
            "trouble": loop.trouble,
            "instruments": [self._instrument(name) for name in file.instruments],
            "running": [self._running(start) for start in lab.running()],
            "held": [asdict(event) for event in lab.pauses.values()],
            "next": self._upcoming(1),
            "submissions": [
                submission_row(one)
                | {
                    "plain": {key: value for key, value in one.campaign.items() if key != "instrument"},
                    "changed": instrument_change(lab, one.instrument, one.campaign),
                }
                for one in lab.submissions.values()
            ],
            "jobs": [
                {
                    "name": name,
                    "instrument": job.instrument,
                    "due": due if (due := lab.next_due(name)) < NEVER else None,
                }
                for name, job in file.jobs.items()
            ],
        }

    @_in_loop
    def instruments(self) -> Sequence[Mapping[str, Any]]:
        """Inputs, channels and constraints of every instrument (`sdl.lab.config.instruments`)."""
        return [describe_instrument(name, one.instrument) for name, one in self.loop.lab.lab.instruments.items()]

    @_in_loop
    def queue(self) -> Sequence[Mapping[str, Any]]:
        """The waiting starts in queue order, then the next scheduled times."""
        lab, now = self.loop.lab, self.loop.clock.now()
        waiting = (start for start in lab.starts.values() if not start.running)
        rows = [
            _row(s.number, s.job, s.instrument, s.due, scheduler.blocked(lab, s, now), bool(s.attempts))
            for s in sorted(waiting, key=scheduler.queue_order)
        ]
        return [*rows, *self._upcoming(UPCOMING_PER_JOB)]

    @_in_loop
    def history(self, limit: int = 100, job: str = "") -> Sequence[Mapping[str, Any]]:
        """At most `limit` ended starts, newest first."""
        return [row for row in reversed(self.loop.lab.past) if job in ("", row["job"])][: max(limit, 0)]

    # Commands ----------------------------------------------------------------------------------------------------
    @_in_loop
    def pause(self, target: str, reason: str, by: str) -> str:
        self._require(target)
        name = display_target(target)
        if (event := self.loop.lab.pauses.get(target)) is not None:
            raise ConfigError(f"{name} is already {describe_pause(asdict(event), target)}")
        self.loop.write(Held(target, reason, by, self.loop.clock.now()))
        if (start := self._start(target)) is not None:
            return f"Pausing {target} " + ("after its current reading." if start.running else "before it begins.")
        return f"Pausing {name}: no start begins; running campaigns pause after the current reading."

    @_in_loop
    def resume(self, target: str, by: str, since: str = "") -> str:
        """End the pause of exactly this target; `since` is the `at` of that pause, so that a later one stays."""
        event = self.loop.lab.pauses.get(target)
        if event is None:
            return self._resume_condition(target, by)
        name, text = display_target(target), describe_pause(asdict(event), target)
        if since not in ("", repr(event.at)):
            raise ConfigError(f"{name} was paused again meanwhile; it is now {text}")
        self.loop.write(Released(target, by, self.loop.clock.now()))
        others = self._pauses(target)
        return f"Resumed {name}, which was {text}." + (f" Still paused: {others}." if others else "")

    def _resume_condition(self, target: str, by: str) -> str:
        """End a campaign's pause for a condition.

        Raises:
            ConfigError: there is no such pause; the message names the other pauses and the commands that end them.
        """
        self._require(target)
        loop, others, start = self.loop, self._pauses(target), self._start(target)
        if start is None:
            raise ConfigError(f"{display_target(target)} is not paused" + (f"; paused: {others}" if others else ""))
        if start.running and self._resumable(start):
            loop.write(Asked("resume", target, "", by, loop.clock.now()))
            loop.processes.command(start.number, "resume", by)
            return f"Resuming {target}, unless the cause of its pause persists: {loop.live_of(start).paused}."
        if others:
            raise ConfigError(f"{target} has no pause of its own; it is paused by: {others}")
        if pause := scheduler.reason_to_pause(loop.lab, start, loop.clock.now()):
            raise ConfigError(
                f"{target} is paused by the {pause[1]}: {pause[0]}; it continues automatically afterwards"
            )
        raise ConfigError(f"{target} is not paused")

    @_in_loop
    def abort(self, target: str, reason: str, by: str) -> str:
        self._require(target)
        return self._abort(target, self._starts(target), reason, by)

    def _abort(self, target: str, covered: Sequence[Start], reason: str, by: str) -> str:
        starts = [start for start in covered if start.abort is None]
        if not starts:
            raise ConfigError(f"{target}: {'already being aborted' if covered else 'no start is running or waiting'}")
        for start in starts:
            self.loop.write(Asked("abort", f"start {start.number}", reason, by, self.loop.clock.now()))
            if start.running:
                self.loop.processes.command(start.number, "abort", reason, by)
        return f"Aborted {', '.join(f'start {start.number}' for start in starts)}."

    @_in_loop
    def stop(self, target: str, reason: str, by: str, agent: bool = False) -> str:
        """Abort the starts of `start N` or `instrument NAME`, for a token of any scope.

        An agent may stop its own campaigns, and every campaign on the instruments that the lab file gives it.
        """
        self._require(target)
        limits = self.loop.lab.lab.agents.get(by)
        seen = () if limits is None else limits.instruments
        covered = [s for s in self._starts(target) if not agent or s.agent == by or s.instrument in seen]
        if target.partition(" ")[0] not in ("start", "instrument"):
            raise ConfigError(f"{target}: name `start N` or `instrument NAME`")
        if not covered and self._starts(target):
            raise ConfigError(f"{target}: not on an instrument that {by} may use")
        return self._abort(target, covered, reason, by)

    @_in_loop
    def run_now(self, job: str, by: str) -> str:
        self._require(f"job {job}")
        file, now = self.loop.lab.lab, self.loop.clock.now()
        if why := schedule_conflict(file.jobs[job].model_copy(update={"between": None}), file, now):
            raise ConfigError(f"job {job}: {why}")
        self.loop.write(Asked("run-now", f"job {job}", "", by, now))
        return self._queued(job, file.jobs[job].instrument)

    @_in_loop
    def skip(self, target: str, reason: str, by: str) -> str:
        """Skip `start N`, or the next start of `job NAME`."""
        self._require(target)
        kind, _, name = target.partition(" ")
        lab, now = self.loop.lab, self.loop.clock.now()
        if kind not in ("start", "job"):
            raise ConfigError(f"{target}: only `start N` or `job NAME` can be skipped")
        waiting = [start for start in self._starts(target) if not start.attempts and start.skip is None]
        if waiting:
            self.loop.write(Asked("skip", f"start {waiting[0].number}", reason, by, now))
            return f"Skipped start {waiting[0].number}."
        if kind == "start":
            raise ConfigError(f"{target} has begun; abort it instead")
        if name in lab.skips:
            raise ConfigError(f"the next start of {target} is already skipped, by {lab.skips[name][1]}")
        if (due := lab.next_due(name)) == NEVER:
            raise ConfigError(f"{target} has no scheduled start")
        self.loop.write(Asked("skip", target, reason, by, now))
        return f"Skipped the next start of {target}, due {datetime.fromtimestamp(due, lab.lab.zone):%Y-%m-%d %H:%M}."

    # The campaign is parsed in the caller's thread, to keep the loop free.
    def check(self, campaign: str, instrument: str) -> str:
        """Validate a campaign given as YAML; changes nothing."""
        parsed = self._campaign(campaign, instrument)
        trials = count(parsed.plan().collect, "trial")
        return f"{parsed.name} on {instrument} ({parsed.instrument.identity}): at most {trials}"

    def start(self, campaign: str, instrument: str, by: str) -> str:
        """Queue a campaign given as YAML."""
        return self._queue_campaign(self._campaign(campaign, instrument).stored(), instrument, by)

    def resume_run(self, run: str, changes: str, by: str) -> str:
        """Queue an ended or interrupted run, to be continued with changed rules.

        Args:
            run: `CAMPAIGN/RUN`.
            changes: `key=value`, one a line, of the keys that a resume may change.
            by: the name of the token.
        """
        instruments, runs = self.perform(lambda loop: (loop.lab.lab.instruments, loop.runs))
        name = {instrument_of(one.instrument).identity: key for key, one in instruments.items()}
        lines = tuple(line.strip() for line in changes.splitlines() if line.strip())
        found = resumable_run(runs, run, lines)
        if found.identity not in name:
            known = ", ".join(name) or "none"
            raise ConfigError(
                f"{run} is of {found.identity}, which is not an instrument of this lab; the lab has: {known}"
            )
        return self._queue_run(run, lines, json.loads(json.dumps(found.campaign)), name[found.identity], by)

    @_in_loop
    def _queue_run(
        self, run: str, changes: tuple[str, ...], campaign: Mapping[str, Any], instrument: str, by: str
    ) -> str:
        self._require(f"instrument {instrument}")
        lab = self.loop.lab
        if run in [*(start.run for start in lab.starts.values()), *(pending.run for pending in lab.pending)]:
            raise ConfigError(f"{run} is running or waiting already")
        at = self.loop.clock.now()
        self.loop.write(Asked("continue", f"instrument {instrument}", "", by, at, campaign, run, changes))
        return self._queued(single_job_name(campaign), instrument)

    def _campaign(self, text: str, instrument: str) -> config.CampaignFile:
        plain, runs = self.instrument(instrument)
        return parse_text(text, plain, base=self.base, runs=runs)

    @_in_loop
    def instrument(self, instrument: str) -> tuple[Any, Path]:
        """An instrument of the lab file as plain values, and the directory of the runs."""
        self._require(f"instrument {instrument}")
        return self.loop.lab.lab.instruments[instrument].instrument, self.loop.runs

    @_in_loop
    def _queue_campaign(self, campaign: Mapping[str, Any], instrument: str, by: str) -> str:
        self._require(f"instrument {instrument}")
        self.loop.write(Asked("start", f"instrument {instrument}", "", by, self.loop.clock.now(), campaign))
        return self._queued(single_job_name(campaign), instrument)

    # Helpers, in the thread of the loop --------------------------------------------------------------------------
    @property
    def loop(self) -> LabLoop:
        if self._loop is None:
            raise ConfigError("the lab is not running yet")
        return self._loop

    def _require(self, target: str) -> None:
        kind, _, name = target.partition(" ")
        lab = self.loop.lab
        known: dict[str, Sequence[str]] = {
            "instrument": list(lab.lab.instruments), "job": list(lab.lab.jobs), "start": [str(n) for n in lab.starts]
        }  # fmt: skip
        names = known.get(kind, ())
        if target != "lab" and name not in names:
            if kind == "start":
                raise ConfigError(f"{target} is neither running nor waiting; the history lists starts that have ended")
            allowed = ", ".join(names) or "lab, instrument NAME, job NAME, start N"
            raise ConfigError(f"unknown {target!r}; allowed: {allowed}")

    def _starts(self, target: str) -> list[Start]:
        """The starts that a target covers and that have not ended."""
        return [s for s in self.loop.lab.starts.values() if target in s.targets]

    def _start(self, target: str) -> Start | None:
        """The start that a target names; None for a wider target."""
        return self._starts(target)[0] if target.startswith("start ") else None

    def _queued(self, job: str, instrument: str) -> str:
        """The answer to a request for a start: its number, and the pause that delays it."""
        lab = self.loop.lab
        due = [event for event in scheduler.new_starts(lab, self.loop.clock.now()) if isinstance(event, Due)]
        number = max((event.start for event in due if (event.job, event.cause) == (job, "asked")), default=0)
        text = f"Queued {job} on {instrument}" + (f" as start {number}." if number else ".")
        pauses = lab.pauses_of(covering_targets(number, job, instrument))
        return text + "".join(f" It waits: {pause_reason(event.what, event.cause)}." for event in pauses[:1])

    def _pauses(self, target: str) -> str:
        """The pauses that cover a start, or all of the lab for a wider target, each with the command that ends it."""
        lab, start, texts = self.loop.lab, self._start(target), dict[str, str]()
        if start is not None:
            events = lab.pauses_of(start.targets)
        else:
            events = list(lab.pauses.values())
            for run in filter(self._resumable, lab.running()):
                texts[f"start {run.number}"] = f"paused: {self.loop.live_of(run).paused}"
        texts |= {event.what: describe_pause(asdict(event), event.what) for event in events}
        return "; ".join(f"{display_target(what)}, {text} (sdl lab resume {what})" for what, text in texts.items())

    def _resumable(self, start: Start) -> bool:
        """Whether a running start has a pause of its own, requested or for a condition."""
        live = self.loop.live_of(start)
        return f"start {start.number}" in self.loop.lab.pauses or (bool(live.paused) and not live.pause_sent)

    def _instrument(self, name: str) -> dict[str, Any]:
        lab, start = self.loop.lab, self.loop.lab.on(name)
        new = 0 if start is None else self.loop.live_of(start).readings - start.readings
        return {
            "name": name,
            "identity": instrument_of(lab.lab.instruments[name].instrument).identity,
            "lost": lab.lost.get(name, ""),
            "busy": None if start is None else start.number,
            "readings_today": lab.readings_last_day(name, self.loop.clock.now()) + max(new, 0),
        }

    def _running(self, start: Start) -> dict[str, Any]:
        live = self.loop.live_of(start)
        return {
            "start": start.number,
            "job": start.job,
            "instrument": start.instrument,
            "run": start.run,
            "since": start.begun or 0.0,
            "attempt": start.attempts - 1,
            "readings": live.readings,
            "paused": live.paused,
            "pauses": [asdict(event) for event in self.loop.lab.pauses_of(start.targets)],
            "resumable": self._resumable(start),
        }

    def _upcoming(self, per_job: int) -> list[dict[str, Any]]:
        """The next scheduled times of all jobs, in order."""
        lab, rows = self.loop.lab, []
        for name, job in lab.lab.jobs.items():
            for i, at in enumerate(upcoming(job, lab.lab, max(lab.horizon[name], 0.0), per_job)):
                skipped = f"skipped: {lab.skips[name][0]}".removesuffix(": ") if i == 0 and name in lab.skips else ""
                rows.append(_row(None, name, job.instrument, at, skipped))
        return sorted(rows, key=lambda row: row["due"])


def _row(start: int | None, job: str, instrument: str, due: float, why: str, begun: bool = False) -> dict[str, Any]:
    return {"start": start, "job": job, "instrument": instrument, "due": due, "why": why, "begun": begun}
