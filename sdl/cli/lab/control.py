"""Commands for a running lab: status, queue, history, pause, resume, abort, skip, run-now."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from sdl.cli.options import Json, argument, emit, option
from sdl.cli.terminal import print_table, say
from sdl.durations import format_duration
from sdl.errors import ConfigError
from sdl.formatting import visible
from sdl.lab.core.views import describe_pause
from sdl.lab.http.client import Client

Lab = Annotated[
    str, option("--lab FILE", "A lab file or the name of a lab; by default ./lab.yaml, or the only running lab.")
]
Url = Annotated[str, option("--url URL", "Address of the lab, http://127.0.0.1:PORT, instead.")]
Target = Annotated[list[str], argument("TARGET…", "`job NAME`, `instrument NAME`, `start NUMBER` or `lab`.")]
Reason = Annotated[str, option("--reason -r TEXT", "Reason; kept in the record.")]


def status(lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """Show what a running lab is doing.

    \b
    sdl lab status
    sdl lab status --lab lab.yaml --json
    """
    client = Client(lab, url)
    shown = client.get("status")
    if json:
        emit(client.names | shown)
        return
    local = _local_time(shown)
    duration = format_duration(shown["at"] - shown["since"])
    say(f"{client.home}, up for {duration} (process {shown['process']}), {shown['timezone']}")
    if shown.get("trouble"):
        say(f"trouble: {shown['trouble']}")
    for pause in shown["held"]:
        say(f"{pause['what']}: {describe_pause(pause, pause['what'])}, since {local(pause['at'])}")
    running = {row["start"]: row for row in shown["running"]}
    rows = [("instrument", "activity", "since", "readings", "last 24 h", "")]
    for row in shown["instruments"]:
        activity = ("idle", "", "")
        if run := running.get(row["busy"]):
            activity = (f"start {run['start']} of {run['job']}", local(run["since"]), str(run["readings"]))
        rows.append((row["name"], *activity, str(row["readings_today"]), _state(row, run, shown["held"])))
    print_table(rows, (0, 1, 2, 5))
    for row in shown.get("submissions", ()):
        reasons = "; ".join(row["reasons"])
        say(f"submission {row['submission']} waits for approval: {row['campaign']} of {row['agent']} on "
            f"{row['instrument']}, at most {row['readings']} readings ({reasons})", 4)  # fmt: skip
        if row.get("changed"):
            say(f"  it can no longer be approved: {row['changed']}", 4)
    for first in shown["next"][:1]:
        why = f": {first['why']}" if first["why"] else ""
        say(f"next: {first['job']} on {first['instrument']} at {local(first['due'])}{why}")


def _state(row: Mapping[str, Any], run: Mapping[str, Any] | None, pauses: Sequence[Any]) -> str:
    """Why an instrument does not measure: lost, or paused; else empty."""
    if lost := row["lost"]:
        return f"{'in use by another process' if lost.startswith('InUse: ') else 'no answer'}: {lost}"
    target = f"instrument {row['name']}" if run is None else f"start {run['start']}"
    covering = run["pauses"] if run else [pause for pause in pauses if pause["what"] in ("lab", target)]
    own = f"paused: {run['paused']}" if run and run["paused"] else ""
    return "; ".join(describe_pause(pause, target) for pause in covering) or own


def queue(lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """List the waiting starts and the next scheduled ones.

    \b
    sdl lab queue
    """
    client = _client(lab, url, json)
    shown = client.get("queue")
    if json:
        emit(client.names | shown)
        return
    now = client.get("status")
    local = _local_time(now)
    rows = [
        (local(row["due"]), row["job"], row["instrument"], str(row["start"] or ""), row["why"])
        for row in shown["queue"]
    ]
    titles = (f"due, {now['timezone']}", "job", "instrument", "start", "")
    _print_rows([titles, *rows], range(5), "no start is waiting or scheduled")


def history(
    job: Annotated[str, option("--job NAME", "Only starts of this job.")] = "",
    most: Annotated[int, option("--most -n", "Number of starts.", min=1, max=1000)] = 20,
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """List the starts that ended, newest first.

    \b
    sdl lab history --job hourly -n 50
    """
    client = _client(lab, url, json)
    shown = client.get("history", most=most, job=job)
    if json:
        emit(client.names | shown)
        return
    now = client.get("status")
    local = _local_time(now)
    rows = [
        (
            str(row["start"]),
            local(row["due"]),
            row["job"],
            row["instrument"],
            row["outcome"] or row["fate"],
            str(row["readings"]),
            format_duration(row["ended"] - row["begun"]) if row["begun"] is not None else "",
            Path(row["run"]).name if row["run"] else row["reason"],
        )
        for row in shown["history"]
    ]
    titles = ("start", f"due, {now['timezone']}", "job", "instrument", "fate", "readings", "duration", "run or reason")
    _print_rows([titles, *rows], (1, 2, 3, 4, 6, 7), "no start has ended yet")


def pause(
    target: Annotated[list[str] | None, argument("[TARGET…]", "The whole lab by default.")] = None,
    reason: Reason = "",
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """Pause the lab or a part of it.

    \b
    sdl lab pause                                          the whole lab
    sdl lab pause instrument led-2 --reason "cleaning"
    """
    _do("pause", _client(lab, url, json), json, target=_target(target or ["lab"]), reason=reason)


def resume(
    target: Annotated[list[str] | None, argument("TARGET…", "What to resume.")] = None,
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """End the pause of this target alone.

    \b
    sdl lab resume start 12
    sdl lab resume lab                                     the pause of the whole lab

    Without a target it changes nothing and lists the pauses.
    """
    client = _client(lab, url, json)
    if not target:
        raise ConfigError(f"name the pause to end: {'; '.join(_pauses(client)) or 'nothing is paused'}")
    _do("resume", client, json, target=_target(target))


def abort(target: Target, reason: Reason = "", lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """Abort running or waiting starts.

    \b
    sdl lab abort start 12 --reason "wrong filter"
    """
    _do("abort", _client(lab, url, json), json, target=_target(target), reason=reason)


def skip(target: Target, reason: Reason = "", lab: Lab = "", url: Url = "", json: Json = False) -> None:
    """Skip a waiting or the next start.

    \b
    sdl lab skip job hourly --reason "visitors"
    """
    _do("skip", _client(lab, url, json), json, target=_target(target), reason=reason)


def run_now(
    job: Annotated[str, argument("JOB", "A job of the lab.")],
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """Start a job now, or as soon as its instrument is free.

    \b
    sdl lab run-now calibration
    """
    _do("run-now", _client(lab, url, json), json, job=job)


def approve(
    number: Annotated[int, argument("NUMBER", "The submission, as `status` lists it.")],
    reason: Reason = "",
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """Approve a campaign that an agent has submitted.

    \b
    sdl lab approve 3 --reason "agreed"

    An approval lifts no limit. The page shows the whole campaign.
    """
    _do("approve", _client(lab, url, json), json, submission=str(number), reason=reason)


def refuse(
    number: Annotated[int, argument("NUMBER", "The submission, as `status` lists it.")],
    reason: Reason = "",
    lab: Lab = "",
    url: Url = "",
    json: Json = False,
) -> None:
    """Refuse a campaign that an agent has submitted.

    \b
    sdl lab refuse 3 --reason "not tonight"
    """
    _do("refuse", _client(lab, url, json), json, submission=str(number), reason=reason)


def _do(verb: str, client: Client, json: bool, **what: str) -> None:
    done = client.post(verb, **what)
    if json:
        emit(client.names | {"done": done})
    else:
        say(done)


def _client(lab: str, url: str, json: bool) -> Client:
    """The selected lab, named on stderr unless `json`."""
    client = Client(lab, url)
    if not json:
        print(visible(client.home), file=sys.stderr)
    return client


def _pauses(client: Client) -> list[str]:
    """The command that ends each pause of a lab, with its requester and reason."""
    shown = client.get("status")
    ends = {f"start {run['start']}": f"paused: {run['paused']}" for run in shown["running"] if run["resumable"]}
    ends |= {pause["what"]: describe_pause(pause, pause["what"]) for pause in shown["held"]}
    return [f"sdl lab resume {what} ({text})" for what, text in ends.items()]


def _target(given: Sequence[str]) -> str:
    """`start 12` from `start 12`, `"start 12"` and `12`."""
    text = " ".join(given)
    return f"start {text}" if text.isdecimal() else text


def _local_time(status: Mapping[str, Any]) -> Callable[[float], str]:
    """A function that formats a time (s since 1970) in a lab's time zone, with the date if it is not today there."""
    zone = ZoneInfo(status["timezone"])
    today = datetime.fromtimestamp(status["at"], zone).date()

    def local(at: float) -> str:
        moment = datetime.fromtimestamp(at, zone)
        return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M")

    return local


def _print_rows(rows: Sequence[Sequence[str]], left_aligned: Container[int], empty: str) -> None:
    """Print a table, or the text `empty` if it has no rows besides the titles."""
    if len(rows) > 1:
        print_table(rows, left_aligned)
    else:
        say(empty)
