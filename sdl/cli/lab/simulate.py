"""`sdl lab simulate`: a lab in virtual time on twins, and what is shown of it."""

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

from sdl.cli.display.progress import EVERY, clock, shown
from sdl.cli.display.text import count, local, say
from sdl.cli.lab.setup import File
from sdl.cli.options import Json, Quiet, emit
from sdl.errors import ConfigError

if TYPE_CHECKING:
    from sdl.lab.config.file import Loaded
    from sdl.lab.config.model import LabFile
    from sdl.lab.core.events import LabEvent
    from sdl.lab.core.usage import Account
    from sdl.lab.workers.base import News


def add_to(app: typer.Typer) -> None:
    """Adds `simulate` to the group `lab`."""
    app.command()(simulate)


def simulate(
    file: File,
    days: Annotated[float, typer.Option("--days", min=0.01, max=400, help="How long, in the lab's time.")] = 7.0,
    begin: Annotated[
        str, typer.Option("--from", metavar="TIME", help="When it begins, 2026-03-28 or 2026-03-28T12:00; now.")
    ] = "",
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep the records and the journal, in a new directory.")
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Run a lab in virtual time on twins, a week in a minute.

    Nothing is asked of any instrument; each is replaced by its twin, faults included where the file gives them.

    \b
    sdl lab simulate configs/lab-week.yaml --days 7
    """
    from sdl.lab import journal
    from sdl.lab.config.file import load
    from sdl.lab.core.cron import seconds
    from sdl.lab.core.usage import Account
    from sdl.lab.simulate import simulate as simulated

    loaded = load(file)
    start = _moment(begin, seconds, loaded)
    account, told = Account(), _Told(loaded)
    if keep is not None and keep.exists():
        raise ConfigError(f"--keep {keep}: is there already; name a new directory")
    book = journal.open_journal(journal.folder(keep, loaded.lab.name)) if keep is not None else None
    now = start
    try:
        with _progress(quiet or json, start, days) as progress:

            def came(at: float) -> None:
                nonlocal now
                now = max(start, at)
                progress(at)

            end = simulated(loaded, start, days, listeners=(account, told), keep=keep, journal=book, progress=came)
    except KeyboardInterrupt:
        if not json and now > start:
            say(f"interrupted after {(now - start) / 86400:.2g} of {days:g} days; what came of these:")
            _print_account(loaded, account, start, (now - start) / 86400)
        raise
    finally:
        if book is not None:
            book.close()
    if json:
        emit(_accounted(loaded, account, told, start, days))
        return
    _print_account(loaded, account, start, days)
    told.show(loaded.lab)
    if end.starts:
        say(f"at the end {count(len(end.starts), 'start')} had not ended")


class _Told:
    """What would have been sent; a listener."""

    def __init__(self, loaded: Loaded) -> None:
        from sdl.lab.rules.notices import Notices

        self._notify = loaded.lab.notify
        self._notices = Notices(loaded.lab.name, self._notify, loaded.lab.zone)
        self.messages: list[tuple[float, str, str, str]] = []  # at, to whom, kind, title

    def handle(self, event: LabEvent) -> None:
        self._take(self._notices.handle(event))

    def news(self, item: News) -> None:
        self._take(self._notices.news(item))

    def tick(self, now: float) -> None:
        self._take(self._notices.tick(now))

    def _take(self, notices: list[Any]) -> None:
        from sdl.lab.rules.dispatch import recipients

        for notice in notices:
            names = recipients(self._notify, notice)
            self.messages += [(notice.at, name, notice.kind, notice.title) for name in names]

    def show(self, lab: LabFile, most: int = 20) -> None:
        """Prints the first of them."""
        if not self._notify.to:
            say("nobody is told of anything: the lab file has no `notify`")
            return
        say(f"{count(len(self.messages), 'message')} would have been sent")
        for at, name, kind, title in self.messages[:most]:
            say(f"  {local(at, lab.zone)}  to {name}  {kind}: {title}", 4)
        if len(self.messages) > most:
            say(f"  and {len(self.messages) - most} more")


def _moment(text: str, seconds: Callable[[str, ZoneInfo], float], loaded: Loaded) -> float:
    """The begin of a simulation; the present full hour by default."""
    if not text:
        return time.time() // 3600 * 3600
    try:
        return seconds(text, loaded.lab.zone)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"--from {text}: must be a date and time such as 2026-03-28T12:00") from error


@contextlib.contextmanager
def _progress(quiet: bool, start: float, days: float) -> Iterator[Callable[[float], None]]:
    """Told of the lab's time; shows it on a terminal, and elsewhere says it every few seconds."""
    if quiet:
        yield lambda at: None
        return
    if not shown(quiet=quiet):
        yield _Lines(start, days).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("day {task.completed:.1f} of {task.total:g}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=days)
        yield lambda at: bar.update(task, completed=(at - start) / 86400.0)


class _Lines:
    """Where nobody watches: a line every few seconds with the day, and the time left."""

    def __init__(self, start: float, days: float) -> None:
        self._start, self._days = start, days
        self._began = self._told = time.monotonic()

    def day(self, at: float) -> float:
        return (at - self._start) / 86400.0

    def tell(self, at: float) -> None:
        now, day = time.monotonic(), self.day(at)
        if day > 0 and now > self._told + EVERY:
            self._told = now
            left = clock((now - self._began) / day * (self._days - day))
            print(f"day {day:.2g} of {self._days:g}, {left} left", file=sys.stderr, flush=True)


def _accounted(loaded: Loaded, account: Account, told: _Told, start: float, days: float) -> dict[str, Any]:
    jobs = {
        name: {
            "due": tally.due,
            "ran": tally.ran,
            "outcomes": dict(tally.outcomes),
            "missed": dict(tally.missed),
            "gave_up": tally.gave_up,
            "died": tally.died,
            "readings": tally.readings,
            "longest_wait": tally.late,
        }
        for name, tally in account.jobs.items()
    }
    messages = [{"at": at, "to": to, "kind": kind, "title": title} for at, to, kind, title in told.messages]
    return {
        "lab": loaded.lab.name,
        "from": start,
        "days": days,
        "jobs": jobs,
        "pauses": dict(account.pauses),
        "not_ended": account.open,
        "messages": messages,
    }


def _print_account(loaded: Loaded, account: Account, start: float, days: float) -> None:
    from sdl.config.durations import format_duration
    from sdl.lab.core.usage import LEGEND

    lab, end = loaded.lab, start + days * 86400.0
    wide = max(map(len, lab.jobs))
    print(f"{'job':{wide}}   due   ran  reached  ended otherwise  missed  given up  readings  longest wait")
    for name in lab.jobs:
        if (tally := account.jobs.get(name)) is None:
            print(f"{name:{wide}}     0")
            continue
        good = tally.outcomes["reached"] + tally.outcomes["done"]
        other = Counter({key: n for key, n in tally.outcomes.items() if key not in ("reached", "done")})
        wait = format_duration(tally.late) if tally.late >= 1 else ""
        print(
            f"{name:{wide}} {tally.due:5} {tally.ran:5} {good:8} {other.total():16} {tally.missed.total():7} "
            f"{tally.gave_up:9} {tally.readings:9}  {wait:>12}"
        )
        for text, n in [*other.most_common(), *tally.missed.most_common()]:
            say(f"{'':{wide}} {n:5} × {text if text not in other else f'ended as {text}'}", wide + 9)
    for text, n in account.pauses.most_common():
        say(f"paused {n} ×: {text}", 4)
    print(f"\n{LEGEND}; a sign is half an hour of {lab.timezone}")
    for name in lab.jobs:
        print(f"{name}{'':{max(1, 11 - len(name))}}0     3     6     9     12    15    18    21")
        for day, signs in account.picture(name, lab.zone, start, end):
            print(f"{day:10} {signs}")
    print()
