"""A program of the user's as the instrument: one JSON object a line in, one a line out, in any language.

    {"measure": {"red": 30, "yellow": 5}, "id": 7}    ->  {"id": 7, "readings": {"R": 120}, "applied": {…}}
                                                      or  {"id": 7, "error": "no water", "retryable": true}
    {"off": {"red": 0, "yellow": 0}, "id": 8}         ->  {"id": 8, "applied": {"red": 0, "yellow": 0}}

`applied` and `id` may be left out of an answer to `measure`: the settings were then applied as asked. An answer with
another id is an answer to an earlier request and is discarded. After a request without a proper answer the program is
restarted, so that no late output can be taken for the answer to a later request.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from sdl.clock import Clock
from sdl.drivers import strict_json
from sdl.drivers.base import OpenDriver
from sdl.drivers.command.process import LineProcess
from sdl.drivers.declared.config import Declared
from sdl.durations import Duration
from sdl.errors import BadReply, ConfigError, InstrumentError, NotApplied, Problem, Unreachable, cut
from sdl.types import Power, Reading, SafeState, Settings, is_number

log = logging.getLogger("sdl")

SAFE_WAIT = 55.0  # seconds, the longest wait for an answer to `off`
QUIET = 0.05  # seconds after an answer without id in which a second answer is noticed
PYTHON = ("python", "python3")
SHOWN = 80  # characters of a wrong answer in a message


class Command(Declared):
    """A program that reads one JSON object a line and answers each with one."""

    kind: Literal["command"] = "command"
    command: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1,
        max_length=100,
        description="program and arguments; it runs in the folder of this file",
        examples=[["python", "rig.py"]],
    )
    timeout: Duration = Field(60.0, description="longest wait for an answer")

    @property
    def address(self) -> str:
        return " ".join([str(self.place.absolute()), *self.command])

    def ready(self) -> None:
        """Look for the program; nothing is started.

        Raises:
            ConfigError: there is no such program.
        """
        if shutil.which(self.program) is None:
            raise ConfigError(Problem(f"there is no program {self.program}", "instrument.command"))

    @property
    def program(self) -> str:
        """The program to start: for `python`, if no program has that name, the interpreter that runs `sdl`."""
        name = self.command[0]
        if os.sep in name:
            return str(self.place.absolute() / name)
        return sys.executable if name in PYTHON and shutil.which(name) is None else name

    def connect(self, clock: Clock) -> CommandDriver:
        """Start the program.

        Raises:
            InstrumentError: it cannot be started.
        """
        return CommandDriver(self)


class CommandDriver(OpenDriver):
    """The running program, restarted if it ended or did not answer properly."""

    def __init__(self, instrument: Command) -> None:
        self._instrument = instrument
        self._number = 0
        self._answered = False
        self._process: LineProcess | None = self._start()

    def measure(self, settings: Settings) -> Reading:
        """Send one request, and return the reading in its answer.

        Raises:
            InstrumentError: the program cannot be started, or reports an error.
            Unreachable: it ended or did not answer in time.
            BadReply: the answer is no reading. NotApplied: it does not say what was applied.
        """
        self.require_open()
        answer = self._ask("measure", settings, self._instrument.timeout)
        readings, applied = answer.get("readings"), answer.get("applied", dict(settings))
        if not isinstance(readings, Mapping):
            raise self._bad(f"the answer holds no `readings`: {_shown(answer)}")
        if not isinstance(applied, Mapping):
            self._discard()
            raise NotApplied(f"`applied` must hold the value of each input: {_shown(answer)}")
        return Reading(applied, readings)

    def safe(self) -> SafeState:
        off = self._instrument.off or {}
        applied = self._ask("off", off, min(self._instrument.timeout, SAFE_WAIT)).get("applied")
        if not isinstance(applied, Mapping):
            return SafeState(Power.UNKNOWN, None, "the answer to `off` does not say which settings were applied")
        return SafeState(Power.OFF, dict(applied))

    def close(self) -> None:
        super().close()
        self._discard(gently=True)

    def _start(self) -> LineProcess:
        command = [self._instrument.program, *self._instrument.command[1:]]
        return LineProcess(command, self._instrument.place)

    def _ask(self, what: str, settings: Settings, seconds: float) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            InstrumentError: as for `measure`.
        """
        process = self._ready()
        self._number += 1
        try:
            process.send(json.dumps({what: dict(settings), "id": self._number}, allow_nan=False))
            answer = self._answer(process, seconds)
        except BaseException as error:
            self._discard()  # its answer may still come
            if isinstance(error, Unreachable) and not self._answered:
                error.retryable = False  # it does not work at all
            raise
        self._answered = True
        if "error" in answer:
            flags = {key: answer[key] is True for key in ("retryable", "maybe_measured") if key in answer}
            raise InstrumentError(cut(f"the command reports: {answer['error']}"), **flags)
        return answer

    def _ready(self) -> LineProcess:
        """The running program, with no answer waiting."""
        process = self._process
        if process is not None and (stray := process.unread()):
            log.warning("the command wrote %s without a request and is restarted", _shown(stray[0]))
            self._discard()
            process = None
        elif process is not None and not process.alive:
            log.warning("the command had ended and is restarted")
            self._discard()
            process = None
        self._process = process or self._start()
        return self._process

    def _answer(self, process: LineProcess, seconds: float) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while True:
            line = process.receive(max(until - time.monotonic(), 0.0), seconds)
            try:
                answer = strict_json.loads(line)
            except (ValueError, RecursionError) as error:
                hint = "only answers may go to its output, anything else to stderr"
                raise BadReply(f"the command wrote {_shown(line)}, which is no JSON ({error}); {hint}") from error
            if not isinstance(answer, dict):
                raise BadReply(f"the command wrote {_shown(line)}, which is no JSON object")
            if is_number(number := answer.get("id")) and number == self._number:
                return answer
            if "id" not in answer:
                return self._only(process, answer)
            log.warning("the command answered an earlier request: %s", _shown(line))

    def _only(self, process: LineProcess, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer without id, unless another follows: then either may be to an earlier request.

        Raises:
            BadReply: another follows.
        """
        try:
            second = process.receive(QUIET)
        except Unreachable:
            return answer
        raise BadReply(
            f"the command gave a second answer, {_shown(second)}; let it repeat the `id` of the request in every answer"
        )

    def _bad(self, message: str) -> BadReply:
        self._discard()
        return BadReply(message)

    def _discard(self, *, gently: bool = False) -> None:
        """End the program; the next request starts it anew."""
        process, self._process = self._process, None
        if process is not None:
            process.stop(gently=gently)


def _shown(text: bytes | Mapping[str, Any]) -> str:
    """A wrong answer, as a message shows it."""
    line = text.decode(errors="replace").strip() if isinstance(text, bytes) else json.dumps(text, default=str)
    return repr(line if len(line) <= SHOWN else line[:SHOWN] + "…")
