"""Who is told of events; and the watch that holds a real instrument against its twin (`watch: twin`)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sdl.config import CampaignFile
from sdl.core.campaign import Campaign
from sdl.core.events import Event, Measured
from sdl.store.datasets import SITTING_GAP
from sdl.twin.state import TwinState, load
from sdl.types import Reading

log = logging.getLogger("sdl")

Watch = Callable[[Event, Campaign], None]
"""Told of every event after it is written and folded."""

USUAL = "night-2025-10"
"""The state that `watch: twin` means."""


def with_twin_monitor(chosen: CampaignFile, watch: Watch | None) -> Watch | None:
    """The same watch, with one before it that warns where the campaign's instrument leaves its twin."""
    if chosen.watch is None:
        return watch
    state = load(USUAL if chosen.watch == "twin" else chosen.watch)
    have = {item.name for item in chosen.instrument.inputs}
    if have != state.inputs.keys():
        log.warning(
            "watch: %s has the inputs %s, the instrument %s: nothing is watched",
            chosen.watch,
            ", ".join(state.inputs),
            ", ".join(sorted(have)),
        )
        return watch
    against, said = TwinMonitor(state), False

    def both(event: Event, campaign: Campaign) -> None:
        nonlocal said
        if isinstance(event, Measured):
            gone = against.saw(event)
            if gone and not said:
                log.warning("trial %d: %s (watch: %s)", event.trial, gone, chosen.watch)
            elif said and not gone:
                log.warning("trial %d: the instrument is where its twin is again", event.trial)
            said = bool(gone)
        if watch is not None:
            watch(event, campaign)

    return both


class TwinMonitor:
    """A campaign's readings, held against a twin as they come.

    Args:
        state: of the twin.
    """

    def __init__(self, state: TwinState) -> None:
        self._state = state
        self._taken: list[tuple[Reading, int]] = []
        self._last = -float("inf")

    def saw(self, event: Measured) -> str | None:
        """A sentence where the instrument no longer matches its twin by this reading; else None."""
        from sdl.twin.monitor import departure

        sitting = self._taken[-1][1] if self._taken else 0
        reading = Reading(event.applied, event.readings, event.background, event.saturated, event.fault)
        self._taken.append((reading, sitting + (event.at - self._last > SITTING_GAP)))
        self._last = event.at
        return departure(self._state, self._taken)

    def forget(self) -> None:
        """Begins anew, as after somebody has seen to the instrument."""
        self._taken.clear()
