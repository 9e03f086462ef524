"""Whether a campaign may go on: asked before each action and every moment while it waits.

The gate judges; the runner writes what it says into the record and keeps the instrument safe while it says hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sdl.core.campaign import Campaign

POLL_SECONDS = 0.5
"""Seconds after which it is asked again while the campaign waits."""


@dataclass(frozen=True, slots=True)
class Proceed:
    """Go on. After a hold, `by` says who or what ended it."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for now, and leave the instrument safe.

    Attributes:
        cause: a sentence.
        by: who or what asks for it.
        sample_background: take a reading with the light off now, and tell it (`Gate.on_background`).
        poll_after: seconds after which to ask again.
    """

    cause: str
    by: str
    sample_background: bool = False
    poll_after: float = POLL_SECONDS


@dataclass(frozen=True, slots=True)
class Abort:
    """End the campaign for good."""

    reason: str
    by: str


Decision = Proceed | Pause | Abort


class Gate(Protocol):
    """Decides whether a campaign may go on. Asked in the runner's thread; answers at once."""

    def ask(self, campaign: Campaign, now: float) -> Decision:
        """What is to be done at `now` (seconds since 1970 UTC, of the campaign's clock)."""
        ...

    def on_background(self, readings: Mapping[str, float] | None, now: float) -> None:
        """The reading that a Hold with `sample_background` asked for; None where none came."""
        ...
