"""Notices, and their recipients: the key `notify` of a campaign file and of a lab file.

Addresses of Apprise may contain passwords, so the file only names where each address is stored.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import quote

from pydantic import AfterValidator, Field, field_validator, model_validator

from sdl.durations import Duration
from sdl.errors import ConfigError, translated_os_errors
from sdl.types import Frozen

Kind = Literal[
    "finished", "unreachable", "failed", "asked", "paused", "lost", "back", "disk", "missed", "approval", "digest"
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
OUTCOME_KINDS: Mapping[str, Kind] = {"failed": "failed", "unreachable": "unreachable"}
"""The kind of notice for an outcome; `finished` for all others."""
LOOK_BACK = 2 * 86400.0  # seconds; when a lab or a run continues, older events are not reported again
CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d"


def parse_span(value: str) -> str:
    """Check that a text is a span of local times, `22:00-07:00`, and return it unchanged.

    Raises:
        ValueError: it is not such a span, or it ends when it begins.
    """
    if not re.fullmatch(rf"{CLOCK}-{CLOCK}", value) or value[:5] == value[6:]:
        raise ValueError(f'must be two different times of the day in quotes, "22:00-07:00", not {value!r}')
    return value


DaySpan = Annotated[str, AfterValidator(parse_span)]


class Secret(Frozen):
    """Where a secret is stored: exactly one of `env` and `file`."""

    env: str | None = Field(None, description="name of an environment variable of the process that sends")
    file: str | None = Field(
        None, description="a file that only its owner can read; relative to the file that names it"
    )

    @model_validator(mode="before")
    @classmethod
    def _never_the_secret_itself(cls, value: Any) -> Any:
        if isinstance(value, str):  # not shown: it may be the secret
            raise ValueError(
                "an address may contain a password; write where it is stored: {env: SDL_MAIL} or {file: mail.url}"
            )
        return value

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("must have exactly one of env and file")
        return self

    def __str__(self) -> str:
        return f"environment variable {self.env}" if self.env is not None else f"file {self.file}"

    def read(self, base: Path) -> str:
        """Read the secret; a relative `file` starts from `base`.

        Raises:
            ConfigError: the secret is missing or empty, or other users can read it.
        """
        text = _private_text(base / str(self.file)) if self.env is None else os.environ.get(self.env, "")
        if not (secret := text.strip()):
            raise ConfigError(f"{self}: not set, or empty")
        return secret


class Recipient(Frozen):
    """One recipient of notices."""

    url: Secret = Field(description="where its Apprise address is stored: mailto://…, slack://…, json://…")
    tell: tuple[Kind, ...] = Field(
        tuple(kind for kind in KINDS if kind != "finished"),
        description="kinds of notices that it receives",
        min_length=1,
    )
    jobs: tuple[str, ...] = Field((), description="only notices about these jobs; all if empty")
    quiet: DaySpan | None = Field(
        None, description='local times without messages, "22:00-07:00"; they are sent afterwards'
    )
    an_hour: int = Field(
        12,
        ge=1,
        le=1000,
        description="most messages per hour, a quarter of them reserved for failed, lost and disk; further ones are "
        "combined into one",
    )


def parse_page(value: str) -> str:
    """The address of a page, without a slash at its end.

    Raises:
        ValueError: it is not an address, or has more than scheme, host and port.
    """
    if not re.fullmatch(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?/?", value):
        raise ValueError(f"must be the address of the page, https://bench.example.org, not {value!r}")
    return value.rstrip("/").lower()


PageAddress = Annotated[str, AfterValidator(parse_page)]


class Messages(Frozen):
    """Recipients of messages, and what messages refer to: the key `notify` of a campaign."""

    to: Mapping[str, Recipient] = Field({}, description="recipients, each with a name")
    url: PageAddress | None = Field(
        None, description="address at which people reach the page, for the links in messages: https://bench.example.org"
    )
    remind: Duration | None = Field(
        1800.0, description="interval of reminders until a person has given a reading that was asked for; null: none"
    )
    keep: Duration = Field(7 * 86400.0, description="time after which a message that could not be sent is given up")

    def link(self, run: str) -> str:
        """The address of the page of a run `CAMPAIGN/RUN`; empty without `url`."""
        return f"{self.url}/runs/{quote(run)}" if self.url else ""

    def located(self, base: Path) -> Self:
        """A copy with absolute paths of secrets; relative ones start from `base`."""
        to = {
            name: one if one.url.file is None
            else one.model_copy(update={"url": Secret(file=str((base / one.url.file).absolute()))})
            for name, one in self.to.items()
        }  # fmt: skip
        return self.model_copy(update={"to": to})


class Notify(Messages):
    """Recipients of the notices of a lab, and limits of their number."""

    digest: str | None = Field(None, description='local time of the daily digest, "07:30"; none by default')
    paused: Duration = Field(3600.0, description="a pause longer than this is reported")
    again: Duration = Field(6 * 3600.0, description="a notice about the same job or instrument is repeated after this")
    disk_mb: float = Field(500.0, gt=0, description="free space for runs below which a notice is sent; MB")

    @field_validator("digest")
    @classmethod
    def _time(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(CLOCK, value):
            raise ValueError('must be a time of the day in quotes, "07:30"')
        return value


@dataclass(frozen=True, slots=True)
class Notice:
    """A message about one event.

    Attributes:
        id: determined by the event, so that folding the events again gives the same id.
        subject: `job NAME`, `instrument NAME`, `run NAME` or `lab`.
        title: one line, beginning with the name of the lab or campaign.
        job: the job concerned; empty if none.
    """

    id: str
    kind: Kind
    subject: str
    title: str
    body: str
    at: float
    job: str = ""


def recipients(notify: Messages, notice: Notice) -> list[str]:
    """The names of the recipients of a notice."""
    return [
        name
        for name, target in notify.to.items()
        if notice.kind in target.tell and (not target.jobs or not notice.job or notice.job in target.jobs)
    ]


def within_span(span: str | None, at: float, zone: tzinfo) -> bool:
    """Whether a time lies in a span of local times, `22:00-07:00` (end excluded); false without a span."""
    if not span:
        return False
    begin, end, clock = span[:5], span[6:], datetime.fromtimestamp(at, zone).strftime("%H:%M")
    return begin <= clock < end if begin < end else clock >= begin or clock < end


def _private_text(path: Path) -> str:
    with translated_os_errors(path, "read"), path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
            raise ConfigError(f"{path}: others can read this secret; chmod 600 {path}")
        return stream.read(4096).decode("utf-8", "replace")
