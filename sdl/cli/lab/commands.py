"""The command group `sdl lab`, with `run` and `check`."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli.lab import control, setup, simulate
from sdl.cli.lab.setup import File
from sdl.cli.options import Json, emit
from sdl.cli.terminal import say
from sdl.cli.web import LabPage
from sdl.errors import ConfigError
from sdl.formatting import count, local

if TYPE_CHECKING:
    from sdl.lab.config.file import ResolvedLab
    from sdl.lab.config.model import Job

COMING = 5

lab = typer.Typer(no_args_is_help=True, help="Run campaigns unattended for weeks.", rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Add the group `lab`."""
    for command in (
        simulate.simulate, control.status, control.queue, control.history, control.pause, control.resume, control.abort,
        control.skip, control.run_now, setup.install, setup.notify_test,
    ):  # fmt: skip
        lab.command()(command)
    lab.command("tell", hidden=True)(setup.notify_test)  # its name before 0.2
    app.add_typer(lab, name="lab")


@lab.command()
def check(file: File, json: Json = False) -> None:
    """Check a lab file with its campaigns, and show the schedule.

    \b
    sdl lab check lab.yaml
    """
    from sdl.lab.config.file import load

    plan, sentences = described(load(file), file)
    if json:
        emit({"file": str(file), "valid": True, **plan})
        return
    for sentence in sentences:
        say(sentence, 4)


@lab.command()
def run(
    file: File,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of API and page on 127.0.0.1; 0: any free one.")
    ] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the begin and end of each start.")] = False,
) -> None:
    """Run a lab until Ctrl-C or SIGTERM.

    Campaigns are then interrupted and the instruments switched off; the next `sdl lab run` resumes them.

    \b
    sdl lab run lab.yaml
    sdl lab status                         from any terminal of this machine
    """
    try:
        code = _run(file, port, verbose)
    except Exception as error:
        if not sys.stderr.isatty():  # at a terminal the error message suffices
            from sdl.lab.rules.dispatch import report_startup_failure

            report_startup_failure(file, error)
        raise
    raise typer.Exit(code)


def _run(file: Path, port: int, verbose: bool) -> int:
    from sdl.extras import require
    from sdl.lab.config.file import load
    from sdl.lab.journal import folder
    from sdl.lab.logs import FILE as LOG
    from sdl.lab.logs import TextFormatter
    from sdl.lab.serve import serve
    from sdl.runner import INTERRUPTED

    loaded = load(file)
    require("labs", "lab", "starlette", "uvicorn", "prometheus_client")  # before the message that the lab runs
    for handler in logging.getLogger().handlers:  # the log file has everything
        handler.setFormatter(TextFormatter())
        handler.setLevel(logging.INFO if verbose else logging.WARNING)
    log = folder(loaded.runs, loaded.lab.name) / LOG
    say(f"lab {loaded.lab.name} runs until Ctrl-C; status: `sdl lab status`; log: {log}")
    sys.stdout.flush()
    page = LabPage(loaded)
    return INTERRUPTED[serve(loaded, port=port, page=page.routes, on_listen=page.announce)]


def _plan(loaded: ResolvedLab, now: float) -> dict[str, Any]:
    """The schedule of a lab from now on, as plain values."""
    from sdl.lab.core.cron import upcoming

    lab, campaigns = loaded.lab, loaded.campaigns
    return {
        "lab": lab.name,
        "timezone": lab.timezone,
        "runs": str(loaded.runs),
        "instruments": {job.instrument: campaigns[name].instrument.identity for name, job in lab.jobs.items()},
        "jobs": {
            name: {
                "campaign": campaigns[name].name,
                "instrument": job.instrument,
                "when": _when(job),
                "next": [local(at, lab.zone) for at in upcoming(job, lab, now, COMING)],
            }
            for name, job in lab.jobs.items()
        },
    }


def described(loaded: ResolvedLab, file: Path) -> tuple[dict[str, Any], list[str]]:
    """The schedule of a lab file, as plain values and as lines of text."""
    lab, plan = loaded.lab, _plan(loaded, time.time())
    jobs, instruments = count(len(lab.jobs), "job"), count(len(lab.instruments), "instrument")
    lines = [f"{file}: valid; {jobs} on {instruments}, time zone {lab.timezone}, runs in {loaded.runs}"]
    for name, job in plan["jobs"].items():
        instrument = f"{job['instrument']} ({plan['instruments'][job['instrument']]})"
        lines.append(f"{name}: {job['campaign']} on {instrument}, {job['when']}")
        if job["next"]:
            lines.append(f"  next: {', '.join(job['next'])}")
        elif lab.jobs[name].when.at:
            lines.append("  next: never, all times are in the past")
    lines += [f"{name}: used by no job" for name in lab.instruments if name not in plan["instruments"]]
    for name, target in lab.notify.to.items():
        try:
            target.url.read(file.parent)
        except ConfigError as error:  # the environment of the lab may have what this terminal lacks
            lines.append(f"notify.to.{name}: {error}; `sdl lab run` needs it to start")
    return plan, lines


def _when(job: Job) -> str:
    """The schedule of a job and its treatment of late starts, as text."""
    from sdl.config.durations import format_duration

    when = job.when
    texts = {
        "cron": f"cron {when.cron}",
        "every": f"every {format_duration(when.every or 0)}",
        "at": f"at {count(len(when.at), 'time')}",
        "after": f"after {when.after} has ended as {' or '.join(when.outcome)}",
        "asked": "on request",
    }
    text = next(text for key, text in texts.items() if getattr(when, key))
    text += f", {job.between}" if job.between else ""
    if when.asked:
        return text
    grace = job.missed.grace
    return text + ("; late if necessary" if grace is None else f"; at most {format_duration(grace)} late")
