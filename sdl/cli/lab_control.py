"""Commands that ask a running lab: status, queue, history, pause, resume, abort, skip, run-now."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from sdl.cli.options import Json, emit
from sdl.cli.words import say, width

if TYPE_CHECKING:
    from sdl.lab.client import Client

Lab = Annotated[
    str, typer.Option("--lab", metavar="FILE", help="A lab file, or a lab's name; the only one that runs here.")
]
Url = Annotated[str, typer.Option("--url", metavar="URL", help="The lab's address, http://127.0.0.1:PORT, instead.")]
Target = Annotated[
    list[str], typer.Argument(metavar="TARGET…", help="`job NAME`, `instrument NAME`, `start NUMBER` or `lab`.")
]
Reason = Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why; it is kept in the record.")]


def add_to(lab: typer.Typer) -> None:
    """Adds the commands to the group `lab`."""
    for command in (status, queue, history, pause, resume, abort, skip):
        lab.command()(command)
    lab.command("run-now")(run_now)


def status(lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """Show what a running lab is doing.

    \b
    sdl lab status
    sdl lab status --lab lab.yaml --json
    """
    from sdl.lab.durations import words

    shown = _client(lab, url).get("status")
    if json:
        emit(shown)
        return
    now, zone = shown["at"], ZoneInfo(shown["timezone"])
    say(f"lab {shown['lab']}, up for {words(now - shown['since'])} (process {shown['process']}), {shown['timezone']}")
    if shown.get("trouble"):
        say(f"trouble: {shown['trouble']}")
    for hold in shown["held"]:
        say(f"held: {hold['what']}: {hold['cause']}{_by(hold)}, since {_time(hold['at'], now, zone)}")
    held = {hold["what"] for hold in shown["held"]}
    running = {row["start"]: row for row in shown["running"]}
    rows = []
    for bench in shown["instruments"]:
        run = running.get(bench["busy"])
        doing = "idle" if run is None else f"start {run['start']} of {run['job']}"
        state = (
            f"{'not ours' if bench['lost'].startswith('InUse: ') else 'no answer'}: {bench['lost']}" if bench["lost"]
            else "held" if {"lab", f"instrument {bench['name']}"} & held
            else f"paused: {run['paused']}" if run and run["paused"]
            else ""
        )  # fmt: skip
        since = _time(run["since"], now, zone) if run else ""
        readings = str(run["readings"]) if run else ""
        rows.append((bench["name"], doing, since, readings, str(bench["readings_today"]), state))
    _table(("instrument", "does", "since", "readings", "last day", ""), rows, right=(3, 4))
    if shown["next"]:
        first = shown["next"][0]
        say(f"next: {first['job']} on {first['instrument']} at {_time(first['due'], now, zone)}{_why(first)}")


def queue(lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """List what waits, and what is due next.

    \b
    sdl lab queue
    """
    client = _client(lab, url)
    shown = client.get("queue")
    if json:
        emit(shown)
        return
    now, zone = _here(client)
    rows = [
        (_time(row["due"], now, zone), row["job"], row["instrument"], _start(row), row["why"]) for row in shown["queue"]
    ]
    _table((f"due, {zone}", "job", "instrument", "start", ""), rows, empty="nothing waits, and nothing is due")


def history(
    job: Annotated[str, typer.Option("--job", metavar="NAME", help="Only this job's.")] = "",
    most: Annotated[int, typer.Option("--most", "-n", min=1, max=1000, help="How many.")] = 20,
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """List the starts that ended, the newest first.

    \b
    sdl lab history --job hourly -n 50
    """
    from sdl.lab.durations import words

    client = _client(lab, url)
    shown = client.get("history", most=most, job=job)
    if json:
        emit(shown)
        return
    now, zone = _here(client)
    rows = [
        (
            str(row["start"]),
            _time(row["due"], now, zone),
            row["job"],
            row["instrument"],
            row["outcome"] or row["fate"],
            str(row["readings"]),
            words(row["ended"] - row["begun"]) if row["begun"] is not None else "",
            Path(row["run"]).name if row["run"] else row["reason"],
        )
        for row in shown["history"]
    ]
    titles = ("start", f"due, {zone}", "job", "instrument", "fate", "readings", "took", "run, or why not")
    _table(titles, rows, right=(0, 5), empty="nothing has ended yet")


def pause(
    target: Annotated[list[str] | None, typer.Argument(metavar="[TARGET…]", help="The whole lab by default.")] = None,
    reason: Reason = "",
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """Hold the lab or a part of it: what runs pauses, light off.

    \b
    sdl lab pause                                          the whole lab
    sdl lab pause instrument led-2 --reason "cleaning"
    """
    _do("pause", lab, url, json, target=_target(target or ["lab"]), reason=reason)


def resume(
    target: Annotated[list[str] | None, typer.Argument(metavar="[TARGET…]", help="The whole lab by default.")] = None,
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """End a hold.

    \b
    sdl lab resume instrument led-2
    """
    _do("resume", lab, url, json, target=_target(target or ["lab"]))


def abort(target: Target, reason: Reason = "", lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """End what runs, for good: light off, record closed.

    \b
    sdl lab abort start 12 --reason "wrong filter"
    """
    _do("abort", lab, url, json, target=_target(target), reason=reason)


def skip(target: Target, reason: Reason = "", lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """Leave out a start: one that waits, or a job's next.

    \b
    sdl lab skip job hourly --reason "visitors"
    """
    _do("skip", lab, url, json, target=_target(target), reason=reason)


def run_now(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job of the lab.")],
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """Have a job start now, or when its instrument is free.

    \b
    sdl lab run-now calibration
    """
    _do("run-now", lab, url, json, job=job)


def _do(verb: str, lab: str, url: str, json: bool, **what: str) -> None:
    done = _client(lab, url).post(verb, by=_user(), **what)
    if json:
        emit({"done": done})
    else:
        say(done)


def _client(lab: str, url: str) -> Client:
    from sdl.lab.client import Client

    return Client(lab, url)


def _target(given: Sequence[str]) -> str:
    """`start 12` from `start 12`, `"start 12"` and `12`."""
    text = " ".join(given)
    return f"start {text}" if text.isdecimal() else text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process without an account
        return "somebody"


def _by(hold: Mapping[str, Any]) -> str:
    return f" ({hold['by']})" if hold["by"] else ""


def _why(row: Mapping[str, Any]) -> str:
    return f": {row['why']}" if row["why"] else ""


def _start(row: Mapping[str, Any]) -> str:
    return "" if row["start"] is None else str(row["start"])


def _here(client: Client) -> tuple[float, ZoneInfo]:
    """What time it is for a lab, and where: its own clock and zone, which need not be those of this terminal."""
    shown = client.get("status")
    return shown["at"], ZoneInfo(shown["timezone"])


def _time(at: float, now: float, zone: ZoneInfo) -> str:
    """The lab's local time, with its date where that is not today's."""
    moment, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone)
    return moment.strftime("%H:%M:%S" if moment.date() == today.date() else "%Y-%m-%d %H:%M")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), empty: str = "") -> None:
    """Columns with as much room as they need; on a terminal the last one is cut where there is none."""
    if not rows:
        say(empty)
        return
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    columns = width()
    for row in (titles, *rows):
        cells = [
            text.rjust(most) if n in right else text.ljust(most)
            for n, (text, most) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        print(line if columns is None or len(line) <= columns else line[: columns - 1] + "…")
