"""Commands that prepare a lab to be left alone: install, tell."""

from __future__ import annotations

import getpass
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from sdl.cli.display.text import say
from sdl.cli.options import Json, emit
from sdl.errors import ConfigError

File = Annotated[Path, typer.Argument(metavar="FILE", help="A lab file (YAML).")]


def add_to(lab: typer.Typer) -> None:
    """Adds the commands to the group `lab`."""
    for command in (install, tell):
        lab.command()(command)


def install(
    file: File,
    system: Annotated[
        bool, typer.Option("--system/--user", help="For the machine's systemd (needs root), or for your own.")
    ] = False,
    account: Annotated[
        str, typer.Option("--as", metavar="USER", help="With --system: who it runs as; who asks by default.")
    ] = "",
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the unit, write nothing.")] = False,
) -> None:
    """Write a systemd unit that keeps a lab running.

    The lab file is checked first. Secrets for notifications go into FILE with the ending .env, which its owner alone
    can read.

    \b
    sdl lab install lab.yaml
    sudo sdl lab install lab.yaml --system --as lab
    """
    from sdl.lab.config.file import load
    from sdl.lab.systemd import unit_folder, unit_name, unit_text

    loaded, path = load(file), file.absolute()
    if account and not system:
        raise ConfigError("--as belongs to --system; your own systemd runs everything as you")
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
        hint = "; ask with sudo, or take --stdout" if system else ""
        raise ConfigError(f"{folder / name}: cannot be written: {error.strerror}{hint}") from error
    secrets = path.with_suffix(".env")
    if os.name == "posix" and secrets.exists() and secrets.stat().st_mode & 0o077:
        say(f"warning: others can read the secrets in {secrets}; chmod 600 {secrets}")
    scope = "sudo systemctl" if system else "systemctl --user"
    print(f"{folder / name} written. Start it now and at every boot:\n")
    print(f"  {scope} daemon-reload")
    print(f"  {scope} enable --now {name}\n")
    if not system:
        say(f"So that it runs while you are logged out (once): loginctl enable-linger {shlex.quote(getpass.getuser())}")
    say("What it does: sdl lab status; what it said: " + f"{scope.replace('systemctl', 'journalctl')} -u {name}")


def tell(file: File, json: Json = False) -> None:
    """Send a test message to everyone whom a lab file names.

    \b
    sdl lab tell lab.yaml

    Exit code 1 where one did not go out.
    """
    from sdl.lab.config.file import load
    from sdl.lab.rules.dispatch import addresses
    from sdl.notify.sender import NotSent, by_apprise

    loaded = load(file)
    if not loaded.lab.notify.to:
        raise ConfigError(f"{file}: notify.to names nobody")
    results: dict[str, str] = {}
    for name, url in addresses(loaded.lab.notify, file.parent).items():
        try:
            by_apprise(url, f"{loaded.lab.name}: a test", "The lab can reach you. Nothing has happened.")
            results[name] = ""
        except NotSent as error:
            results[name] = str(error)
        if not json:
            say(f"{name}: {results[name] or 'sent'}")
    if json:
        emit({"sent": [name for name, error in results.items() if not error], "errors": results})
    if any(results.values()):
        raise typer.Exit(1)
