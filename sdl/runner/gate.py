"""Whether a campaign may proceed: asked before each action and repeatedly while it waits.

The gate decides; the runner records the decision and keeps the instrument off during a pause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sdl.core.campaign import Campaign

POLL_SECONDS = 0.5  # seconds between two questions while the campaign waits


@dataclass(frozen=True, slots=True)
class Proceed:
    """Proceed. After a pause, `by` says who or what ended it."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause with the instrument off.

    Attributes:
        cause: a sentence.
        by: who or what requests it.
        sample_background: take a reading with the instrument off now, and pass it to `Gate.on_background`.
        poll_after: seconds until the gate is asked again.
    """

    cause: str
    by: str
    sample_background: bool = False
    poll_after: float = POLL_SECONDS


@dataclass(frozen=True, slots=True)
class Abort:
    """End the campaign; it cannot be resumed."""

    reason: str
    by: str


Decision = Proceed | Pause | Abort


class Gate(Protocol):
    """Decides whether a campaign may proceed. Called in the runner's thread; returns at once."""

    def ask(self, campaign: Campaign, now: float) -> Decision:
        """The decision at `now` (seconds since 1970 UTC on the campaign's clock)."""
        ...

    def on_background(self, readings: Mapping[str, float] | None, now: float) -> None:
        """Receives the background that a `Pause` requested; None if there was no reading."""
        ...
