"""The command group `sdl lab`, with check, run, install and notify-test."""

from __future__ import annotations

import getpass
import logging
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from sdl.cli.lab import control, simulate, tokens
from sdl.cli.options import Json, LabPath, emit, option
from sdl.cli.terminal import say
from sdl.cli.web import LabPage
from sdl.durations import format_duration
from sdl.errors import ConfigError
from sdl.formatting import count, local
from sdl.lab.config.file import ResolvedLab, load
from sdl.lab.config.model import Job
from sdl.lab.core.due_times import upcoming
from sdl.lab.systemd import unit_folder, unit_name, unit_text

COMING = 5

lab = typer.Typer(no_args_is_help=True, help="Run campaigns unattended for weeks.", rich_markup_mode=None)


@lab.command()
def check(file: LabPath, json: Json = False) -> None:
    """Check a lab file with its campaigns, and show the schedule.

    \b
    sdl lab check lab.yaml
    """
    plan, sentences = described(load(file), file)
    if json:
        emit({"file": str(file), "valid": True, **plan})
    for sentence in [] if json else sentences:
        say(sentence, 4)


@lab.command()
def run(
    file: LabPath,
    port: Annotated[int, option("--port", "Port of API and page on 127.0.0.1; 0: any free one.", min=0, max=65535)] = 0,
    verbose: Annotated[bool, option("--verbose -v", "Print the begin and end of each start.")] = False,
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
    if not hasattr(os, "killpg"):  # Windows
        raise ConfigError("a lab needs POSIX signals and process groups (Linux, macOS); sdl run, web and sweep do not")
    from sdl.extras import require
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


def described(loaded: ResolvedLab, file: Path) -> tuple[dict[str, Any], list[str]]:
    """The schedule of a lab file, as plain values and as lines of text."""
    lab, campaigns, now = loaded.lab, loaded.campaigns, time.time()
    instruments = {job.instrument: campaigns[name].instrument.identity for name, job in lab.jobs.items()}
    jobs = {
        name: {
            "campaign": campaigns[name].name,
            "instrument": job.instrument,
            "when": _when(job),
            "next": [local(at, lab.zone) for at in upcoming(job, lab, now, COMING)],
        }
        for name, job in lab.jobs.items()
    }
    plan = {"lab": lab.name, "timezone": lab.timezone, "runs": str(loaded.runs)}
    scope = f"{count(len(lab.jobs), 'job')} on {count(len(lab.instruments), 'instrument')}"
    lines = [f"{file}: valid; {scope}, time zone {lab.timezone}, runs in {loaded.runs}"]
    for name, job in jobs.items():
        instrument = f"{job['instrument']} ({instruments[str(job['instrument'])]})"
        lines.append(f"{name}: {job['campaign']} on {instrument}, {job['when']}")
        if job["next"]:
            lines.append(f"  next: {', '.join(job['next'])}")
        elif lab.jobs[name].when.at:
            lines.append("  next: never, all times are in the past")
    lines += [f"{name}: used by no job" for name in lab.instruments if name not in instruments]
    for name, target in lab.notify.to.items():
        try:
            target.url.read(file.parent)
        except ConfigError as error:  # the environment of the lab may have what this terminal lacks
            lines.append(f"notify.to.{name}: {error}; `sdl lab run` needs it to start")
    return plan | {"instruments": instruments, "jobs": jobs}, lines


def _when(job: Job) -> str:
    """The schedule of a job and its treatment of late starts, as text."""
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


def install(
    file: LabPath,
    system: Annotated[bool, option("--system/--user", "For the system's systemd (needs root), or your own.")] = False,
    account: Annotated[str, option("--as USER", "With --system: account of the service; yours by default.")] = "",
    stdout: Annotated[bool, option("--stdout", "Print the unit without writing it.")] = False,
) -> None:
    """Write a systemd unit that keeps a lab running.

    The lab file is checked first. Put secrets for notifications into FILE with the ending .env, readable by its owner
    only.

    \b
    sdl lab install lab.yaml
    sudo sdl lab install lab.yaml --system --as lab
    """
    loaded, path = load(file), file.absolute()
    if account and not system:
        raise ConfigError("--as needs --system; your own systemd runs everything under your account")
    user = (account or os.environ.get("SUDO_USER") or getpass.getuser()) if system else ""
    text = unit_text(loaded.lab.name, path, system=system, user=user)
    if stdout:
        print(text, end="")
        return
    name, folder = unit_name(loaded.lab.name), unit_folder(system=system)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "; use sudo, or --stdout" if system else ""
        raise ConfigError(f"{folder / name}: cannot be written: {error.strerror}{hint}") from error
    secrets = path.with_suffix(".env")
    if os.name == "posix" and secrets.exists() and secrets.stat().st_mode & 0o077:
        say(f"warning: other users can read the secrets in {secrets}; run: chmod 600 {secrets}")
    scope = "sudo systemctl" if system else "systemctl --user"
    commands = f"  {scope} daemon-reload\n  {scope} enable --now {name}\n"
    print(f"{folder / name} written. Start it now and at every boot:\n\n{commands}")
    if not system:
        say(f"To keep it running while logged out (once): loginctl enable-linger {shlex.quote(getpass.getuser())}")
    say("Status: sdl lab status; log: " + f"{scope.replace('systemctl', 'journalctl')} -u {name}")


def notify_test(file: LabPath, json: Json = False) -> None:
    """Send a test message to every recipient of a lab file.

    \b
    sdl lab notify-test lab.yaml

    Exit code 1 if a message could not be sent.
    """
    from sdl.notify.sender import NotSent, addresses, send_by_apprise

    loaded = load(file)
    if not loaded.lab.notify.to:
        raise ConfigError(f"{file}: notify.to has no recipients")
    errors: dict[str, str] = {}
    for name, url in addresses(loaded.lab.notify, file.parent).items():
        errors[name] = ""
        try:
            text = "This is a test of the notifications. Nothing has happened."
            send_by_apprise(url, f"{loaded.lab.name}: test message", text)
        except NotSent as error:
            errors[name] = str(error)
        if not json:
            say(f"{name}: {errors[name] or 'sent'}")
    if json:
        emit({"sent": [name for name, error in errors.items() if not error], "errors": errors})
    if any(errors.values()):
        raise typer.Exit(1)


for command in (
    simulate.simulate, control.status, control.queue, control.history, control.pause, control.resume, control.abort,
    control.skip, control.run_now, control.approve, control.refuse, install, notify_test,
):  # fmt: skip
    lab.command()(command)
lab.add_typer(tokens.token, name="token")
lab.command("tell", hidden=True)(notify_test)  # its name before 0.2
