"""The errors of `sdl`, by who must act; each message names the problem, the value and the remedy.

    ConfigError        the user                             exit code 2
    InstrumentError    the instrument, or its operator      exit code 3
    SolverError        the model                            exit code 4
    RecordError        the disk                             exit code 5
    OutOfTurn          a bug in sdl: please report it       exit code 70

Foreign exceptions (httpx, OSError, pydantic, yaml …) are translated in one place per library: the module that imports
it. Exit codes of finished campaigns are in `sdl.runner.EXIT_CODES`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

LONGEST = 2000  # maximum length, in characters, of a foreign error message in a record


def cut(text: str) -> str:
    """A foreign error message on one line, shortened to at most `LONGEST` characters."""
    return shorten("; ".join(line.strip() for line in text.splitlines() if line.strip()))


def shorten(text: str) -> str:
    """A text of at most `LONGEST` characters, with a remark if some were left out."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def did_you_mean(word: object, allowed: Collection[str], cutoff: float = 0.6) -> str:
    """`; did you mean 'trials'?` for an allowed word that resembles this one; otherwise empty."""
    matches = get_close_matches(str(word), allowed, n=1, cutoff=cutoff)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def near(word: object, allowed: Collection[str], cutoff: float = 0.6) -> str:
    """The allowed words, and the one that is meant: `allowed: a, b, c; did you mean 'b'?`."""
    return f"allowed: {', '.join(allowed)}{did_you_mean(word, allowed, cutoff)}"


class SdlError(Exception):
    """Base class of all errors of `sdl`; `exit_code` is that of the command line."""

    exit_code = 70

    def __reduce__(self) -> tuple[Callable[..., SdlError], tuple[object, ...]]:
        """Pickle by class, arguments and attributes, whatever the constructor takes."""
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(kind: type[SdlError], args: tuple[object, ...], rest: Mapping[str, object]) -> SdlError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(rest)
    return error


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file: its place and the correct form."""

    message: str
    path: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f":{self.line}" if self.file else f"line {self.line}"
        place = self.file + line
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(SdlError):
    """A mistake in a file or argument; holds every problem found."""

    exit_code = 2

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(str(p) for p in self.problems))


@contextmanager
def translated_os_errors(path: object, what: str = "written", kind: type[SdlError] = ConfigError) -> Iterator[None]:
    """Raise `PATH: cannot be written: REASON` for an OSError in the block."""
    try:
        yield
    except OSError as error:
        raise kind(f"{path}: cannot be {what}: {error.strerror}") from error


@contextmanager
def translated_value_errors(path: str = "") -> Iterator[None]:
    """Raise a ValueError in the block as a ConfigError about the key `path`."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(Problem(str(error), path)) from error


class InstrumentError(SdlError):
    """The instrument gave no reading.

    Attributes:
        retryable: a retry may help.
        maybe_measured: the instrument may have measured although no reading arrived.
    """

    exit_code = 3
    retryable = False
    maybe_measured = False

    def __init__(self, message: str, *, retryable: bool | None = None, maybe_measured: bool | None = None) -> None:
        super().__init__(message)
        self.retryable = self.retryable if retryable is None else retryable
        self.maybe_measured = self.maybe_measured if maybe_measured is None else maybe_measured


class Unreachable(InstrumentError):
    """No answer: refused, reset or timed out."""

    retryable = True


class Busy(InstrumentError):
    """The instrument is in use by another user."""

    retryable = True


class BadReply(InstrumentError):
    """A reply that is no valid reading: an error page, incomplete JSON, a missing or impossible channel."""

    retryable = True
    maybe_measured = True


class Rejected(InstrumentError):
    """The instrument, or the check before sending, refused the settings."""


class Interlock(InstrumentError):
    """A reading lies beyond a limit; the instrument was told to be off, and the campaign ends."""

    maybe_measured = True


class NotApplied(InstrumentError):
    """The reply does not state the applied settings, so its readings cannot be used."""

    maybe_measured = True


class SolverError(SdlError):
    """The model cannot be fitted or evaluated."""

    exit_code = 4


class NotEnoughData(SolverError):
    """Fewer usable rows than the solver needs."""

    def __init__(self, have: int, need: int, what: str = "usable rows") -> None:
        self.have, self.need = have, need
        super().__init__(f"{have} {what}, {need} needed")


class Degenerate(SolverError):
    """The rows do not determine the model: all at one setting, or an input that never varied."""


class RecordError(SdlError):
    """A record cannot be read or written."""

    exit_code = 5


class Damaged(RecordError):
    """A line of a record was changed, lost or swapped; nothing is overwritten."""

    def __init__(self, path: str, line: int, why: str) -> None:
        self.path, self.line, self.why = path, line, why
        super().__init__(f"{path}:{line}: damaged: {why}")


class InUse(RecordError):
    """Another process writes this record or drives this instrument."""

    def __init__(self, path: str, holder: str) -> None:
        self.path, self.holder = path, holder
        super().__init__(f"{path}: in use by {holder or 'another process'}; wait for it, or end it first")


class Full(RecordError):
    """The disk is full; the record ends with its last complete line."""


class Lost(RecordError):
    """The file of a record was deleted, replaced or truncated while in use, or its disk is gone.

    Attributes:
        saved: folder of the rescued copy, a complete record; None if it could not be written.
    """

    def __init__(self, message: str, saved: str | None) -> None:
        self.saved = saved
        super().__init__(message)


class OutOfTurn(SdlError):
    """An event that the campaign is not waiting for."""
