"""Events are values: frozen, dated, and apart from actions."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from core_kit import measured

from sdl.core.events import Action, Event, Measured
from sdl.store.record import encode

EVENTS = typing.get_args(Event)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_says_when_it_happened_last_of_what_it_always_had(kind: type) -> None:
    """A field that came later has a default, so that records written before it can still be read."""
    missing = dataclasses.MISSING
    required = [f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing]
    assert required[-1] == "at"


def test_an_event_cannot_be_changed() -> None:
    event = measured()
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.trial = 7  # type: ignore[misc]


def test_actions_are_never_written() -> None:
    assert not set(typing.get_args(Action)) & set(EVENTS)


def test_no_field_of_an_event_is_called_as_the_record_calls_its_own() -> None:
    for kind in EVENTS:
        assert not {"event", "sha"} & {field.name for field in dataclasses.fields(kind)}


def test_a_line_starts_with_its_kind_and_keeps_the_order_of_the_fields() -> None:
    line, _ = encode(measured(), "0" * 32)
    places = [line.index(f'"{name}": '.encode()) for name in ("event", *(f.name for f in dataclasses.fields(Measured)))]
    assert places == sorted(places)
    assert line.startswith(b'{"event": "Measured", ')
