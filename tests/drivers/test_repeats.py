"""Equal readings in a row, of whatever instrument: no measurements, unless its channels are coarse or it may repeat."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

import sdl
from sdl import registry
from sdl.clock import Clock
from sdl.drivers.checks import SAME, Repeats
from sdl.drivers.claude_light.config import ClaudeLight
from sdl.drivers.manual import Manual
from sdl.drivers.sdl_light.config import SdlLight
from sdl.drivers.twin.config import Twin
from sdl.errors import BadReply
from sdl.types import Channel, Frozen, Input, Reading


class Bath(Frozen):
    """A plug-in: a heated bath with a thermometer and a balance, which are stuck."""

    kind: Literal["bath"] = "bath"
    steps: tuple[float | None, float | None] = (None, None)
    simulated: bool = False

    identity = property(lambda self: "bath")
    virtual = property(lambda self: False)
    reading_seconds = property(lambda self: 0.001)
    inputs = property(lambda self: (Input(name="power"),))

    @property
    def channels(self) -> tuple[Channel, ...]:
        warm, mass = self.steps
        return Channel(name="warm", resolution=warm, high=99.0), Channel(name="mass", resolution=mass)

    def open(self, clock: Clock) -> BathDriver:
        return BathDriver()


class BathDriver:
    def measure(self, settings: Mapping[str, float]) -> Reading:
        return at(20.0, 3.0, settings)

    def safe(self) -> None: ...
    def close(self) -> None: ...


def at(warm: float, mass: float, settings: Mapping[str, float] | None = None, **changes: Any) -> Reading:
    return Reading(settings or {"power": 0.5}, {"warm": warm, "mass": mass}, **changes)


def passed(instrument: Any, readings: list[Reading]) -> int:
    """How many go through before one is refused."""
    check = Repeats(instrument)
    for count, reading in enumerate(readings):
        try:
            check.checked(reading)
        except BadReply:
            return count
    return len(readings)


EQUAL = [at(20.0, 3.0, {"power": power}) for power in (0.1, 0.5, 0.5, 0.9)]


def test_three_equal_readings_are_refused_at_whatever_settings_and_two_are_not() -> None:
    assert passed(Bath(), EQUAL) == SAME - 1 == 2
    assert passed(Bath(), [at(20.0, 3.0), at(20.0, 3.0), at(20.1, 3.0)] * 5) == 15, "one channel that moves will do"


def test_the_refusal_says_what_to_declare_and_may_be_tried_again() -> None:
    check = Repeats(Bath(steps=(None, 0.1)))
    check.checked(EQUAL[0]), check.checked(EQUAL[0])
    with pytest.raises(BadReply, match=r"declare the `resolution` of its channels \(warm\)") as caught:
        check.checked(EQUAL[0])
    assert caught.value.retryable


def test_channels_that_read_in_coarse_steps_prove_nothing() -> None:
    assert passed(Bath(steps=(0.1, 0.01)), EQUAL) == 4
    assert passed(Bath(steps=(0.1, None)), EQUAL) == 2, "the other one can tell"


def test_channels_at_the_ends_of_their_range_prove_nothing() -> None:
    assert passed(Bath(), [at(0.0, 0.0)] * 4) == 4
    assert passed(Bath(steps=(None, 0.1)), [at(99.0, 3.0, saturated=("warm",))] * 4) == 4


@pytest.mark.parametrize(
    "instrument",
    [Bath(simulated=True), Twin(), Manual(), ClaudeLight(), SdlLight(host="broker")],
    ids=lambda instrument: instrument.kind,
)
def test_what_is_simulated_typed_or_looked_at_by_its_driver_may_repeat_itself(instrument: Any) -> None:
    readings = {channel.name: 20.0 for channel in instrument.channels}
    assert passed(instrument, [Reading({}, readings)] * 4) == 4


def test_a_resolution_is_positive_and_stays_in_the_record() -> None:
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match="greater than 0"):
            Channel(name="x", resolution=wrong)
    assert Channel.model_validate(Channel(name="x", resolution=0.5).model_dump()).resolution == 0.5


@pytest.mark.parametrize(("steps", "outcome"), [((None, None), "failed"), ((0.5, 0.1), "reached")])
def test_a_campaign_on_a_plug_in_that_repeats_itself_does_not_reach_its_goal_by_copies(
    steps: tuple[float | None, float | None], outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.OURS["drivers"], "bath", f"{__name__}:Bath")
    tree = {
        "name": "bath",
        "instrument": {"kind": "bath", "steps": steps},
        "goal": {"warm": 20.0},
        "confirm": 2,
        "solver": "linear",
        "retry": {"times": 1, "wait": 0.0},
        "stop": {"failures": 2},
    }
    found = sdl.run(tree, runs=tmp_path)
    assert found.outcome == outcome
    if outcome == "failed":
        assert "readings in a row are the same in every channel" in found.reason
