"""Every fault of the twin in a campaign: what `docs/how-to/twin.md` says comes of it, comes of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from sdl import runner
from sdl.clock import VirtualClock
from sdl.core.events import Event, Failed, Measured
from sdl.drivers.twin.config import Twin
from sdl.errors import BadReply, Busy, Unreachable
from sdl.runs.runs import Result
from sdl.twin.faults import MEANING, NAMES, Fault, Name
from sdl.twin.led.check import check
from sdl.twin.led.evidence import matrices
from sdl.twin.led.state import load
from sdl.types import Outcome, Reading

MIDDLE = {"R": 0.5, "G": 0.5, "B": 0.5}

LOST = {
    "refused": ("Unreachable", False),
    "reset-before": ("Unreachable", True),
    "reset-after": ("Unreachable", True),
    "time-out": ("Unreachable", True),
    **dict.fromkeys(
        [
            *("truncated", "not-json", "missing-channel", "null-channel"),
            *("nan-channel", "negative-channel", "text-channel", "huge-channel"),
        ],
        ("BadReply", True),
    ),
}
"""Faults that cost a reading: the error, and whether it may have been measured."""
SILENT = ("swapped-channels", "frozen", "dead-led")
"""Faults that no single reading shows."""


def campaign(*faults: dict[str, Any], seed: int = 0, **instrument: Any) -> tuple[Result, list[Event]]:
    events: list[Event] = []
    tree = {
        "name": "faulty",
        "seed": seed,
        "instrument": {"kind": "twin", "faults": list(faults), **instrument},
        "goal": {"445nm": 16384, "515nm": 16384, "630nm": 16384},
        "solver": {"kind": "linear"},
        "stop": {"trials": 30},
    }
    return runner.run(tree, runs=None, watch=lambda event, _: events.append(event)), events


def readings(events: list[Event]) -> list[Measured]:
    return [event for event in events if isinstance(event, Measured)]


def failures(events: list[Event]) -> list[Failed]:
    return [event for event in events if isinstance(event, Failed)]


def divergent(events: list[Event]) -> bool:
    state = load("night-2025-10")
    rows = [Reading(e.applied, e.readings, e.background, e.saturated, e.fault) for e in readings(events)]
    return check(matrices([(row, 0, "") for row in rows], state), state).divergent


def test_every_fault_is_tested_here() -> None:
    elsewhere = {"html-500", "busy", "slow-drip", "clamp", "light-step", "saturating-light", "clock-jump"}
    assert set(LOST) | set(SILENT) | elsewhere == set(NAMES) == set(MEANING)


@pytest.mark.parametrize("name", LOST)
def test_a_lost_reading_is_a_failed_attempt_and_is_taken_again(name: Name) -> None:
    result, events = campaign({"name": name, "at": (2,)})
    assert result.outcome is Outcome.REACHED
    (failed,) = failures(events)
    error, maybe = LOST[name]
    assert failed.error.startswith(f"{error}: ")
    assert (failed.retryable, failed.maybe_measured) == (True, maybe)
    assert (failed.trial, failed.attempt) == (2, 0)
    assert [(e.trial, e.attempt) for e in readings(events) if e.trial == 2] == [(2, 1)]


@pytest.mark.parametrize("name", LOST)
def test_readings_that_are_lost_by_chance_cost_no_other_reading(name: Name) -> None:
    lost = 0
    for seed in range(3):
        result, events = campaign({"name": name, "probability": 0.2}, seed=seed)
        lost += len(failures(events))
        assert result.outcome is Outcome.REACHED, seed
        assert result.readings == len(readings(events))
    assert lost > 0


@pytest.mark.parametrize("name", ["refused", "time-out", "html-500", "null-channel"])
def test_an_instrument_that_never_answers_again_ends_the_campaign_with_what_it_said(name: Name) -> None:
    result, _ = campaign({"name": name, "after": 2.0})
    assert result.outcome is Outcome.FAILED
    assert f"fault {name}" in result.reason or "515nm = None" in result.reason


def test_a_busy_instrument_is_waited_for() -> None:
    clock = VirtualClock(Twin().start_time)
    driver = Twin(faults=(Fault(name="busy", at=(0,), seconds=20.0),)).open(clock)
    driver.measure(MIDDLE)
    assert clock.now() - Twin().start_time == pytest.approx(20.78)


def test_an_instrument_that_stays_busy_is_left_after_fifty_tries() -> None:
    clock = VirtualClock(Twin().start_time)
    driver = Twin(faults=(Fault(name="busy", at=(0,), seconds=300.0),)).open(clock)
    with pytest.raises(Busy, match="another user"):
        driver.measure(MIDDLE)
    assert clock.now() - Twin().start_time == pytest.approx(49)
    assert not driver.lit
    assert campaign({"name": "busy", "at": (2,), "seconds": 60.0})[0].outcome is Outcome.REACHED


def test_a_sensor_that_fails_leaves_the_light_on_and_costs_the_next_request_too() -> None:
    clock = VirtualClock(Twin().start_time)
    driver = Twin(faults=(Fault(name="html-500", at=(0,)),)).open(clock)
    for lit in (True, False):
        began = clock.now()
        with pytest.raises(BadReply, match="fault html-500") as caught:
            driver.measure(MIDDLE)
        assert (caught.value.retryable, caught.value.maybe_measured) == (True, True)
        assert clock.now() - began == pytest.approx(49)
        assert driver.lit is lit
    driver.measure(MIDDLE)
    result, events = campaign({"name": "html-500", "at": (2,)})
    assert result.outcome is Outcome.REACHED
    assert [(failed.trial, failed.attempt) for failed in failures(events)] == [(2, 0), (2, 1)]


def test_a_light_that_a_failed_reading_left_on_is_off_after_as_long_as_on_the_server() -> None:
    clock = VirtualClock(Twin().start_time)
    driver = Twin(faults=(Fault(name="html-500", at=(0,)),)).open(clock)
    with pytest.raises(BadReply):
        driver.measure(MIDDLE)
    began = clock.now()
    driver.safe()
    assert not driver.lit
    assert clock.now() - began == pytest.approx(49)
    driver.safe()
    assert clock.now() - began == pytest.approx(49)
    driver.measure(MIDDLE)


def test_an_answer_that_drips_is_late_or_given_up() -> None:
    clock = VirtualClock(Twin().start_time)
    late = (Fault(name="slow-drip", at=(0,)), Fault(name="slow-drip", at=(1,), seconds=90.0))
    driver = Twin(faults=late).open(clock)
    driver.measure(MIDDLE)
    assert clock.now() - Twin().start_time == pytest.approx(10.78)
    with pytest.raises(Unreachable) as caught:
        driver.measure(MIDDLE)
    assert caught.value.maybe_measured


def test_a_silent_clamp_is_named_on_the_reading_and_the_reading_is_used_as_applied() -> None:
    result, events = campaign({"name": "clamp", "probability": 0.3}, seed=1)
    clamped = [event for event in readings(events) if event.fault]
    assert result.outcome is Outcome.REACHED
    assert clamped
    assert {event.fault for event in clamped} == {"not-applied"}
    assert all(max(event.applied.values()) <= 0.5 for event in clamped)
    assert not divergent(events)  # the readings are those of the settings that are written beside them
    driver = Twin(faults=(Fault(name="clamp", at=(0,), size=0.2),)).open(VirtualClock(Twin().start_time))
    reading = driver.measure(MIDDLE)
    assert (reading.applied, reading.fault) == (dict.fromkeys("RGB", 0.2), "not-applied")


@pytest.mark.slow
@pytest.mark.parametrize("name", SILENT)
def test_a_fault_that_no_reading_shows_never_ends_in_a_goal_reached_and_the_check_finds_it(name: Name) -> None:
    for seed in range(2):
        result, events = campaign({"name": name, "after": 2.0}, seed=seed)
        assert result.outcome in (Outcome.UNREACHABLE, Outcome.SPENT, Outcome.STALLED), seed
        assert divergent(events), seed
    assert not divergent(campaign()[1])


def test_a_dead_led_of_one_input_leaves_the_others() -> None:
    driver = Twin(faults=(Fault(name="dead-led", after=0.0, input="R"),)).open(VirtualClock(Twin().start_time))
    reading = driver.measure(MIDDLE)
    assert reading.readings["630nm"] < 2000
    assert reading.readings["515nm"] > 30000
    assert reading.applied == MIDDLE


def test_a_step_of_light_is_learned_from_newer_readings() -> None:
    result, events = campaign({"name": "light-step", "after": 2.0, "size": 1500.0})
    assert result.outcome is Outcome.REACHED
    last = readings(events)[-1]
    light = Twin().open(VirtualClock()).plant.noise_free(last.applied)
    assert last.readings["515nm"] - light["515nm"] == pytest.approx(1500, abs=400)


def test_light_that_saturates_is_named_and_does_no_harm_when_it_has_passed() -> None:
    result, events = campaign({"name": "saturating-light", "at": (2, 4)})
    assert result.outcome is Outcome.REACHED
    blind = [event for event in readings(events) if "515nm" in event.saturated]
    assert len(blind) == 2
    assert all(event.readings["515nm"] == 65535 for event in blind)
    assert campaign({"name": "saturating-light", "after": 2.0})[0].outcome is not Outcome.REACHED


def test_a_clock_that_leaps_ahead_leaps_in_the_record_and_does_no_harm() -> None:
    result, events = campaign({"name": "clock-jump", "at": (3,)})
    assert result.outcome is Outcome.REACHED
    times = [event.at for event in readings(events)]
    assert times == sorted(times)
    assert max(b - a for a, b in pairwise(times)) > 3600


def test_a_resumed_twin_meets_the_same_chance() -> None:
    twin = Twin(seed=3, faults=(Fault(name="null-channel", probability=0.3),))

    def answers(clock: VirtualClock, count: int) -> list[object]:
        driver, found = twin.open(clock), []
        for _ in range(count):
            try:
                found.append(driver.measure(MIDDLE).readings)
            except BadReply as error:
                found.append(str(error))
        return found

    clock = VirtualClock(twin.start_time)
    first, then = answers(clock, 10), answers(clock, 10)  # a driver of its own each, as after a resume
    assert first + then == answers(VirtualClock(twin.start_time), 20)
    assert any(isinstance(answer, str) for answer in first + then)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (
            {"name": "null-channel", "at": (1,), "channel": "512nm"},
            r"faults\[0\].channel: unknown '512nm'; allowed: 415nm",
        ),
        ({"name": "swapped-channels", "at": (1,), "other": "x"}, r"faults\[0\].other: unknown 'x'"),
        ({"name": "dead-led", "at": (1,), "input": "W"}, r"faults\[0\].input: unknown 'W'; allowed: R, G, B"),
    ],
)
def test_a_fault_of_something_that_is_not_there_is_a_mistake(fault: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Twin(faults=(Fault(**fault),))
