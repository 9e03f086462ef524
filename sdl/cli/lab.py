"""Commands of an unattended lab: run, simulate, check; what asks a running one is in `lab_control.py`."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdl.cli import lab_control, lab_setup
from sdl.cli.options import Json, emit
from sdl.cli.words import count, say

if TYPE_CHECKING:
    from sdl.lab.file import Loaded
    from sdl.lab.model import Job, LabFile

File = Annotated[Path, typer.Argument(metavar="FILE", help="A lab file (YAML).")]
COMING = 5

lab = typer.Typer(no_args_is_help=True, help="Campaigns that run by themselves for weeks.", rich_markup_mode=None)


def add_to(app: typer.Typer) -> None:
    """Adds the group `lab`."""
    for part in (lab_control, lab_setup):
        part.add_to(lab)
    app.add_typer(lab, name="lab")


@lab.command()
def check(file: File, json: Json = False) -> None:
    """Check a lab file and the campaigns it names, and say what it would do.

    \b
    sdl lab check lab.yaml
    """
    from sdl.lab.file import load

    loaded = load(file)
    plan = _plan(loaded, time.time())
    if json:
        emit({"file": str(file), "valid": True, **plan})
        return
    _show(file, loaded, plan)


@lab.command()
def run(
    file: File,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Of the API on 127.0.0.1; 0: any that is free.")
    ] = 0,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what begins and ends.")] = False,
) -> None:
    """Run a lab until it is asked to end: Ctrl-C or SIGTERM.

    Campaigns are then interrupted and the instruments made safe; the next `sdl lab run` goes on with them.

    \b
    sdl lab run lab.yaml
    sdl lab status                         from any terminal of this machine
    """
    from sdl.lab.file import load
    from sdl.lab.serve import serve
    from sdl.runner import INTERRUPTED

    if verbose:
        logging.getLogger("sdl").setLevel(logging.INFO)
    loaded = load(file)
    raise typer.Exit(INTERRUPTED[serve(loaded, port=port)])


def _plan(loaded: Loaded, now: float) -> dict[str, Any]:
    """What a lab would do from now on, as plain values."""
    from sdl.lab.schedule import upcoming

    lab = loaded.lab
    jobs: dict[str, Any] = {}
    for name, job in lab.jobs.items():
        jobs[name] = {
            "campaign": loaded.campaigns[name].name,
            "instrument": job.instrument,
            "when": _when(job),
            "next": [_local(at, lab) for at in upcoming(job, lab, now, COMING)],
        }
    instruments = {name: loaded.campaigns[job].instrument.identity for job, name in _one_job_each(lab).items()}
    return {"lab": lab.name, "timezone": lab.timezone, "runs": str(loaded.runs), "instruments": instruments, "jobs": jobs}


def _one_job_each(lab: LabFile) -> dict[str, str]:
    """A job of each instrument that has one."""
    found: dict[str, str] = {}
    for name, job in lab.jobs.items():
        if job.instrument not in found.values():
            found[name] = job.instrument
    return found


def _show(file: Path, loaded: Loaded, plan: dict[str, Any]) -> None:
    lab = loaded.lab
    jobs, benches = count(len(lab.jobs), "job"), count(len(lab.instruments), "instrument")
    say(f"{file}: valid; {jobs} on {benches}, times are of {lab.timezone}, runs go to {loaded.runs}")
    for name, job in plan["jobs"].items():
        say(f"{name}: {job['campaign']} on {job['instrument']} ({plan['instruments'][job['instrument']]}), {job['when']}")
        if job["next"]:
            say(f"  next: {', '.join(job['next'])}", 4)
        elif lab.jobs[name].when.at:
            say("  next: never, all of its times are over")
    for name in lab.instruments:
        if name not in plan["instruments"]:
            say(f"{name}: no job uses this instrument")


def _when(job: Job) -> str:
    """When a job runs and what happens to starts that cannot, in words."""
    from sdl.lab.durations import words

    when = job.when
    if when.cron is not None:
        text = f"cron {when.cron}"
    elif when.every is not None:
        text = f"every {words(when.every)}"
    elif when.at:
        text = f"at {count(len(when.at), 'time')}"
    elif when.after is not None:
        text = f"after {when.after} has ended as {' or '.join(when.outcome)}"
    else:
        text = "when somebody asks for it"
    text += f", {job.between}" if job.between else ""
    grace = job.missed.grace
    return text if when.asked else text + ("; late if need be" if grace is None else f"; at most {words(grace)} late")


def _local(at: float, lab: LabFile) -> str:
    return datetime.fromtimestamp(at, lab.zone).strftime("%a %d %b %H:%M %Z")
