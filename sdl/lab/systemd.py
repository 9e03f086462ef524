"""A lab under systemd: its unit file, and the messages that it is ready and alive.

Each message is one datagram to the socket in NOTIFY_SOCKET (sd_notify(3)). `Watchdog` is also used without systemd:
`/healthz` reports the time since the last tick.
"""

from __future__ import annotations

import contextlib
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
# Restart after any failure: a full disk, a directory not mounted yet and a mistake in the lab file can all be fixed.
Restart=always
RestartSec=5
# Exit codes of an ordinary stop.
SuccessExitStatus=130 143
# The loop reports that it is alive; systemd restarts it if it hangs.
WatchdogSec={watchdog:g}
# Instruments are switched off before the lab is ready and when it stops.
TimeoutStartSec=300
TimeoutStopSec=90
# SIGTERM also reaches campaigns left behind by a killed lab, so that they switch their instruments off.
KillMode=control-group
# If a campaign exhausts the memory, only that campaign is killed.
OOMPolicy=continue
NoNewPrivileges=yes

[Install]
WantedBy={target}
"""
AFTER = """\
Wants=network-online.target
After=network-online.target time-sync.target
"""
"""For the system manager; a user manager has neither target."""
SHARED_VARIABLES = ("XDG_STATE_HOME", "SDL_LEASES")
"""Variables that locate labs and leases; the service must have the same values as the user's terminals."""
WATCHDOG_SECONDS = 60.0


class Watchdog:
    """Reports to systemd that the loop is alive, and knows the time of the last tick.

    Args:
        environ: environment with NOTIFY_SOCKET and WATCHDOG_USEC of systemd.
        clock: monotonic seconds.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        environ = os.environ if environ is None else environ
        self._clock = clock
        self._socket = environ.get("NOTIFY_SOCKET", "")
        span = environ.get("WATCHDOG_USEC", "")
        self._every = int(span) / 4e6 if span.isdecimal() else 0.0  # systemd.service(5) recommends at most half
        self._ticked: float | None = None
        self._sent = -float("inf")
        self._status = ""

    def ready(self, status: str = "") -> None:
        """Report that every instrument was checked and the loop runs."""
        self._ticked = self._sent = self._clock()
        self._send(f"READY=1\nSTATUS={status}")

    def tick(self, status: str = "") -> None:
        """Report one tick; call it from the loop's thread only, or a hanging loop would seem alive."""
        self._ticked = now = self._clock()
        status = status.replace("\n", " ")
        if now - self._sent >= self._every and (self._every or status != self._status):
            self._sent, self._status = now, status
            self._send("WATCHDOG=1" + (f"\nSTATUS={status}" if status else ""))

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def age(self) -> float:
        """Seconds since the last tick; inf before the first."""
        return float("inf") if self._ticked is None else self._clock() - self._ticked

    def _send(self, message: str) -> None:
        if self._socket and hasattr(socket, "AF_UNIX"):
            address = "\0" + self._socket[1:] if self._socket.startswith("@") else self._socket
            with (
                contextlib.suppress(OSError),  # systemd is not listening
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream,
            ):
                stream.settimeout(1.0)
                stream.sendto(message.encode(), address)


def unit_text(
    name: str, file: Path, *, system: bool = False, user: str = "", environ: Mapping[str, str] | None = None
) -> str:
    """The text of a unit that runs a lab file with this Python.

    Args:
        name: name of the lab.
        file: the lab file, absolute.
        system: whether the unit is for the system manager instead of the user's.
        user: account of the service, with `system`.
        environ: the caller's environment; `SHARED_VARIABLES` are copied from it.

    Raises:
        ConfigError: a path contains control characters.
    """
    environ = os.environ if environ is None else environ
    shared = {
        key: environ[key] for key in SHARED_VARIABLES if environ.get(key) and not (system and key == "XDG_STATE_HOME")
    }
    for path in (str(file), sys.executable, *shared.values()):
        if re.search(r"[\x00-\x1f\x7f]", path):
            raise ConfigError(f"{path!r}: a systemd unit cannot contain a path with control characters")
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
    """The directory in which systemd looks for units."""
    if system:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def _quoted(text: str, dollar: str = "$$") -> str:
    """One argument of ExecStart or, with another escape of `$`, of Environment, taken literally."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", dollar)
    return f'"{text}"'


def _path(path: Path) -> str:
    """A path in a setting that extends to the end of the line."""
    return str(path).replace("%", "%%")
