"""Address and access token of a running lab.

    $XDG_STATE_HOME/sdl/labs/NAME-1a2b3c4d/      0700; ~/.local/state where the variable is not set
        token        0600; 256 random bits, new at every start of the lab
        door.json    lab, url (empty while the lab is starting), lab file, record, process: no secret

Every terminal of the user finds every lab of the machine here. The token changes at every start, because the files of a
killed lab remain: a program that takes over its port receives only an invalid token. A token readable by other users,
through its mode or that of its folder, is replaced by the lab and refused by the command line. Root can read
everything. The holder of the token acts under the name of the lab's account, with every scope; other people and
programs get named tokens (`sdl.lab.http.named_tokens`).
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
from dataclasses import dataclass
from pathlib import Path

from sdl.errors import ConfigError, RecordError
from sdl.lab.http.named_tokens import SCOPES, Identity, NamedTokens
from sdl.store.plainfile import open_existing, open_new
from sdl.store.record import write_file

TOKEN, ADDRESS_FILE = "token", "door.json"
MAX_TOKEN_BYTES = 256  # bytes read of a token file


@dataclass(frozen=True, slots=True)
class LabAddress:
    """The address of a running lab, or of one that was killed.

    `url` is empty until the lab listens; `began` distinguishes its process from a later one with the same id.
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
        """The lab's name and the directory of its lab file, for messages."""
        return f"lab {self.lab} in {os.path.dirname(self.file)}"

    @property
    def alive(self) -> bool:
        if self.began and _began(self.process) not in ("", self.began):
            return False
        if os.name == "nt":  # os.kill would end the process there
            return True
        try:
            os.kill(self.process, 0)
        except PermissionError:
            return True
        except (OSError, OverflowError):
            return False
        return self.process > 0


def folder() -> Path:
    """The directory of this user's lab addresses."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "sdl" / "labs"


def labs() -> list[LabAddress]:
    """The running labs of this user, by name."""
    running = []
    for path in sorted(folder().glob(f"*/{ADDRESS_FILE}")):
        with contextlib.suppress(OSError, ValueError, TypeError):  # written by another version, or not ours
            address = LabAddress(**json.loads(path.read_text(encoding="utf-8")), folder=path.parent)
            running += [address] if address.alive else []
    return running


def read(path: Path, *, folder: bool = True) -> str:
    """The token in a file that only its owner can read; with `folder`, in a folder that only its owner can enter.

    Raises:
        ConfigError: missing, not a regular file, of another user, or readable by others.
    """
    remedy = "restart the lab for a new access token" if folder else f"chmod 600 {path}"
    try:
        if folder:
            _check(path.parent, path.parent.lstat(), remedy)
        with open_existing(path) as stream:
            _check(path, os.fstat(stream.fileno()), remedy)
            token = stream.read(MAX_TOKEN_BYTES).decode("ascii", "replace").strip()
    except OSError as error:
        raise ConfigError(f"{path}: the access token cannot be read: {error.strerror}") from error
    if not token:
        another = "restart the lab for a new access token" if folder else "make a token with `sdl lab token new`"
        raise ConfigError(f"{path}: empty; {another}")
    return token


class Credentials:
    """The address and access token of one running lab, on disk, and its named tokens.

    Args:
        record: directory of its journal; identifies the lab together with the name.
        named: the named tokens; None: there are none.

    Raises:
        ConfigError: the folder is a link or belongs to another user.
        RecordError: the files cannot be written.
    """

    def __init__(self, lab: str, record: Path, file: Path, named: NamedTokens | None = None) -> None:
        from sdl.runner import user  # which the command line does not need to find a lab

        self._named, self._owner = named, Identity(user(), frozenset(SCOPES))
        self._lab, self._record, self._file = lab, record.absolute(), file.absolute()
        digest = hashlib.sha256(os.fsencode(self._record)).hexdigest()[:8]
        self.folder = folder() / f"{lab}-{digest}"
        self._changing = threading.Lock()
        self._token = ""
        self.renew()

    def renew(self) -> None:
        """Replace the token; the old one is invalid from now on."""
        with self._changing:
            token = secrets.token_urlsafe(32)
            try:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                info = self.folder.lstat()
                if not stat.S_ISDIR(info.st_mode):
                    raise ConfigError(f"{self.folder}: must be a folder, not a link or a file")
                _check(self.folder, info, allowed=0o777)
                self.folder.chmod(0o700)
                draft = self.folder / f"{TOKEN}.new"
                with open_new(draft, 0o600) as stream:
                    stream.write(token.encode() + b"\n")
                draft.replace(self.folder / TOKEN)
            except OSError as error:
                raise RecordError(f"{self.folder}: the access token cannot be written: {error.strerror}") from error
            self._token = token

    def announce(self, url: str) -> None:
        """Publish the address for the command line; an empty address means that the lab is starting.

        Raises:
            RecordError: it cannot be written.
        """
        address = {
            "lab": self._lab, "url": url, "file": str(self._file), "record": str(self._record),
            "process": os.getpid(), "began": _began(os.getpid()),
        }  # fmt: skip
        write_file(self.folder / ADDRESS_FILE, json.dumps(address) + "\n")

    def identify(self, token: str) -> Identity | None:
        """The identity that a token belongs to: that of the lab, or a named one; None if no token matches.

        Raises:
            ConfigError: others could read the lab's token, which has been replaced, or write the named ones.
        """
        if self.accepts(token):
            return self._owner
        return None if self._named is None else self._named.identify(token)

    def accepts(self, token: str) -> bool:
        """Whether this is the lab's own token, compared in constant time.

        Raises:
            ConfigError: others could read the token; it has been replaced.
        """
        right = hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode())
        try:
            on_disk = read(self.folder / TOKEN)
        except ConfigError as error:
            self.renew()
            raise ConfigError("other users could read the access token, or it was changed; use the new one") from error
        return right and hmac.compare_digest(on_disk.encode(), self._token.encode())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            for name in (ADDRESS_FILE, TOKEN):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()


def _began(process: int) -> str:
    """The start time of a process in clock ticks since boot; empty if unknown."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return text.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _check(path: Path, info: os.stat_result, remedy: str = "", allowed: int = 0o700) -> None:
    """Refuse a file or folder of another user, or with a mode beyond the allowed one; `remedy` says what to do."""
    if os.name != "posix":
        return
    if info.st_uid != os.geteuid():
        raise ConfigError(f"{path}: belongs to another user")
    if (mode := stat.S_IMODE(info.st_mode)) & ~allowed & 0o777:
        raise ConfigError(f"{path}: others can read it (mode {mode:o}); {remedy}")
