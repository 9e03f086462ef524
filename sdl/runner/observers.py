"""Who is told of events; and the watch that compares a real instrument with its twin (`watch: twin`)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sdl.config import ResolvedCampaign
from sdl.core.campaign import Campaign
from sdl.core.events import Event, Measured
from sdl.drivers.base import session_gap
from sdl.twin.state import TwinState, load
from sdl.types import SESSION_GAP, Reading

log = logging.getLogger("sdl")

Watch = Callable[[Event, Campaign], None]
"""Told of every event after it is written and folded."""

DEFAULT_TWIN = "night-2025-10"
"""The state that `watch: twin` means."""


def with_twin_monitor(chosen: ResolvedCampaign, watch: Watch | None) -> Watch | None:
    """The same watch, with one before it that warns where the campaign's instrument leaves its twin."""
    if chosen.watch is None:
        return watch
    state = load(DEFAULT_TWIN if chosen.watch == "twin" else chosen.watch)
    have = {item.name for item in chosen.instrument.inputs}
    if have != state.inputs.keys():
        log.warning(
            "watch: %s has the inputs %s, the instrument %s: nothing is watched",
            chosen.watch,
            ", ".join(state.inputs),
            ", ".join(sorted(have)),
        )
        return watch
    monitor, warned = TwinMonitor(state, session_gap(chosen.instrument)), False

    def both(event: Event, campaign: Campaign) -> None:
        nonlocal warned
        if isinstance(event, Measured):
            departed = monitor.observe(event)
            if departed and not warned:
                log.warning("trial %d: %s (watch: %s)", event.trial, departed, chosen.watch)
            elif warned and not departed:
                log.warning("trial %d: the instrument is where its twin is again", event.trial)
            warned = bool(departed)
        if watch is not None:
            watch(event, campaign)

    return both


class TwinMonitor:
    """A campaign's readings, compared with a twin as they come.

    Args:
        state: of the twin.
        session_gap: seconds between two readings that begin a new session.
    """

    def __init__(self, state: TwinState, session_gap: float = SESSION_GAP) -> None:
        self._state, self._session_gap = state, session_gap
        self._taken: list[tuple[Reading, int]] = []
        self._last = -float("inf")

    def observe(self, event: Measured) -> str | None:
        """A sentence where the instrument has left its twin by this reading; else None."""
        from sdl.twin.monitor import departure

        sitting = self._taken[-1][1] if self._taken else 0
        reading = Reading(event.applied, event.readings, event.background, event.saturated, event.fault)
        self._taken.append((reading, sitting + (event.at - self._last > self._session_gap)))
        self._last = event.at
        return departure(self._state, self._taken)

    def reset(self) -> None:
        """Begins anew, as after somebody has seen to the instrument."""
        self._taken.clear()
