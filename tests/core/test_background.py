"""Campaigns by day: what the background is used for, from the reading to the verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sdl
from sdl.core.events import Event, Measured, Proposed, Stopped
from sdl.core.history import History
from sdl.types import Outcome, Reading

GOAL = {"445nm": 16384, "515nm": 16384, "630nm": 16384}


def campaign(goal: dict[str, Any] = GOAL, **instrument: Any) -> dict[str, Any]:
    instrument = {"kind": "twin", "background": "each", **instrument}
    return {"name": "day", "instrument": instrument, "goal": goal, "solver": {"kind": "linear"}, "seed": 4}


def events_of(tree: dict[str, Any]) -> list[Event]:
    events: list[Event] = []
    sdl.run(tree, runs=None, watch=lambda event, _: events.append(event))
    return events


def test_a_solver_learns_from_readings_less_their_background() -> None:
    history = History(("R",), ("515nm",))
    history.add_reading(Reading(applied={"R": 0.5}, readings={"515nm": 9000.0}, background={"515nm": 2000.0}))
    assert history.Y.tolist() == [[7000.0]]
    assert history.background == {"515nm": 2000.0}


def test_targets_are_the_goal_less_the_latest_background_and_what_is_expected_is_raw() -> None:
    events = events_of(campaign(ambient="day", start="2025-10-28T10:30:00-04:00"))
    measured = [event for event in events if isinstance(event, Measured)]
    assert all(event.background is not None and event.background["515nm"] > 50 for event in measured)
    asked = [event for event in events if isinstance(event, Proposed) and event.by == "linear"]
    assert asked
    for event in asked:
        before = [m for m in measured if m.at <= event.at][-1].background or {}
        assert event.targets == pytest.approx({name: want - before[name] for name, want in GOAL.items()})
        assert event.expected["515nm"] == pytest.approx(16384, rel=0.03)
    assert isinstance(events[-1], Stopped)
    assert events[-1].outcome is Outcome.REACHED


def test_a_step_of_the_light_is_known_from_the_next_background_on() -> None:
    """The blinds are opened after the four points of the design: the fifth trial misses, the sixth need not."""
    off = {}
    for background, latency in (("each", 0.78), ("none", 1.56)):  # so that a trial takes the same time
        step = [{"name": "light-step", "after": 6.0, "size": 3000}]
        events = events_of(campaign(faults=step, background=background, latency=latency))
        readings = [event.readings for event in events if isinstance(event, Measured)]
        misses = [max(abs(reading[name] / want - 1) for name, want in GOAL.items()) for reading in readings]
        assert misses[4] > 0.1
        off[background] = misses[5]
    assert off["each"] < 0.02
    assert off["none"] > 0.05


@pytest.mark.parametrize("solver", ["linear", "gmm", "bayes"])
def test_a_channel_that_nobody_asked_for_may_be_full(solver: str) -> None:
    """In the sun `clear` reads full scale at all points of the design but one; the goal is on other channels."""
    events = events_of({**campaign(ambient="day", start="2025-10-30T12:52:48-04:00", seed=24), "solver": solver})
    assert sum("clear" in event.saturated for event in events if isinstance(event, Measured)) > 3
    assert isinstance(events[-1], Stopped)
    assert events[-1].outcome is Outcome.REACHED


def test_a_goal_below_the_light_of_the_room_is_unreachable_and_the_light_is_named() -> None:
    bright = [{"name": "light-step", "after": 0.0, "size": 9000}]
    events = events_of(campaign({"515nm": 5000}, faults=bright))
    end = events[-1]
    assert isinstance(end, Stopped)
    assert end.outcome is Outcome.UNREACHABLE
    assert "The background alone is 90" in end.reason
    assert "at 515nm, above 5100" in end.reason
    last = next(event for event in reversed(events) if isinstance(event, Proposed))
    assert "the background alone" in last.why
    assert np.isclose(sum(last.settings.values()), 0.0)


def test_a_resumed_campaign_by_day_goes_on_as_if_it_had_not_been_stopped(tmp_path: Any) -> None:
    tree = campaign(dict.fromkeys(GOAL, 16384), ambient="day", start="2025-10-28T13:00:00-04:00")
    tree |= {"tolerance": "0.05%", "stop": {"trials": 12}}
    whole = sdl.run(tree, runs=tmp_path / "whole")
    part = sdl.run({**tree, "stop": {"trials": 7}}, runs=tmp_path / "part")
    done = sdl.resume(part.run, changes=["stop.trials=12"])
    assert (done.trials, done.readings) == (whole.trials, whole.readings)
    assert (done.settings, done.measured) == (whole.settings, whole.measured)
