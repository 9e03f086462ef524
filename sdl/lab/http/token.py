"""Where a running lab listens, and the token that proves that it is its own user who asks.

    $XDG_STATE_HOME/sdl/labs/NAME-1a2b3c4d/      0700; ~/.local/state where the variable is not set
        token        0600; 256 random bits, new at every start of the lab
        door.json    lab, url (empty while the lab is starting), lab file, record, process: no secret

So every terminal of that user finds every lab of the machine, wherever the lab file is. The token is new at every
start because the door of a killed lab stays behind: whoever takes its port then gets a token that opens nothing. A
token that others could read, through its mode or that of its folder, is taken out of use by the lab and refused by
the command line. Root can read everything and is not kept out.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sdl.errors import ConfigError, RecordError
from sdl.store.record import write_file

TOKEN, ADDRESS_FILE = "token", "door.json"
MAX_TOKEN_BYTES = 256
"""Bytes of a token file that are looked at."""


@dataclass(frozen=True, slots=True)
class LabAddress:
    """A lab that runs, or did until it was killed.

    `url` is empty before it listens; `began` tells its process from a later one of the number.
    """

    lab: str
    url: str
    file: str
    record: str
    process: int
    began: str
    folder: Path

    @property
    def home(self) -> str:
        """Its name and the folder of its lab file."""
        return f"lab {self.lab} in {os.path.dirname(self.file)}"

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        if self.began and _began(self.process) not in ("", self.began):
            return False
        if os.name == "nt":  # there, asking for a process would end it
            return True
        try:
            os.kill(self.process, 0)
        except PermissionError:
            return True
        except (OSError, OverflowError):
            return False
        return self.process > 0


def folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where this user's labs are found."""
    environ = os.environ if environ is None else environ
    state = environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "sdl" / "labs"


def labs(environ: Mapping[str, str] | None = None) -> list[LabAddress]:
    """The labs of this user whose process is there, by name."""
    found = []
    for path in sorted(folder(environ).glob(f"*/{ADDRESS_FILE}")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            address = LabAddress(**told, folder=path.parent)
        except (OSError, ValueError, TypeError):
            continue  # being written by another version, or not ours
        if address.alive:
            found.append(address)
    return found


def read(path: Path) -> str:
    """The token in a file that its owner alone can read.

    Raises:
        ConfigError: there is none, it is another user's or not a plain file, or others can read it.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():
            raise ConfigError(f"{path}: a link; a token must be a plain file")
        _check(path.parent, os.stat(path.parent, follow_symlinks=False))
        fd = os.open(path, flags)
    except OSError as error:
        raise ConfigError(f"{path}: no token can be read: {error.strerror}") from error
    with os.fdopen(fd, "rb") as stream:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise ConfigError(f"{path}: a token must be a plain file")
        _check(path, about)
        token = stream.read(MAX_TOKEN_BYTES).decode("ascii", "replace").strip()
    if not token:
        raise ConfigError(f"{path}: empty; start the lab again for a new token")
    return token


class Credentials:
    """The door of one running lab.

    Args:
        lab: its name.
        record: the folder of its record; with the name it tells labs apart.
        file: the lab file.
        environ: where XDG_STATE_HOME is looked up.

    Raises:
        ConfigError: its folder is another user's, or a link.
        RecordError: it cannot be written.
    """

    def __init__(self, lab: str, record: Path, file: Path, *, environ: Mapping[str, str] | None = None) -> None:
        self._lab, self._record, self._file = lab, record.absolute(), file.absolute()
        mark = hashlib.sha256(os.fsencode(self._record)).hexdigest()[:8]
        self.folder = folder(environ) / f"{lab}-{mark}"
        self._changing = threading.Lock()
        self._token = ""
        self.renew()

    def renew(self) -> None:
        """A new token in place of the old one, which opens nothing from now on."""
        with self._changing:
            token = secrets.token_urlsafe(32)
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                about = os.stat(self.folder, follow_symlinks=False)
                if not stat.S_ISDIR(about.st_mode):
                    raise ConfigError(f"{self.folder}: must be a folder, not a link or a file")
                _own(self.folder, about)
                os.chmod(self.folder, 0o700)
                draft = self.folder / f"{TOKEN}.new"
                with contextlib.suppress(FileNotFoundError):
                    draft.unlink()
                fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
                with os.fdopen(fd, "w", encoding="ascii") as stream:
                    stream.write(token + "\n")
                draft.replace(self.folder / TOKEN)
            except OSError as error:
                raise RecordError(f"{self.folder}: no token can be written: {error.strerror}") from error
            self._token = token

    def announce(self, url: str) -> None:
        """Tells where it listens, empty before it does; from now on the command line knows of it.

        Raises:
            RecordError: it cannot be written.
        """
        told = asdict(
            LabAddress(
                self._lab, url, str(self._file), str(self._record), os.getpid(), _began(os.getpid()), self.folder
            )
        )
        del told["folder"]
        write_file(self.folder / ADDRESS_FILE, json.dumps(told) + "\n")

    def opens(self, token: str) -> bool:
        """Whether this is the token; takes as long for a wrong one as for the right one.

        Raises:
            ConfigError: the token could be read by others. It is a new one now.
        """
        right = hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())
        try:
            held = read(self.folder / TOKEN)
        except ConfigError as error:
            self.renew()
            raise ConfigError("others could read the token, or it was changed; ask with the new one") from error
        return right and hmac.compare_digest(held.encode(), self._token.encode())

    def close(self) -> None:
        """Takes the door away."""
        for name in (ADDRESS_FILE, TOKEN):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def _began(process: int) -> str:
    """When a process began, in ticks since the machine did; empty where the system does not say, or it is gone."""
    try:
        return (
            Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    except (OSError, IndexError):
        return ""


def _own(path: Path, about: os.stat_result) -> None:
    if os.name == "posix" and about.st_uid != os.geteuid():
        raise ConfigError(f"{path}: belongs to another user")


def _check(path: Path, about: os.stat_result) -> None:
    _own(path, about)
    mode = stat.S_IMODE(about.st_mode)
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"{path}: others can read it (mode {mode:o}); start the lab again for a new one")
