"""Commands that prepare unattended operation: install, notify-test."""

from __future__ import annotations

import getpass
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from sdl.cli.options import Json, argument, emit, option
from sdl.cli.terminal import say
from sdl.errors import ConfigError
from sdl.lab.config.file import load
from sdl.lab.systemd import unit_folder, unit_name, unit_text
from sdl.notify.sender import NotSent, send_by_apprise

File = Annotated[Path, argument("FILE", "A lab file (YAML).")]


def install(
    file: File,
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


def notify_test(file: File, json: Json = False) -> None:
    """Send a test message to every recipient of a lab file.

    \b
    sdl lab notify-test lab.yaml

    Exit code 1 if a message could not be sent.
    """
    from sdl.lab.rules.dispatch import addresses

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
