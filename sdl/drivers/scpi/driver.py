"""An open device that is set and read by lines of text, as SCPI has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sdl.drivers.base import OpenDriver
from sdl.drivers.declared import placeholders
from sdl.drivers.scpi.connection import ScpiConnection
from sdl.errors import BadReply, InstrumentError, NotApplied, Rejected
from sdl.types import Input, Power, Reading, SafeState, Settings, Value

SAFE_ANSWER = 15.0  # most seconds for each answer while it is switched off
LINES = 20  # most lines before the identity, and most errors in a queue
OVERFLOW = 9.9e37  # SCPI's number for "beyond the range"; a little more is "not a number"
UNPROVEN = "nothing in the file asks what was applied; the questions of `applied` would"

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)")
_ERROR = re.compile(r"([+-]?\d+)\s*(?:,\s*(.*))?")


@dataclass(frozen=True)
class ChannelQuery:
    """A question for one channel.

    Attributes:
        text: the line to send.
        field: number of the value among those between commas in the answer, from 1.
        unit: what may follow the number.
    """

    text: str
    field: int = 1
    unit: str = ""


@dataclass(frozen=True)
class Commands:
    """The lines that a device understands.

    Attributes:
        identify: part of its answer to `*IDN?`; empty: it is not asked.
        init: sent after each connection, before anything is set.
        set: sets an input, by its name; `{value}` is its value, `{name}` that of any input.
        read: questions by channel.
        applied: questions by input.
        off_commands: sent after the settings `off`.
        error: question for the oldest error; empty: it is not asked.
    """

    identify: str
    init: Sequence[str]
    set: Mapping[str, str]
    read: Mapping[str, ChannelQuery]
    applied: Mapping[str, str]
    off_commands: Sequence[str]
    error: str


class ScpiDriver(OpenDriver):
    """An open device: set, ask what was applied, read. No retries.

    An answer does not say to which question it belongs. After a failure the connection is therefore closed, and on the
    next connection everything before the answer to `*IDN?` is dropped. Each reading also ends with `*IDN?`: if another
    answer arrives, an earlier one belonged to another question, and the reading is refused. Without `identify`, input
    that waits before a question is dropped; an answer that arrives even later may be taken for the answer to the next
    question.
    """

    def __init__(
        self, connection: ScpiConnection, commands: Commands, inputs: Sequence[Input], off: Settings | None
    ) -> None:
        self._connection, self._commands, self._off = connection, commands, off
        self._choices = {item.name: item.choices for item in inputs}
        self._timeout = connection.timeout
        self._identity: str | None = None
        self._prepared = False

    def measure(self, settings: Settings) -> Reading:
        """Set all inputs, and take one reading.

        Raises:
            Rejected: the device reports that it does not accept the settings.
            Unreachable: no connection, or no answer in time.
            BadReply: an answer is not the expected one.
            NotApplied: an answer does not say what was applied.
        """
        self.require_open()
        self._connection.timeout = self._timeout
        self._connect()
        self._prepare()
        with self._exchange():
            self._set(settings)
            self._check_errors("the settings")
            applied = {**settings, **self._applied()}
            readings = self._read()
            self._check_errors("the questions")
            self._synchronise()
        return Reading(applied, readings)

    def safe(self) -> SafeState:
        """Send the settings `off` and `off_commands`; only the questions `applied` say which settings were applied."""
        self.require_open()
        if self._off is None:
            return SafeState(Power.NOT_NEEDED)
        self._connection.timeout = min(self._timeout, SAFE_ANSWER)
        self._connect()
        self._prepared = False  # `init` is due again: it may switch on what `off_commands` switch off
        with self._exchange():
            self._set(self._off)
            for command in self._commands.off_commands:
                self._connection.write(command)
            self._check_errors("the settings `off`")
            applied = self._applied()
            self._synchronise()
        return SafeState(Power.OFF, applied) if applied else SafeState(Power.UNKNOWN, None, UNPROVEN)

    def close(self) -> None:
        super().close()
        self._connection.close()

    def _connect(self) -> None:
        """Open the connection, and drop what comes before the device says who it is.

        Raises:
            InstrumentError: another device answers.
        """
        if self._connection.is_open:
            return
        self._prepared = False
        self._connection.open()
        if not (part := self._commands.identify):
            return
        lines = []
        try:
            self._connection.drop_leftovers()
            lines.append(self._connection.query("*IDN?"))
            while part not in lines[-1] and len(lines) < LINES:
                lines.append(self._connection.read("to '*IDN?'"))
        except InstrumentError as error:
            if not lines:
                error.maybe_measured = False
                raise
        if part not in lines[-1]:
            self._connection.close()
            raise InstrumentError(
                f"the answer to '*IDN?' is {lines[0][:100]!r}, which does not contain {part!r} (identify)",
                retryable=self._identity is not None,
            )
        if self._identity is None:
            self._identity = lines[-1]

    def _prepare(self) -> None:
        """Send `init` where it is due.

        Raises:
            InstrumentError: the device reports an error.
        """
        if self._prepared:
            return
        with self._exchange():
            self._errors()  # of earlier times
            for command in self._commands.init:
                self._connection.write(command)
            if errors := self._errors():
                raise InstrumentError(f"after `init` the device reports {errors[0][1]}")
        self._prepared = True

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Close the connection after any failure, since answers may still come."""
        try:
            self._connection.drop_leftovers()
            yield
        except InstrumentError as error:
            self._connection.close()
            error.maybe_measured = True
            raise

    def _ask(self, question: str) -> str:
        if not self._commands.identify:  # with it, an answer too many is found, and must not be hidden
            self._connection.drop_leftovers()
        return self._connection.query(question)

    def _set(self, settings: Settings) -> None:
        for name, command in self._commands.set.items():
            self._connection.write(placeholders.fill(command, {**settings, "value": settings[name]}, {}))

    def _applied(self) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, question in self._commands.applied.items():
            answer = self._ask(question)
            choices = self._choices[name]
            values[name] = _choice(answer, question, choices) if choices else _number(answer, question, "", NotApplied)
        return values

    def _read(self) -> dict[str, float]:
        answers: dict[str, list[str]] = {}
        values = {}
        for name, query in self._commands.read.items():
            if query.text not in answers:
                answers[query.text] = self._ask(query.text).split(",")
            parts = answers[query.text]
            if query.field > len(parts):
                raise BadReply(f"{query.text!r}: no value number {query.field} in the answer {','.join(parts)[:60]!r}")
            values[name] = _number(parts[query.field - 1], query.text, query.unit, BadReply)
        return values

    def _check_errors(self, what: str) -> None:
        """Raise the first error that the device reports.

        Raises:
            Rejected: an error of the command or its execution. BadReply: any other.
        """
        if errors := self._errors():
            self._synchronise()  # the report may be the answer to an earlier question
            code, text = errors[0]
            kind = Rejected if -300 < code <= -100 else BadReply
            raise kind(f"after {what} the device reports {text}", maybe_measured=True)

    def _errors(self) -> list[tuple[int, str]]:
        """Code and text of every error in the queue, which is empty afterwards."""
        errors: list[tuple[int, str]] = []
        while self._commands.error and len(errors) < LINES:
            answer = self._ask(self._commands.error)
            if (match := _ERROR.fullmatch(answer)) is None:
                raise BadReply(f"{self._commands.error!r}: the answer {answer[:60]!r} is not an error number and text")
            if int(match[1]) == 0:
                break
            errors.append((int(match[1]), answer[:200]))
        return errors

    def _synchronise(self) -> None:
        """Refuse the answers so far unless that to `*IDN?` comes next.

        Raises:
            BadReply: another one does.
        """
        if not self._commands.identify:
            return
        answer = self._connection.query("*IDN?")
        if answer != self._identity:
            raise BadReply(f"the answer to '*IDN?' is {answer[:60]!r}: answers no longer belong to their questions")


def _choice(answer: str, question: str, choices: Sequence[str]) -> str:
    """The choice in an answer, which may be quoted and in capitals."""
    text = answer.strip().strip("\"'")
    for choice in choices:
        if choice.casefold() == text.casefold():
            return choice
    listed = ", ".join(choices)
    raise NotApplied(f"{question!r}: the answer {answer[:60]!r} is none of the choices {listed}", retryable=True)


def _number(answer: str, question: str, unit: str, kind: type[InstrumentError]) -> float:
    """The number in an answer, which its unit may follow."""
    match = _NUMBER.fullmatch(answer.strip())
    if match is None or match[2] not in ("", unit):
        hint = f" (allowed after it: {unit})" if unit else ""
        raise kind(f"{question!r}: the answer {answer[:60]!r} is not a number{hint}", retryable=True)
    value = float(match[1])
    if abs(value) >= OVERFLOW:
        why = "means that there is no value, or one beyond the range"
        raise kind(f"{question!r}: the answer {answer[:60]!r} {why}", retryable=True)
    return value
