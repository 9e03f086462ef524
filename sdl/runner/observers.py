"""Observers of events, and the one that compares a real instrument with its twin (`watch: twin`)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sdl.config import ResolvedCampaign
from sdl.core.campaign import Campaign
from sdl.core.events import Event, Measured
from sdl.drivers.base import session_gap
from sdl.store.datasets import DatasetRow
from sdl.twin.fitted.state import FittedState
from sdl.twin.led.state import TwinState
from sdl.twin.monitor import departure
from sdl.twin.reference import load_reference
from sdl.types import SESSION_GAP, Reading

log = logging.getLogger("sdl")

Watch = Callable[[Event, Campaign], None]  # receives every event after it is written and folded


def notify(watch: Watch | None, event: Event, campaign: Campaign) -> Watch | None:
    """Pass an event to the observer; return the observer, or None once it can no longer receive events."""
    if watch is None:
        return None
    try:
        watch(event, campaign)
    except OSError as error:  # a closed pipe or terminal does not end the campaign
        log.warning("progress is no longer shown: %s", error)
        return None
    return watch


def with_twin_monitor(config: ResolvedCampaign, watch: Watch | None) -> Watch | None:
    """The observer preceded by one that warns when the campaign's instrument no longer matches its twin."""
    if config.watch_reference is None:
        return watch
    try:
        state = load_reference(config.watch_reference)
    except ValueError as error:  # a run that is resumed without the file
        log.warning("watch: %s: the instrument is not compared with a twin", error)
        return watch
    inputs = {item.name for item in config.instrument.inputs}
    if inputs != state.inputs.keys():
        theirs, ours = ", ".join(state.inputs), ", ".join(sorted(inputs))
        text = "watch: %s has the inputs %s, the instrument %s: they are not compared"
        log.warning(text, config.watch, theirs, ours)
        return watch
    monitor, warned = TwinMonitor(state, session_gap(config.instrument)), False

    def both(event: Event, campaign: Campaign) -> None:
        nonlocal warned
        if isinstance(event, Measured):
            departed = monitor.observe(event)
            if departed and not warned:
                log.warning("trial %d: %s (watch: %s)", event.trial, departed, config.watch)
            elif warned and not departed:
                log.warning("trial %d: the instrument matches its twin again", event.trial)
            warned = bool(departed)
        if watch is not None:
            watch(event, campaign)

    return both


class TwinMonitor:
    """Compares a campaign's readings with a twin as they arrive.

    Args:
        state: state of the twin.
        session_gap: seconds between two readings that begin a new session.
    """

    def __init__(self, state: TwinState | FittedState, session_gap: float = SESSION_GAP) -> None:
        self._state, self._session_gap = state, session_gap
        self._rows: list[DatasetRow] = []
        self._session, self._last = 0, -float("inf")

    def observe(self, event: Measured) -> str | None:
        """Add a reading; a sentence if the instrument no longer matches its twin, else None."""
        reading = Reading(event.applied, event.readings, event.background, event.saturated, event.fault)
        self._session += event.at - self._last > self._session_gap
        self._last = event.at
        self._rows.append(DatasetRow(reading, self._session, "", event.at))
        return departure(self._state, self._rows)

    def reset(self) -> None:
        """Forget all readings, for example after maintenance."""
        self._rows.clear()
