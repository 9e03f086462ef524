"""When a background is taken, and for which readings."""

from __future__ import annotations

import pytest

from sdl.drivers.baseline import BaselineSampler, Every
from sdl.errors import BadReply, Rejected, Unreachable
from sdl.types import Reading

OFF, ON = {"R": 0.0}, {"R": 0.5}


class Lamp:
    """Reads 100 with the light on; the room gets a count brighter with every reading."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.failing = 0

    def read(self, settings: dict[str, float]) -> Reading:
        self.asked.append(settings["R"])
        if settings["R"] and self.failing:
            self.failing -= 1
            raise Unreachable("no answer", maybe_measured=False)
        return Reading(applied=settings, readings={"515nm": len(self.asked) + 100.0 * (settings["R"] > 0)})


def test_none_takes_none() -> None:
    lamp = Lamp()
    assert BaselineSampler("none", OFF).reading(lamp.read, ON).background is None
    assert lamp.asked == [0.5]


def test_each_takes_one_before_every_reading() -> None:
    lamp, dark = Lamp(), BaselineSampler("each", OFF)
    found = [dark.reading(lamp.read, ON) for _ in range(2)]
    assert lamp.asked == [0.0, 0.5, 0.0, 0.5]
    assert [reading.background for reading in found] == [{"515nm": 1.0}, {"515nm": 3.0}]


def test_every_three_shares_one_among_three() -> None:
    lamp, dark = Lamp(), BaselineSampler(Every(every=3), OFF)
    found = [dark.reading(lamp.read, ON) for _ in range(4)]
    assert lamp.asked == [0.0, 0.5, 0.5, 0.5, 0.0, 0.5]
    assert [reading.background["515nm"] for reading in found if reading.background] == [1, 1, 1, 5]


def test_after_a_failure_the_background_is_taken_anew() -> None:
    lamp, dark = Lamp(), BaselineSampler(Every(every=3), OFF)
    lamp.failing = 1
    with pytest.raises(Unreachable) as caught:
        dark.reading(lamp.read, ON)
    assert caught.value.maybe_measured, "the reading with the light off was taken"
    dark.reading(lamp.read, ON)
    assert lamp.asked == [0.0, 0.5, 0.0, 0.5]


def test_a_failure_without_a_background_of_its_own_is_left_as_it_is() -> None:
    lamp, dark = Lamp(), BaselineSampler(Every(every=3), OFF)
    dark.reading(lamp.read, ON)
    lamp.failing = 1
    with pytest.raises(Unreachable) as caught:
        dark.reading(lamp.read, ON)
    assert not caught.value.maybe_measured


def test_a_background_with_the_light_on_is_none() -> None:
    with pytest.raises(BadReply, match="for the background the instrument measured at"):
        BaselineSampler("each", OFF).reading(lambda asked: Reading(applied=ON, readings={"515nm": 1.0}), ON)


def test_a_refusal_before_anything_was_asked_stays_one() -> None:
    def refuse(asked: dict[str, float]) -> Reading:
        raise Rejected("no")

    with pytest.raises(Rejected) as caught:
        BaselineSampler("each", OFF).reading(refuse, ON)
    assert not caught.value.maybe_measured
