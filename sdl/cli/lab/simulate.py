"""The command `sdl lab simulate`."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from sdl.cli.display.progress import ProgressBar
from sdl.cli.options import Json, LabPath, Quiet, emit, option
from sdl.cli.terminal import say
from sdl.durations import format_duration
from sdl.errors import ConfigError
from sdl.formatting import count, local
from sdl.lab.config.file import ResolvedLab, load
from sdl.lab.config.model import LabFile
from sdl.lab.core.due_times import seconds
from sdl.types import GOOD_OUTCOMES

if TYPE_CHECKING:
    from sdl.lab.core.events import LabEvent
    from sdl.lab.simulate import Usage
    from sdl.lab.workers.base import WorkerUpdate

DAY = 86400.0


def simulate(
    file: LabPath,
    days: Annotated[float, option("--days", "Duration in virtual time.", min=0.01, max=400)] = 7.0,
    begin: Annotated[str, option("--from TIME", "Begin: 2026-03-28 or 2026-03-28T12:00; now by default.")] = "",
    keep: Annotated[Path | None, option("--keep DIR", "Keep records and journal in a new directory.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Simulate a lab on twins in virtual time, a week in a minute.

    Every instrument is replaced by its twin, with the faults given in the lab file. No instrument is contacted and no
    message is sent.

    \b
    sdl lab simulate configs/lab-week.yaml --days 7
    """
    from sdl.lab import journal
    from sdl.lab.simulate import Usage
    from sdl.lab.simulate import simulate as run

    loaded = load(file)
    start = _moment(begin, loaded)
    usage, messages = Usage(), _Messages(loaded)
    if keep is not None and keep.exists():
        raise ConfigError(f"--keep {keep}: already exists; name a new directory")
    passed = 0.0  # virtual seconds
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(ProgressBar("virtual hours", quiet=quiet or json))
        book = None
        if keep is not None:
            book = stack.enter_context(contextlib.closing(journal.open_journal(journal.folder(keep, loaded.lab.name))))

        def show_progress(at: float) -> None:
            nonlocal passed
            passed = max(at - start, 0.0)
            bar(int(passed // 3600), round(days * 24))

        try:
            end = run(loaded, start, days, listeners=(usage, messages), keep=keep, journal=book, progress=show_progress)
        except KeyboardInterrupt:
            if not json and passed:
                say(f"interrupted after {passed / DAY:.2g} of {days:g} days; until then:")
                _print_usage(loaded, usage, start, passed / DAY)
            raise
    if json:
        emit(_plain(loaded, usage, messages, start, days))
        return
    _print_usage(loaded, usage, start, days)
    messages.show(loaded.lab)
    if end.starts:
        say(f"at the end {count(len(end.starts), 'start')} had not ended")


class _Messages:
    """A listener that collects the messages that a real lab would send."""

    def __init__(self, loaded: ResolvedLab) -> None:
        from sdl.lab.rules.notices import Notices

        self._notify = loaded.lab.notify
        self._notices = Notices(loaded.lab.name, self._notify, loaded.lab.zone)
        self.messages: list[tuple[float, str, str, str]] = []  # time, recipient, kind, title

    def handle(self, event: LabEvent) -> None:
        self._take(self._notices.handle(event))

    def update(self, item: WorkerUpdate) -> None:
        self._take(self._notices.update(item))

    def tick(self, now: float) -> None:
        self._take(self._notices.tick(now))

    def _take(self, notices: list[Any]) -> None:
        from sdl.notify.model import recipients

        for notice in notices:
            names = recipients(self._notify, notice)
            self.messages += [(notice.at, name, notice.kind, notice.title) for name in names]

    def show(self, lab: LabFile, limit: int = 20) -> None:
        if not self._notify.to:
            say("no messages: the lab file has no recipients (`notify.to`)")
            return
        say(f"{count(len(self.messages), 'message')} would have been sent")
        for at, name, kind, title in self.messages[:limit]:
            say(f"  {local(at, lab.zone)}  to {name}  {kind}: {title}", 4)
        if len(self.messages) > limit:
            say(f"  and {len(self.messages) - limit} more")


def _moment(text: str, loaded: ResolvedLab) -> float:
    """The start of a simulation; by default the current full hour."""
    if not text:
        return time.time() // 3600 * 3600
    try:
        return seconds(text, loaded.lab.zone)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--from {text}: must be a date and time such as 2026-03-28T12:00") from error


def _plain(loaded: ResolvedLab, usage: Usage, messages: _Messages, start: float, days: float) -> dict[str, Any]:
    keys = ("due", "ran", "outcomes", "missed", "gave_up", "died", "readings")
    return {
        "lab": loaded.lab.name,
        "from": start,
        "days": days,
        "jobs": {
            name: {key: getattr(job, key) for key in keys} | {"longest_wait": job.late}
            for name, job in usage.jobs.items()
        },
        "pauses": usage.pauses,
        "not_ended": usage.open,
        "messages": [dict(zip(("at", "to", "kind", "title"), row, strict=True)) for row in messages.messages],
    }


def _print_usage(loaded: ResolvedLab, usage: Usage, start: float, days: float) -> None:
    from sdl.lab.simulate import LEGEND

    lab, end = loaded.lab, start + days * DAY
    wide = max(map(len, lab.jobs))
    print(f"{'job':{wide}}   due   ran  reached  ended otherwise  missed  given up  readings  longest wait")
    for name in lab.jobs:
        if (job := usage.jobs.get(name)) is None:
            print(f"{name:{wide}}     0")
            continue
        good = sum(job.outcomes[outcome] for outcome in GOOD_OUTCOMES)
        other = Counter({key: n for key, n in job.outcomes.items() if key not in GOOD_OUTCOMES})
        wait = format_duration(job.late) if job.late >= 1 else ""
        print(
            f"{name:{wide}} {job.due:5} {job.ran:5} {good:8} {other.total():16} {job.missed.total():7} "
            f"{job.gave_up:9} {job.readings:9}  {wait:>12}"
        )
        for text, n in [*other.most_common(), *job.missed.most_common()]:
            say(f"{'':{wide}} {n:5} × {f'ended as {text}' if text in other else text}", wide + 9)
    for text, n in usage.pauses.most_common():
        say(f"paused {n} ×: {text}", 4)
    print(f"\n{LEGEND}; one symbol per half hour, {lab.timezone}")
    for name in lab.jobs:
        print(f"{name}{'':{max(1, 11 - len(name))}}0     3     6     9     12    15    18    21")
        for day, symbols in usage.chart(name, lab.zone, start, end):
            print(f"{day:10} {symbols}")
    print()
