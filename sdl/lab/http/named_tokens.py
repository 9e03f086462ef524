"""Named access tokens of a lab, made and revoked by `sdl lab token`.

    runs/NAME.lab/tokens/        0700
        claude.json              0600; scopes, SHA-256 of the token, when it was made, whether it is an agent's

A token has 256 random bits, so that its hash tells nothing about it and needs no salt; the token itself is shown once
and kept nowhere. The folder is read at every request: a token is revoked by removing its file.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdl.errors import ConfigError, RecordError
from sdl.store.plainfile import open_existing, open_fd
from sdl.store.record import sync_folder

FOLDER = "tokens"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SCOPES = {
    "read": "validate campaigns; everything else is readable without a token",
    "submit": "rehearse campaigns and submit them",
    "operate": "pause, resume, abort, skip and run jobs; answer asked trials; edit notes",
    "approve": "approve or refuse what an agent has submitted",
}
"""What a token may do; each includes `read`. Any valid token may stop a run."""
AGENT_SCOPES: Mapping[str, tuple[str, ...]] = {
    "read": ("read",),
    "rehearse": ("read", "submit"),
    "submit": ("read", "submit"),
}
"""By tier of an agent, the scopes that its token can have at most; the tier decides what it may submit."""
RESERVED = ("lab", "lab file", "schedule", "suspend", "unknown")  # already `by` in journals
MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a request.

    Attributes:
        name: name of the token, and `by` in journal and notes.
        scopes: a subset of `SCOPES`.
        agent: whether the limits of `agents` in the lab file apply.
    """

    name: str
    scopes: frozenset[str]
    agent: bool = False


@dataclass(frozen=True, slots=True)
class NamedToken:
    """A named token as stored: everything but the token."""

    name: str
    scopes: tuple[str, ...]
    sha256: str
    at: float
    agent: bool


class NamedTokens:
    """The named tokens of one lab.

    Args:
        record: directory of the lab's journal.
        agents: tier of each agent of the lab file.
    """

    def __init__(self, record: Path, agents: Mapping[str, str] | None = None) -> None:
        self.folder = record / FOLDER
        self._agents = dict(agents or {})

    def new(self, name: str, scopes: Sequence[str], at: float, *, taken: Collection[str] = ()) -> str:
        """Make a token and return it; only its hash is kept.

        Args:
            name: who acts with it.
            scopes: at least one of `SCOPES`.
            at: present time, seconds since 1970 UTC.
            taken: further names that it must not have.

        Raises:
            ConfigError: the name is invalid or taken, a scope is unknown, or an agent's token would have more scopes
                than its tier.
            RecordError: it cannot be written.
        """
        if not NAME.fullmatch(name) or name in RESERVED:
            raise ConfigError(f"{name!r} is not a valid name: 1 to 64 letters, digits, `.`, `_`, `-`; and not reserved")
        if name in taken:
            raise ConfigError(f"{name} is the account of the lab; choose another name")
        if unknown := [scope for scope in scopes if scope not in SCOPES]:
            raise ConfigError(f"unknown scope {unknown[0]!r}; allowed: {', '.join(SCOPES)}")
        if not scopes:
            raise ConfigError(f"a token needs at least one scope: {', '.join(SCOPES)}")
        agent = name in self._agents
        allowed = AGENT_SCOPES[self._agents[name]] if agent else tuple(SCOPES)
        if excess := [scope for scope in scopes if scope not in allowed]:
            text = f"{name} is an agent of tier {self._agents[name]}; its token cannot have the scope {excess[0]}"
            raise ConfigError(f"{text}; allowed: {', '.join(allowed)}")
        token = secrets.token_urlsafe(32)
        stored = {
            "scopes": [scope for scope in SCOPES if scope in scopes], "sha256": _digest(token), "at": at, "agent": agent
        }  # fmt: skip
        path = self.folder / f"{name}.json"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = open_fd(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as stream:
                stream.write(json.dumps(stored) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            sync_folder(self.folder)
        except FileExistsError:
            raise ConfigError(f"there is a token {name} already; revoke it first") from None
        except OSError as error:
            raise RecordError(f"{path}: cannot be written: {error.strerror}") from error
        return token

    def all(self) -> list[NamedToken]:
        """The tokens by name.

        Raises:
            ConfigError: others could write the folder or one of its files, so that none of them counts.
        """
        try:
            _require_private(self.folder, self.folder.lstat())
            paths = sorted(self.folder.glob("*.json"))
        except FileNotFoundError:
            return []
        return [token for path in paths if (token := _read(path)) is not None]

    def revoke(self, name: str) -> None:
        """Remove a token; it is invalid from now on.

        Raises:
            ConfigError: no token has this name.
        """
        if name not in [token.name for token in self.all()]:
            raise ConfigError(f"no token {name}; there are: {', '.join(t.name for t in self.all()) or 'none'}")
        with contextlib.suppress(FileNotFoundError):
            (self.folder / f"{name}.json").unlink()
        sync_folder(self.folder)

    def identify(self, token: str) -> Identity | None:
        """The identity that a token belongs to; None if no token matches.

        Every stored hash is compared, in constant time.

        Raises:
            ConfigError: as `all`.
        """
        digest, found = _digest(token), None
        for stored in self.all():
            if hmac.compare_digest(stored.sha256, digest):
                found = stored
        return None if found is None else self._identity(found)

    def _identity(self, stored: NamedToken) -> Identity:
        """Its scopes now: an agent has those of its tier in the lab file, none where the file no longer names it."""
        if not stored.agent and stored.name not in self._agents:
            return Identity(stored.name, frozenset(stored.scopes))
        allowed = AGENT_SCOPES.get(self._agents.get(stored.name, ""), ())
        return Identity(stored.name, frozenset(stored.scopes) & frozenset(allowed), agent=True)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _read(path: Path) -> NamedToken | None:
    """A stored token; None if it was revoked meanwhile, is no token, or could have been written by others."""
    try:
        with open_existing(path) as stream:
            _require_private(path, os.fstat(stream.fileno()))
            value: dict[str, Any] = json.loads(stream.read(MAX_BYTES))
        scopes = tuple(scope for scope in value["scopes"] if scope in SCOPES)
        return NamedToken(path.stem, scopes, str(value["sha256"]), float(value["at"]), value["agent"] is True)
    except (OSError, ConfigError, ValueError, KeyError, TypeError):
        return None


def _require_private(path: Path, info: os.stat_result) -> None:
    """Refuse a file or folder that another user could have written."""
    if os.name != "posix":
        return
    if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o022:
        raise ConfigError(
            f"{path}: other users could have written it; named tokens are refused until this is corrected"
        )
