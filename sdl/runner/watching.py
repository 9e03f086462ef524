"""Who is told of events; and the watch that holds a real instrument against its twin (`watch: twin`)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from sdl.campaign import Campaign
from sdl.config import CampaignFile
from sdl.events import Event, Measured
from sdl.readings import SITTING_GAP
from sdl.twin.state import load
from sdl.types import Reading

log = logging.getLogger("sdl")

Watch = Callable[[Event, Campaign], None]
"""Told of every event after it is written and folded."""

USUAL = "night-2025-10"
"""The state that `watch: twin` means."""


def held_against_twin(chosen: CampaignFile, watch: Watch | None) -> Watch | None:
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
    taken: list[tuple[Reading, int]] = []
    last, said = -float("inf"), False

    def both(event: Event, campaign: Campaign) -> None:
        nonlocal last, said
        if isinstance(event, Measured):
            from sdl.twin.watch import departure

            sitting = taken[-1][1] if taken else 0
            reading = Reading(event.applied, event.readings, event.background, event.saturated, event.fault)
            taken.append((reading, sitting + (event.at - last > SITTING_GAP)))
            last = event.at
            gone = departure(state, taken)
            if gone and not said:
                log.warning("trial %d: %s (watch: %s)", event.trial, gone, chosen.watch)
            elif said and not gone:
                log.warning("trial %d: the instrument is where its twin is again", event.trial)
            said = bool(gone)
        if watch is not None:
            watch(event, campaign)

    return both
