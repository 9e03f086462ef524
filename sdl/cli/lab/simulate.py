"""The command `sdl lab simulate`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from sdl.cli.display.progress import LINE_SECONDS, clock, is_visible
from sdl.cli.lab.setup import File
from sdl.cli.options import Json, Quiet, emit
from sdl.cli.terminal import say
from sdl.errors import ConfigError
from sdl.formatting import count, local

if TYPE_CHECKING:
    from sdl.lab.config.file import ResolvedLab
    from sdl.lab.config.model import LabFile
    from sdl.lab.core.events import LabEvent
    from sdl.lab.core.usage import Usage
    from sdl.lab.workers.base import WorkerUpdate


def add_to(app: typer.Typer) -> None:
    """Add the command to the group `lab`."""
    app.command()(simulate)


def simulate(
    file: File,
    days: Annotated[float, typer.Option("--days", min=0.01, max=400, help="Duration in virtual time.")] = 7.0,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Begin: 2026-03-28 or 2026-03-28T12:00; now by default.")
    ] = "",
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep records and journal in a new directory.")
    ] = None,
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
    from sdl.lab.config.file import load
    from sdl.lab.core.cron import seconds
    from sdl.lab.core.usage import Usage
    from sdl.lab.simulate import simulate as simulated

    loaded = load(file)
    start = _moment(begin, seconds, loaded)
    usage, messages = Usage(), _Messages(loaded)
    if keep is not None and keep.exists():
        raise ConfigError(f"--keep {keep}: already exists; name a new directory")
    book = journal.open_journal(journal.folder(keep, loaded.lab.name)) if keep is not None else None
    now = start
    try:
        with _progress(quiet or json, start, days) as progress:

            def came(at: float) -> None:
                nonlocal now
                now = max(start, at)
                progress(at)

            end = simulated(loaded, start, days, listeners=(usage, messages), keep=keep, journal=book, progress=came)
    except KeyboardInterrupt:
        if not json and now > start:
            say(f"interrupted after {(now - start) / 86400:.2g} of {days:g} days; until then:")
            _print_usage(loaded, usage, start, (now - start) / 86400)
        raise
    finally:
        if book is not None:
            book.close()
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
        from sdl.lab.rules.dispatch import recipients

        for notice in notices:
            names = recipients(self._notify, notice)
            self.messages += [(notice.at, name, notice.kind, notice.title) for name in names]

    def show(self, lab: LabFile, most: int = 20) -> None:
        """Print the first messages."""
        if not self._notify.to:
            say("no messages: the lab file has no recipients (`notify.to`)")
            return
        say(f"{count(len(self.messages), 'message')} would have been sent")
        for at, name, kind, title in self.messages[:most]:
            say(f"  {local(at, lab.zone)}  to {name}  {kind}: {title}", 4)
        if len(self.messages) > most:
            say(f"  and {len(self.messages) - most} more")


def _moment(text: str, seconds: Callable[[str, ZoneInfo], float], loaded: ResolvedLab) -> float:
    """The begin of a simulation; by default the current full hour."""
    if not text:
        return time.time() // 3600 * 3600
    try:
        return seconds(text, loaded.lab.zone)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--from {text}: must be a date and time such as 2026-03-28T12:00") from error


@contextlib.contextmanager
def _progress(quiet: bool, start: float, days: float) -> Iterator[Callable[[float], None]]:
    """A callback that shows the lab's time: as a bar on a terminal, else as a line every few seconds."""
    if quiet:
        yield lambda at: None
        return
    if not is_visible(quiet=quiet):
        yield _Lines(start, days).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("day {task.completed:.1f} of {task.total:g}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=days)
        yield lambda at: bar.update(task, completed=(at - start) / 86400.0)


class _Lines:
    """Progress without a terminal: a line every few seconds with the day and the time left."""

    def __init__(self, start: float, days: float) -> None:
        self._start, self._days = start, days
        self._began = self._printed = time.monotonic()

    def day(self, at: float) -> float:
        return (at - self._start) / 86400.0

    def tell(self, at: float) -> None:
        now, day = time.monotonic(), self.day(at)
        if day > 0 and now > self._printed + LINE_SECONDS:
            self._printed = now
            left = clock((now - self._began) / day * (self._days - day))
            print(f"day {day:.2g} of {self._days:g}, {left} left", file=sys.stderr, flush=True)


def _plain(loaded: ResolvedLab, usage: Usage, messages: _Messages, start: float, days: float) -> dict[str, Any]:
    jobs = {
        name: {
            "due": job.due,
            "ran": job.ran,
            "outcomes": dict(job.outcomes),
            "missed": dict(job.missed),
            "gave_up": job.gave_up,
            "died": job.died,
            "readings": job.readings,
            "longest_wait": job.late,
        }
        for name, job in usage.jobs.items()
    }
    sent = [{"at": at, "to": to, "kind": kind, "title": title} for at, to, kind, title in messages.messages]
    return {
        "lab": loaded.lab.name,
        "from": start,
        "days": days,
        "jobs": jobs,
        "pauses": dict(usage.pauses),
        "not_ended": usage.open,
        "messages": sent,
    }


def _print_usage(loaded: ResolvedLab, usage: Usage, start: float, days: float) -> None:
    from sdl.config.durations import format_duration
    from sdl.lab.core.usage import LEGEND

    lab, end = loaded.lab, start + days * 86400.0
    wide = max(map(len, lab.jobs))
    print(f"{'job':{wide}}   due   ran  reached  ended otherwise  missed  given up  readings  longest wait")
    for name in lab.jobs:
        if (job := usage.jobs.get(name)) is None:
            print(f"{name:{wide}}     0")
            continue
        good = job.outcomes["reached"] + job.outcomes["done"]
        other = Counter({key: n for key, n in job.outcomes.items() if key not in ("reached", "done")})
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
