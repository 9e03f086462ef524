"""Readings as they count: with the corrections that came later, and without the excluded ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sdl.core.events import Corrected, Event, Measured


def corrected(events: Iterable[tuple[int, Event]]) -> Iterator[tuple[int, Event]]:
    """The events, each with its number, with the last correction of every reading applied; excluded ones left out."""
    numbered = list(events)
    last = {(event.trial, event.repeat): event for _, event in numbered if isinstance(event, Corrected)}
    for number, event in numbered:
        if isinstance(event, Measured) and (correction := last.get((event.trial, event.repeat))) is not None:
            if correction.readings is None:
                continue
            yield number, replace(event, readings=correction.readings, saturated=correction.saturated)
        else:
            yield number, event
