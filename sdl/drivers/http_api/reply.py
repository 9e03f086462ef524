"""Read the answer of a server: its status, its JSON, and values out of it by JMESPath expressions.

An error here is found after the request reached the server, so the instrument may have measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sdl.drivers import strict_json
from sdl.drivers.http import HttpReply
from sdl.errors import BadReply, Busy, InstrumentError, NotApplied, Rejected, Unreachable
from sdl.types import Value, is_number

SHOWN = 80  # characters of an answer in a message
MEASURED, DONE = (200, 201), (200, 201, 202, 204)  # statuses of an answer with a reading, and of any other success
Search = Callable[[Any], Any]


def compile_expression(text: str) -> Search:
    """The search of a JMESPath expression.

    Raises:
        ValueError: the text is not a JMESPath expression; the message shows the place.
    """
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        search: Search = jmespath.compile(text).search
    except JMESPathError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{text!r} is not a JMESPath expression: {why}") from None
    return search


def check_status(reply: HttpReply, good: Collection[int] = MEASURED) -> None:
    """Refuse an answer whose status is not in `good`.

    Raises:
        Busy: too busy, or locked by another user.
        Rejected: the server refuses the settings.
        Unreachable: a gateway answers, not the instrument behind it.
        BadReply: any other status.
    """
    status = reply.status
    if status in good:
        return
    said = f": {_start(reply.body)}" if reply.body.strip() else ""
    if 300 <= status < 400:
        raise BadReply(f"status {status}: it redirects to {reply.location[:200]!r}; correct the url", retryable=False)
    if status in (409, 423, 429, 503):
        wait = f"; it asks for a pause of {reply.retry_after:g} s" if reply.retry_after else ""
        raise Busy(f"status {status}: too busy to answer{wait}{said}", maybe_measured=True)
    if status in (408, 502, 504):
        raise Unreachable(f"status {status}: the instrument behind the web server does not answer", maybe_measured=True)
    if status in (400, 422):
        raise Rejected(f"status {status}: the server refuses the request{said}")
    if status in (401, 403, 407):
        raise BadReply(f"status {status}: access denied; check the headers of the request{said}", retryable=False)
    if 400 <= status < 500:
        raise BadReply(f"status {status}: no such page; check the url and the method{said}", retryable=False)
    raise BadReply(f"status {status} is not an answer to a reading{said}")


def document(reply: HttpReply) -> Any:
    """The JSON of an answer.

    Raises:
        InstrumentError: as `check_status`; BadReply if the body is not JSON.
    """
    check_status(reply)
    try:
        return strict_json.loads(reply.body.decode())
    except (ValueError, RecursionError) as error:
        raise BadReply(f"the answer is not JSON ({error}): {_start(reply.body)}") from error


class Expressions:
    """JMESPath expressions of channels or inputs, by their names."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = dict(texts)
        self._searches = {name: compile_expression(text) for name, text in texts.items()}

    def __len__(self) -> int:
        return len(self._texts)

    def numbers(self, answer: Any) -> dict[str, float]:
        """The number of each channel in the JSON of an answer.

        Raises:
            BadReply: a channel is not in the answer, or not a finite number.
        """
        return {name: self._number(name, answer, "channel", BadReply) for name in self._texts}

    def settings(self, answer: Any, choices: Mapping[str, Sequence[str] | None]) -> dict[str, Value]:
        """The values of inputs that the server says it used: numbers, and texts of choices.

        Raises:
            NotApplied: an input is not in the answer, or not a value of its type.
        """
        values: dict[str, Value] = {}
        for name in self._texts:
            allowed = choices[name]
            if allowed is None:
                values[name] = self._number(name, answer, "applied", NotApplied)
                continue
            value = self._found(name, answer, "applied", NotApplied)
            if value not in allowed:
                listed = ", ".join(allowed)
                raise NotApplied(f"{self._place(name, 'applied')} finds {_shown(value)} and not one of {listed}")
            values[name] = value
        return values

    def _number(self, name: str, answer: Any, what: str, kind: type[InstrumentError]) -> float:
        value, place = self._found(name, answer, what, kind), self._place(name, what)
        if not is_number(value):
            hint = "; to_number(…) reads a number from a text" if isinstance(value, str) else ""
            raise kind(f"{place} finds {_shown(value)} and not a number{hint}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise kind(f"{place} finds a number that is not finite")
        return number

    def _found(self, name: str, answer: Any, what: str, kind: type[InstrumentError]) -> Any:
        from jmespath.exceptions import JMESPathError

        try:
            value = self._searches[name](answer)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
            why = " ".join(str(error).split())[:SHOWN]
            raise kind(f"{self._place(name, what)} cannot be evaluated on the answer: {why}") from error
        if value is None:
            raise kind(f"{self._place(name, what)} finds nothing in the answer {_shown(answer)}")
        return value

    def _place(self, name: str, what: str) -> str:
        return f"{what} {name}: the expression {self._texts[name]}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _start(body: bytes) -> str:
    return repr(body[:SHOWN].decode(errors="replace"))
