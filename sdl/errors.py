"""Every error that `sdl` raises on purpose, sorted by who must act.

    SdlError                 the message says what, which value, and what to do
    ├─ ConfigError           you: file, line, path in the file, allowed values              exit 2
    ├─ InstrumentError       the instrument; says whether a retry may help and whether it
    │  │                     may have measured all the same                               exit 3
    │  ├─ Unreachable        no answer: refused, reset, timed out                 (retry)
    │  ├─ Busy               somebody else is using it                            (retry)
    │  ├─ BadReply           an answer that cannot be a reading                   (retry)
    │  ├─ Rejected           it refuses these settings
    │  └─ NotApplied         the answer does not say what was applied
    ├─ SolverError           the model                                                      exit 4
    │  ├─ NotEnoughData      fewer rows than it needs (have, need)
    │  └─ Degenerate         rows that do not determine it
    ├─ RecordError           the disk                                                       exit 5
    │  ├─ Damaged            a line that was changed, lost or swapped (path, line)
    │  ├─ InUse              another process holds it: a record, an instrument (holder)
    │  ├─ Full              no room for another line
    │  └─ Lost              its file was deleted, replaced or cut while it was written (saved)
    └─ OutOfTurn             a bug in sdl: please report                                    exit 70

Foreign exceptions (httpx, OSError, pydantic, yaml …) are translated in one place per library: the module
that imports it. Exit codes of finished campaigns are in `sdl.runner.EXIT_CODES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST = 2000
"""Characters of what somebody else's code says that go into a record."""


def cut(text: str) -> str:
    """What somebody else's code says, no longer than a record should hold in one line."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


class SdlError(Exception):
    """Root of all errors raised on purpose; `exit_code` is what the command line ends with."""

    exit_code = 70

    def __reduce__(self) -> tuple[Callable[..., SdlError], tuple[object, ...]]:
        """Lets it reach another process, also where it is made from other arguments than its message."""
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[SdlError], args: tuple[object, ...], rest: Mapping[str, object]) -> SdlError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(rest)
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a campaign file: where it is and what would be right."""

    message: str
    path: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f":{self.line}" if self.file else f"line {self.line}"
        place = self.file + line
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(SdlError):
    """You: something in a file or an argument is not as it must be. Carries every problem found, not the first."""

    exit_code = 2

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class InstrumentError(SdlError):
    """The instrument did not give a reading.

    Attributes:
        retryable: asking again may help.
        maybe_measured: the instrument may have measured (and counted, and logged) although no reading arrived.
    """

    exit_code = 3
    retryable = False
    maybe_measured = False

    def __init__(self, message: str, *, retryable: bool | None = None, maybe_measured: bool | None = None) -> None:
        super().__init__(message)
        if retryable is not None:
            self.retryable = retryable
        if maybe_measured is not None:
            self.maybe_measured = maybe_measured


class Unreachable(InstrumentError):
    """No answer: refused, reset or timed out."""

    retryable = True


class Busy(InstrumentError):
    """Somebody else is using the instrument."""

    retryable = True


class BadReply(InstrumentError):
    """An answer that cannot be a reading: an error page, cut-off JSON, a missing or impossible channel."""

    retryable = True
    maybe_measured = True


class Rejected(InstrumentError):
    """The instrument, or our check before sending, refuses these settings."""


class NotApplied(InstrumentError):
    """The answer does not say which settings were applied, so the readings cannot be used."""

    maybe_measured = True


class SolverError(SdlError):
    """The model could not answer."""

    exit_code = 4


class NotEnoughData(SolverError):
    """Fewer usable rows than the solver needs."""

    def __init__(self, have: int, need: int, what: str = "usable rows") -> None:
        self.have, self.need = have, need
        super().__init__(f"{have} {what}, {need} needed")


class Degenerate(SolverError):
    """The rows do not determine the model: all at one setting, or an input that never changed."""


class RecordError(SdlError):
    """The disk, or what is written on it."""

    exit_code = 5


class Damaged(RecordError):
    """A line of a record was changed, lost or swapped. Nothing is overwritten."""

    def __init__(self, path: str, line: int, why: str) -> None:
        self.path, self.line, self.why = path, line, why
        super().__init__(f"{path}:{line}: damaged: {why}")


class InUse(RecordError):
    """Another process holds it: writes to this record, drives this instrument."""

    def __init__(self, path: str, holder: str) -> None:
        self.path, self.holder = path, holder
        super().__init__(f"{path}: in use by {holder or 'another process'}; wait for it, or end it first")


class Full(RecordError):
    """No room for another line; the record was cut back to its last whole line."""


class Lost(RecordError):
    """A record's file was deleted, replaced or cut while it was written, or its disk is gone.

    Attributes:
        saved: the folder in which what it held was saved, a record of its own; None where that could not be done.
    """

    def __init__(self, message: str, saved: str | None) -> None:
        self.saved = saved
        super().__init__(message)


class OutOfTurn(SdlError):
    """An event that the campaign was not waiting for: a bug in sdl, please report it."""
