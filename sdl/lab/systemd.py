"""A lab under systemd: its unit, and the word to the service manager that it is ready and alive.

The protocol is one datagram to the socket that systemd names in NOTIFY_SOCKET (sd_notify(3)), so that it needs no
library. `Watchdog` also serves where there is no systemd: `/healthz` asks it how long ago the loop ticked.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sdl.errors import ConfigError
from sdl.parallel import children

UNIT = """\
# Written by `sdl lab install`; docs/how-to/lab-control.md says what each line is for.
[Unit]
Description=sdl lab {name}
{after}StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
{user}{environment}EnvironmentFile=-{secrets}
# Whatever ended it: a full disk, a folder that is not mounted yet and a mistake in the lab file all pass.
Restart=always
RestartSec=5
# Asked to end, it ends with these codes: no failure.
SuccessExitStatus=130 143
# The loop says that it is alive; where it is stuck, systemd ends it and starts it anew.
WatchdogSec={watchdog:g}
# Instruments are made safe before the lab is ready, and when it ends.
TimeoutStartSec=300
TimeoutStopSec=90
# SIGTERM reaches the campaigns too, so that what a killed lab leaves behind turns its light off first.
KillMode=control-group
# A campaign that took all memory is ended alone.
OOMPolicy=continue
NoNewPrivileges=yes

[Install]
WantedBy={target}
"""
AFTER = """\
Wants=network-online.target
After=network-online.target time-sync.target
"""
"""For the machine's manager; a user's knows neither."""
SHARED_VARIABLES = ("XDG_STATE_HOME", "SDL_LEASES")
"""Variables that decide where a lab is found and where leases lie: in its service as in its user's terminals."""
WATCHDOG_SECONDS = 60.0


class Watchdog:
    """Tells systemd, and whoever asks, that the loop goes round.

    Args:
        environ: where systemd says what it wants: NOTIFY_SOCKET, WATCHDOG_USEC.
        clock: seconds that never jump.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        environ = os.environ if environ is None else environ
        self._clock = clock
        self._socket = environ.get("NOTIFY_SOCKET", "")
        try:
            span = int(environ.get("WATCHDOG_USEC", "0")) / 1e6
        except ValueError:
            span = 0.0
        self._every = span / 4  # systemd.service(5) advises at least every half of it
        self._ticked: float | None = None
        self._told = -float("inf")
        self._status = ""

    def ready(self, status: str = "") -> None:
        """Every instrument is safe and the loop begins."""
        self._ticked = self._told = self._clock()
        self._say(f"READY=1\nSTATUS={_line(status)}")

    def tick(self, status: str = "") -> None:
        """The loop went round; from its own thread only, or a stuck loop would look alive."""
        self._ticked = now = self._clock()
        if now - self._told >= self._every and (self._every or status != self._status):
            self._told, self._status = now, status
            self._say("WATCHDOG=1" + (f"\nSTATUS={_line(status)}" if status else ""))

    def stopping(self) -> None:
        """The lab was asked to end."""
        self._say("STOPPING=1")

    def age(self) -> float:
        """Seconds since the last tick; inf before the first."""
        return float("inf") if self._ticked is None else self._clock() - self._ticked

    def _say(self, message: str) -> None:
        if not self._socket or not hasattr(socket, "AF_UNIX"):
            return
        address = "\0" + self._socket[1:] if self._socket.startswith("@") else self._socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
                stream.settimeout(1.0)
                stream.sendto(message.encode(), address)
        except OSError:
            pass  # nobody listens: then nobody waits for it either


def unit_text(
    name: str, file: Path, *, system: bool = False, user: str = "", environ: Mapping[str, str] | None = None
) -> str:
    """The text of a unit that runs a lab file with this Python.

    Args:
        name: the lab's.
        file: the lab file, absolute.
        system: for the machine's manager instead of the user's.
        user: who it runs as; for the machine's manager.
        environ: the environment of who asks, some of which the lab must share.

    Raises:
        ConfigError: a path that a unit cannot hold.
    """
    environ = os.environ if environ is None else environ
    shared = {
        key: environ[key] for key in SHARED_VARIABLES if environ.get(key) and not (system and key == "XDG_STATE_HOME")
    }
    for path in (str(file), sys.executable, *shared.values()):
        if re.search(r"[\x00-\x1f\x7f]", path):
            raise ConfigError(f"{path!r}: a unit cannot hold a path with control characters")
    command = " ".join(_quoted(part) for part in children.command("lab", "run", str(file)))
    return UNIT.format(
        name=name.replace("%", "%%"),
        command=command,
        folder=_path(file.parent),
        user=f"User={user}\n" if user else "",
        environment="".join(f"Environment={_quoted(f'{key}={value}', dollar='$')}\n" for key, value in shared.items()),
        secrets=_path(file.with_suffix(".env")),
        watchdog=WATCHDOG_SECONDS,
        after=AFTER if system else "",
        target="multi-user.target" if system else "default.target",
    )


def unit_name(lab: str) -> str:
    """The file name of a lab's unit: `sdl-lab-NAME.service`."""
    return f"sdl-lab-{re.sub(r'[^A-Za-z0-9_.-]', '-', lab)}.service"


def unit_folder(*, system: bool) -> Path:
    """Where the manager looks for units."""
    if system:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _quoted(text: str, dollar: str = "$$") -> str:
    """One word of ExecStart, or of Environment with its own way to write `$`: every sign stands for itself."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", dollar)
    return f'"{text}"'


def _path(path: Path) -> str:
    """A path in a setting that takes the rest of the line."""
    return str(path).replace("%", "%%")


def _line(text: str) -> str:
    return text.replace("\n", " ")
